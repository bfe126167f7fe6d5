"""From the measures of single faces to means, intervals and the loss of each stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from unmask.errors import DataError
from unmask.evaluation.conditions import BASELINES, CONDITIONS, MEASURES, STAGES, FaceMeasures

RESAMPLES = 2000
LEVEL = 0.95

# Indices that are drawn at once; more faces are drawn in several goes, to bound the memory.
_AT_ONCE = 4_000_000
GROUPS = ("all", "male", "female", "found")
"""Groups of faces: everyone, by true gender, and those that the pipeline found."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its confidence interval."""

    mean: float
    low: float  # lower end of the 95 % interval
    high: float
    count: int


def estimate(values: ArrayLike) -> Estimate:
    """Estimate a mean and its 95 % interval by the percentile bootstrap over faces.

    Args:
        values: One finite number a face, (N,), N >= 1; truth values count as 0 and 1.

    Returns:
        The estimate, the same for the same values. Of a single face both ends are its value:
        nothing is known of others.

    Raises:
        ValueError: There is no value, or one is not finite.

    Reference:
        Efron, Bootstrap Methods: Another Look at the Jackknife, 1979.

    Example:
        >>> found = estimate([1.0, 2.0, 3.0, 2.0])
        >>> found.mean, found.low < 2 < found.high
        (2.0, True)
    """
    sample = np.asarray(values, np.float64)
    if sample.ndim != 1 or not sample.size or not np.isfinite(sample).all():
        raise ValueError(f"values must be (N,) finite numbers, N >= 1. Received: {sample!r}")
    rng = np.random.default_rng([0, sample.size])
    rows = max(1, _AT_ONCE // sample.size)
    means = np.concatenate(
        [
            sample[rng.integers(sample.size, size=(min(rows, RESAMPLES - i), sample.size))].mean(1)
            for i in range(0, RESAMPLES, rows)
        ]
    )
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(sample.mean()), float(low), float(high), sample.size)


@dataclass(frozen=True)
class StageLoss:
    """What the prediction of one stage costs, in the unit of the measure.

    Attributes:
        stage: The stage.
        measure: One of `MEASURES`.
        replaced: Gain when this prediction is replaced by the truth and the others stay.
        alone: Loss when this prediction takes the place of the truth and the others are true.
    """

    stage: str
    measure: str
    replaced: Estimate
    alone: Estimate


@dataclass(frozen=True)
class Summary:
    """The figures of an evaluation.

    Attributes:
        scores: By method (baseline or condition), group and measure.
        stages: By group: "found" (share), and over the found faces "gender" (share right), "nme"
            and "iou".
        losses: One a stage and measure, over all faces.
    """

    scores: dict[str, dict[str, dict[str, Estimate]]]
    stages: dict[str, dict[str, Estimate]]
    losses: list[StageLoss]


def summarise(faces: Sequence[FaceMeasures]) -> Summary:
    """Summarise the measures of one face or more; a group without faces is left out.

    Raises:
        DataError: There is no face.
    """
    if not faces:
        raise DataError("no face could be evaluated")
    groups = {name: [f for f in faces if _belongs(f, name)] for name in GROUPS}
    groups = {name: members for name, members in groups.items() if members}
    methods = (*BASELINES, *(condition.name for condition in CONDITIONS))
    return Summary(
        scores={
            method: {
                group: {m: estimate([f.scores[method][m] for f in members]) for m in MEASURES}
                for group, members in groups.items()
            }
            for method in methods
        },
        stages={
            group: _stage_figures(members) for group, members in groups.items() if group != "found"
        },
        losses=[_loss(faces, stage, m) for stage in STAGES for m in MEASURES],
    )


def _belongs(face: FaceMeasures, group: str) -> bool:
    return group == "all" or face.gender == group or (group == "found" and face.found)


def _stage_figures(faces: Sequence[FaceMeasures]) -> dict[str, Estimate]:
    figures = {"found": estimate([f.found for f in faces])}
    known = [f for f in faces if f.found]
    read: dict[str, Callable[[FaceMeasures], float | bool | None]] = {
        "gender": lambda f: f.gender_right,
        "nme": lambda f: f.nme,
        "iou": lambda f: f.iou,
    }
    for name, value in read.items():
        if known:
            figures[name] = estimate([float(value(f) or 0) for f in known])
    return figures


def _loss(faces: Sequence[FaceMeasures], stage: str, measure: str) -> StageLoss:
    others = tuple(s for s in STAGES if s != stage)
    names = {condition.true: condition.name for condition in CONDITIONS}

    def difference(better: tuple[str, ...], worse: tuple[str, ...]) -> Estimate:
        a, b = names[better], names[worse]
        return estimate([f.scores[a][measure] - f.scores[b][measure] for f in faces])

    return StageLoss(stage, measure, difference((stage,), ()), difference(STAGES, others))

"""From the measures of single faces to means, intervals and the loss of each stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unmask.errors import DataError
from unmask.evaluation.bootstrap import Estimate, estimate
from unmask.evaluation.conditions import BASELINES, CONDITIONS, MEASURES, STAGES, FaceMeasures

GROUPS = ("all", "male", "female", "found")
"""Groups of faces: everyone, by true gender, and those that the pipeline found."""


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
    """Summarise the measures of faces.

    Args:
        faces: At least one.

    Returns:
        The summary; a group without faces is left out.

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

"""For whom the gender network errs: figures by age and by ethnicity, and how honest it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord
from unmask.gender.data import age_group, labels_of
from unmask.gender.evaluate import GenderReport, describe_table, report
from unmask.metrics import expected_calibration_error

ETHNICITIES = ("White", "Black", "Asian", "Indian", "Other")
"""UTKFace's own labels, by their codes."""


@dataclass(frozen=True)
class GroupScores:
    """Accuracy on one group of faces.

    Attributes:
        name: The group.
        count: Number of faces.
        unmasked: Share of right answers on bare faces.
        masked: Share of right answers under drawn masks; None without such.
        uncertainty: Standard error of the last share, for a group of this size.
    """

    name: str
    count: int
    unmasked: float
    masked: float | None
    uncertainty: float


@dataclass(frozen=True)
class Evaluation:
    """All figures of a network on some faces.

    Attributes:
        report: Figures on all faces.
        ages: Accuracy by age group, of the faces whose age is known.
        ethnicities: Accuracy by UTKFace's labels, of the faces that have one.
        uncertain_share: Share of the answers that are called uncertain: on masked faces, or on
            bare ones where there are no others.
        uncertain_accuracy: Share of right answers among these; None if there are none.
    """

    report: GenderReport
    ages: tuple[GroupScores, ...]
    ethnicities: tuple[GroupScores, ...]
    uncertain_share: float
    uncertain_accuracy: float | None


def evaluate_groups(
    predicted: NDArray[np.floating], records: Sequence[FaceRecord], uncertain_below: float
) -> Evaluation:
    """Compute every figure from the predicted probabilities.

    Args:
        predicted: (N, 1 + masked) probabilities of "male", the bare faces first, as
            `unmask.gender.evaluate.probabilities` returns them; masked may be 0.
        records: The N faces.
        uncertain_below: Confidence below which an answer counts as uncertain.

    Returns:
        The figures.
    """
    labels = labels_of(records)
    right = (predicted >= 0.5) == (labels[:, None] > 0.5)
    judged = slice(min(1, predicted.shape[1] - 1), None)
    unsure = np.maximum(predicted, 1 - predicted)[:, judged] < uncertain_below
    ages = [age_group(record.age) for record in records]
    races = [_ethnicity(record.race) for record in records]
    oldest_last = sorted(set(ages) - {"unknown"}, key=lambda name: int(name.split("-")[0][:2]))
    return Evaluation(
        report=report(predicted, labels),
        ages=_groups(right, ages, oldest_last),
        ethnicities=_groups(right, races, [name for name in ETHNICITIES if name in races]),
        uncertain_share=float(unsure.mean()),
        uncertain_accuracy=float(right[:, judged][unsure].mean()) if unsure.any() else None,
    )


def markdown(evaluation: Evaluation) -> str:
    """Write the figures as Markdown tables, as in the model card."""
    parts = [describe_table(evaluation.report)]
    for title, groups in (
        ("age", evaluation.ages),
        ("ethnicity (UTKFace's labels)", evaluation.ethnicities),
    ):
        if groups:
            rows = [
                f"| {g.name} | {g.count} | {g.unmasked:.1%} | {_percent(g.masked)} "
                f"| {g.uncertainty * 100:.0f} points |"
                for g in groups
            ]
            head = f"| {title} | faces | bare | masked | standard error |\n|---|---|---|---|---|\n"
            parts.append(head + "\n".join(rows))
    kind = "masked" if evaluation.report.masked else "bare"
    share = f"{evaluation.uncertain_share:.1%} of the {kind} answers are uncertain"
    if evaluation.uncertain_accuracy is not None:
        share += f"; {evaluation.uncertain_accuracy:.1%} of these are right"
    return "\n\n".join([*parts, share + "."]) + "\n"


def reliability_figure(
    curves: dict[str, tuple[NDArray[np.floating], NDArray[np.floating]]], bins: int = 10
) -> Figure:
    """Draw how often answers of each confidence are right.

    On the diagonal a network is as sure as it may be; below, it is too sure.

    Args:
        curves: Probabilities of "male" and labels, each (N,), by the name of the curve.
        bins: Equal bins of the confidence between 0.5 and 1.

    Returns:
        A matplotlib figure that belongs to no window.
    """
    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot((0.5, 1), (0.5, 1), color="grey", linewidth=1, linestyle="--")
    edges = np.linspace(0.5, 1, bins + 1)
    for name, (predicted, labels) in curves.items():
        confidence = np.maximum(predicted, 1 - predicted)
        right = (predicted >= 0.5) == (labels > 0.5)
        index = np.clip(np.digitize(confidence, edges) - 1, 0, bins - 1)
        filled = np.flatnonzero(np.bincount(index, minlength=bins))
        error = expected_calibration_error(predicted, labels)
        upper.plot(
            [confidence[index == i].mean() for i in filled],
            [right[index == i].mean() for i in filled],
            marker="o",
            label=f"{name}, ECE {error:.3f}",
        )
        lower.hist(confidence, edges, histtype="step", density=True, linewidth=1.5)
    upper.set(ylabel="share of right answers", ylim=(0.3, 1.02))
    upper.legend(loc="lower right")
    lower.set(xlabel="confidence", ylabel="density")
    return figure


def _groups(
    right: NDArray[np.bool_], names: Sequence[str], shown: Sequence[str]
) -> tuple[GroupScores, ...]:
    groups = []
    for name in shown:
        chosen = right[np.array(names) == name]
        unmasked = float(chosen[:, 0].mean())
        masked = float(chosen[:, 1:].mean()) if chosen.shape[1] > 1 else None
        last = unmasked if masked is None else masked
        groups.append(
            GroupScores(
                name=name,
                count=len(chosen),
                unmasked=unmasked,
                masked=masked,
                uncertainty=float(np.sqrt(last * (1 - last) / len(chosen))),
            )
        )
    return tuple(groups)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _ethnicity(code: int | None) -> str:
    return ETHNICITIES[code] if code is not None and 0 <= code < len(ETHNICITIES) else "unknown"

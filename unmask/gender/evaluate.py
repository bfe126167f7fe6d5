"""Figures of the gender stage: all faces, by group, and the calibration of the confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from unmask.data.record import FaceRecord
from unmask.gender.data import Views, age_group, labels_of
from unmask.gender.predict import predict_gender
from unmask.metrics import accuracy, expected_calibration_error, roc_auc
from unmask.tables import markdown_table

ETHNICITIES = ("White", "Black", "Asian", "Indian", "Other")
"""UTKFace's own labels, by their codes."""


@dataclass(frozen=True)
class GenderScores:
    """Figures on one set of faces, at threshold 0.5.

    Attributes:
        count: Number of images.
        accuracy: Share of right answers.
        recall_female: Share of the female faces that are called female.
        recall_male: Share of the male faces that are called male.
        auc: Area under the ROC curve: how often a male face gets a higher probability of "male"
            than a female one.
        ece: Expected calibration error: mean distance between confidence and accuracy.
    """

    count: int
    accuracy: float
    recall_female: float
    recall_male: float
    auc: float
    ece: float


@dataclass(frozen=True)
class GenderReport:
    """Figures on the same faces without and with a mask."""

    unmasked: GenderScores  # each face once, bare
    masked: GenderScores | None  # each face under every drawn mask; None if the faces have none


def probabilities(model: keras.Model, views: Views, *, mirror: bool = False) -> NDArray[np.float32]:
    """Return the probability of "male" of all views, (N, 1 + masked), by a network for windows.

    With `mirror` it is the mean over each view and its mirror image, as in `unmask.run`.
    """
    variants = (views.windows(variant) for variant in range(1 + views.masks))
    return np.stack([predict_gender(model, v, mirror=mirror) for v in variants], axis=1)


def report(predicted: NDArray[np.floating], labels: NDArray[np.floating]) -> GenderReport:
    """Score what `probabilities` returned; labels (N,) are 1 for male, 0 for female."""
    masked, count = predicted[:, 1:], predicted.shape[1] - 1
    return GenderReport(
        unmasked=score(predicted[:, 0], labels),
        masked=score(masked.ravel(), np.repeat(labels, count)) if count else None,
    )


def score(predicted: NDArray[np.floating], labels: NDArray[np.floating]) -> GenderScores:
    """Compute the figures of probabilities of "male" (N,) and labels (N,), 1 male and 0 female.

    Raises:
        ValueError: If the lengths differ or one gender does not occur.

    Example:
        >>> score(np.array([0.1, 0.6, 0.8]), np.array([0, 0, 1])).recall_female
        0.5
    """
    male = np.asarray(labels) > 0.5
    called_male = np.asarray(predicted) >= 0.5
    return GenderScores(
        auc=roc_auc(predicted, male),  # first: it refuses a set without both genders
        count=len(male),
        accuracy=accuracy(predicted, male),
        recall_female=float((~called_male[~male]).mean()),
        recall_male=float(called_male[male].mean()),
        ece=expected_calibration_error(predicted, male),
    )


def _table(figures: GenderReport) -> str:
    header = ("", "images", "accuracy", "recall female", "recall male", "ROC AUC", "ECE")
    rows = [
        (
            name,
            f"{scores.count:,}",
            *(f"{v:.1%}" for v in (scores.accuracy, scores.recall_female, scores.recall_male)),
            f"{scores.auc:.3f}",
            f"{scores.ece:.3f}",
        )
        for name, scores in _sets(figures)
    ]
    return markdown_table(header, rows)


def _sets(figures: GenderReport) -> list[tuple[str, GenderScores]]:
    bare = [("bare", figures.unmasked)]
    return bare if figures.masked is None else [*bare, ("masked", figures.masked)]


def quality(figures: GenderReport) -> dict[str, str]:
    """Return the accuracies as text, for the metadata of a weight file."""
    return {f"{name}_accuracy": f"{scores.accuracy:.4f}" for name, scores in _sets(figures)}


# === For whom it errs ===


@dataclass(frozen=True)
class GroupScores:
    """Accuracy on one group of faces."""

    name: str
    count: int
    unmasked: float  # share of right answers on bare faces
    masked: float | None  # share of right answers under drawn masks; None without such
    uncertainty: float  # standard error of the last share, for a group of this size


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
    """Compute every figure from what `probabilities` says of N faces; they need not have masks.

    An answer of less confidence than `uncertain_below` counts as uncertain.
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
    parts = [_table(evaluation.report)]
    for title, groups in (
        ("age", evaluation.ages),
        ("ethnicity (UTKFace's labels)", evaluation.ethnicities),
    ):
        if groups:
            rows = [
                (
                    g.name,
                    g.count,
                    f"{g.unmasked:.1%}",
                    _percent(g.masked),
                    f"{g.uncertainty * 100:.0f} points",
                )
                for g in groups
            ]
            header = (title, "faces", "bare", "masked", "standard error")
            parts.append(markdown_table(header, rows))
    kind = "masked" if evaluation.report.masked else "bare"
    share = f"{evaluation.uncertain_share:.1%} of the {kind} answers are uncertain"
    if evaluation.uncertain_accuracy is not None:
        share += f"; {evaluation.uncertain_accuracy:.1%} of these are right"
    return "\n".join([*parts, share + ".\n"])


def reliability_figure(
    curves: dict[str, tuple[NDArray[np.floating], NDArray[np.floating]]], bins: int = 10
) -> Figure:
    """Draw how often answers of each confidence, in equal bins from 0.5 to 1, are right.

    On the diagonal a network is as sure as it may be; below, it is too sure. Curves are
    probabilities of "male" and labels, (N,) each, by name. The figure belongs to no window.
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


# === Calibration ===


@dataclass(frozen=True)
class Calibration:
    """What makes a network's probabilities honest: `sigmoid(logit / temperature + bias)`."""

    temperature: float = 1.0  # above 1 for an overconfident network
    bias: float = 0.0  # above 0 for a network that calls too many faces female


def fit_calibration(predicted: NDArray[np.floating], labels: NDArray[np.floating]) -> Calibration:
    """Find the calibration with the least cross-entropy; both genders count the same.

    Use faces that the network was not trained on. Probabilities of "male" and labels, 1 for male
    and 0 for female, have one shape. The temperature lies between 0.1 and 10.

    Raises:
        ValueError: The shapes differ, or one gender does not occur.

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, with the bias of Platt,
        "Probabilistic Outputs for Support Vector Machines", 1999.
    """
    logits = _logits(predicted).ravel()
    male = np.asarray(labels).ravel() > 0.5
    if logits.shape != male.shape or male.all() or not male.any():
        raise ValueError(
            "predicted and labels must have the same shape and both genders. Received: "
            f"{np.shape(predicted)} and {np.shape(labels)}, {int(male.sum())} of them male"
        )
    sign = np.where(male, 1.0, -1.0)
    weight = np.where(male, 0.5 / male.sum(), 0.5 / (~male).sum())

    def cross_entropy(parameters: NDArray[np.float64]) -> float:
        log_temperature, bias = parameters
        shifted = logits / np.exp(log_temperature) + bias
        return float(weight @ np.logaddexp(0.0, -sign * shifted))

    found = minimize(
        cross_entropy, x0=(0.0, 0.0), bounds=((np.log(0.1), np.log(10.0)), (-5.0, 5.0))
    )
    return Calibration(temperature=float(np.exp(found.x[0])), bias=float(found.x[1]))


def calibrated(predicted: NDArray[np.floating], calibration: Calibration) -> NDArray[np.float64]:
    """Return probabilities as they are after a calibration.

    Example:
        >>> calibrated(np.array([0.5, 0.9]), Calibration(temperature=2.0)).round(2).tolist()
        [0.5, 0.75]
    """
    return expit(_logits(predicted) / calibration.temperature + calibration.bias)


def fold_calibration(last: keras.layers.Layer, calibration: Calibration) -> None:
    """Change a gender network's last layer in place so that its own output is calibrated."""
    kernel, bias = last.get_weights()
    last.set_weights(
        [kernel / calibration.temperature, bias / calibration.temperature + calibration.bias]
    )


def _logits(predicted: NDArray[np.floating]) -> NDArray[np.float64]:
    return logit(np.clip(np.asarray(predicted, np.float64), 1e-7, 1 - 1e-7))

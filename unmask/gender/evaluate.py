"""Figures of the gender stage, and the calibration that makes its confidence honest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from unmask.gender.data import Views
from unmask.inference import forward, mean_probability
from unmask.metrics import accuracy, expected_calibration_error, roc_auc


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
    """Figures on the same faces without and with a mask.

    Attributes:
        unmasked: Each face once, bare.
        masked: Each face under every drawn mask; None if the faces have none.
    """

    unmasked: GenderScores
    masked: GenderScores | None


def probabilities(model: keras.Model, views: Views, *, mirror: bool = False) -> NDArray[np.float32]:
    """Return the probability of "male" of every view, (N, 1 + masked) float32.

    Args:
        model: A network for such windows, as `build_compact(..., cropped=True)` makes it.
        views: The faces.
        mirror: Take the mean over each view and its mirror image, as `unmask.run` does.
    """
    if mirror:
        flipped = replace(views, pixels=views.pixels[:, :, :, ::-1])
        return mean_probability(np.stack([probabilities(model, v) for v in (views, flipped)]))
    columns = [
        np.concatenate([forward(model, batch)[:, 0] for batch in views.batches(variant)])
        for variant in range(1 + views.masks)
    ]
    return np.stack(columns, axis=1)


def report(predicted: NDArray[np.floating], labels: NDArray[np.floating]) -> GenderReport:
    """Score the probabilities that `probabilities` returned.

    Args:
        predicted: (N, 1 + masked) probabilities of "male", the bare faces first.
        labels: (N,) 1 for male, 0 for female.
    """
    masked, count = predicted[:, 1:], predicted.shape[1] - 1
    return GenderReport(
        unmasked=score(predicted[:, 0], labels),
        masked=score(masked.ravel(), np.repeat(labels, count)) if count else None,
    )


def score(predicted: NDArray[np.floating], labels: NDArray[np.floating]) -> GenderScores:
    """Compute the figures of one set of faces.

    Args:
        predicted: (N,) probabilities of "male".
        labels: (N,) 1 for male, 0 for female; both must occur.

    Returns:
        The figures.

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


def describe(figures: GenderReport) -> str:
    """Write the figures as two lines of text."""
    lines = []
    for name, scores in _sets(figures):
        lines.append(
            f"{name} ({scores.count}): accuracy {scores.accuracy:.2%}, "
            f"recall female {scores.recall_female:.2%}, male {scores.recall_male:.2%}, "
            f"AUC {scores.auc:.4f}, ECE {scores.ece:.4f}"
        )
    return "\n".join(lines)


def describe_table(figures: GenderReport) -> str:
    """Write the figures as a Markdown table."""
    lines = [
        "| | images | accuracy | recall female | recall male | ROC AUC | ECE |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, scores in _sets(figures):
        lines.append(
            f"| {name} | {scores.count:,} | {scores.accuracy:.1%} | {scores.recall_female:.1%} "
            f"| {scores.recall_male:.1%} | {scores.auc:.3f} | {scores.ece:.3f} |"
        )
    return "\n".join(lines)


def _sets(figures: GenderReport) -> list[tuple[str, GenderScores]]:
    bare = [("bare", figures.unmasked)]
    return bare if figures.masked is None else [*bare, ("masked", figures.masked)]


def quality(figures: GenderReport) -> dict[str, str]:
    """Return the accuracies as text, for the metadata of a weight file."""
    return {f"{name}_accuracy": f"{scores.accuracy:.4f}" for name, scores in _sets(figures)}


@dataclass(frozen=True)
class Calibration:
    """What makes a network's probabilities honest: `sigmoid(logit / temperature + bias)`.

    Attributes:
        temperature: Above 1 for an overconfident network.
        bias: Above 0 for a network that calls too many faces female.
    """

    temperature: float = 1.0
    bias: float = 0.0


def fit_calibration(predicted: NDArray[np.floating], labels: NDArray[np.floating]) -> Calibration:
    """Find the calibration with the least cross-entropy; both genders count the same.

    Use faces that the network was not trained on.

    Args:
        predicted: Probabilities of "male", any shape.
        labels: 1 for male, 0 for female, the same shape; both must occur.

    Returns:
        The calibration; its temperature lies between 0.1 and 10.

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
    """Change a network's last layer so that its own output is calibrated.

    Args:
        last: The dense layer "male" of a network of `unmask.gender.model`; changed in place.
        calibration: What `fit_calibration` found.
    """
    kernel, bias = last.get_weights()
    last.set_weights(
        [kernel / calibration.temperature, bias / calibration.temperature + calibration.bias]
    )


def _logits(predicted: NDArray[np.floating]) -> NDArray[np.float64]:
    return logit(np.clip(np.asarray(predicted, np.float64), 1e-7, 1 - 1e-7))

"""Figures of the gender stage, and the temperature that makes its confidence honest."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from unmask.gender.data import Views
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
        masked: Each face under every drawn mask.
    """

    unmasked: GenderScores
    masked: GenderScores


def evaluate(model: keras.Model, views: Views) -> GenderReport:
    """Score a network on stored views.

    Args:
        model: A network for windows, as `build_compact(..., cropped=True)` makes it.
        views: Faces of the validation split.

    Returns:
        The figures, bare and masked apart.
    """
    return report(probabilities(model, views), views.labels)


def probabilities(model: keras.Model, views: Views) -> NDArray[np.float32]:
    """Return the probability of "male" of every view, (N, 1 + masked) float32.

    Args:
        model: A network for windows, as `build_compact(..., cropped=True)` makes it.
        views: The faces.
    """
    columns = [
        np.concatenate([model.predict_on_batch(batch)[:, 0] for batch in views.batches(variant)])
        for variant in range(views.pixels.shape[1])
    ]
    return np.stack(columns, axis=1)


def report(predicted: NDArray[np.floating], labels: NDArray[np.floating]) -> GenderReport:
    """Score the probabilities that `probabilities` returned.

    Args:
        predicted: (N, 1 + masked) probabilities of "male", the bare faces first.
        labels: (N,) 1 for male, 0 for female.
    """
    masked = predicted[:, 1:]
    return GenderReport(
        unmasked=score(predicted[:, 0], labels),
        masked=score(masked.ravel(), np.repeat(labels, masked.shape[1])),
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


def fit_temperature(predicted: NDArray[np.floating], labels: NDArray[np.floating]) -> float:
    """Find the temperature that the logits must be divided by to make the probabilities honest.

    Args:
        predicted: Probabilities of "male", any shape.
        labels: 1 for male, 0 for female, the same shape.

    Returns:
        The temperature with the least cross-entropy, between 0.1 and 10; above 1 when the
        network is overconfident.

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    logits = logit(np.clip(np.asarray(predicted, np.float64), 1e-7, 1 - 1e-7))
    sign = np.where(np.asarray(labels) > 0.5, 1.0, -1.0)

    def cross_entropy(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, -sign * logits / np.exp(log_temperature)).mean())

    found = minimize_scalar(cross_entropy, bounds=(np.log(0.1), np.log(10.0)), method="bounded")
    return float(np.exp(found.x))


def tempered(predicted: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Return probabilities as they are after dividing their logits by a temperature."""
    return expit(logit(np.asarray(predicted, np.float64)) / temperature)


def fold_temperature(model: keras.Model, temperature: float) -> None:
    """Divide the last layer's weights by a temperature, so that the output is calibrated.

    Args:
        model: A network of `unmask.gender.model`; changed in place.
        temperature: What `fit_temperature` found.
    """
    last = model.get_layer("male")
    last.set_weights([values / temperature for values in last.get_weights()])

"""How far predicted landmarks lie from the true ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from unmask.face import canonical_matrix, compose
from unmask.image import load_image
from unmask.landmark_layout import POINTS_98_TO_68, REGIONS_98
from unmask.landmarks.augment import Augmentation, jitter_matrix
from unmask.landmarks.predict import locate_landmarks
from unmask.metrics import area_under_curve, failure_rate, nme
from unmask.synthesis import MaskSynthesizer
from unmask.training.faces import FaceRecord

FIRST_GUESS = Augmentation(steady=0, rotation=8, wild=0, scale=0.2, shift=0.12)
"""How far a square guessed from a mask's box lies from the canonical crop."""


@dataclass(frozen=True)
class LandmarkScores:
    """Errors over a set of faces; all are fractions of the distance of the outer eye corners.

    Attributes:
        count: Number of faces.
        nme: Mean over faces of the mean point distance.
        failure_rate: Share of faces above 10 %.
        auc: Area under the cumulative error curve up to 10 %, divided by 10 %.
        regions: NME by part of the face: jaw, brows, nose, eyes, mouth.
    """

    count: int
    nme: float
    failure_rate: float
    auc: float
    regions: Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """Scores of the same faces without and with a synthetic mask.

    Attributes:
        unmasked: Without.
        masked: With; the truth is where the hidden points are.
    """

    unmasked: LandmarkScores
    masked: LandmarkScores


def score_landmarks(predicted: ArrayLike, truth: ArrayLike) -> LandmarkScores:
    """Score landmarks in pixels.

    Args:
        predicted: (N, 98, 2) points, or (N, 68, 2) where the truth has 68.
        truth: (N, 98, 2) or (N, 68, 2) points. For 68, predicted points of the 98 go through
            :data:`unmask.landmark_layout.POINTS_98_TO_68`.

    Returns:
        The scores, inter-ocular.

    Raises:
        ValueError: The shapes do not fit, or there are no faces.

    Example:
        >>> truth = np.random.default_rng(0).uniform(0, 256, (3, 98, 2))
        >>> score_landmarks(truth, truth).nme
        0.0
    """
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if predicted.shape[-2:] == (98, 2) and truth.shape[-2:] == (68, 2):
        predicted = predicted[..., POINTS_98_TO_68, :]
    errors = nme(predicted, truth)
    corners = (60, 72) if truth.shape[-2] == 98 else (36, 45)
    ocular = np.linalg.norm(truth[:, corners[0]] - truth[:, corners[1]], axis=-1)[:, None]
    distances = np.linalg.norm(predicted - truth, axis=-1) / ocular
    return LandmarkScores(
        count=len(errors),
        nme=float(errors.mean()),
        failure_rate=failure_rate(errors),
        auc=area_under_curve(errors),
        regions={
            name: float(distances[:, indices].mean())
            for name, indices in _regions(truth.shape[-2]).items()
        },
    )


def evaluate(
    model: keras.Model,
    records: Sequence[FaceRecord],
    *,
    passes: int = 2,
    jitter: Augmentation = FIRST_GUESS,
    mirror: bool = False,
    seed: int = 0,
) -> Evaluation:
    """Measure a network the way the pipeline uses it, without and with synthetic masks.

    Each face starts from its canonical crop, moved and scaled at random as a guess from a mask's
    box would be; each further pass cuts the crop anew by the landmarks found so far.

    Args:
        model: A network from :func:`unmask.landmarks.model.build_fan`.
        records: Faces, all with 98 points or all with 68.
        passes: Passes through the network, 1 or more.
        jitter: How far the first crop is off.
        mirror: See :func:`unmask.landmarks.predict.predict_landmarks`.
        seed: Seed of the masks and of the first crops.

    Returns:
        Scores in the pixels of the photos.
    """
    truth = np.stack([record.landmarks for record in records])
    synthesizer = MaskSynthesizer(seed + 1)  # other masks than a training with this seed has seen
    found: dict[bool, list[NDArray[np.float32]]] = {False: [], True: []}
    for i, record in enumerate(records):
        image = load_image(record.path)
        shift = jitter_matrix(np.random.default_rng([seed, i]), jitter)
        guess = compose(shift, canonical_matrix(record.landmarks))
        for masked, points in found.items():
            photo = synthesizer(image, record.landmarks, i).image if masked else image
            points.append(
                locate_landmarks(model, photo, guess, passes=passes, mirror=mirror).points[0]
            )
    return Evaluation(
        unmasked=score_landmarks(np.stack(found[False]), truth),
        masked=score_landmarks(np.stack(found[True]), truth),
    )


def _regions(points: int) -> dict[str, NDArray[np.intp]]:
    """Parts of the face as indices of the 98 or of the 68 points."""
    if points == 98:
        return dict(REGIONS_98)
    return {
        name: np.flatnonzero(np.isin(POINTS_98_TO_68, indices))
        for name, indices in REGIONS_98.items()
    }

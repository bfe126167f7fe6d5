"""How far predicted landmarks lie from the true ones, and what finds them: ours, or a PFLD."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from unmask.data.record import FaceRecord
from unmask.errors import WeightsError
from unmask.face import canonical_matrix, compose, invert, square_matrix, transform_points, warp
from unmask.image import load_image
from unmask.io import PathLike
from unmask.landmark_layout import LAYOUTS, POINTS_98_TO_68, REGIONS_98
from unmask.landmarks.augment import Augmentation, jitter_matrix
from unmask.landmarks.data import WFLW_ATTRIBUTES, WflwFace
from unmask.landmarks.predict import locate_landmarks
from unmask.metrics import area_under_curve, failure_rate, nme
from unmask.synthesis import MaskSynthesizer
from unmask.tables import markdown_table as table

# PFLD expects a face box that is made square and grown. In the canonical crop of 256 pixels this
# square serves it best (least error on 73 bare training photos; a detector's boxes serve it worse).
_PFLD_SIDE, _PFLD_CENTER, _PFLD_SQUARE = 112, (127.5, 160.0), 180.0

FIRST_GUESS = Augmentation(steady=0, rotation=8, wild=0, scale=0.2, shift=0.12)
"""How far a square guessed from a mask's box lies from the canonical crop."""

Locator: TypeAlias = Callable[[NDArray[np.uint8], NDArray[np.floating]], NDArray[np.float32]]
"""From a photo (H, W, 3) and a rough (2, 3) matrix from its pixels to the canonical crop to the
landmarks (98, 2) in photo pixels."""


@dataclass(frozen=True, eq=False)
class LandmarkScores:
    """Errors over a set of faces; all are fractions of the distance of the outer eye corners."""

    errors: NDArray[np.float64]  # (N,) mean point distance of each face
    failure_rate: float  # share of faces above 10 %
    auc: float  # area under the cumulative error curve up to 10 %, divided by 10 %
    regions: Mapping[str, float]  # NME by part of the face: jaw, brows, nose, eyes, mouth

    @property
    def count(self) -> int:
        """Number of faces."""
        return len(self.errors)

    @property
    def nme(self) -> float:
        """Mean of the faces' errors."""
        return float(self.errors.mean())


@dataclass(frozen=True)
class Evaluation:
    """Scores of the same faces without and with a synthetic mask."""

    unmasked: LandmarkScores  # without
    masked: LandmarkScores  # with; the truth is where the hidden points are


def score_landmarks(predicted: ArrayLike, truth: ArrayLike) -> LandmarkScores:
    """Score landmarks, (N, 98, 2) or (N, 68, 2) in pixels, by the outer eye corners' distance.

    Where the truth has 68 points, predicted ones of the 98 go through
    `unmask.landmark_layout.POINTS_98_TO_68`.

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
    corners = LAYOUTS[truth.shape[-2]].outer_eye_corners
    ocular = np.linalg.norm(truth[:, corners[0]] - truth[:, corners[1]], axis=-1)[:, None]
    distances = np.linalg.norm(predicted - truth, axis=-1) / ocular
    return LandmarkScores(
        errors=errors,
        failure_rate=failure_rate(errors),
        auc=area_under_curve(errors),
        regions={
            name: float(distances[:, indices].mean())
            for name, indices in _regions(truth.shape[-2]).items()
        },
    )


def network_locator(
    model: keras.Model, *, passes: int = 2, mirror: bool = False, thorough: bool = False
) -> Locator:
    """Make a locator of a network with 98 points; the other arguments are `locate_landmarks`'."""

    def locate(photo: NDArray[np.uint8], guess: NDArray[np.floating]) -> NDArray[np.float32]:
        found = locate_landmarks(
            model, photo, guess, passes=passes, mirror=mirror, thorough=thorough
        )
        return found.points[0]

    return locate


class PfldLocator:
    """A third-party PFLD with 98 points in ONNX as a `Locator`, run by OpenCV.

    Args:
        path: ONNX file with an input (1, 3, 112, 112), RGB in [0, 1], and 98 points as fractions
            of the input square, (1, 196).
        passes: Passes through the network, as for ours: each further one cuts the face out anew,
            upright, by the points found before.

    Raises:
        WeightsError: The file is missing or OpenCV cannot read it.
    """

    def __init__(self, path: PathLike, *, passes: int = 2) -> None:
        if not Path(path).is_file():
            raise WeightsError(f"{path}: no such file")
        try:
            self._network = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise WeightsError(f"{path}: OpenCV cannot read it ({error})") from error
        self._passes = passes

    def __call__(
        self, photo: NDArray[np.uint8], guess: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Find the (98, 2) points in photo pixels, from a matrix to about the canonical crop."""
        scale = _PFLD_SIDE / _PFLD_SQUARE
        shift = (_PFLD_SIDE - 1) / 2 - scale * np.array(_PFLD_CENTER)
        square = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
        matrix = np.asarray(guess, np.float64)
        for i in range(self._passes):
            to_input = compose(square, matrix)
            crop = warp(photo, to_input, _PFLD_SIDE)
            points = transform_points(self.predict(crop[None])[0], invert(to_input))
            if i < self._passes - 1:
                matrix = canonical_matrix(points)
        return np.asarray(points, np.float32)

    def predict(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Find the landmarks (B, 98, 2) of face crops (B, 112, 112, 3) uint8, in their pixels."""
        images = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32) / 255
        found = []
        for image in images:  # the published file has a batch of one
            self._network.setInput(image[None])
            found.append(self._network.forward().reshape(98, 2))
        return np.stack(found).astype(np.float32) * _PFLD_SIDE - np.float32(0.5)


def evaluate(locator: Locator, records: Sequence[FaceRecord], *, seed: int = 0) -> Evaluation:
    """Score a locator the way the pipeline uses it, without and with synthetic masks.

    Each face starts from its canonical crop, moved and scaled at random as a guess from a mask's
    box would be. Crops and masks are the same for every locator. All records have 98 points, or all
    68.
    """
    synthesizer = MaskSynthesizer(seed + 1)  # other masks than a training with this seed has seen
    bare, masked = [], []
    for i, record in enumerate(records):
        image = load_image(record.path)
        shift = jitter_matrix(np.random.default_rng([seed, i]), FIRST_GUESS)
        guess = compose(shift, canonical_matrix(record.landmarks))
        bare.append(locator(image, guess))
        masked.append(locator(synthesizer(image, record.landmarks, i).image, guess))
    truth = [record.landmarks for record in records]
    return Evaluation(score_landmarks(bare, truth), score_landmarks(masked, truth))


def evaluate_wflw(locator: Locator, faces: Sequence[WflwFace]) -> dict[str, LandmarkScores]:
    """Score a locator on WFLW's test faces, "all", and on those of its subsets that have faces.

    The first crop is the face box made square, grown by 5 % and as far as the true landmarks need,
    as in the published protocol.
    """
    found = np.stack([locator(load_image(f.record.path), _wflw_guess(f)) for f in faces])
    truth = np.stack([face.record.landmarks for face in faces])
    scores = {"all": score_landmarks(found, truth)}
    for name in WFLW_ATTRIBUTES:
        members = [i for i, face in enumerate(faces) if name in face.attributes]
        if members:
            scores[name] = score_landmarks(found[members], truth[members])
    return scores


def markdown_table(scores: Mapping[str, LandmarkScores]) -> str:
    """Lay scores out as a table, one row a name, in percent (the AUC as a fraction).

    Example:
        >>> truth = np.random.default_rng(0).uniform(0, 256, (3, 98, 2))
        >>> print(markdown_table({"truth": score_landmarks(truth, truth)}))
        | | faces | NME | FR | AUC | jaw | brows | nose | eyes | mouth |
        |---|---|---|---|---|---|---|---|---|---|
        | truth | 3 | 0.00 | 0.0 | 1.000 | 0.0 | 0.0 | 0.0 | 0.0 | 0.0 |
    """
    regions = list(REGIONS_98)
    rows = [
        (
            name,
            score.count,
            f"{100 * score.nme:.2f}",
            f"{100 * score.failure_rate:.1f}",
            f"{score.auc:.3f}",
            *(f"{100 * score.regions[region]:.1f}" for region in regions),
        )
        for name, score in scores.items()
    ]
    return table(("", "faces", "NME", "FR", "AUC", *regions), rows).rstrip("\n")


def _wflw_guess(face: WflwFace) -> NDArray[np.float64]:
    """Matrix to a square around the face box in which all landmarks lie."""
    x0, y0, x1, y1 = face.box
    center = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    reach = float(np.abs(face.record.landmarks - center).max())
    side = max(1.05 * max(x1 - x0, y1 - y0), 2 * reach)
    return np.asarray(square_matrix((center[0], center[1]), side), np.float64)


def _regions(points: int) -> dict[str, NDArray[np.intp]]:
    """Parts of the face as indices of the 98 or of the 68 points."""
    if points == 98:
        return dict(REGIONS_98)
    return {
        name: np.flatnonzero(np.isin(POINTS_98_TO_68, indices))
        for name, indices in REGIONS_98.items()
    }

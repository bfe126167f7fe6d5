"""How far predicted landmarks lie from the true ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from unmask.data.faces import FaceRecord
from unmask.face import canonical_matrix, compose, square_matrix
from unmask.image import load_image
from unmask.landmark_layout import LAYOUTS, POINTS_98_TO_68, REGIONS_98
from unmask.landmarks.augment import Augmentation, jitter_matrix
from unmask.landmarks.correspondence import Correspondence
from unmask.landmarks.predict import locate_landmarks
from unmask.landmarks.readers import WFLW_ATTRIBUTES, WflwFace
from unmask.metrics import area_under_curve, failure_rate, nme
from unmask.synthesis import MaskSynthesizer

FIRST_GUESS = Augmentation(steady=0, rotation=8, wild=0, scale=0.2, shift=0.12)
"""How far a square guessed from a mask's box lies from the canonical crop."""

Locator: TypeAlias = Callable[[NDArray[np.uint8], NDArray[np.floating]], NDArray[np.float32]]
"""From a photo (H, W, 3) and a rough (2, 3) matrix from its pixels to the canonical crop to the
landmarks (98, 2) in photo pixels."""


@dataclass(frozen=True, eq=False)
class LandmarkScores:
    """Errors over a set of faces; all are fractions of the distance of the outer eye corners.

    Attributes:
        errors: (N,) mean point distance of each face.
        failure_rate: Share of faces above 10 %.
        auc: Area under the cumulative error curve up to 10 %, divided by 10 %.
        regions: NME by part of the face: jaw, brows, nose, eyes, mouth.
    """

    errors: NDArray[np.float64]
    failure_rate: float
    auc: float
    regions: Mapping[str, float]

    @property
    def count(self) -> int:
        """Number of faces."""
        return len(self.errors)

    @property
    def nme(self) -> float:
        """Mean of the faces' errors."""
        return float(self.errors.mean())


@dataclass(frozen=True, eq=False)
class Located:
    """Landmarks found on the same faces without and with a synthetic mask.

    Attributes:
        truth: (N, 98, 2) or (N, 68, 2) true points in photo pixels, also where a mask hides them.
        unmasked: (N, 98, 2) points found without.
        masked: (N, 98, 2) points found with.
    """

    truth: NDArray[np.float32]
    unmasked: NDArray[np.float32]
    masked: NDArray[np.float32]


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


def cumulative_errors(
    errors: ArrayLike, *, limit: float = 0.1, steps: int = 101
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The cumulative error curve.

    Args:
        errors: (N,) error of each face.
        limit: Largest error on the curve.
        steps: Points on the curve.

    Returns:
        (steps,) errors from 0 to ``limit``, and the share of faces that have at most these.

    Example:
        >>> thresholds, shares = cumulative_errors([0.02, 0.06, 0.2], steps=3)
        >>> shares.round(2).tolist()
        [0.0, 0.33, 0.67]
    """
    thresholds = np.linspace(0, limit, steps)
    ordered = np.sort(np.asarray(errors, np.float64))
    return thresholds, np.searchsorted(ordered, thresholds, side="right") / len(ordered)


def network_locator(
    model: keras.Model, *, passes: int = 2, mirror: bool = False, thorough: bool = False
) -> Locator:
    """Make a locator of a network from :func:`unmask.landmarks.model.build_fan`.

    Args:
        model: The network, with 98 points.
        passes: See :func:`unmask.landmarks.predict.locate_landmarks`.
        mirror: See :func:`unmask.landmarks.predict.predict_landmarks`.
        thorough: See :func:`unmask.landmarks.predict.locate_landmarks`.

    Returns:
        A function as :func:`locate_all` wants it.
    """

    def locate(photo: NDArray[np.uint8], guess: NDArray[np.floating]) -> NDArray[np.float32]:
        found = locate_landmarks(
            model, photo, guess, passes=passes, mirror=mirror, thorough=thorough
        )
        return found.points[0]

    return locate


def locate_all(
    locator: Locator,
    records: Sequence[FaceRecord],
    *,
    jitter: Augmentation = FIRST_GUESS,
    seed: int = 0,
) -> Located:
    """Find landmarks the way the pipeline does, without and with synthetic masks.

    Each face starts from its canonical crop, moved and scaled at random as a guess from a mask's
    box would be. Crops and masks are the same for every locator.

    Args:
        locator: What finds the landmarks.
        records: Faces, all with 98 points or all with 68.
        jitter: How far the first crop is off.
        seed: Seed of the masks and of the first crops.

    Returns:
        The true and the found points.
    """
    synthesizer = MaskSynthesizer(seed + 1)  # other masks than a training with this seed has seen
    bare, masked = [], []
    for i, record in enumerate(records):
        image = load_image(record.path)
        shift = jitter_matrix(np.random.default_rng([seed, i]), jitter)
        guess = compose(shift, canonical_matrix(record.landmarks))
        bare.append(locator(image, guess))
        masked.append(locator(synthesizer(image, record.landmarks, i).image, guess))
    truth = np.stack([record.landmarks for record in records])
    return Located(truth, np.stack(bare), np.stack(masked))


def score_located(located: Located, correspondence: Correspondence | None = None) -> Evaluation:
    """Score what :func:`locate_all` returned.

    Args:
        located: True and found points.
        correspondence: Learnt map of the found points where the truth has 68; the fixed choice of
            points when None.

    Returns:
        The scores.
    """
    found = (located.unmasked, located.masked)
    if correspondence is not None:
        found = (correspondence(found[0]), correspondence(found[1]))
    unmasked, masked = (score_landmarks(points, located.truth) for points in found)
    return Evaluation(unmasked, masked)


def evaluate_wflw(locator: Locator, faces: Sequence[WflwFace]) -> dict[str, LandmarkScores]:
    """Score a locator on WFLW's test faces and on its subsets.

    The first crop is the face box made square, grown by 5 % and as far as the true landmarks need,
    as in the published protocol.

    Args:
        locator: What finds the landmarks.
        faces: From :func:`unmask.landmarks.readers.read_wflw`.

    Returns:
        Scores by subset: "all", then those of ``WFLW_ATTRIBUTES`` that any face has.

    Example:
        >>> faces = read_wflw("list_98pt_rect_attr_test.txt", "WFLW_images")  # doctest: +SKIP
        >>> evaluate_wflw(locator, faces)["occlusion"].nme  # doctest: +SKIP
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
    rows = ["| | faces | NME | FR | AUC | " + " | ".join(regions) + " |"]
    rows.append("|" + "---|" * (5 + len(regions)))
    for name, score in scores.items():
        parts = " | ".join(f"{100 * score.regions[region]:.1f}" for region in regions)
        rows.append(
            f"| {name} | {score.count} | {100 * score.nme:.2f} | {100 * score.failure_rate:.1f} "
            f"| {score.auc:.3f} | {parts} |"
        )
    return "\n".join(rows)


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

"""Training samples: true faces, holes where a mask would be, coarse completions of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.record import FaceRecord, FaceSet, Order, load_canonical
from unmask.errors import DataError
from unmask.face import CROP_SIZE, canonical_matrix, compose, grow, square_matrix
from unmask.inpainting.window import (
    HOLE_GROWTH,
    WINDOW_CORNER,
    WINDOW_SIDE,
    draw_landmark_map,
    window,
)
from unmask.landmark_layout import LAYOUTS, flip_landmarks, is_turned
from unmask.synthesis import MaskSynthesizer

LandmarkPredictor = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
"""From canonical crops (B, 256, 256, 3) to their landmarks (B, 98, 2)."""

Completion = Callable[
    [NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.floating], Sequence[str]],
    tuple[NDArray[np.uint8], NDArray[np.uint8]],
]
"""Called as `unmask.inpainting.coarse.CoarseCompletion` is."""

InpaintingBatch = Mapping[str, NDArray[np.uint8]]
"""What one training step sees, all (B, S, S, C) uint8; a single sample has no batch axis.

`image`: RGB, what the generator may look at outside the hole. `mask`: 1 in the hole.
`landmark_map`: 1 at each landmark. `coarse`: RGB, the coarse completion, in the window alone.
`truth`: RGB, the face. `valid`: 1 where the truth is known, 0 beyond the photo's edge.
"""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a face differs from showing to showing; the defaults are the paper's, which mirrors only.

    Attributes:
        mirror: Whether half of the faces are mirrored.
        rotation: Largest turn in degrees.
        scale: Standard deviation of the size's natural logarithm.
        shift: Largest shift in pixels of the canonical crop.
        recolour: Whether exposure (12 %), cast (3 %) and black level (8 of 255) change.
        landmark_noise: Spread of the landmarks' errors, relative to those of a predictor on masked
            faces; 0 for the true landmarks.
    """

    mirror: bool = True
    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    recolour: bool = False
    landmark_noise: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """What samples hold; the defaults are the paper's.

    Attributes:
        framing: "crop": the whole canonical crop. "window": the part of it that `unmask.run`
            completes, in which what lies beyond the photo's edge is filled by the linear prior.
        side: Side of the images in pixels.
        hole_growth: The hole is the drawn mask and this many pixels of the crop around it, at
            least and at most.
        worn: Share of the samples in which shadow and ear loops remain beside the hole, as in
            photos.
        predicted: Share of the samples whose landmarks are predicted on the masked face, as in
            `unmask.run`.
        loose: Share of the samples whose hole reaches past the jaw over the background, as real
            masks stand off from the face. Without them a generator paints skin up to the hole's
            edge.
        profile_oversampling: How often a turned head is shown for each time a frontal one is.
            Collections of faces are mostly frontal, photos that people take are not.
        augmentation: How a face differs from showing to showing.

    Raises:
        ValueError: A share is not in [0, 1], or another value has no meaning.
    """

    framing: Literal["crop", "window"] = "crop"
    side: int = CROP_SIZE
    hole_growth: tuple[int, int] = (0, 0)
    worn: float = 0.0
    predicted: float = 0.0
    loose: float = 0.0
    profile_oversampling: float = 1.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("worn", "predicted", "loose"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise ValueError(f"{name} must be in [0, 1]. Received: {name}={share}")
        if self.side < 8 or self.side % 8:
            raise ValueError(f"side must be a multiple of 8. Received: side={self.side}")
        if not 0 <= self.hole_growth[0] <= self.hole_growth[1]:
            raise ValueError(
                f"hole_growth must be (least, most). Received: hole_growth={self.hole_growth}"
            )
        if not self.profile_oversampling > 0:
            raise ValueError(
                "profile_oversampling must be positive. "
                f"Received: profile_oversampling={self.profile_oversampling}"
            )

    def steady(self) -> SampleSettings:
        """Return the same without augmentation, with holes as at run time."""
        growth = (HOLE_GROWTH, HOLE_GROWTH)
        noise = self.augmentation.landmark_noise
        plain = Augmentation(mirror=False, landmark_noise=noise)
        return replace(self, augmentation=plain, hole_growth=growth, worn=1.0)


class InpaintingSampler:
    """Batch `number` of endless, repeatable samples from faces.

    A sample depends on the seed and its number alone, so an interrupted training goes on with the
    samples that it has not seen.

    Args:
        faces: The faces, and how often each is shown.
        settings: What samples hold.
        batch_size: Samples a batch.
        seed: Seed of order, augmentation and masks.
        coarse: Loads what completes the window coarsely, called once a process; None for whole
            crops, which nothing does.
        gender: Whose coarse completions: "male", "female", or "" for anybody's.
        predictor: Predicts landmarks; needed for a `settings.predicted` above 0.
        shuffle: Whether the faces come in another order each time; else in that of the list.

    Raises:
        DataError: There is no face, or one has not 98 landmarks.
        ValueError: The predictor or the coarse completion is missing.
    """

    def __init__(
        self,
        faces: FaceSet,
        settings: SampleSettings,
        *,
        batch_size: int,
        seed: int,
        coarse: Callable[[], Completion] | None = None,
        gender: str = "",
        predictor: LandmarkPredictor | None = None,
        shuffle: bool = True,
    ) -> None:
        if not len(faces):
            raise DataError("no faces to train on")
        wrong = next((r for r in faces.records if r.landmarks.shape != (98, 2)), None)
        if wrong is not None:
            raise DataError(f"{wrong.path}: needs 98 landmarks, has {len(wrong.landmarks)}")
        if settings.predicted > 0 and predictor is None:
            raise ValueError(f"a predictor is needed. Received: predicted={settings.predicted}")
        in_window = settings.framing == "window"
        if in_window == (coarse is None):
            raise ValueError(
                "coarse completions are for the window. "
                f"Received: framing={settings.framing!r}, coarse={coarse}"
            )
        turned = np.array([is_turned(record.landmarks) for record in faces.records])
        weights = np.where(turned, settings.profile_oversampling, 1.0) * faces.weights
        self._records, self._order = faces.records, Order(weights, seed, shuffle=shuffle)
        self._settings, self._batch_size, self._seed = settings, batch_size, seed
        self._load_coarse, self._gender, self._predictor = coarse, gender, predictor
        # Only a predictor looks at the whole crop; without one, half of the pixels suffice.
        self._cut_late = in_window and settings.predicted > 0
        self._side = CROP_SIZE if self._cut_late or not in_window else WINDOW_SIDE

    def __len__(self) -> int:
        """Return the number of samples in which the faces are shown as often as they should."""
        return len(self._order)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what each process makes itself."""
        return {k: v for k, v in vars(self).items() if k not in ("_coarse", "_synthesizer")}

    def __call__(self, number: int) -> tuple[InpaintingBatch]:
        """Return batch `number`, as `keras.Model.fit` takes one without labels."""
        first = number * self._batch_size
        samples = [self.sample(first + i) for i in range(self._batch_size)]
        return ({key: np.stack([s[key] for s in samples]) for key in samples[0]},)

    def record(self, number: int) -> FaceRecord:
        """Return the face of sample `number`."""
        return self._records[self._order[number]]

    def sample(self, number: int) -> InpaintingBatch:
        """Return sample `number`, from 0, without a batch axis."""
        settings, rng = self._settings, np.random.default_rng([self._seed, number])
        truth, valid, points = self._face(self.record(number), rng)
        # Chance of its own, so that the other samples are the same with any shares.
        other = np.random.default_rng([self._seed, number, 1])
        image, hole = self._open(truth, points, number, rng)
        bare = rng.random() >= settings.worn
        guided = _imprecise(points, rng, settings.augmentation.landmark_noise)
        if other.random() < settings.predicted:
            guided = self._predict(image)
        if bare:
            image = truth
        if self._cut_late:
            truth, valid, image, hole = (window(array) for array in (truth, valid, image, hole))
            guided = guided - WINDOW_CORNER
        pictures = {"image": image, "truth": truth}
        if settings.framing == "window":
            filled, coarse = self._coarse(
                image[None], hole[None], valid[None], guided[None], [self._gender]
            )
            pictures |= {"image": filled[0], "coarse": coarse[0]}
        return _assemble(pictures, {"mask": hole, "valid": valid}, guided, settings.side)

    @functools.cached_property
    def _coarse(self) -> Completion:
        assert self._load_coarse is not None  # the constructor has checked it
        return self._load_coarse()

    @functools.cached_property
    def _synthesizer(self) -> MaskSynthesizer:
        return MaskSynthesizer(seed=self._seed)

    def _open(
        self,
        truth: NDArray[np.uint8],
        points: NDArray[np.float32],
        number: int,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the face with a mask, and its hole."""
        settings = self._settings
        masked = self._synthesizer(truth, points, number)
        least, most = settings.hole_growth
        pixels = int(rng.integers(least, most + 1))
        hole = grow(masked.mask, pixels) if pixels else masked.mask
        chance = np.random.default_rng([self._seed, number, 2])
        if chance.random() < settings.loose:
            hole = hole | _shifted(
                hole, int(chance.integers(-12, 13)), int(chance.integers(-4, 17))
            )
        return masked.image, hole

    def _predict(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert self._predictor is not None  # the constructor has checked it
        points = np.asarray(self._predictor(crop[None]), np.float32)
        if points.shape != (1, 98, 2):
            raise ValueError(
                f"the predictor must return (1, 98, 2) landmarks. Received: shape={points.shape}"
            )
        return points[0]

    def _face(
        self, record: FaceRecord, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]:
        augmentation = self._settings.augmentation
        matrix = compose(_jitter(augmentation, rng), canonical_matrix(record.landmarks))
        mirrored = augmentation.mirror and bool(rng.random() < 0.5)
        if self._side == WINDOW_SIDE:
            matrix[:, 2] -= WINDOW_CORNER
        face = load_canonical(record, self._side, matrix=matrix)
        image, valid, points = face.image, face.valid, face.landmarks
        if mirrored:
            image, valid = np.ascontiguousarray(image[:, ::-1]), valid[:, ::-1]
            points = flip_landmarks(points, self._side)
        if augmentation.recolour:
            image = _recolour(image, rng)
        return image, valid, points


def _shifted(hole: NDArray[np.bool_], right: int, down: int) -> NDArray[np.bool_]:
    shift = np.array([[1, 0, right], [0, 1, down]], np.float32)
    moved = cv2.warpAffine(hole.astype(np.uint8), shift, hole.shape[::-1], flags=cv2.INTER_NEAREST)
    return moved > 0


def _jitter(augmentation: Augmentation, rng: np.random.Generator) -> NDArray[np.float64]:
    """Turn, shift and scale, as predicted landmarks do."""
    angle = np.deg2rad(rng.uniform(-1, 1) * augmentation.rotation)
    center = 127.5 + rng.uniform(-1, 1, 2) * augmentation.shift
    side = 256 * np.exp(rng.normal() * augmentation.scale)
    return square_matrix(center, side, 256, (np.cos(angle), np.sin(angle)))


def _recolour(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    gain = rng.uniform(0.88, 1.12) * rng.uniform(0.97, 1.03, 3)
    table = np.clip(np.arange(256)[:, None] * gain + rng.uniform(-8, 8), 0, 255)
    return cv2.LUT(image, np.ascontiguousarray(table[None].astype(np.uint8)))


def _imprecise(
    points: NDArray[np.float32], rng: np.random.Generator, spread: float
) -> NDArray[np.float32]:
    """Disturb landmarks as a predictor on masked faces would: together, by groups, singly."""
    noise = rng.normal(0, 0.5, points.shape) + rng.normal(0, 0.7, 2)
    jaw, mouth = slice(3, 30), LAYOUTS[98].mouth
    ramp = np.sin(np.linspace(0, np.pi, 27))[:, None]
    noise[jaw] += ramp * rng.normal(0, 2.0, 2)
    center = points[mouth].mean(0)
    stretch = np.exp(rng.normal(0, 0.08, 2))
    noise[mouth] += (points[mouth] - center) * (stretch - 1) + rng.normal(0, 1.5, 2)
    noise[LAYOUTS[98].nose] += rng.normal(0, 1.0, 2)
    return (points + spread * noise).astype(np.float32)


def _assemble(
    pictures: dict[str, NDArray[np.uint8]],
    masks: dict[str, NDArray[np.bool_]],
    points: NDArray[np.float32],
    side: int,
) -> InpaintingBatch:
    now = len(pictures["image"])
    arrays = {**pictures, **{name: mask.astype(np.uint8) for name, mask in masks.items()}}
    if side != now:
        for name, array in arrays.items():
            way = cv2.INTER_AREA if name in pictures else cv2.INTER_NEAREST
            arrays[name] = cv2.resize(array, (side, side), interpolation=way)
        points = (points + 0.5) * (side / now) - 0.5
    arrays |= {name: arrays[name][..., None] for name in masks}
    return {**arrays, "landmark_map": draw_landmark_map(points, side).astype(np.uint8)}

"""Training material for the generator: true faces, holes where a mask would be, first guesses."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord
from unmask.data.pose import is_turned
from unmask.errors import DataError
from unmask.face import (
    CROP_SIZE,
    canonical_matrix,
    compose,
    coverage,
    grow,
    square_matrix,
    transform_points,
    warp,
)
from unmask.image import load_image
from unmask.inpainting.framing import HOLE_GROWTH, WINDOW_LEFT, WINDOW_SIDE, WINDOW_TOP, window
from unmask.inpainting.holes import block_hole, stroke_hole
from unmask.inpainting.prior import FirstGuess
from unmask.landmark_layout import flip_landmarks
from unmask.synthesis import MaskSynthesizer

LandmarkPredictor = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
"""From canonical crops (B, 256, 256, 3) to their landmarks (B, 98, 2)."""

_CORNER = np.array([WINDOW_LEFT, WINDOW_TOP], np.float32)


@dataclass(frozen=True)
class Variety:
    """What samples hold besides drawn masks and labelled landmarks.

    Attributes:
        strokes: Share of the samples whose hole is irregular strokes, in [0, 1].
        blocks: Share of the samples whose hole is rectangles.
        predicted: Share of the samples with a drawn mask whose landmarks come from `predictor`,
            which sees the masked face, as in `unmask.run`.
        predictor: The landmark predictor; needed for a `predicted` above 0.
        loose: Share of the samples with a drawn mask whose hole reaches past the jaw over the
            background, as real masks stand off from the face. Without them a generator paints
            skin up to the hole's edge.
        turned: How often a turned head is shown for each time a frontal one is. Collections of
            faces are mostly frontal, photos that people take are not.

    Raises:
        ValueError: Shares are negative or add up to more than 1, the predictor is missing, or
            `turned` is below 1.
    """

    strokes: float = 0.0
    blocks: float = 0.0
    predicted: float = 0.0
    predictor: LandmarkPredictor | None = None
    loose: float = 0.0
    turned: int = 1

    def __post_init__(self) -> None:
        """Check the shares."""
        if min(self.strokes, self.blocks) < 0 or self.strokes + self.blocks > 1:
            raise ValueError(
                "shares of holes must be at least 0 and together at most 1. "
                f"Received: strokes={self.strokes}, blocks={self.blocks}"
            )
        for name in ("predicted", "loose"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise ValueError(f"{name} must be in [0, 1]. Received: {name}={share}")
        if self.turned < 1:
            raise ValueError(f"turned must be at least 1. Received: turned={self.turned}")
        if self.predicted > 0 and self.predictor is None:
            raise ValueError(f"a predictor is needed. Received: predicted={self.predicted}")


@dataclass(frozen=True)
class InpaintingBatch:
    """What one training step sees; a single sample has no batch axis.

    Attributes:
        image: (B, S, S, 3) float32 in [0, 1], what the generator may look at outside the hole.
        mask: (B, S, S, 1) float32, 1 in the hole.
        landmark_map: (B, S, S, 1) float32, 1 at each landmark.
        coarse: (B, S, S, 3) float32, the first guess.
        truth: (B, S, S, 3) float32, the face.
        valid: (B, S, S, 1) float32, 1 where the truth is known (0 on padding).
    """

    image: NDArray[np.float32]
    mask: NDArray[np.float32]
    landmark_map: NDArray[np.float32]
    coarse: NDArray[np.float32]
    truth: NDArray[np.float32]
    valid: NDArray[np.float32]

    def arrays(self) -> tuple[NDArray[np.float32], ...]:
        """Return the arrays in the order of the attributes."""
        return tuple(getattr(self, field.name) for field in fields(self))


def draw_landmark_map(landmarks: NDArray[np.floating], side: int) -> NDArray[np.float32]:
    """Return a (side, side, 1) map with 1 at each landmark's pixel and 0 elsewhere.

    Args:
        landmarks: (N, 2) points in pixels; those outside the map are left out.
        side: Side of the map.

    Example:
        >>> float(draw_landmark_map(np.array([[1.2, 2.0], [99.0, 0.0]]), 8).sum())
        1.0
    """
    result = np.zeros((side, side, 1), np.float32)
    columns, rows = np.rint(np.asarray(landmarks)).astype(int).T
    inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    result[rows[inside], columns[inside]] = 1.0
    return result


class InpaintingData:
    """Endless, repeatable samples from faces.

    A sample depends on the seed and its number alone, so an interrupted training goes on with
    the samples that it has not seen.

    Args:
        records: The faces; all images are kept in memory as they are.
        prior: Makes the first guess, and fills what lies outside a photo.
        seed: Seed of order, augmentation and masks.
        augment: Whether to turn, shift, scale, mirror and recolour; without it each face is
            framed exactly and its mask depends on its place in the list alone.
        variety: Other holes and predicted landmarks.

    Raises:
        DataError: There is no face, or one has not 98 landmarks.
    """

    def __init__(
        self,
        records: Sequence[FaceRecord],
        prior: FirstGuess,
        *,
        seed: int,
        augment: bool = True,
        variety: Variety = Variety(),
    ) -> None:
        if not records:
            raise DataError("no faces to train on")
        wrong = next((r for r in records if r.landmarks.shape != (98, 2)), None)
        if wrong is not None:
            raise DataError(f"{wrong.path}: needs 98 landmarks, has {len(wrong.landmarks)}")
        self._records = list(records)
        # Faces may be listed repeatedly, to count more.
        images = {path: load_image(path) for path in {r.path: None for r in self._records}}
        self._images = [images[record.path] for record in self._records]
        self._prior, self._seed, self._augment = prior, seed, augment
        self._variety = variety
        times = [variety.turned if is_turned(r.landmarks) else 1 for r in self._records]
        self._shown = np.repeat(np.arange(len(self._records)), times)
        # Only a predictor looks at the whole crop; without one, half of the pixels suffice.
        self._whole = variety.predicted > 0
        self._synthesizer = MaskSynthesizer(seed=seed)

    def __len__(self) -> int:
        """Return the number of samples in which every face is shown, turned ones repeatedly."""
        return len(self._shown)

    def sample(self, number: int, side: int = WINDOW_SIDE) -> InpaintingBatch:
        """Return one sample without a batch axis.

        Args:
            number: Number of the sample, from 0.
            side: Side of the result in pixels, at most the window's 192.
        """
        rng = np.random.default_rng([self._seed, number])
        epoch, place = divmod(number, len(self))
        if self._augment:
            order = np.random.default_rng([self._seed, 1 << 20, epoch])
            place = int(order.permutation(len(self))[place])
        place = int(self._shown[place])
        truth, valid, points = self._face(place, rng)
        # Chance of its own, so that the other samples are the same with any variety.
        other = np.random.default_rng([self._seed, number, 1])
        image, hole = self._open(truth, points, number, rng, other)
        # In photos, shadow and ear loops remain beside the hole; half of the samples show that.
        bare = self._augment and rng.random() >= 0.5
        guided = _imprecise(points, rng)
        if image is not truth and other.random() < self._variety.predicted:
            guided = self._predict(image)
        if bare:
            image = truth
        if self._whole:
            truth, valid, image, hole = (window(array) for array in (truth, valid, image, hole))
            guided = guided - _CORNER
        image = self._prior.fill_outside(image, hole, valid, guided)
        coarse = self._prior.complete(image, hole, guided)
        return _assemble(image, hole, guided, coarse, truth, valid, side)

    def batches(
        self, batch_size: int, *, side: int = WINDOW_SIDE, first: int = 0, ahead: int = 6
    ) -> Iterator[InpaintingBatch]:
        """Yield batches for ever, prepared ahead by a thread.

        Args:
            batch_size: Samples a batch.
            side: Side of the images in pixels.
            first: Number of the first batch.
            ahead: Batches to keep ready.
        """
        ready: queue.Queue[InpaintingBatch | BaseException] = queue.Queue(ahead)
        stop = threading.Event()

        def work() -> None:
            number = first
            while not stop.is_set():
                try:
                    item: InpaintingBatch | BaseException = self.batch(number, batch_size, side)
                except BaseException as error:
                    item = error
                while not stop.is_set():
                    try:
                        ready.put(item, timeout=0.5)
                        break
                    except queue.Full:
                        continue
                number += 1

        threading.Thread(target=work, daemon=True).start()
        try:
            while True:
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()

    def batch(self, number: int, batch_size: int, side: int = WINDOW_SIDE) -> InpaintingBatch:
        """Return batch `number`."""
        samples = [self.sample(number * batch_size + i, side) for i in range(batch_size)]
        columns = zip(*(sample.arrays() for sample in samples), strict=True)
        return InpaintingBatch(*(np.stack(column) for column in columns))

    def _open(
        self,
        truth: NDArray[np.uint8],
        points: NDArray[np.float32],
        number: int,
        rng: np.random.Generator,
        other: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the face as it is seen, and its hole; the face itself if nothing covers it."""
        kind = other.random()
        if kind < self._variety.strokes:
            return truth, stroke_hole(len(truth), other)
        if kind < self._variety.strokes + self._variety.blocks:
            return truth, block_hole(len(truth), other)
        masked = self._synthesizer(truth, points, number)
        pixels = int(rng.integers(2, 8)) if self._augment else HOLE_GROWTH
        hole = grow(masked.mask, pixels)
        loose = np.random.default_rng([self._seed, number, 2])
        if loose.random() < self._variety.loose:
            hole |= _shifted(hole, int(loose.integers(-12, 13)), int(loose.integers(-4, 17)))
        return masked.image, hole

    def _predict(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        predictor = self._variety.predictor
        assert predictor is not None  # `Variety` has checked it
        points = np.asarray(predictor(crop[None]), np.float32)
        if points.shape != (1, 98, 2):
            raise ValueError(
                f"the predictor must return (1, 98, 2) landmarks. Received: shape={points.shape}"
            )
        return points[0]

    def _face(
        self, place: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]:
        image, points = self._images[place], self._records[place].landmarks
        matrix = canonical_matrix(points)
        mirrored = False
        if self._augment:
            matrix = compose(_jitter(rng), matrix)
            mirrored = bool(rng.random() < 0.5)
        side = CROP_SIZE if self._whole else WINDOW_SIDE
        if not self._whole:
            matrix[:, 2] -= _CORNER
        face = warp(image, matrix, side)
        valid = coverage(image.shape, matrix, side)
        moved = transform_points(points, matrix)
        if mirrored:
            face, valid = np.ascontiguousarray(face[:, ::-1]), valid[:, ::-1]
            moved = flip_landmarks(moved, side)
        if self._augment:
            face = _recolour(face, rng)
        return face, valid, moved


def _shifted(hole: NDArray[np.bool_], right: int, down: int) -> NDArray[np.bool_]:
    shift = np.array([[1, 0, right], [0, 1, down]], np.float32)
    moved = cv2.warpAffine(hole.astype(np.uint8), shift, hole.shape[::-1], flags=cv2.INTER_NEAREST)
    return moved > 0


def _jitter(rng: np.random.Generator) -> NDArray[np.float64]:
    """Turn by up to 6 degrees, scale by 6 %, shift by 5 pixels: what predicted landmarks do."""
    angle = np.deg2rad(rng.uniform(-6, 6))
    center = 127.5 + rng.uniform(-5, 5, 2)
    side = 256 * np.exp(rng.normal(0, 0.05))
    return square_matrix(center, side, 256, (np.cos(angle), np.sin(angle)))


def _recolour(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    gain = rng.uniform(0.88, 1.12) * rng.uniform(0.97, 1.03, 3)
    table = np.clip(np.arange(256)[:, None] * gain + rng.uniform(-8, 8), 0, 255)
    return cv2.LUT(image, np.ascontiguousarray(table[None].astype(np.uint8)))


def _imprecise(points: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Disturb landmarks as a predictor on masked faces would: together, by groups, singly."""
    noise = rng.normal(0, 0.5, points.shape) + rng.normal(0, 0.7, 2)
    jaw, mouth = slice(3, 30), slice(76, 96)
    ramp = np.sin(np.linspace(0, np.pi, 27))[:, None]
    noise[jaw] += ramp * rng.normal(0, 2.0, 2)
    center = points[mouth].mean(0)
    stretch = np.exp(rng.normal(0, 0.08, 2))
    noise[mouth] += (points[mouth] - center) * (stretch - 1) + rng.normal(0, 1.5, 2)
    noise[slice(51, 60)] += rng.normal(0, 1.0, 2)
    return (points + noise).astype(np.float32)


def _assemble(
    image: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    points: NDArray[np.float32],
    coarse: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    side: int,
) -> InpaintingBatch:
    pictures = [image, coarse, truth]
    masks = [hole.astype(np.uint8), valid.astype(np.uint8)]
    if side != WINDOW_SIDE:
        size = (side, side)
        pictures = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pictures]
        masks = [cv2.resize(m, size, interpolation=cv2.INTER_NEAREST) for m in masks]
        points = (points + 0.5) * (side / WINDOW_SIDE) - 0.5
    known, guess, face = (p.astype(np.float32) / 255.0 for p in pictures)
    opening, real = (m[..., None].astype(np.float32) for m in masks)
    return InpaintingBatch(known, opening, draw_landmark_map(points, side), guess, face, real)

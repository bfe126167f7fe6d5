"""Faces for the gender stage: views of canonical crops, bare and with drawn masks, augmented.

Drawing a mask costs more than a training step on a small network, so each face's views are drawn
once and kept in a file; the augmentation is new every time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord, load_canonical
from unmask.errors import DataError
from unmask.face import CROP_SIZE
from unmask.gender.cache import check_origin, digest
from unmask.gender.model import MARGIN, VIEW
from unmask.gender.sources import has_landmarks, labels_of
from unmask.image import load_image
from unmask.io import atomic_path
from unmask.synthesis import MaskSynthesizer

# With a margin, so that a turned or shifted window finds real pixels.
_SOURCE_SIDE = VIEW[2] + 2 * MARGIN
_CALIBRATION_STEP = 16
_AGE_LIMITS = (4, 13, 20, 30, 45, 60)
# Rows of a stored view: a little below the eyes, and the tip of the nose.
_EYES_TO_NOSE_TIP = (142 - VIEW[1] + MARGIN, 164 - VIEW[1] + MARGIN)


@dataclass(frozen=True)
class Views:
    """Stored views of some faces.

    Attributes:
        pixels: (N, 1 + masked, S, S, 3) uint8 RGB, memory-mapped: the window of the canonical crop
            with a margin of `MARGIN` pixels, first bare, then under different drawn masks.
        labels: (N,) float32, 1 for male and 0 for female.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.float32]

    def window(self, index: int, variant: int) -> NDArray[np.uint8]:
        """Return one view without its margin, as the network sees it at run time."""
        return self.pixels[index, variant, MARGIN:-MARGIN, MARGIN:-MARGIN]

    def batches(
        self, variant: int, size: int = 64, *, whole: bool = False
    ) -> Iterator[NDArray[np.float32]]:
        """Yield one variant of all faces in order, as float32 batches in [0, 1].

        Args:
            variant: 0 for the bare faces, 1 and more for the masked ones.
            size: Faces a batch.
            whole: With the margin; else the window that our networks see.
        """
        for start in range(0, len(self.labels), size):
            chosen = range(start, min(start + size, len(self.labels)))
            seen = [self.pixels[i, variant] if whole else self.window(i, variant) for i in chosen]
            yield np.stack(seen).astype(np.float32) / 255.0


def split_off_calibration(
    records: Sequence[FaceRecord],
) -> tuple[list[FaceRecord], list[FaceRecord]]:
    """Divide faces into those to train on and one in 16 of each gender to calibrate on."""
    by_gender = ([r for r in records if r.gender == gender] for gender in ("female", "male"))
    held_back = [record for faces in by_gender for record in faces[::_CALIBRATION_STEP]]
    kept_apart = {record.path for record in held_back}
    return [record for record in records if record.path not in kept_apart], held_back


def fair_weights(
    records: Sequence[FaceRecord], folder_weights: Mapping[str, float]
) -> NDArray[np.float64]:
    """Weigh faces so that neither the collection nor the age tells the gender.

    Where old faces are mostly men's, a network learns to call old women men. Here both genders of
    an age group get the same total weight, and the group keeps the one it had.

    Args:
        records: Faces with a known gender.
        folder_weights: Weight of a face by the name of its folder, before the balance; else 1.

    Returns:
        (N,) weights.

    Example:
        >>> points = np.zeros((98, 2), np.float32)
        >>> faces = [FaceRecord(Path("a/1.jpg"), points, "train", g) for g in ("male",) * 3]
        >>> faces += [FaceRecord(Path("a/2.jpg"), points, "train", "female")]
        >>> fair_weights(faces, {"a": 1.0}).round(2).tolist()
        [0.67, 0.67, 0.67, 2.0]
    """
    weights = np.array([folder_weights.get(r.path.parent.name, 1.0) for r in records], np.float64)
    # Two folders with one weight may hold the two genders of one collection; faces of unknown age
    # are a group of their own.
    groups = np.array([f"{age_group(r.age)} {w}" for r, w in zip(records, weights, strict=True)])
    male = labels_of(records) > 0.5
    for name in np.unique(groups):
        group = groups == name
        total = weights[group].sum()
        for gender in (group & male, group & ~male):
            if 0 < gender.sum() < group.sum():
                weights[gender] *= 0.5 * total / weights[gender].sum()
    return weights


def age_group(age: int | None) -> str:
    """Name the age group of a face.

    Example:
        >>> age_group(15), age_group(80), age_group(None)
        ('13-19', '60 and older', 'unknown')
    """
    if age is None:
        return "unknown"
    index = int(np.digitize(age, _AGE_LIMITS))
    if index == len(_AGE_LIMITS):
        return f"{_AGE_LIMITS[-1]} and older"
    return f"{(0, *_AGE_LIMITS)[index]}-{_AGE_LIMITS[index] - 1}"


def stored_views(
    records: Sequence[FaceRecord],
    path: str | os.PathLike[str],
    *,
    masked: int = 3,
    seed: int = 0,
    threads: int = 2,
) -> Views:
    """Open the views of some faces, and draw them first if the file does not exist yet.

    Args:
        records: The faces.
        path: A `.npy` file; a note of the same name, `.json`, tells what it was made of.
        masked: Number of masked views of each face.
        seed: Seed of the masks; a face's masks depend on it and on the face's position alone.
        threads: Threads that draw.

    Returns:
        The views, memory-mapped.

    Raises:
        DataError: The file holds other views, or masks are wanted on faces without landmarks.
    """
    if masked and not has_landmarks(records):
        raise DataError(f"{path}: masks need landmarks, which not all faces have")
    path = Path(path)
    shape = (len(records), 1 + masked, _SOURCE_SIDE, _SOURCE_SIDE, 3)
    check_origin(path, {"masked": masked, "seed": seed, "faces": _digest_of(records)})
    if not path.is_file():
        synthesizer = MaskSynthesizer(seed)

        def draw(index: int) -> None:
            pixels[index] = _draw(records[index], synthesizer, index, masked)

        with atomic_path(path) as temporary:
            pixels = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(draw, range(len(records))):
                    pass
            pixels.flush()
            del pixels
    stored = np.load(path, mmap_mode="r")
    if stored.shape != shape or stored.dtype != np.uint8:
        raise DataError(f"{path}: holds {stored.dtype} {stored.shape}, expected uint8 {shape}")
    return Views(stored, labels_of(records))


def _digest_of(records: Sequence[FaceRecord]) -> str:
    """Name some faces by their files and landmarks, wherever the data folder is."""
    return digest(
        part
        for record in records
        for part in (
            f"{record.path.parent.name}/{record.path.name}\n".encode(),
            np.ascontiguousarray(record.landmarks, np.float32).tobytes(),
        )
    )


def _draw(
    record: FaceRecord, synthesizer: MaskSynthesizer, index: int, masked: int
) -> NDArray[np.uint8]:
    if not len(record.landmarks):
        image = load_image(record.path)
        return cv2.resize(image, (_SOURCE_SIDE, _SOURCE_SIDE), interpolation=cv2.INTER_AREA)[None]
    face = load_canonical(record, CROP_SIZE)
    images = [face.image]
    for variant in range(masked):
        images.append(synthesizer(face.image, face.landmarks, index * masked + variant).image)
    left, top = VIEW[0] - MARGIN, VIEW[1] - MARGIN
    return np.stack(images)[:, top : top + _SOURCE_SIDE, left : left + _SOURCE_SIDE]


def views_of_arrays(images: Sequence[NDArray[np.uint8]], labels: Sequence[float]) -> Views:
    """Make views of images in memory, without masks.

    Args:
        images: (H, W, 3) uint8 RGB each, framed as the training faces are.
        labels: 1 for male, 0 for female.

    Returns:
        The views, in memory.

    Raises:
        ValueError: The lengths differ.

    Example:
        >>> views_of_arrays([np.zeros((64, 64, 3), np.uint8)], [1]).window(0, 0).shape
        (160, 160, 3)
    """
    if len(images) != len(labels):
        raise ValueError(
            "images and labels must have the same length. "
            f"Received: {len(images)} and {len(labels)}"
        )
    side = (_SOURCE_SIDE, _SOURCE_SIDE)
    pixels = [cv2.resize(image, side, interpolation=cv2.INTER_AREA) for image in images]
    return Views(np.stack(pixels)[:, None], np.asarray(labels, np.float32))


def notebook_augmentation(seed: int = 0) -> keras.Sequential:
    """Build the augmentation of the authors' notebook, for batches in [0, 1].

    A flip, shifts of up to 0.4 of the side, zoom by up to 0.3 and turns of up to 20 degrees; what
    comes from outside repeats the nearest pixels. Faces leave the picture often: this package
    trains with `augment`.

    Args:
        seed: Seed of the random choices.

    Returns:
        A model that changes images when it is called with `training=True`.

    Reference:
        The authors' published gender notebook.
    """
    options = {"fill_mode": "nearest", "seed": seed}
    return keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal", seed=seed, name="flip"),
            keras.layers.RandomTranslation(0.4, 0.4, name="shift", **options),
            keras.layers.RandomZoom(0.3, name="zoom", **options),
            keras.layers.RandomRotation(20 / 360, name="turn", **options),
        ],
        name="notebook_augmentation",
    )


class AugmentedViews(keras.utils.PyDataset):
    """Batches for training: every face once an epoch, with or without a mask, augmented.

    Args:
        views: The stored views.
        batch_size: Faces a batch; the incomplete last batch of an epoch is dropped.
        masked_share: Probability of a masked view.
        weights: How often each face is drawn, relative to the others; equally when None.
        steps: Batches an epoch; as many as all faces fill when None.
        seed: Seed of everything random. The first number of all generators' seeds.
        first_epoch: Epoch to begin with, for a training that goes on.
        **kwargs: See `keras.utils.PyDataset`.
    """

    def __init__(
        self,
        views: Views,
        *,
        batch_size: int = 64,
        masked_share: float = 0.6,
        weights: NDArray[np.floating] | None = None,
        steps: int | None = None,
        seed: int = 0,
        first_epoch: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._views, self._batch_size = views, batch_size
        self._masked_share = masked_share
        count = len(views.labels)
        weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
        self._weights = weights / weights.sum()
        self._steps = steps or max(1, count // batch_size)
        self._seed, self._epoch = seed, first_epoch
        self._order = self._draw_order()

    def __len__(self) -> int:
        """Return the number of batches an epoch."""
        return self._steps

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return images (B, side, side, 3) in [0, 1] and labels (B, 1)."""
        rng = np.random.default_rng([self._seed, self._epoch, index])
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        masks = self._views.pixels.shape[1] - 1
        images = np.empty((len(chosen), VIEW[2], VIEW[2], 3), np.float32)
        for row, face in enumerate(chosen):
            masked = masks > 0 and rng.random() < self._masked_share
            variant = 1 + int(rng.integers(masks)) if masked else 0
            np.multiply(augment(self._views.pixels[face, variant], rng), 1 / 255, out=images[row])
        return images, self._views.labels[chosen, None]

    def on_epoch_end(self) -> None:
        """Go to the next epoch's order."""
        self._epoch += 1
        self._order = self._draw_order()

    def _draw_order(self) -> NDArray[np.int64]:
        rng = np.random.default_rng([self._seed, self._epoch])
        wanted = self._steps * self._batch_size
        # Systematic sampling: each face appears as often as its weight says, give or take one.
        marks = (np.arange(wanted) + rng.random()) / wanted
        order = rng.permutation(len(self._weights))
        sampled = order[
            np.searchsorted(np.cumsum(self._weights[order]), marks).clip(max=len(order) - 1)
        ]
        return rng.permutation(sampled)


def augment(source: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut a randomly changed window out of a view with its margin.

    Sometimes the lower face is covered whole, as large masks and scarves do. Flip, rotation, scale,
    shift and a little stretch, wide enough for crops from wrong landmarks; brightness, contrast,
    saturation, tint and gamma; sometimes blur, a low resolution, JPEG artefacts, noise or an
    erased rectangle.

    Args:
        source: (S, S, 3) uint8 RGB, a stored view.
        rng: The only source of randomness.

    Returns:
        (side, side, 3) uint8 RGB.
    """
    image = _covered(source, rng) if rng.random() < 0.12 else source
    image = _moved(image, rng)
    image = _recoloured(image, rng)
    if rng.random() < 0.35:
        image = _degraded(image, rng)
    if rng.random() < 0.3:
        _erase(image, rng)
    return image


def _covered(source: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Hide what lies below a slightly tilted line between the eyes and the tip of the nose."""
    side = source.shape[0]
    ends = _EYES_TO_NOSE_TIP[0] + np.ptp(_EYES_TO_NOSE_TIP) * rng.random() + rng.normal(0, 6, 2)
    corners = [(0, ends[0]), (side, ends[1]), (side, side), (0, side)]
    covered = source.copy()
    colour = rng.integers(0, 256, 3).tolist()
    cv2.fillConvexPoly(covered, np.array(corners).round().astype(np.int32), colour)
    return covered


def _moved(source: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    side, centre = VIEW[2], (source.shape[0] - 1) / 2
    angle = math.radians(np.clip(rng.normal(0.0, 7.0), -20.0, 20.0))
    scale = math.exp(np.clip(rng.normal(0.0, 0.08), -0.2, 0.2))
    stretch = math.exp(rng.uniform(-0.05, 0.05))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    # From window to source, as WARP_INVERSE_MAP wants it.
    linear = np.array([[flip * cos * stretch, -sin], [flip * sin, cos / stretch]])
    shift = np.clip(rng.normal(0.0, 6.0, 2), -16.0, 16.0)
    offset = centre + shift - linear @ np.full(2, (side - 1) / 2)
    return cv2.warpAffine(
        source,
        np.column_stack([linear, offset]),
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def _recoloured(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    saturation = 0.0 if rng.random() < 0.07 else rng.uniform(0.6, 1.4)
    grey = np.array([0.299, 0.587, 0.114])
    tint = np.exp(rng.normal(0.0, 0.08, 3))
    contrast = math.exp(rng.uniform(-0.45, 0.35))
    matrix = saturation * np.eye(3) + (1 - saturation) * grey
    matrix = contrast * tint[:, None] * matrix
    offset = (1 - contrast) * 128.0 + rng.uniform(-35.0, 30.0)
    changed = cv2.transform(image, np.column_stack([matrix, np.full(3, offset)]))
    if rng.random() < 0.5:
        levels = np.linspace(0, 1, 256) ** math.exp(rng.uniform(-0.4, 0.4))
        changed = cv2.LUT(changed, (levels * 255).astype(np.uint8))
    return np.asarray(changed, np.uint8)


def _degraded(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    kind = rng.integers(4)
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0)), np.uint8)
    if kind == 1:
        side = int(image.shape[0] / rng.uniform(1.5, 3.5))
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, image.shape[:2]), np.uint8)
    if kind == 2:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 85))]
        _, encoded = cv2.imencode(".jpg", image, quality)
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    noise = rng.normal(0.0, rng.uniform(3.0, 14.0), image.shape).astype(np.float32)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _erase(image: NDArray[np.uint8], rng: np.random.Generator) -> None:
    side = image.shape[0]
    area, ratio = rng.uniform(0.03, 0.15) * side * side, math.exp(rng.uniform(-0.9, 0.9))
    height, width = int(math.sqrt(area * ratio)), int(math.sqrt(area / ratio))
    top, left = rng.integers(side - height), rng.integers(side - width)
    image[top : top + height, left : left + width] = rng.integers(0, 256, 3)

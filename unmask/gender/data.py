"""Faces for the gender stage: views of canonical crops, bare and with drawn masks.

Drawing a mask costs more than a training step on a small network, so each face's views are drawn
once and kept in a file; what varies them is new every time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord, FaceSet, load_canonical
from unmask.errors import DataError
from unmask.face import CROP_SIZE
from unmask.gender.augment import Augmentation, vary
from unmask.gender.cache import ByName, cached_rows, digest
from unmask.gender.framing import FRAMINGS, Framing
from unmask.image import load_image
from unmask.synthesis import MaskSynthesizer

_CALIBRATION_STEP = 16
_AGE_LIMITS = (4, 13, 20, 30, 45, 60)


@dataclass(frozen=True)
class Views(ByName):
    """Stored views of some faces.

    Attributes:
        pixels: (N, 1 + masked, S, S, 3) uint8 RGB, memory-mapped: a window of the canonical crop
            with its margin, first bare, then under different drawn masks.
        labels: (N,) float32, 1 for male and 0 for female.
        framing: Which window.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.float32]
    framing: Framing

    @property
    def masks(self) -> int:
        """Masked views of each face."""
        return self.pixels.shape[1] - 1

    def first(self, count: int) -> Views:
        """Return the first views of each face, at most `count`."""
        return replace(self, pixels=self.pixels[:, :count])

    def window(self, index: int, variant: int) -> NDArray[np.uint8]:
        """Return one view without its margin, as the network sees it at run time."""
        inside = slice(self.framing.margin, self.framing.margin + self.framing.side)
        return self.pixels[index, variant, inside, inside]

    def batches(self, variant: int, size: int = 64) -> Iterator[NDArray[np.float32]]:
        """Yield the windows of one variant of all faces in order, as float32 batches in [0, 1].

        Args:
            variant: 0 for the bare faces, 1 and more for the masked ones.
            size: Faces a batch.
        """
        for start in range(0, len(self.labels), size):
            chosen = range(start, min(start + size, len(self.labels)))
            seen = np.stack([self.window(i, variant) for i in chosen])
            yield seen.astype(np.float32) / 255.0


@dataclass(frozen=True)
class ViewSampler:
    """Makes batches of views: faces drawn by weight, with or without a mask, varied.

    Attributes:
        views: The stored views.
        weights: (N,) how often each face is drawn, relative to the others.
        batch_size: Faces a batch.
        masked_share: Probability of a masked view.
        augmentation: How they are varied.
        seed: Seed of everything random.
    """

    views: Views
    weights: NDArray[np.float64]
    batch_size: int
    masked_share: float
    augmentation: Augmentation = "varied"
    seed: int = 0

    def __call__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return images (B, side, side, 3) uint8 and labels (B, 1)."""
        rng = np.random.default_rng([self.seed, number])
        views = self.views
        until = np.cumsum(self.weights) / np.sum(self.weights)
        chosen = np.searchsorted(until[:-1], rng.random(self.batch_size), "right")
        images = []
        for face in chosen:
            masked = views.masks > 0 and rng.random() < self.masked_share
            variant = 1 + int(rng.integers(views.masks)) if masked else 0
            source = views.pixels[face, variant]
            images.append(vary(source, views.framing, rng, self.augmentation))
        return np.stack(images), views.labels[chosen, None]


def labels_of(records: Sequence[FaceRecord]) -> NDArray[np.float32]:
    """Return 1 for male and 0 for female, (N,) float32, as the paper counts them."""
    return np.array([record.gender == "male" for record in records], np.float32)


def has_landmarks(records: Sequence[FaceRecord]) -> bool:
    """Tell whether masks can be drawn on all of these faces."""
    return all(len(record.landmarks) for record in records)


def split_off_calibration(faces: FaceSet) -> tuple[FaceSet, FaceSet]:
    """Divide faces into those to train on and one in 16 of each gender to calibrate on."""
    male = labels_of(faces.records) > 0.5
    held_back = {
        faces.records[i].path
        for gender in (male, ~male)
        for i in np.flatnonzero(gender)[::_CALIBRATION_STEP]
    }
    kept_apart = np.array([record.path in held_back for record in faces.records])
    return faces.only(~kept_apart), faces.only(kept_apart)


def fair_weights(faces: FaceSet) -> NDArray[np.float64]:
    """Weigh faces so that neither the collection nor the age tells the gender.

    Where old faces are mostly men's, a network learns to call old women men. Here both genders of
    an age group get the same total weight, and the group keeps the one it had.

    Args:
        faces: Faces with a known gender, and their weights before the balance.

    Returns:
        (N,) weights.

    Example:
        >>> points = np.zeros((98, 2), np.float32)
        >>> genders = ("male", "male", "male", "female")
        >>> records = [FaceRecord(Path("1.jpg"), points, "train", gender) for gender in genders]
        >>> fair_weights(FaceSet(tuple(records), np.ones(4))).round(2).tolist()
        [0.67, 0.67, 0.67, 2.0]
    """
    records, weights = faces.records, faces.weights.copy()
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
    framing: Framing = FRAMINGS["window"],
    *,
    masked: int = 3,
    seed: int = 0,
    threads: int = 2,
) -> Views:
    """Open the views of some faces, and draw them first if they are not in the file yet.

    Args:
        records: The faces.
        path: A `.npy` file; a note of the same name, `.json`, tells what it was made of.
        framing: What a view shows.
        masked: Number of masked views of each face.
        seed: Seed of the masks; a face's masks depend on it and on the face's position alone.
        threads: Threads that draw.

    Returns:
        The views, memory-mapped.

    Raises:
        DataError: The file holds other views or cannot be written, or masks are wanted on faces
            without landmarks.
    """
    if masked and not has_landmarks(records):
        raise DataError(f"{path}: masks need landmarks, which not all faces have")
    synthesizer = MaskSynthesizer(seed)

    def draw(index: int) -> NDArray[np.uint8]:
        return _draw(records[index], framing, synthesizer, index, masked)

    def make(first: int) -> Iterator[NDArray[np.uint8]]:
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(draw, range(first, len(records)))

    side = framing.stored_side
    origin = {
        "masked": masked,
        "seed": seed,
        "view": " ".join(map(str, framing.view)),
        "faces": _digest_of(records),
    }
    shape = (len(records), 1 + masked, side, side, 3)
    return Views(
        cached_rows(Path(path), shape, np.uint8, origin, make), labels_of(records), framing
    )


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
    record: FaceRecord, framing: Framing, synthesizer: MaskSynthesizer, index: int, masked: int
) -> NDArray[np.uint8]:
    side = framing.stored_side
    if not len(record.landmarks):
        # Used as it is framed.
        image = load_image(record.path)
        return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)[None]
    face = load_canonical(record, CROP_SIZE)
    images = [face.image]
    for variant in range(masked):
        images.append(synthesizer(face.image, face.landmarks, index * masked + variant).image)
    left, top = framing.left - framing.margin, framing.top - framing.margin
    return np.stack(images)[:, top : top + side, left : left + side]


def views_of_arrays(
    images: Sequence[NDArray[np.uint8]],
    labels: Sequence[float],
    framing: Framing = FRAMINGS["window"],
) -> Views:
    """Make views of images in memory, without masks.

    Args:
        images: (H, W, 3) uint8 RGB each, framed as the training faces are.
        labels: 1 for male, 0 for female.
        framing: What a view shows.

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
    side = (framing.stored_side,) * 2
    pixels = [cv2.resize(image, side, interpolation=cv2.INTER_AREA) for image in images]
    return Views(np.stack(pixels)[:, None], np.asarray(labels, np.float32), framing)

"""Regions to learn from: worn masks, and what a segmenter takes for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from unmask.errors import DataError
from unmask.face import CROP_SIZE, coverage, matrix_from_mask_box
from unmask.io import atomic_path
from unmask.segmentation.augment import photometric
from unmask.segmentation.predict import find_masks
from unmask.segmentation.regions import MaskRegion, find_regions
from unmask.segmentation.scenes import SceneComposer
from unmask.segmentation.sources import FacePool
from unmask.segmentation.verifier import VIEW_SIDE, region_view

# Stored views show more than the network sees, so that shifted ones find real pixels.
MARGIN = 0.125
STORED_SIDE = round(VIEW_SIDE * (1 + 2 * MARGIN))

_SCENE_SIDES = (192, 256, 320)
# Whatever the segmenter faintly believes is worth a refusal.
_faint_masks = partial(find_masks, threshold=0.3, min_score=0.4, fine_side=None, thorough=False)
_IS_MASK, _IS_NONE = 0.5, 0.05

# Where the eyes are in the crop around a mask (rows, columns), and how much of it a photo has to
# show: of a mask at the border without any face nobody could say what it is.
_EYES, _LEAST_SHOWN = (slice(96, 123), slice(88, 168)), 0.6


@dataclass(frozen=True)
class RegionViews:
    """Regions and what they are.

    Attributes:
        pixels: (N, S, S, 4) uint8, see `verifier.region_view`; with a margin of `MARGIN`.
        labels: (N,) bool, whether the region is a worn mask.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.bool_]


Sample = tuple[NDArray[np.uint8], bool]


def stored_regions(
    segmenter: keras.Model,
    composer: SceneComposer,
    faces: FacePool,
    path: str | os.PathLike[str],
    *,
    scenes: int,
    seed: int = 0,
) -> RegionViews:
    """Open a file of regions, and gather them first if it does not exist yet.

    Three sources: faces with a drawn mask, and the same faces without it but with the same region;
    the true masks of composed scenes; what the segmenter faintly believes to be one in these
    scenes and in the bare faces.

    Args:
        segmenter: A network of `model.build_unet`.
        composer: Makes the scenes.
        faces: The bare faces.
        path: A `.npz` file.
        scenes: Number of scenes.
        seed: Seed of the drawn masks.

    Returns:
        The regions.

    Raises:
        DataError: The file cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        _gather(segmenter, composer, faces, path, scenes, seed)
    try:
        with np.load(path, allow_pickle=False) as stored:
            return RegionViews(stored["pixels"], stored["labels"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _gather(
    segmenter: keras.Model,
    composer: SceneComposer,
    faces: FacePool,
    path: Path,
    scenes: int,
    seed: int,
) -> None:
    console = Console(stderr=True)
    samples: list[Sample] = []
    for number in track(
        range(len(faces)), "faces", console=console, disable=not console.is_terminal
    ):
        samples += _face_samples(segmenter, faces, number, seed)
    for index in track(range(scenes), "scenes", console=console, disable=not console.is_terminal):
        image, mask = composer.scene(index, _SCENE_SIDES[index % len(_SCENE_SIDES)])
        samples += _scene_samples(segmenter, image, mask > 0)
    pixels, labels = zip(*samples, strict=True)
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, pixels=np.stack(pixels), labels=np.array(labels, bool))


def _face_samples(
    segmenter: keras.Model, faces: FacePool, number: int, seed: int
) -> Iterator[Sample]:
    """Yield a face with a drawn mask, the same region without it, and the segmenter's alarms."""
    bare, _ = faces.plain(number)
    worn = faces.masked(number, number + seed)
    for region in _regions(worn.mask > 0)[:1]:
        yield _view(worn.image, region), True
        yield _view(bare.image, region), False
    for region in _faint_masks(segmenter, bare.image):
        yield _view(bare.image, region), False


def _scene_samples(
    segmenter: keras.Model, image: NDArray[np.uint8], truth: NDArray[np.bool_]
) -> Iterator[Sample]:
    """Yield the true masks, and what the segmenter found that clearly is one or clearly is none.

    Masks whose face is not in the scene are left out.
    """
    for region in _regions(truth):
        if _shows_eyes(image, region):
            yield _view(image, region), True
    for region in _faint_masks(segmenter, image):
        found = region.mask
        common = float((found & truth).sum())
        overlap = common / float((found | truth).sum())
        if overlap >= _IS_MASK:
            if _shows_eyes(image, region):
                yield _view(image, region), True
        elif common <= _IS_NONE * found.sum():
            yield _view(image, region), False


def _shows_eyes(image: NDArray[np.uint8], region: MaskRegion) -> bool:
    inside = coverage(image.shape, matrix_from_mask_box(region.box), CROP_SIZE)
    return bool(inside[_EYES].mean() >= _LEAST_SHOWN)


def _regions(mask: NDArray[np.bool_]) -> list[MaskRegion]:
    return find_regions(mask.astype(np.float32), (mask.shape[0], mask.shape[1]), min_pixels=60)


def _view(image: NDArray[np.uint8], region: MaskRegion) -> NDArray[np.uint8]:
    return region_view(image, region, STORED_SIDE, margin=MARGIN)


class RegionBatches(keras.utils.PyDataset):
    """Endless batches of regions, half of them worn masks, augmented.

    Args:
        views: The stored regions.
        batch_size: Regions a batch.
        steps: Batches an epoch.
        seed: Seed of the order and of the augmentation.
        first_epoch: Epoch to continue with after an interruption.

    Raises:
        DataError: All regions are masks, or none is.
    """

    def __init__(
        self,
        views: RegionViews,
        *,
        batch_size: int,
        steps: int,
        seed: int = 0,
        first_epoch: int = 0,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=12)
        self._views, self._batch_size, self._steps = views, batch_size, steps
        self._seed, self._epoch = seed, first_epoch
        self._kinds = [np.flatnonzero(views.labels == kind) for kind in (False, True)]
        if not all(len(kind) for kind in self._kinds):
            raise DataError(
                "there must be masks and others among the regions. "
                f"Received: {len(views.labels)} regions, {int(views.labels.sum())} masks"
            )

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return views (B, S, S, 4) in [0, 1] and labels (B, 1)."""
        rng = np.random.default_rng([self._seed, self._epoch, index])
        labels = np.arange(self._batch_size) % 2
        chosen = [int(rng.choice(self._kinds[label])) for label in labels]
        views = np.stack([augment_view(self._views.pixels[i], rng) for i in chosen])
        return views.astype(np.float32) / 255.0, labels[:, None].astype(np.float32)

    def on_epoch_end(self) -> None:
        """Go on to the next batches."""
        self._epoch += 1


def augment_view(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Move, mirror and recolour a stored view, and spoil the outline of its region.

    Args:
        view: (S, S, 4) uint8 with a margin.
        rng: The only source of randomness.

    Returns:
        (96, 96, 4) uint8 without the margin.
    """
    moved = _moved(view, rng)
    colours = photometric(np.ascontiguousarray(moved[..., :3]), rng)
    return np.dstack([colours, _spoilt(np.ascontiguousarray(moved[..., 3]), rng)])


def _moved(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    centre = (view.shape[0] - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), rng.normal(0, 8), np.exp(rng.normal(0, 0.1)))
    if rng.random() < 0.5:
        matrix = matrix @ np.array([[-1.0, 0.0, 2 * centre], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    matrix[:, 2] += rng.normal(0, 0.04 * VIEW_SIDE, 2) - (view.shape[0] - VIEW_SIDE) / 2
    return np.asarray(cv2.warpAffine(view, matrix, (VIEW_SIDE, VIEW_SIDE)), np.uint8)


def _spoilt(inside: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Grow or shrink the region, or cut a part off, as a segmenter might."""
    change: dict[int, Any] = {0: cv2.dilate, 1: cv2.erode}
    operation = change.get(int(rng.integers(4)))
    if operation is not None:
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(rng.integers(2, 8)),) * 2)
        inside = operation(inside, disk)
    if rng.random() < 0.2:
        angle, shift = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.12)
        y, x = np.mgrid[:VIEW_SIDE, :VIEW_SIDE] / VIEW_SIDE - np.array([0.72, 0.5])[:, None, None]
        inside = np.where(x * np.cos(angle) + y * np.sin(angle) > shift, np.uint8(0), inside)
    return np.asarray(inside, np.uint8)

"""Faces with a label for each pixel: CelebAMask-HQ's, and random views of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from unmask.data.faces import gather_faces
from unmask.data.photometric import photometric
from unmask.data.record import FaceRecord, FaceSet, Order
from unmask.errors import DataError
from unmask.face import CROP_SIZE, canonical_matrix, compose, square_matrix, warp
from unmask.image import load_classes

Pixels = NDArray[np.uint8]

UNKNOWN = 255
"""The label of what lies beyond a photo's edge."""

# From CelebAMask-HQ's 19 classes to ours: background, skin, nose, glasses, left and right eye, brow
# and ear, inner mouth, upper lip, lower lip, hair, hat, earring, necklace, neck, cloth. Glasses are
# skin, since eyes are labelled through them and what else they cover mostly is.
_CELEBAMASK = (0, 1, 6, 1, 4, 5, 2, 3, 0, 0, 8, 7, 9, 10, 0, 0, 0, 0, 0)
_PAIRS = ((2, 3), (4, 5))  # left and right brow, left and right eye


def _tables() -> tuple[Pixels, Pixels]:
    ours = np.full(256, UNKNOWN, np.uint8)
    ours[: len(_CELEBAMASK)] = _CELEBAMASK
    mirrored = np.arange(256, dtype=np.uint8)
    for left, right in _PAIRS:
        mirrored[[left, right]] = right, left
    return ours, mirrored


_OURS, _MIRRORED = _tables()


def from_celebamask(classes: Pixels) -> Pixels:
    """Return our labels of CelebAMask-HQ's, of any shape.

    Example:
        >>> from_celebamask(np.uint8([13, 2, 18])).tolist()
        [10, 6, 0]
    """
    return _OURS[classes]


def mirror(image: Pixels, labels: Pixels) -> tuple[Pixels, Pixels]:
    """Mirror a face (H, W, 3) and its labels (H, W): what was a left eye becomes a right one."""
    return np.ascontiguousarray(image[:, ::-1]), _MIRRORED[labels[:, ::-1]]


def gather_labelled(data: Sequence[Path], folders: Mapping[str, float], split: str) -> FaceSet:
    """Gather the faces beside which there is a PNG of CelebAMask-HQ's class numbers.

    Args:
        data: As for `unmask.data.faces.gather_faces`.
        folders: The same.
        split: "train" or "val".

    Raises:
        DataError: There are none; or see `gather_faces`.
    """
    faces = gather_faces(data, folders, split=split)
    found = np.array([_has_labels(record) for record in faces.records])
    if not found.any():
        places = ", ".join(map(str, data))
        raise DataError(f"no faces of the split {split!r} with NAME.png of classes in {places}")
    return faces.only(found)


def load_labelled(
    record: FaceRecord,
    size: int = CROP_SIZE,
    *,
    jitter: NDArray[np.floating] | None = None,
) -> tuple[Pixels, Pixels]:
    """Read a face and its labels in the canonical framing.

    Args:
        record: One of `gather_labelled`.
        size: Side in pixels.
        jitter: (2, 3) from pixels of the canonical crop of 256 to those of another view.

    Returns:
        The picture (size, size, 3), what lies beyond the photo's edge mirrored; the labels
        (size, size), `UNKNOWN` there.

    Raises:
        DataError: The labels are not of the photo's size.
    """
    image, classes = record.read(), load_classes(_label_file(record))
    if classes.shape != image.shape[:2]:
        raise DataError(
            f"{_label_file(record)}: must have its photo's size, {image.shape[:2]}. "
            f"Received: {classes.shape}"
        )
    matrix = canonical_matrix(record.landmarks, CROP_SIZE if jitter is not None else size)
    if jitter is not None:
        matrix = compose(jitter, matrix)
    labels = cv2.warpAffine(
        from_celebamask(classes), matrix, (size, size), flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT, borderValue=(UNKNOWN,),
    )  # fmt: skip
    return warp(image, matrix, size), np.asarray(labels, np.uint8)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a face differs from showing to showing; half of the faces are mirrored besides.

    Attributes:
        rotation: Largest turn in degrees.
        scale: Least and greatest size. A generator of 128 pixels sees faces at two thirds.
        shift: Largest shift in x and y, in pixels of the canonical crop. The generator's window
            lies 32 below the crop's middle.
        photometric: Whether colours, sharpness, noise and compression change.
    """

    rotation: float = 20.0
    scale: tuple[float, float] = (0.62, 1.25)
    shift: float = 40.0
    photometric: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes without meaning."""
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be (least, greatest). Received: scale={self.scale}")

    def matrix(self, rng: Generator, size: int) -> NDArray[np.float64]:
        """Return a random (2, 3) matrix from the canonical crop to a view of some side."""
        angle = np.deg2rad(rng.uniform(-1, 1) * self.rotation)
        center = (CROP_SIZE - 1) / 2 + rng.uniform(-1, 1, 2) * self.shift
        scale = np.exp(rng.uniform(*np.log(self.scale)))
        return square_matrix(center, size / scale, size, (np.cos(angle), np.sin(angle)))


class ParsingSampler:
    """Batches of varied faces with labels, a function of seed and number alone.

    Args:
        faces: From `gather_labelled`.
        augmentation: How strongly they vary.
        batch_size: Faces a batch.
        side: Side of the views in pixels.
        seed: Seed of order and augmentation.
    """

    def __init__(
        self, faces: FaceSet, augmentation: Augmentation, *, batch_size: int, side: int, seed: int
    ) -> None:
        self._faces, self._augmentation = faces, augmentation
        self._batch_size, self._side, self._seed = batch_size, side, seed
        self._order = Order(faces.weights, seed)

    def __call__(self, number: int) -> tuple[Pixels, Pixels]:
        """Return pictures (B, side, side, 3) and labels (B, side, side, 1)."""
        first = number * self._batch_size
        pairs = [self.sample(first + i) for i in range(self._batch_size)]
        images, labels = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
        return images, labels[..., None]

    def sample(self, number: int) -> tuple[Pixels, Pixels]:
        """Return picture and labels of sample `number`, from 0."""
        rng = np.random.default_rng([self._seed, number])
        jitter = self._augmentation.matrix(rng, self._side)
        record = self._faces.records[self._order[number]]
        image, labels = load_labelled(record, self._side, jitter=jitter)
        if rng.random() < 0.5:
            image, labels = mirror(image, labels)
        if self._augmentation.photometric:
            image = photometric(image, rng)
        return image, labels


def _label_file(record: FaceRecord) -> Path:
    return record.path.with_suffix(".png")


def _has_labels(record: FaceRecord) -> bool:
    file = _label_file(record)
    return record.packed is None and file != record.path and file.is_file()

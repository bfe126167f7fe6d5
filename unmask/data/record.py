"""A face and what is known of it, many of them, and one in the canonical framing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.cache import digest
from unmask.face import CROP_SIZE, canonical_matrix, coverage, transform_points, warp
from unmask.image import load_image


@dataclass(frozen=True)
class PackedImage:
    """A crop inside a packed file."""

    file: Path
    start: int  # its first byte there
    length: int  # its bytes
    # (4, 2) corners of the photo in the crop's pixels; outside it is filled by reflection.
    corners: tuple[tuple[float, float], ...]

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the crop (S, S, 3) RGB, and (S, S) 255 where it shows the photo."""
        with self.file.open("rb") as handle:
            handle.seek(self.start)
            image = load_image(handle.read(self.length))
        inside = np.zeros(image.shape[:2], np.uint8)
        cv2.fillConvexPoly(inside, np.rint(np.array(self.corners)).astype(np.int32), (255,))
        return image, inside


@dataclass(frozen=True)
class FaceRecord:
    """One face image and what is known about it.

    Attributes:
        path: The image file.
        landmarks: (98, 2) or (68, 2) float32 points (x, y) in the file's pixels.
        split: "train", "val" or "test".
        gender: "male", "female", or None where unknown.
        age: Age in years, or None.
        race: UTKFace's code, or None.
        source: Name of the collection that the file comes from, or None.
        packed: Where the image is in a packed file, see `unmask.data.pack`; None for a file of
            its own.
    """

    path: Path
    landmarks: NDArray[np.float32]
    split: str
    gender: str | None = None
    age: int | None = None
    race: int | None = None
    source: str | None = None
    packed: PackedImage | None = None

    def read(self) -> NDArray[np.uint8]:
        """Return the image, (H, W, 3) RGB, in whose pixels the landmarks are."""
        return load_image(self.path) if self.packed is None else self.packed.read()[0]


@dataclass(frozen=True)
class FaceSet:
    """Faces, and how often each is shown.

    Attributes:
        records: The faces.
        weights: (N,) float64, how often each is shown relative to the others, above 0.
    """

    records: tuple[FaceRecord, ...]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.records)

    def only(self, chosen: NDArray[np.bool_]) -> FaceSet:
        """Return the faces where `chosen`, (N,), is true."""
        records = tuple(r for r, keep in zip(self.records, chosen, strict=True) if keep)
        return FaceSet(records, self.weights[chosen])


class Order:
    """Which face is shown when: epoch after epoch in another random order.

    Args:
        weights: (N,) how often each face is shown relative to the others.
        seed: Seed of the order.
        shuffle: Whether the order is random; else every epoch has that of the faces.
    """

    def __init__(self, weights: NDArray[np.float64], seed: int, *, shuffle: bool = True) -> None:
        self._weights, self._seed, self._shuffle = weights, seed, shuffle
        self._last: tuple[int, NDArray[np.intp]] = (-1, np.zeros(0, np.intp))

    def __len__(self) -> int:
        """Return how many faces an epoch shows: the sum of the weights, rounded."""
        return max(1, round(float(self._weights.sum())))

    def __getitem__(self, number: int) -> int:
        """Return the index of the face that is shown as number `number`, from 0."""
        epoch, place = divmod(number, len(self))
        if epoch != self._last[0]:
            self._last = (epoch, self.epoch(epoch))
        return int(self._last[1][place])

    def batch(self, number: int, size: int) -> list[int]:
        """Return the indices of batch `number`, from 0."""
        return [self[number * size + i] for i in range(size)]

    def epoch(self, number: int) -> NDArray[np.intp]:
        """Return the indices of an epoch, from 0, (len,): each as often as its weight says.

        A weight of 2.5 shows a face two or three times.
        """
        count = len(self._weights)
        order, start = np.arange(count), 0.5
        rng = np.random.default_rng([self._seed, 1 << 20, number])
        if self._shuffle:
            order, start = rng.permutation(count), rng.random()
        # Equal steps along the weights: the only chance is where they begin.
        bounds = np.cumsum(self._weights[order])
        steps = (np.arange(len(self)) + start) * bounds[-1] / len(self)
        shown = order[np.minimum(np.searchsorted(bounds, steps, side="right"), count - 1)]
        return rng.permutation(shown) if self._shuffle else shown


@dataclass(frozen=True)
class CanonicalFace:
    """A canonical crop.

    Attributes:
        image: (size, size, 3) uint8 RGB; what lies outside the file is filled by reflection.
        landmarks: The points in crop pixels.
        valid: (size, size) bool, True where a pixel comes from the file.
    """

    image: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    valid: NDArray[np.bool_]


def load_canonical(
    record: FaceRecord, size: int = CROP_SIZE, *, matrix: NDArray[np.floating] | None = None
) -> CanonicalFace:
    """Read a record's image and bring it into the canonical framing.

    Args:
        record: The face.
        size: Side of the crop in pixels.
        matrix: (2, 3) transform to use instead of the canonical one, e.g. with jitter.

    Returns:
        The crop, its landmarks and which pixels are real.
    """
    if matrix is None:
        matrix = canonical_matrix(record.landmarks, size)
    if record.packed is None:
        image = load_image(record.path)
        valid = coverage(image.shape, matrix, size)
    else:
        image, inside = record.packed.read()
        moved = cv2.warpAffine(inside, matrix, (size, size), flags=cv2.INTER_NEAREST)
        valid = (moved > 0) & coverage(image.shape, matrix, size)
    return CanonicalFace(
        image=warp(image, matrix, size),
        landmarks=transform_points(record.landmarks, matrix),
        valid=valid,
    )


def digest_of(records: Iterable[FaceRecord]) -> str:
    """Name some faces by their files and landmarks, wherever the data folder is."""
    return digest(
        part
        for record in records
        for part in (
            f"{record.path.parent.name}/{record.path.name}\n".encode(),
            np.ascontiguousarray(record.landmarks, np.float32).tobytes(),
        )
    )

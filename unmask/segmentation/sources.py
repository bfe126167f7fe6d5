"""Where training and validation pictures come from: labelled photos and faces to put masks on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord
from unmask.errors import DataError
from unmask.image import load_image
from unmask.labelme import draw_mask, read_annotation, read_image
from unmask.synthesis import MaskSynthesizer

# Every n-th file of a folder of image + PNG pairs validates.
_PNG_VALIDATION_EVERY = 10


@dataclass(frozen=True, eq=False)
class Example:
    """A picture and the mask pixels in it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, 1 where a face mask is.
        focus: Middle x, middle y and side of the face square, in pixels.
        name: Where it comes from.
    """

    image: NDArray[np.uint8] = field(repr=False)
    mask: NDArray[np.uint8] = field(repr=False)
    focus: tuple[float, float, float]
    name: str = ""


def read_split(path: Path) -> dict[str, str]:
    """Read a `split.csv` with the columns `file` and `split`.

    Raises:
        DataError: The file is missing or has other columns.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").split()]
    if not rows or rows[0] != ["file", "split"] or any(len(row) != 2 for row in rows):
        raise DataError(f"{path}: expected the columns file,split. Received: {rows[:1]}")
    return dict(rows[1:])


def labelme_examples(
    folder: str | Path, split: str, labels: Sequence[str] = ("mask",)
) -> list[Example]:
    """Read the photos of one split of a Labelme folder that has a `split.csv`.

    Args:
        folder: Folder with photos, their JSON files and `split.csv`.
        split: "train" or "val".
        labels: Labels that count as mask.

    Returns:
        One example a photo, in the order of `split.csv`.

    Raises:
        DataError: There is no usable `split.csv`.
        LabelmeError: A JSON file cannot be used.
    """
    folder = Path(folder)
    names = [name for name, part in read_split(folder / "split.csv").items() if part == split]
    examples = []
    for name in names:
        annotation = read_annotation(folder / name)
        image = read_image(annotation)
        mask = draw_mask(annotation, (image.shape[0], image.shape[1]), labels=labels)
        examples.append(Example(image, mask.astype(np.uint8), focus_of_mask(mask), name))
    return examples


def png_examples(folder: str | Path, split: str | None, value: int = 2) -> list[Example]:
    """Read a folder of photos with a PNG of class numbers beside each.

    Every tenth file, sorted by name, belongs to the validation split.

    Args:
        folder: Folder with NAME.jpg and NAME.png.
        split: "train", "val", or None for all.
        value: Class number of a mask.

    Returns:
        One example a photo.

    Raises:
        DataError: No pairs are there, or the sizes of a pair differ.
    """
    labels = sorted(Path(folder).glob("*.png"))
    if not labels:
        raise DataError(f"{folder}: no PNG labels found")
    examples = []
    for number, path in enumerate(labels):
        own = "val" if number % _PNG_VALIDATION_EVERY == 0 else "train"
        if split not in (own, None):
            continue
        image, label = load_image(path.with_suffix(".jpg")), load_image(path)[..., 0]
        if image.shape[:2] != label.shape:
            raise DataError(f"{path}: {label.shape} pixels, its photo has {image.shape[:2]}")
        mask = label == value
        examples.append(Example(image, mask.astype(np.uint8), focus_of_mask(mask), path.name))
    return examples


def focus_of_mask(mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Guess the face square from the mask that the face wears.

    Args:
        mask: (H, W) bool; an empty mask gives the whole picture.

    Returns:
        Middle x, middle y and side in pixels.
    """
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return width / 2, height / 2, float(max(height, width))
    span = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    middle_x = (columns[0] + columns[-1] + 1) / 2
    # A mask covers about the lower half of a face.
    return float(middle_x), float(rows[0] + 0.1 * span), 1.5 * float(span)


class FacePool:
    """Unmasked faces, kept in memory, that wear a synthetic mask on demand.

    Args:
        records: The faces.
        seed: Seed of the masks.
        max_side: Larger pictures are shrunk to this side, in pixels.
    """

    def __init__(self, records: Sequence[FaceRecord], seed: int, max_side: int = 256) -> None:
        if not records:
            raise DataError("a face pool needs at least one face. Received: records=[]")
        self._synthesizer = MaskSynthesizer(seed)
        self._faces = [self._load(record, max_side) for record in records]

    def __len__(self) -> int:
        return len(self._faces)

    def plain(self, number: int) -> tuple[Example, NDArray[np.float32]]:
        """Return an unmasked face and its landmarks."""
        example, landmarks = self._faces[number]
        return example, landmarks

    def masked(self, number: int, index: int, image: NDArray[np.uint8] | None = None) -> Example:
        """Return a face with a synthetic mask.

        Args:
            number: The face.
            index: Chooses the mask.
            image: A changed picture of the face to use instead of the pool's.
        """
        face, landmarks = self._faces[number]
        worn = self._synthesizer(face.image if image is None else image, landmarks, index)
        return Example(
            worn.image, worn.mask.astype(np.uint8), face.focus, f"{face.name}+{worn.kind}"
        )

    @staticmethod
    def _load(record: FaceRecord, max_side: int) -> tuple[Example, NDArray[np.float32]]:
        image, landmarks = load_image(record.path), np.asarray(record.landmarks, np.float32)
        scale = max_side / max(image.shape[:2])
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            landmarks = (landmarks + 0.5) * scale - 0.5
        low, high = landmarks.min(0), landmarks.max(0)
        middle, side = (low + high) / 2, 1.25 * float((high - low).max())
        empty = np.zeros(image.shape[:2], np.uint8)
        focus = float(middle[0]), float(middle[1]), side
        return Example(image, empty, focus, record.path.name), landmarks

"""Labels for photos that nobody has labelled: what a teacher is sure of."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unmask.errors import DataError, ImageError
from unmask.image import Photo, load_photo, save_image
from unmask.io import atomic_path
from unmask.segmentation.predict import WORKING_SIDE, probability_map

DECISIONS = "decisions.csv"
"""Name of the table beside the labels: a row a photo, with the figures and why it was left out."""

# Class number of a mask, as `unmask.segmentation.sources.read_examples` expects it.
_MASK = 2
_COLUMNS = ("file", "label", "kept", "reason", "share", "certainty", "unsure", "piece")


@dataclass(frozen=True)
class LabelRules:
    """Which photos are labelled well enough to learn from.

    A photo is kept when all its figures are beyond these limits.

    Attributes:
        share: Share of the photo that masks cover, 0 to 1: more than this.
        certainty: Mean certainty of the mask's pixels, 2 |p - 0.5|, 0 to 1: more than this.
        unsure: Pixels with 0.2 < p < 0.8, as a share of the mask's pixels: less than this.
        piece: Share of the largest connected piece in the mask, 0 to 1: more than this.
    """

    share: float = 0.01
    certainty: float = 0.8
    unsure: float = 0.25
    piece: float = 0.8


@dataclass(frozen=True)
class Judgement:
    """The figures of one photo (see `LabelRules`), and what follows.

    Attributes:
        share: Share of the photo that masks cover.
        certainty: Mean certainty of the mask's pixels.
        unsure: Unsure pixels as a share of the mask's pixels.
        piece: Share of the largest piece.
        reason: Names of the figures that fail, joined by spaces; empty when the photo is kept.
    """

    share: float
    certainty: float
    unsure: float
    piece: float
    reason: str

    @property
    def kept(self) -> bool:
        """Whether the photo is good to learn from."""
        return not self.reason


@dataclass(frozen=True)
class LabelledPhoto:
    """What became of one photo.

    Attributes:
        source: The photo.
        label: The PNG that was written, or None.
        judgement: The decision, or None when the photo could not be read or written.
        error: What went wrong; empty when nothing did.
    """

    source: Path
    label: Path | None
    judgement: Judgement | None
    error: str = ""


def judge(probability: NDArray[np.float32], rules: LabelRules | None = None) -> Judgement:
    """Decide whether a probability map is sure enough to be a label.

    Args:
        probability: (H, W) float32, the probability that a pixel belongs to a mask.
        rules: The limits; those of `LabelRules` when None.

    Returns:
        The figures and the decision. Without any mask, all figures are 0.

    Example:
        >>> probability = np.zeros((32, 32), np.float32)
        >>> probability[8:20, 4:28] = 0.99
        >>> judge(probability).kept
        True
    """
    rules = rules or LabelRules()
    mask = probability > 0.5
    area = int(mask.sum())
    if not area:
        return Judgement(0.0, 0.0, 0.0, 0.0, "share")
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    share = area / mask.size
    certainty = 2.0 * float(np.abs(probability[mask] - 0.5).mean())
    unsure = int(((probability > 0.2) & (probability < 0.8)).sum()) / area
    piece = int(statistics[1:, cv2.CC_STAT_AREA].max()) / area
    passed = {
        "share": share > rules.share,
        "certainty": certainty > rules.certainty,
        "unsure": unsure < rules.unsure,
        "piece": piece > rules.piece,
    }
    reason = " ".join(name for name, good in passed.items() if not good)
    return Judgement(share, certainty, unsure, piece, reason)


def mirrored_probability(
    model: keras.Model, photo: NDArray[np.uint8], side: int = WORKING_SIDE
) -> NDArray[np.float32]:
    """Segment a photo and its mirror image, and take the mean.

    Args:
        model: A network of `build_teacher` with this side, or of `build_unet`.
        photo: (H, W, 3) uint8 RGB, any size.
        side: The photo's longer side is brought to this many pixels.

    Returns:
        (H, W) float32 at the photo's size, the probability that a pixel belongs to a mask.
    """
    mean = probability_map(model, photo, side, square=True, mirror=True)
    return np.asarray(cv2.resize(mean, (photo.shape[1], photo.shape[0])), np.float32)


def label_photos(
    model: keras.Model,
    photos: Iterable[str | os.PathLike[str]],
    destination: str | os.PathLike[str],
    *,
    side: int = WORKING_SIDE,
    rules: LabelRules | None = None,
) -> Iterator[LabelledPhoto]:
    """Label photos, and write those that a network is sure of.

    NAME.jpg and NAME.png (2 where a mask is, else 0) of every photo that is kept come to lie in
    the destination, as `unmask.segmentation.sources.read_examples` reads them, and `decisions.csv`
    with a row for every photo, kept or not, when the iteration ends, however it ends.

    Args:
        model: A network of `build_teacher` with this side, or of `build_unet`.
        photos: The photos; two with the same name get different ones.
        destination: Folder to fill. It has to be new or empty: labels of two networks, or of
            photos that are no longer kept, would otherwise mix unnoticed.
        side: See `mirrored_probability`.
        rules: See `judge`.

    Yields:
        What became of each photo, in turn. A photo that cannot be read or written stops nothing.

    Raises:
        DataError: The destination is not empty or not a folder.
    """
    folder = Path(destination)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: must be a new or an empty folder")
    names: set[str] = set()
    done: list[LabelledPhoto] = []
    try:
        for source in map(Path, photos):
            done.append(_label(model, source, folder / _new_name(source, names), side, rules))
            yield done[-1]
    finally:
        _write_table(folder / DECISIONS, done)


def _label(
    model: keras.Model, source: Path, target: Path, side: int, rules: LabelRules | None
) -> LabelledPhoto:
    try:
        photo = load_photo(source)
        probability = mirrored_probability(model, photo.pixels, side)
        judgement = judge(probability, rules)
        label = _write_pair(target, photo, probability > 0.5) if judgement.kept else None
    except (ImageError, OSError) as error:
        text = str(error)
        return LabelledPhoto(
            source, None, None, text if str(source) in text else f"{source}: {text}"
        )
    return LabelledPhoto(source, label, judgement)


def _write_pair(target: Path, photo: Photo, mask: NDArray[np.bool_]) -> Path:
    # Not `with_suffix`: names may have dots. The PNG comes last: readers go by it.
    save_image(Path(f"{target}.jpg"), photo.pixels, icc_profile=photo.icc_profile)
    label = Path(f"{target}.png")
    with atomic_path(label) as temporary:
        Image.fromarray(mask.astype(np.uint8) * np.uint8(_MASK)).save(temporary)
    return label


def _new_name(source: Path, taken: set[str]) -> str:
    name, number = source.stem, 2
    # Some file systems do not tell upper from lower case.
    while name.lower() in taken:
        name, number = f"{source.stem}-{number}", number + 1
    taken.add(name.lower())
    return name


def _write_table(path: Path, photos: Iterable[LabelledPhoto]) -> None:
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as handle,
    ):
        writer = csv.writer(handle)
        writer.writerow(_COLUMNS)
        writer.writerows(_row(photo) for photo in photos)


def _row(photo: LabelledPhoto) -> tuple[str, ...]:
    found = photo.judgement
    if found is None:
        return (str(photo.source), "", "no", photo.error, "", "", "", "")
    figures = (found.share, found.certainty, found.unsure, found.piece)
    return (
        str(photo.source),
        photo.label.name if photo.label else "",
        "yes" if found.kept else "no",
        found.reason,
        *(f"{figure:.4f}" for figure in figures),
    )

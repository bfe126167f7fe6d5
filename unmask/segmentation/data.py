"""Labelled photos, however a folder is laid out, and faces that wear a mask on demand."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.record import FaceSet
from unmask.errors import DataError
from unmask.face import tight_box
from unmask.image import find_images, load_image, load_mask
from unmask.io import write_text_atomic
from unmask.labelme import draw_mask, find_annotations, read_annotation, read_image
from unmask.labelme.split import SPLIT_FILE, read_table, split_text
from unmask.paths import path_inside, walk_files
from unmask.synthesis import MaskSynthesizer
from unmask.synthesis.sources import PICTURE_FOLDERS, number_of

# Every n-th file of a folder of image + PNG pairs validates.
_PNG_VALIDATION_EVERY = 10
# Class number of a mask in such a PNG.
_MASK = 2
# Share of the photos that validate where a split has to be drawn.
_DRAWN_SHARE = 0.1
# Larger photos are shrunk to this side when a recipe reads them: no scene shows more of them.
_LARGEST = 1024
# The same for faces that get a mask.
_FACE_SIDE = 256

Pixels: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Example:
    """A picture and the mask pixels in it."""

    image: Pixels = field(repr=False)  # (H, W, 3) RGB
    mask: Pixels = field(repr=False)  # (H, W), 1 where a face mask is
    focus: tuple[float, float, float]  # middle x, middle y and side of the face square, pixels
    name: str = ""  # where it comes from


def read_examples(
    folder: str | Path, split: str | None = None, *, labels: Sequence[str] = ("mask",),
    seed: int = 0, run: str | Path | None = None,
) -> list[Example]:  # fmt: skip
    """Read a folder of labelled photos, however it is laid out.

    - `images/` and `masks/` (not black: mask) with the same names, as `unmask labelme` writes them;
      the photos are those of `masked/` where `unmask synthesize` wrote the folder;
    - Labelme's JSON files with their photos;
    - NAME.jpg with a PNG of class numbers, NAME.png (2: mask), as `unmask label` writes them.

    `split.csv` (columns `file` and `split`) beside them says what a photo is for, whatever the
    suffixes of its names. Without it, a tenth of the photos validates: the names' hashes and the
    seed choose, and the choice is written to `split.csv`. Of class numbers it is every tenth file.

    Args:
        folder: The folder.
        split: "train", "val", or None for all, for which no split is needed.
        labels: Labels of Labelme that count as mask.
        seed: Seed of a split that has to be drawn.
        run: Folder that keeps the split where `folder` cannot be written.

    Returns:
        One example a photo, in the order of `split.csv`, or sorted by name.

    Raises:
        DataError: No such layout, split or label, or a photo and its mask differ in size.
        ImageError: A photo or a mask cannot be read.
        LabelmeError: A JSON file cannot be used.
    """
    folder = Path(folder)
    readers, fixed = _layout(folder, labels)
    names = list(readers)
    if split is not None:
        parts = _kept_split(folder, names, run) or fixed or _drawn_split(folder, names, seed, run)
        names = [name for name, part in parts.items() if part == split]
    examples = []
    for name in names:
        image, mask = readers[name]()
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{folder / name}: {mask.shape} pixels, its photo has {image.shape[:2]}"
            )
        examples.append(Example(image, mask.astype(np.uint8), focus_of_mask(mask), name))
    return examples


def read_split(path: Path) -> dict[str, str]:
    """Read a `split.csv` with the columns `file` and `split`.

    Raises:
        DataError: The file is missing or has other columns.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    return read_table(path, "split")


# === What a recipe names ===


class PhotoSet(NamedTuple):
    """Labelled photos, and how often each is shown relative to the others, (N,), above 0."""

    examples: tuple[Example, ...]
    weights: NDArray[np.float64]


def gather_photos(
    data: Sequence[Path], folders: Mapping[str, float], split: str, run: Path | None = None
) -> PhotoSet:
    """Read the photos of a split that a recipe's `photos` ask for.

    Folders given by name lie in those of `data`. Of these, one that holds none of the named, but
    photos itself, is taken in their place. `run` is as for `read_examples`.

    Raises:
        DataError: A folder is missing or holds no labelled photos, or no photo is left.
    """
    found = [
        (_shrunk(example), weight)
        for folder, weight in _photo_folders(data, folders).items()
        for example in read_examples(folder, split, run=run)
    ]
    if not found:
        raise DataError(f"no labelled photos of the split {split!r} in {', '.join(folders)}")
    examples, weights = zip(*found, strict=True)
    return PhotoSet(examples, np.array(weights))


def validation_photos(
    data: Sequence[Path], folders: Mapping[str, float], run: Path | None = None
) -> tuple[Example, ...]:
    """Return the validation photos of the first folder that is not left out."""
    first = next(iter(_photo_folders(data, folders)))
    return tuple(map(_shrunk, read_examples(first, "val", run=run)))


def _photo_folders(data: Sequence[Path], folders: Mapping[str, float]) -> dict[Path, float]:
    """Return the folders to read, and how often a photo of each is shown."""
    if own := own_folders(data, folders):
        return dict.fromkeys(own, 1.0)
    return {_find_folder(data, name): weight for name, weight in folders.items() if weight > 0}


def own_folders(data: Sequence[Path], folders: Mapping[str, float]) -> list[Path]:
    """Return the data folders that are photos themselves."""
    named = [name for name, weight in folders.items() if weight > 0]
    return [
        place
        for place in data
        if not any((place / name).is_dir() for name in named) and holds_photos(place)
    ]


def _find_folder(data: Sequence[Path], name: str) -> Path:
    places = [*(place / name for place in data), Path(name)]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise DataError(
            f"no folder {name!r} in {', '.join(map(str, data))}; photos.{name}=0 leaves it out"
        )
    return found


def _shrunk(example: Example) -> Example:
    scale = _LARGEST / max(example.mask.shape)
    if scale >= 1:
        return example
    image = cv2.resize(example.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = image.shape[:2]
    mask = cv2.resize(example.mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    x, y, side = (scale * value for value in example.focus)
    return replace(example, image=image, mask=mask, focus=(x, y, side))


# === Layouts ===

_Reader: TypeAlias = Callable[[], tuple[Pixels, NDArray[np.bool_]]]


def holds_photos(folder: Path) -> bool:
    """Say whether a folder is laid out as one of those that `read_examples` knows."""
    if all((folder / name).is_dir() for name in ("images", "masks")):
        return True
    files = list(walk_files(folder)) if folder.is_dir() else []
    names = {path.name for path in files if path.suffix == ".jpg"}
    return any(
        path.suffix.lower() == ".json"
        or (path.suffix == ".png" and path.with_suffix(".jpg").name in names)
        for path in files
    )


def _layout(
    folder: Path, labels: Sequence[str]
) -> tuple[dict[str, _Reader], dict[str, str] | None]:
    """Return what reads each photo, by name, and the split where the layout has one of its own."""
    images, masked, masks = (folder / name for name in PICTURE_FOLDERS)
    if images.is_dir() and masks.is_dir():
        photos = masked if masked.is_dir() else images
        files = [path.relative_to(photos) for path in find_images(photos, recursive=True)]
        return {
            file.as_posix(): partial(_read_pair, photos / file, masks / file.with_suffix(".png"))
            for file in files
        }, None
    if folder.is_dir() and any(p.suffix.lower() == ".json" for p in walk_files(folder)):
        paths = find_annotations(folder)
        _check_labels(folder, paths, labels)
        return {path.name: partial(_read_annotated, path, labels) for path in paths}, None
    pngs = [path for path in sorted(folder.glob("*.png")) if path.with_suffix(".jpg").is_file()]
    if not pngs:
        raise DataError(
            f"{folder}: has neither images/ and masks/, nor Labelme's JSON files, nor NAME.jpg "
            "with NAME.png"
        )
    numbers = enumerate(pngs)
    fixed = {p.name: "train" if n % _PNG_VALIDATION_EVERY else "val" for n, p in numbers}
    return {path.name: partial(_read_numbered, path) for path in pngs}, fixed


def _read_pair(photo: Path, mask: Path) -> tuple[Pixels, NDArray[np.bool_]]:
    return load_image(photo), load_mask(mask)


def _read_annotated(path: Path, labels: Sequence[str]) -> tuple[Pixels, NDArray[np.bool_]]:
    annotation = read_annotation(path, labels=labels)
    image = read_image(annotation)
    return image, draw_mask(annotation, (image.shape[0], image.shape[1]))


def _read_numbered(path: Path) -> tuple[Pixels, NDArray[np.bool_]]:
    return load_image(path.with_suffix(".jpg")), load_image(path)[..., 0] == _MASK


def _check_labels(folder: Path, paths: Sequence[Path], labels: Sequence[str]) -> None:
    found: Counter[str] = Counter()
    for path in paths:
        found.update(read_annotation(path, labels=()).labels)
    if found and not any(found[label] for label in labels):
        raise DataError(
            f"{folder}: no shape has the label {' or '.join(map(repr, labels))}; labels found: "
            + ", ".join(f"{label!r} ({n})" for label, n in sorted(found.items()))
        )


# === Splits ===


def _kept_split(folder: Path, names: list[str], run: str | Path | None) -> dict[str, str] | None:
    for path in _split_files(folder, run):
        if path.is_file():
            return _matched(read_split(path), folder, names, path)
    return None


def _matched(parts: dict[str, str], folder: Path, names: list[str], path: Path) -> dict[str, str]:
    """Find the photos that a split names."""
    stems = {str(Path(name).with_suffix("")): name for name in names}
    found = {}
    for file, part in parts.items():
        place = path_inside(folder, file, f"{path}: file").relative_to(folder)
        name = stems.pop(str(place.with_suffix("")), None)
        if name is None:
            raise DataError(f"{path}: file: no such photo in {folder}. Received: {file!r}")
        found[name] = part
    if stems:
        some = ", ".join(list(stems.values())[:3])
        raise DataError(
            f"{path}: lacks {len(stems)} of the {len(names)} photos ({some}); add them, with "
            "another split than train and val where they are not to be used, or remove the file"
        )
    return found


def _drawn_split(
    folder: Path, names: list[str], seed: int, run: str | Path | None
) -> dict[str, str]:
    if len(names) < 2:
        raise DataError(f"{folder}: one photo cannot both train and validate")
    by_hash = sorted(names, key=lambda name: number_of(f"{seed}/{name}"))
    chosen = set(by_hash[: max(1, round(_DRAWN_SHARE * len(names)))])
    parts = {name: "val" if name in chosen else "train" for name in names}
    for path in _split_files(folder, run):
        with contextlib.suppress(OSError):  # a folder of data may be for reading only
            write_text_atomic(path, split_text(parts))
            break
    return parts


def _split_files(folder: Path, run: str | Path | None) -> list[Path]:
    own = [folder / SPLIT_FILE]
    return own if run is None else [*own, Path(run) / f"{folder.resolve().name}-{SPLIT_FILE}"]


def focus_of_mask(mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Guess the face square, middle x and y and side, from the worn mask; if empty, all of it."""
    height, width = mask.shape
    box = tight_box(mask)
    if box is None:
        return width / 2, height / 2, float(max(height, width))
    left, top, right, bottom = box
    span = max(right - left, bottom - top)
    # A mask covers about the lower half of a face.
    return (left + right) / 2, top + 0.1 * span, 1.5 * span


class FacePool:
    """Unmasked faces that wear a synthetic mask on demand, with a seed; from disk, each time.

    Raises:
        DataError: A weight is below 0, or none is above.
    """

    def __init__(self, faces: FaceSet, seed: int) -> None:
        if not (faces.weights.min() >= 0 and faces.weights.max() > 0):
            raise DataError(
                "the weights of face folders must be at least 0, and one above. "
                f"Received: {sorted(set(faces.weights.tolist()))}"
            )
        self._records = faces.records
        self._shares = np.cumsum(faces.weights) / faces.weights.sum()
        self._synthesizer = MaskSynthesizer(seed)

    def __len__(self) -> int:
        return len(self._records)

    def draw(self, rng: np.random.Generator) -> int:
        """Return the number of a face, drawn by the weights."""
        return min(int(np.searchsorted(self._shares, rng.random(), "right")), len(self) - 1)

    def plain(self, number: int) -> tuple[Example, NDArray[np.float32]]:
        """Return an unmasked face and its landmarks."""
        record = self._records[number]
        image, landmarks = record.read(), np.asarray(record.landmarks, np.float32)
        scale = _FACE_SIDE / max(image.shape[:2])
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            landmarks = (landmarks + 0.5) * scale - 0.5
        low, high = landmarks.min(0), landmarks.max(0)
        middle, side = (low + high) / 2, 1.25 * float((high - low).max())
        empty = np.zeros(image.shape[:2], np.uint8)
        focus = float(middle[0]), float(middle[1]), side
        return Example(image, empty, focus, record.path.name), landmarks

    def masked(self, number: int, index: int, image: Pixels | None = None) -> Example:
        """Return a face with the synthetic mask of an index, on another `image` of it if given."""
        face, landmarks = self.plain(number)
        worn = self._synthesizer(face.image if image is None else image, landmarks, index)
        return Example(
            worn.image, worn.mask.astype(np.uint8), face.focus, f"{face.name}+{worn.kind}"
        )

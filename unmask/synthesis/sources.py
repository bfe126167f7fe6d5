"""Folders of bare faces: which files there are, and what is known of each."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import landmark_archive, read_face_folder
from unmask.errors import DataError, SettingError
from unmask.image import IMAGE_SUFFIXES
from unmask.paths import path_inside, walk_files

SETTINGS_FILE = "synthesis.json"
"""Lies in every folder that `unmask synthesize` fills: what is below is a result, not a source."""

PICTURE_FOLDERS = ("images", "masked", "masks")
"""Where the bare faces, the masked ones and the masks come to lie in such a folder."""

_LANDMARK_FILE = "landmarks.csv"
_CELEBA_ATTRIBUTES = "list_attr_celeba.txt"
_CELEBA_PARTITION = "list_eval_partition.txt"
# Where the aligned images may lie: below the tables, or beside them.
_CELEBA_IMAGES = ("img_align_celeba", "Img/img_align_celeba", ".")
_CELEBA_GENDERS = {"1": "male", "-1": "female"}
_CELEBA_SPLITS = {"0": "train", "1": "val", "2": "test"}
# [age]_[gender]_[race]_[date and time].jpg, as UTKFace's authors describe it.
_UTKFACE_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+")
_FFHQ_NAME = re.compile(r"\d{5}")
# The authors of FFHQ train on the first 60,000 and validate on the others.
_FFHQ_TRAIN = 60_000
# A folder has a layout when this share of its names says so; the other files still join.
_MOST = 0.9


@dataclass(frozen=True)
class Framing:
    """Where the face lies in every picture of a collection: about the canonical crop."""

    x: float  # middle of the crop, in picture widths
    y: float  # middle of the crop, in picture heights
    side: float  # in picture widths


FRAMINGS: Mapping[str, Framing] = {
    # FFHQ's pictures are the canonical crop.
    "ffhq": Framing(0.5, 0.5, 1.0),
    # From the collection's mean eyes (69.5 and 108, 111) and mouth (152) in 178 x 218 pixels.
    "celeba": Framing(0.497, 0.530, 0.86),
    # Measured on 4,650 of its "aligned and cropped" faces.
    "utkface": Framing(0.495, 0.341, 1.54),
}
"""How well-known collections frame a face."""


@dataclass(frozen=True, eq=False)
class SourceFace:
    """One face to be masked, and what is known of it.

    Attributes:
        file: Its name, a relative path with forward slashes.
        path: Its image.
        landmarks: (98, 2) or (68, 2) in pixels of the image; None where they are to be found.
        framing: Where the face is, if the collection says so.
        gender: "male", "female" or None.
        split: "train", "val", "test" or None.
        age: In years, or None.
        race: UTKFace's code, or None.
        source: Name of the collection, or None.
    """

    file: str
    path: Path
    landmarks: NDArray[np.float32] | None = field(default=None, repr=False)
    framing: Framing | None = None
    gender: str | None = None
    split: str | None = None
    age: int | None = None
    race: int | None = None
    source: str | None = None


def read_source(
    folder: str | Path, layout: str = "auto", *, destination: str | Path | None = None
) -> list[SourceFace]:
    """List the faces of a folder; folders below that `unmask synthesize` filled are passed over.

    Args:
        folder: The folder; see `LAYOUTS` for what it may hold.
        layout: One of `LAYOUTS`, or "auto" to tell by the files.

            - "table": images with `landmarks.csv` (columns `file`, `x0`, `y0`, ..., for 98 or 68
              points; further columns are ignored);
            - "faces": a face folder as in `unmask.data.faces.read_face_folder`;
            - "celeba": `list_attr_celeba.txt` (column `Male`), `list_eval_partition.txt` where
              there is one, and the aligned images beside them or in `img_align_celeba/`;
            - "utkface": names `AGE_GENDER_RACE_DATE.jpg`, at any depth;
            - "ffhq": names of five digits, at any depth, aligned as published;
            - "images": any images, at any depth.
        destination: Folder that results will go to: passed over as well.

    Returns:
        The faces, sorted by name, or in the order of the table.

    Raises:
        DataError: Nothing is there, results would come to lie among the sources, or a table is
            wrong; the message names file, line and column.
        SettingError: The layout is unknown.
    """
    folder = Path(folder)
    if layout != "auto" and layout not in LAYOUTS:
        raise SettingError(
            f"layout must be 'auto' or one of {tuple(LAYOUTS)}. Received: layout={layout!r}"
        )
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder")
    if destination is not None:
        for filled in (Path(destination), *(Path(destination, name) for name in PICTURE_FOLDERS)):
            if os.path.realpath(filled) == os.path.realpath(folder):
                raise DataError(f"{destination}: results would lie among the faces of {folder}")
    source = _Source(folder, destination)
    faces = list(LAYOUTS[_recognise(source) if layout == "auto" else layout](source))
    if not faces:
        raise DataError(f"{folder}: holds no images")
    return faces


def number_of(file: str) -> int:
    """Return a number between 0 and 2^64 - 1 that belongs to a file's relative name.

    Example:
        >>> number_of("00000.png")
        4663615162190967604
    """
    return int.from_bytes(hashlib.sha256(file.encode("utf-8")).digest()[:8], "big")


@dataclass(frozen=True)
class _Source:
    folder: Path
    destination: str | Path | None

    @cached_property
    def images(self) -> list[tuple[str, Path]]:
        """The images at any depth, results left out: relative names and paths."""
        left_out = () if self.destination is None else (self.destination,)
        try:
            found = list(walk_files(self.folder, recursive=True, leave_out=left_out))
        except OSError as error:
            raise DataError(f"{self.folder}: cannot be listed ({error})") from error
        results = {path.parent for path in found if path.name == SETTINGS_FILE} - {self.folder}
        return [
            (path.relative_to(self.folder).as_posix(), path)
            for path in found
            if path.suffix.lower() in IMAGE_SUFFIXES and results.isdisjoint(path.parents)
        ]


def _recognise(source: _Source) -> str:
    folder = source.folder
    if (folder / _LANDMARK_FILE).is_file():
        return "table"
    if landmark_archive(folder) is not None:
        return "faces"
    if (folder / _CELEBA_ATTRIBUTES).is_file():
        return "celeba"
    stems = [path.stem for _, path in source.images]
    for layout, pattern in (("utkface", _UTKFACE_NAME), ("ffhq", _FFHQ_NAME)):
        # UTKFace's names have further endings, such as ".chip".
        fitting = sum(pattern.fullmatch(stem.split(".")[0]) is not None for stem in stems)
        if stems and fitting >= _MOST * len(stems):
            return layout
    return "images"


# === Layouts ===


def _read_images(source: _Source) -> Iterator[SourceFace]:
    return (SourceFace(file, path) for file, path in source.images)


def _read_ffhq(source: _Source) -> Iterator[SourceFace]:
    for face in _read_images(source):
        split = None
        if _FFHQ_NAME.fullmatch(face.path.stem):
            split = "train" if int(face.path.stem) < _FFHQ_TRAIN else "val"
        yield replace(face, framing=FRAMINGS["ffhq"], split=split, source="ffhq")


def _read_utkface(source: _Source) -> Iterator[SourceFace]:
    for face in _read_images(source):
        face = replace(face, framing=FRAMINGS["utkface"], source="utkface")
        if named := _UTKFACE_NAME.match(face.path.stem):
            age, gender, race = map(int, named.groups())
            face = replace(face, gender=("male", "female")[gender], age=age, race=race)
        yield face


def _read_celeba(source: _Source) -> list[SourceFace]:
    folder, attributes = source.folder, source.folder / _CELEBA_ATTRIBUTES
    lines = _lines(attributes)
    header = lines[1].split() if len(lines) > 1 else []
    if "Male" not in header:
        raise DataError(f"{attributes}: line 2: column Male is missing")
    column = header.index("Male") + 1
    images = next(folder / name for name in _CELEBA_IMAGES if (folder / name).is_dir())
    splits = _celeba_splits(folder / _CELEBA_PARTITION)
    faces, framing = [], FRAMINGS["celeba"]
    for number, line in enumerate(lines[2:], 3):
        words, where = line.split(), f"{attributes}: line {number}"
        if len(words) != len(header) + 1 or words[column] not in _CELEBA_GENDERS:
            raise DataError(
                f"{where}: must be a file name and {len(header)} values of 1 or -1. "
                f"Received: {line!r}"
            )
        path = path_inside(images, words[0], f"{where}: file")
        file, gender = path.relative_to(images).as_posix(), _CELEBA_GENDERS[words[column]]
        split = splits.get(words[0])
        faces.append(SourceFace(file, path, None, framing, gender, split, source="celeba"))
    return sorted(faces, key=lambda face: face.file)


def _celeba_splits(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    splits = {}
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if len(words) != 2 or words[1] not in _CELEBA_SPLITS:
            raise DataError(
                f"{path}: line {number}: must be a file name and 0, 1 or 2. Received: {line!r}"
            )
        splits[words[0]] = _CELEBA_SPLITS[words[1]]
    return splits


def _read_face_folder(source: _Source) -> Iterator[SourceFace]:
    for r in read_face_folder(source.folder):
        file, known = r.path.relative_to(source.folder).as_posix(), (r.age, r.race, r.source)
        yield SourceFace(file, r.path, r.landmarks, None, r.gender, r.split, *known)


def _read_table(source: _Source) -> Iterator[SourceFace]:
    folder, table = source.folder, source.folder / _LANDMARK_FILE
    reader = csv.DictReader(_lines(table))
    columns = reader.fieldnames or []
    # 68 points only where no column says that there are more.
    more = any(name[1:].isdigit() and int(name[1:]) >= 68 for name in columns)
    wanted = [f"{axis}{i}" for i in range(98 if more else 68) for axis in "xy"]
    missing = [name for name in ("file", *wanted) if name not in columns]
    if missing:
        raise DataError(f"{table}: line 1: column {missing[0]} is missing")
    for row in reader:
        where = f"{table}: line {reader.line_num}"
        path = path_inside(folder, row["file"], f"{where}: file")
        points = [_number(row[name], f"{where}, {name}") for name in wanted]
        landmarks = np.array(points, np.float32).reshape(-1, 2)
        yield SourceFace(path.relative_to(folder).as_posix(), path, landmarks)


LAYOUTS: Mapping[str, Callable[[_Source], Iterable[SourceFace]]] = {
    "table": _read_table,
    "faces": _read_face_folder,
    "celeba": _read_celeba,
    "utkface": _read_utkface,
    "ffhq": _read_ffhq,
    "images": _read_images,
}
"""Readers by layout."""


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _number(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"{where}: must be a finite number. Received: {text!r}")
    return value

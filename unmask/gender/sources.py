"""Where labelled faces come from: face folders, the authors' folders, a table, or arrays."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord, read_face_folder
from unmask.errors import DataError
from unmask.gender.files import load_gender
from unmask.gender.naming import name_genders
from unmask.image import find_images
from unmask.paths import path_inside

GENDERS = ("female", "male")
_AUTHORS_SPLITS = {"train": "Training", "val": "Validation"}
# Of 247 labelled bare faces in wide framing that the first shipped weights were so sure of, 246
# were named as labelled; all but 22 of them had trained those weights.
_SURE = 0.9
_NO_LANDMARKS = np.zeros((0, 2), np.float32)


def read_faces(
    sources: Sequence[str | os.PathLike[str]],
    split: str,
    *,
    names: str | os.PathLike[str] | None = None,
) -> list[FaceRecord]:
    """Read the faces with a known gender.

    Args:
        sources: Each one of: a folder in the layout of `unmask.data.faces.read_face_folder`;
            a folder in the layout of the authors' data set (`read_class_folders`); a `.csv` file
            (`read_table`).
        split: "train" or "val".
        names: File of a gender network for the faces with landmarks but without a label: those
            whose bare looks it is 90 % sure of count too.

    Returns:
        The records, source after source. Those of the authors' layout and of a table have no
        landmarks: they are used as they are framed, and no mask can be drawn on them.

    Raises:
        DataError: No source has a face with a known gender in this split, or one is unreadable.
        WeightsError: `names` is missing or no gender network.
    """
    found = [record for source in sources for record in _read(Path(source), split)]
    if names is not None:
        found = _named(found, names)
    records = [record for record in found if record.gender in GENDERS]
    if not records:
        names = ", ".join(str(source) for source in sources)
        raise DataError(f"no face with a known gender in split {split!r} of {names}")
    return records


def read_class_folders(folder: str | os.PathLike[str], split: str) -> list[FaceRecord]:
    """Read `Training/{female,male}` or `Validation/{female,male}`, the authors' layout.

    Args:
        folder: The folder that holds `Training` and `Validation`.
        split: "train" or "val".

    Returns:
        The records, women first, each sorted by name.

    Raises:
        DataError: A folder is missing.
    """
    place = Path(folder) / _AUTHORS_SPLITS[split]
    records = []
    for gender in GENDERS:
        if not (place / gender).is_dir():
            raise DataError(f"{place / gender}: no such folder")
        paths = find_images([place / gender])
        records += [FaceRecord(path, _NO_LANDMARKS, split, gender) for path in paths]
    return records


def read_table(path: str | os.PathLike[str], split: str) -> list[FaceRecord]:
    """Read a CSV file with the columns `file` and `gender`, and optionally `split`.

    Args:
        path: The table; files are relative to its folder.
        split: Keep this split; without the column, all faces are "train".

    Returns:
        The records in the order of the table.

    Raises:
        DataError: The table cannot be read, lacks a column, has a gender other than "female",
            "male" or "", or a file that does not lie in its folder.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            missing = {"file", "gender"} - set(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if missing:
        raise DataError(f"{path}: has no column {sorted(missing)[0]!r}")
    files = []
    for number, row in enumerate(rows, start=2):
        files.append(path_inside(path.parent, row["file"], f"{path}: line {number}: file"))
        if row["gender"] not in (*GENDERS, "", None):
            raise DataError(
                f"{path}: line {number}: gender: must be one of {GENDERS} or empty. "
                f"Received: {row['gender']!r}"
            )
    return [
        FaceRecord(file, _NO_LANDMARKS, split, row["gender"])
        for file, row in zip(files, rows, strict=True)
        if (row.get("split") or "train") == split
    ]


def lacks_landmarks(source: str | os.PathLike[str]) -> bool:
    """Tell whether a source is a table or has the authors' layout: no masks can be drawn there."""
    path = Path(source)
    return path.suffix.lower() == ".csv" or (path / _AUTHORS_SPLITS["train"]).is_dir()


def has_landmarks(records: Sequence[FaceRecord]) -> bool:
    """Tell whether masks can be drawn on all of these faces."""
    return all(len(record.landmarks) for record in records)


def labels_of(records: Sequence[FaceRecord]) -> NDArray[np.float32]:
    """Return 1 for male and 0 for female, (N,) float32, as the paper counts them."""
    return np.array([record.gender == "male" for record in records], np.float32)


def _named(records: Sequence[FaceRecord], weights: str | os.PathLike[str]) -> list[FaceRecord]:
    alignable = [record for record in records if len(record.landmarks)]
    named = iter(name_genders(alignable, load_gender(weights), least=_SURE))
    return [next(named) if len(record.landmarks) else record for record in records]


def _read(source: Path, split: str) -> list[FaceRecord]:
    if source.suffix.lower() == ".csv":
        return read_table(source, split)
    if (source / _AUTHORS_SPLITS["train"]).is_dir():
        return read_class_folders(source, split)
    return read_face_folder(source, split=split)

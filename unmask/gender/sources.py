"""Where labelled faces come from: face folders, the authors' folders, a table, or arrays."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from unmask.data.faces import FaceRecord, FaceSet, gather_faces
from unmask.errors import DataError
from unmask.gender.files import load_gender
from unmask.gender.naming import name_genders
from unmask.image import find_images
from unmask.paths import path_inside
from unmask.presets import GENDERS

_AUTHORS_SPLITS = {"train": "Training", "val": "Validation"}
# Of 247 labelled bare faces in wide framing that the first shipped weights were so sure of, 246
# were named as labelled; all but 22 of them had trained those weights.
_SURE = 0.9
_NO_LANDMARKS = np.zeros((0, 2), np.float32)


def read_faces(
    data: Sequence[Path],
    folders: Mapping[str, float],
    split: str,
    *,
    pseudo_labels: Path | None = None,
) -> FaceSet:
    """Read the faces with a known gender.

    Args:
        data: As for `unmask.data.faces.gather_faces`; also a folder in the layout of the authors'
            data set (`read_class_folders`), or a `.csv` file (`read_table`).
        folders: As for `gather_faces`.
        split: "train" or "val".
        pseudo_labels: File of a gender network for the faces with landmarks but without a label:
            those whose bare looks it is 90 % sure of count too.

    Returns:
        The faces. Those of the authors' layout and of a table have no landmarks: they are used as
        they are framed, and no mask can be drawn on them.

    Raises:
        DataError: Nothing has a face of either gender in this split, or something is unreadable.
        WeightsError: `pseudo_labels` is missing or no gender network.
    """
    faces = gather_faces(data, folders, split=split, readers=(_authors_layout, _table))
    if pseudo_labels is not None:
        faces = replace(faces, records=tuple(_named(faces.records, pseudo_labels)))
    faces = faces.only(np.array([record.gender in GENDERS for record in faces.records]))
    for gender in GENDERS:
        if all(record.gender != gender for record in faces.records):
            places = ", ".join(map(str, data))
            raise DataError(f"no face of the gender {gender!r} in the split {split!r} of {places}")
    return faces


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


def _named(records: Sequence[FaceRecord], weights: str | os.PathLike[str]) -> list[FaceRecord]:
    alignable = [record for record in records if len(record.landmarks)]
    named = iter(name_genders(alignable, load_gender(weights), least=_SURE))
    return [next(named) if len(record.landmarks) else record for record in records]


def _authors_layout(place: Path, split: str | None) -> list[FaceRecord] | None:
    if not (place / _AUTHORS_SPLITS["train"]).is_dir():
        return None
    return read_class_folders(place, split) if split in _AUTHORS_SPLITS else []


def _table(place: Path, split: str | None) -> list[FaceRecord] | None:
    is_table = place.suffix.lower() == ".csv" and place.is_file()
    return read_table(place, split or "train") if is_table else None

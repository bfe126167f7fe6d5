"""Which photos train and which validate, so that nobody is on both sides."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath

import numpy as np

from unmask.errors import DataError
from unmask.image import IMAGE_SUFFIXES
from unmask.io import PathLike
from unmask.tables import csv_text

SPLIT_FILE = "split.csv"
"""Beside labelled photos: what each is for."""


def draw_split(groups: Mapping[str, str], share: float, seed: int = 0) -> dict[str, str]:
    """Choose what validates, whole groups at a time.

    Args:
        groups: Whom or what each photo belongs to, by its name.
        share: Which share of the photos should validate, 0 to 1; as near as the groups allow, and
            at least one group a side.
        seed: Of the choice.

    Returns:
        "train" or "val" for each name.

    Raises:
        DataError: All photos belong together.

    Example:
        >>> draw_split({"a1": "anna", "a2": "anna", "b1": "ben"}, 0.3)
        {'a1': 'train', 'a2': 'train', 'b1': 'val'}
    """
    sizes = Counter(groups.values())
    if len(sizes) < 2:
        raise DataError(
            "photos of one folder or person stay together, and one group cannot both train and "
            "validate: give each person a folder, with --recursive, or name them with --persons. "
            f"Received: {', '.join(sizes) or 'none'}"
        )
    order = np.random.default_rng(seed).permutation(sorted(sizes)).tolist()
    chosen: set[str] = set()
    wanted, count = share * len(groups), 0
    for group in order:
        # A group goes where it leaves the count nearer to what is wanted.
        nearer = count + sizes[group] / 2 <= wanted
        if nearer and len(chosen) < len(order) - 1:
            chosen.add(group)
            count += sizes[group]
    chosen = chosen or {min(order, key=lambda group: sizes[group])}
    return {name: "val" if group in chosen else "train" for name, group in groups.items()}


def groups_of(names: Iterable[str], persons: PathLike | None = None) -> dict[str, str]:
    """Return what photos, named by relative paths, belong to: their folders, or a table's persons.

    The table is a CSV file with the columns file and person; its files may have the suffix of an
    image or `.json`, or none.

    Raises:
        DataError: The table cannot be read, or lacks a photo.
    """
    if persons is None:
        return {name: PurePath(name).parent.as_posix() for name in names}
    table = _read_persons(Path(persons))
    found = {name: table.get(name, "") for name in names}
    lacking = [name for name, person in found.items() if not person]
    if lacking:
        raise DataError(
            f"{persons}: file: lacks {len(lacking)} of the {len(found)} photos "
            f"({', '.join(lacking[:3])})"
        )
    return found


def split_text(parts: Mapping[str, str]) -> str:
    """Return a `split.csv`, which trainings read."""
    return csv_text([("file", "split"), *parts.items()])


def read_table(path: Path, column: str) -> dict[str, str]:
    """Read a CSV file with the columns `file` and another.

    Raises:
        DataError: It cannot be read, or has other columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = [row for row in csv.reader(handle) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not rows or rows[0] != ["file", column] or any(len(row) != 2 for row in rows):
        raise DataError(f"{path}: expected the columns file,{column}. Received: {rows[:1]}")
    return dict(rows[1:])


def _read_persons(path: Path) -> dict[str, str]:
    whole, stems = {}, {}
    for file, person in read_table(path, "person").items():
        name = PurePath(file.replace("\\", "/"))
        whole[name.as_posix()] = person
        if name.suffix.lower() in (*IMAGE_SUFFIXES, ".json"):
            stems[name.with_suffix("").as_posix()] = person
    return stems | whole

"""Folders of single faces with landmarks: the training material of every stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.data.pack import find_packs, read_pack
from unmask.data.record import FaceRecord, FaceSet
from unmask.errors import DataError
from unmask.npz import read_npz
from unmask.paths import path_inside
from unmask.tables import read_csv

MAX_SPREAD = 0.006
"""Landmarks of a larger spread are unreliable, see `read_face_folder`."""

TEST_SOURCES = frozenset({"300w-helen"})
"""Photos of this source may be among the test photos of `landmarks_300w`."""

Reader = Callable[[Path, str | None], list[FaceRecord] | None]
"""From a path and a split to the faces of a layout of its own; None for other layouts."""


def read_face_folder(folder: str | Path, *, split: str | None = None) -> list[FaceRecord]:
    """Read a folder of face images with `landmarks98.npz` or `landmarks68.npz`.

    The archive holds `files` (N,) and `landmarks98` (N, 98, 2) or `landmarks68` (N, 68, 2), and
    optionally `split` (N,) and `spread` (N,), how far several predictions of a face's points lie
    apart: faces with more than `MAX_SPREAD` are left out. A `labels.csv` beside it may give
    `split`, `gender`, `age`, `race` and `source` by `file`.

    Args:
        folder: The folder.
        split: Keep only this split; all when None.

    Returns:
        The records, in the order of the archive.

    Raises:
        DataError: The archive is missing, unreadable or inconsistent, names a file outside the
            folder, or a label is no number.
    """
    folder = Path(folder)
    archive = landmark_archive(folder)
    if archive is None:
        raise DataError(f"{folder}: neither landmarks98.npz nor landmarks68.npz found")
    files, landmarks, splits, reliable = _read_archive(archive)
    labels = _read_labels(folder / "labels.csv")
    records = [
        _record(
            path_inside(folder, name, f"{archive}: files[{i}]"),
            points,
            labels.get(name, {}),
            splits[i] if splits else None,
            f"{folder / 'labels.csv'}: {name}",
        )
        for i, (name, points) in enumerate(zip(files, landmarks, strict=True))
        if reliable[i]
    ]
    return [record for record in records if split is None or record.split == split]


def face_folder_files(folder: str | Path) -> list[Path]:
    """List what a face folder consists of: the archive, the labels if there are any, the images.

    Raises:
        DataError: See `read_face_folder`.
    """
    folder = Path(folder)
    images = [record.path for record in read_face_folder(folder)]
    return [
        *(p for p in (landmark_archive(folder), folder / "labels.csv") if p is not None),
        *images,
    ]


def gather_faces(
    data: Sequence[Path],
    folders: Mapping[str, float],
    *,
    split: str | None = None,
    readers: Sequence[Reader] = (),
) -> FaceSet:
    """Read the faces that a recipe asks for from wherever they are.

    Args:
        data: Face folders, packed files, or folders that hold such folders.
        folders: Names of the collections, and how often a face of each is shown relative to the
            others. A face folder or packed file that is named itself in `data` counts once where
            its collections are not among them.
        split: "train", "val" or "test"; all when None.
        readers: For collections that are no face folders, such as published data sets.

    Raises:
        DataError: A path does not exist or holds no face folder, or no face is left.
    """
    records: list[FaceRecord] = []
    weights: list[float] = []

    def add(found: Sequence[FaceRecord], weight: float) -> None:
        if weight > 0:
            records.extend(found)
            weights.extend([weight] * len(found))

    for name, weight in folders.items():
        if not weight >= 0:
            raise DataError(f"faces.{name} must be 0 or more. Received: {weight}")

    for place in map(Path, data):
        own = _read_place(place, split, readers)
        if own is not None:
            add(own, folders.get(place.name, 1.0))
            continue
        packs = find_packs(place)
        for pack in packs:
            for name, found in read_pack(pack, split=split).items():
                add(found, folders.get(name, 1.0))
        if packs:
            continue
        inside = {name: _read_place(place / name, split, readers) for name in folders}
        if all(found is None for found in inside.values()):
            raise DataError(
                f"{place}: neither a face folder nor a folder with {', '.join(folders) or 'one'}"
            )
        for name, some in inside.items():
            add(some or (), folders[name])
    if not records:
        raise DataError(f"no faces of the split {split!r} in {', '.join(map(str, data))}")
    return FaceSet(tuple(records), np.array(weights))


def without_test_photos(faces: FaceSet) -> FaceSet:
    """Leave out the faces whose photos may be among the test photos of `landmarks_300w`.

    For trainings of what is measured on these.
    """
    return faces.only(np.array([record.source not in TEST_SOURCES for record in faces.records]))


def face_folders(data: Sequence[Path]) -> list[Path]:
    """Return the face folders that some paths are or hold, sorted by path."""
    places = [f for place in map(Path, data) for f in (place, *place.glob("*"))]
    return sorted({folder for folder in places if landmark_archive(folder)})


def find_collections(data: Sequence[Path]) -> list[str]:
    """Return their names, see `face_folders`, sorted."""
    return sorted({folder.name for folder in face_folders(data)})


def _read_place(
    place: Path, split: str | None, readers: Sequence[Reader]
) -> list[FaceRecord] | None:
    if landmark_archive(place) is not None:
        return read_face_folder(place, split=split)
    return next((found for read in readers if (found := read(place, split)) is not None), None)


def landmark_archive(folder: Path) -> Path | None:
    """Return the landmarks of a face folder, those of 98 points first; None of any other."""
    archives = [folder / f"landmarks{n}.npz" for n in (98, 68)]
    return next((path for path in archives if path.is_file()), None)


def _read_archive(
    path: Path,
) -> tuple[list[str], NDArray[np.float32], list[str] | None, NDArray[np.bool_]]:
    try:
        content = read_npz(path)
        files = [str(name) for name in content["files"]]
        landmarks = content[path.stem].astype(np.float32)
        splits = [str(s) for s in content["split"]] if "split" in content else None
        spread = content.get("spread", np.zeros(len(files)))
    except (KeyError, ValueError, OSError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    points = int(path.stem.removeprefix("landmarks"))
    if landmarks.shape[1:] != (points, 2):
        raise DataError(f"{path}: {path.stem} has shape {landmarks.shape}, not (N, {points}, 2)")
    if len(files) != len(landmarks):
        raise DataError(f"{path}: {len(files)} files but {len(landmarks)} landmark sets")
    if splits is not None and len(splits) != len(files):
        raise DataError(f"{path}: {len(files)} files but {len(splits)} splits")
    if spread.shape != (len(files),):
        raise DataError(f"{path}: {len(files)} files but spread has shape {spread.shape}")
    return files, landmarks, splits, spread <= MAX_SPREAD


def _read_labels(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    return {row["file"]: row for row in read_csv(path, ["file"])}


def _record(
    path: Path, points: NDArray[np.float32], row: dict[str, str], split: str | None, where: str
) -> FaceRecord:
    def integer(key: str) -> int | None:
        text = row.get(key)
        try:
            return int(text) if text else None
        except ValueError:
            raise DataError(f"{where}: {key}: not a whole number. Received: {text!r}") from None

    return FaceRecord(
        path=path,
        landmarks=points,
        split=split or row.get("split") or "train",
        gender=row.get("gender") or None,
        age=integer("age"),
        race=integer("race"),
        source=row.get("source") or None,
    )

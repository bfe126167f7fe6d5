"""Packed faces: canonical crops with all that is known of them, in a few files that travel well.

A packed file is an uncompressed zip archive: a WebP image a face, `faces.npz` with the landmarks
and the photo's corners, `labels.csv` with the rest. Parts are limited in size.
"""

from __future__ import annotations

import csv
import io
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unmask.data.record import FaceRecord, PackedImage, load_canonical
from unmask.errors import DataError
from unmask.face import canonical_matrix, transform_points
from unmask.image import load_image
from unmask.io import atomic_path
from unmask.npz import read_npz
from unmask.paths import check_outputs, path_inside
from unmask.tables import csv_text

PART_BYTES = 48_000_000
_COLUMNS = ("file", "collection", "split", "gender", "age", "race", "source")
_QUALITY = 85
_LOCAL_HEADER = struct.Struct("<26xHH")  # lengths of the name and of what follows it


def pack_faces(records: Sequence[FaceRecord], out: Path) -> list[Path]:
    """Write faces as canonical 256 x 256 crops into `out/faces-000.zip`, `faces-001.zip`, ...

    Raises:
        DataError: A face is packed already, its files cannot be used, or a part would replace one.
    """
    if packed := next((record.packed for record in records if record.packed), None):
        raise DataError(f"{packed.file}: is packed already")
    sources = (record.path for record in records)
    check_outputs([out / "faces-000.zip", *find_packs(out)], sources)
    parts: list[Path] = []
    rest = list(records)
    while rest:
        path = out / f"faces-{len(parts):03d}.zip"
        rest = rest[_write_part(rest, path) :]
        parts.append(path)
    return parts


def find_packs(place: Path) -> list[Path]:
    """Return the packed files that a path means: itself, or those in a folder; none if others."""
    if place.is_file():
        return [place]
    return sorted(place.glob("faces-*.zip")) if place.is_dir() else []


def read_pack(path: Path, *, split: str | None = None) -> dict[str, list[FaceRecord]]:
    """Read what a file of `pack_faces` holds but for the pixels: the faces of each collection.

    `split` keeps those of one split only.

    Raises:
        DataError: It is not such a file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            places = _places(path, archive)
            rows = list(csv.DictReader(io.TextIOWrapper(archive.open("labels.csv"), "utf-8")))
            content = read_npz(io.BytesIO(archive.read("faces.npz")))
            landmarks, corners = content["landmarks"], content["corners"]
        found: dict[str, list[FaceRecord]] = {}
        for row, points, quad in zip(rows, landmarks, corners, strict=True):
            if split in (None, row["split"]):
                start, length = places[row["file"]]
                image = PackedImage(path, start, length, tuple(map(tuple, quad.tolist())))
                found.setdefault(row["collection"], []).append(
                    FaceRecord(
                        path=path_inside(path, row["file"], f"{path}: labels.csv: file"),
                        landmarks=points if np.isfinite(points).all() else points[:68],
                        split=row["split"],
                        gender=row["gender"] or None,
                        age=int(row["age"]) if row["age"] else None,
                        race=int(row["race"]) if row["race"] else None,
                        source=row["source"] or None,
                        packed=image,
                    )
                )
        return found
    except Exception as error:  # zip, csv and struct have errors of their own classes
        raise DataError(f"{path}: not a file of packed faces ({error!r})") from error


def _write_part(records: Sequence[FaceRecord], path: Path) -> int:
    """Write as many faces as fit, and return how many did."""
    rows: list[list[object]] = []
    points, corners = [], []
    size = 0
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for number, record in enumerate(records):
            face = load_canonical(record)
            content = _encoded(face.image)
            size += len(content) + 1500  # landmarks, corners and the archive's own entries
            if size > PART_BYTES and rows:
                break
            name = f"{number:05d}.webp"
            archive.writestr(name, content)
            known = record.gender, record.age, record.race, record.source
            rows.append([name, record.path.parent.name, record.split, *known])
            missing = 98 - len(face.landmarks)
            points.append(np.pad(face.landmarks, ((0, missing), (0, 0)), constant_values=np.nan))
            corners.append(_corners(record))
        archive.writestr("labels.csv", csv_text([_COLUMNS, *rows]))
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, landmarks=np.stack(points), corners=np.stack(corners), allow_pickle=False
        )
        archive.writestr("faces.npz", buffer.getvalue())
    return len(rows)


def _encoded(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=_QUALITY, method=4)
    return buffer.getvalue()


def _corners(record: FaceRecord) -> NDArray[np.float32]:
    height, width = load_image(record.path).shape[:2]
    box = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float32)
    corners = transform_points(box, canonical_matrix(record.landmarks))
    # OpenCV's integers are small. Corners that were cut nearer would turn the photo's edges.
    return np.clip(corners, -30_000, 30_000)


def _places(path: Path, archive: zipfile.ZipFile) -> dict[str, tuple[int, int]]:
    """Return where each image's bytes begin, and how many they are."""
    places = {}
    with path.open("rb") as handle:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{entry.filename} is compressed")
            handle.seek(entry.header_offset)
            name, extra = _LOCAL_HEADER.unpack(handle.read(_LOCAL_HEADER.size))
            start = entry.header_offset + _LOCAL_HEADER.size + name + extra
            places[entry.filename] = start, entry.file_size
    return places

"""The published annotation files of WFLW and of 300-W."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord
from unmask.errors import DataError
from unmask.paths import path_inside

WFLW_ATTRIBUTES = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")
"""The six flags of WFLW's lists, in their order; each makes a subset of the test faces."""

_COORDINATES = 2 * 98
_FIELDS = _COORDINATES + 4 + len(WFLW_ATTRIBUTES) + 1
_IMAGE_SUFFIXES = (".jpg", ".png", ".jpeg")


@dataclass(frozen=True, eq=False)
class WflwFace:
    """One line of a WFLW list.

    Attributes:
        record: Image and 98 hand-made points.
        box: Face box x0, y0, x1, y1 in pixels.
        attributes: Those of :data:`WFLW_ATTRIBUTES` that the face has.
    """

    record: FaceRecord
    box: tuple[float, float, float, float]
    attributes: frozenset[str]


def read_wflw(
    path: str | os.PathLike[str], images: str | os.PathLike[str], *, split: str = "test"
) -> list[WflwFace]:
    """Read a list of WFLW, ``list_98pt_rect_attr_train.txt`` or ``..._test.txt``.

    Every line has 196 coordinates, the box, six flags and the name of the image.

    Args:
        path: The list.
        images: Folder that the names start from, ``WFLW_images``.
        split: What the records' ``split`` becomes.

    Returns:
        The faces in the list's order. The images are not opened.

    Raises:
        DataError: The list is missing, or a line has another number of fields, no numbers, or an
            image outside the folder.

    Example:
        >>> faces = read_wflw("list_98pt_rect_attr_test.txt", "WFLW_images")  # doctest: +SKIP
        >>> sum("occlusion" in face.attributes for face in faces)  # doctest: +SKIP
        736

    Reference:
        Wu et al., "Look at Boundary: A Boundary-Aware Face Alignment Algorithm", CVPR 2018.
    """
    folder = Path(images)
    lines = _read_text(Path(path)).splitlines()
    return [
        _wflw_face(line.split(), folder, split, f"{path}: line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def read_pts(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    r"""Read a ``.pts`` file of 300-W.

    Args:
        path: The file.

    Returns:
        (N, 2) float32, (x, y) with pixel centres at integers: the file counts pixels from 1.

    Raises:
        DataError: The file is missing, or not a list of ``n_points`` points between braces.

    Example:
        >>> from unmask.io import write_text_atomic
        >>> text = "version: 1\nn_points: 2\n{\n1.0 1.0\n3.5 8.0\n}\n"
        >>> write_text_atomic("out/face.pts", text)
        >>> read_pts("out/face.pts").tolist()
        [[0.0, 0.0], [2.5, 7.0]]

    Reference:
        Sagonas et al., "300 Faces in-the-Wild Challenge", ICCV workshops 2013.
    """
    text = _read_text(Path(path))
    header, brace, rest = text.partition("{")
    body, closing, _ = rest.partition("}")
    try:
        values = np.array(body.split(), np.float32).reshape(-1, 2)
        fields = dict(line.split(":", 1) for line in header.splitlines() if ":" in line)
        count = int(fields["n_points"])
    except (ValueError, KeyError) as error:
        raise DataError(f"{path}: not a .pts file ({error})") from error
    if not brace or not closing or count != len(values):
        raise DataError(f"{path}: n_points is {count}, but {len(values)} points between the braces")
    return values - np.float32(1)


def read_300w(folder: str | os.PathLike[str], *, split: str | None = None) -> list[FaceRecord]:
    """Read the images of 300-W, or of another collection with a ``.pts`` file beside each.

    Args:
        folder: Searched with its subfolders. What lies in a ``testset`` or in ``ibug`` belongs to
            the split "test", all else to "train", as is usual for 300-W.
        split: Keep only this split; all when None.

    Returns:
        The records in the order of their paths; ``.pts`` files without an image are left out.

    Raises:
        DataError: There is no such folder, or a ``.pts`` file does not have 68 points.

    Example:
        >>> records = read_300w("300w", split="test")  # doctest: +SKIP
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    records = []
    for path in sorted(folder.rglob("*.pts")):
        parts = path.relative_to(folder).parts[:-1]
        own = "test" if {"testset", "ibug"} & set(parts) else "train"
        image = next((p for s in _IMAGE_SUFFIXES if (p := path.with_suffix(s)).is_file()), None)
        if image is None or split not in (None, own):
            continue
        points = read_pts(path)
        if points.shape != (68, 2):
            raise DataError(f"{path}: has {len(points)} points, not 68")
        records.append(FaceRecord(image, points, own, source="300w"))
    return records


def _wflw_face(fields: list[str], folder: Path, split: str, where: str) -> WflwFace:
    if len(fields) != _FIELDS:
        raise DataError(f"{where}: {len(fields)} fields instead of {_FIELDS}")
    points = _numbers(fields[:_COORDINATES], float, where)
    x0, y0, x1, y1 = _numbers(fields[_COORDINATES : _COORDINATES + 4], float, where)
    flags = _numbers(fields[_COORDINATES + 4 : -1], int, where)
    landmarks = np.array(points, np.float32).reshape(98, 2)
    return WflwFace(
        record=FaceRecord(
            path_inside(folder, fields[-1], f"{where}: image"), landmarks, split, source="wflw"
        ),
        box=(x0, y0, x1, y1),
        attributes=frozenset(
            name for name, flag in zip(WFLW_ATTRIBUTES, flags, strict=True) if flag
        ),
    )


def _numbers(fields: list[str], kind: Callable[[str], float], where: str) -> list[float]:
    try:
        return [kind(field) for field in fields]
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error

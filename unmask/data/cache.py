"""Rows of numbers that cost hours, in a file that a stopped process leaves ready to go on.

Memory-mapped arrays are opened again by their names alone. A note beside each file says what it was
made of, so that other faces, another seed or another backbone are an error and not a wrong figure.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from unmask.errors import DataError
from unmask.io import check_origin


class ByName:
    """Pickles memory-mapped arrays by the names of their files, not with what is in them."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes with a name in place of each memory map."""
        return {
            key: Path(str(value.filename)) if isinstance(value, np.memmap) else value
            for key, value in vars(self).items()
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the files again."""
        for key, value in state.items():
            vars(self)[key] = np.load(value, mmap_mode="r") if isinstance(value, Path) else value


def cached_rows(
    path: Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    origin: Mapping[str, Any],
    make: Callable[[int], Iterator[NDArray[Any]]],
) -> NDArray[Any]:
    """Open rows that are in a file, or make them first; what an earlier process made is kept.

    Args:
        path: NAME.npy; the note is NAME.json, and the rows so far are NAME.unfinished.
        shape: Of all rows, their number first.
        dtype: Of the rows.
        origin: What they are made of.
        make: From the number of the first row to arrays of consecutive rows, to the last.

    Returns:
        The rows, memory-mapped.

    Raises:
        DataError: The file holds something else, or cannot be written, as on a full disk.
    """
    unfinished = path.with_suffix(".unfinished")
    check_origin(path.with_suffix(".json"), origin, path.is_file() or unfinished.is_file())
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(unfinished, shape, np.dtype(dtype), make)
            unfinished.replace(path)
        except OSError as error:
            raise DataError(f"{unfinished}: cannot be written ({error})") from error
    try:
        stored: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); remove it to make it anew") from error
    if stored.shape != shape or stored.dtype != dtype:
        raise DataError(f"{path}: holds {stored.dtype} {stored.shape}, expected {dtype} {shape}")
    return stored


def digest(parts: Iterable[bytes]) -> str:
    """Return a short name for some content.

    Example:
        >>> digest([b"a", b"b"])
        'fb8e20fc2e4c3f24'
    """
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()[:16]


def _write(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    make: Callable[[int], Iterator[NDArray[Any]]],
) -> None:
    # Written like any file and not through a memory map, which a full disk would end with SIGBUS.
    with path.open("r+b" if path.is_file() else "w+b") as handle:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(handle, {**header, "shape": shape})
        start, row = handle.tell(), math.prod(shape[1:]) * dtype.itemsize
        done = max(0, path.stat().st_size - start) // row
        handle.truncate(start + done * row)
        handle.seek(start + done * row)
        if done < shape[0]:
            for rows in make(done):
                handle.write(np.ascontiguousarray(rows, dtype).tobytes())

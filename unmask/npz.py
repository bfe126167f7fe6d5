"""The only door for `.npz` archives: no pickle, and nothing larger than its file can mean it to be.

NumPy's own reader reserves whatever a header claims before it looks whether so much is there, and
raises nearly everything for broken bytes.
"""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.io import PathLike

# Masks of zeros shrink to a thousandth, landmarks to a third; what unpacks to more is a trap.
_MAX_EXPANSION = 100
_FREE_BYTES = 64 << 20
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(source: PathLike | BinaryIO) -> dict[str, NDArray[Any]]:
    """Read all arrays of an archive that `np.savez` or `np.savez_compressed` wrote.

    Args:
        source: The file, or one that is open for reading.

    Returns:
        The arrays by name.

    Raises:
        ValueError: It is no such archive, is damaged, or claims more than it holds; the message
            has no file name yet.
        OSError: It cannot be read.

    Example:
        >>> np.savez("points.npz", a=np.arange(3))
        >>> read_npz("points.npz")["a"].tolist()
        [0, 1, 2]
    """
    try:
        with zipfile.ZipFile(source) as archive:
            parts = archive.infolist()
            packed = sum(part.compress_size for part in parts)
            if sum(part.file_size for part in parts) > _FREE_BYTES + _MAX_EXPANSION * packed:
                raise ValueError(f"{packed} bytes claim to unpack to more than {_MAX_EXPANSION}")
            return {
                part.filename.removesuffix(".npy"): _array(archive.read(part))
                for part in parts
                if part.filename.endswith(".npy")
            }
    except (OSError, ValueError):
        raise
    except Exception as error:  # zip, zlib and NumPy's headers have errors of many classes
        raise ValueError(
            f"not a readable .npz archive ({type(error).__name__}: {error})"
        ) from error


def read_numbers(path: PathLike) -> dict[str, NDArray[Any]]:
    """Read an archive of weights.

    Raises:
        WeightsError: The file is missing or unreadable, or an array is not of finite numbers.
    """
    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        arrays = read_npz(path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
    for name, values in arrays.items():
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise WeightsError(f"{path}: {name} must be finite numbers")
    return arrays


def _array(content: bytes) -> NDArray[Any]:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"arrays of version {version} are not known")
    shape, columns_first, dtype = _HEADERS[version](stream)
    start, size = stream.tell(), math.prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or size != len(content) - start:
        raise ValueError(
            f"an array of {dtype} {shape} is not what {len(content) - start} bytes can hold"
        )
    array = np.ndarray(shape, dtype, bytearray(content), start, order="F" if columns_first else "C")
    if dtype.kind == "U":
        codes = np.frombuffer(content, np.dtype(np.uint32).newbyteorder(dtype.byteorder), -1, start)
        if codes.max(initial=0) > 0x10FFFF:
            raise ValueError("a text has characters that do not exist")
    return array

"""The door for `.npz` archives: everything that NumPy writes, and nothing that claims too much."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from unmask.npz import read_npz

ARRAYS = {
    "names": np.array(["a.png", "ä/b.png", ""]),
    "bytes": np.array([b"x", b"yz"]),
    "points": np.arange(12, dtype=np.float32).reshape(3, 2, 2),
    "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "swapped": np.arange(3, dtype=">f8"),
    "none": np.zeros((0, 4), np.float16),
    "one": np.array(3),
    "flags": np.array([True, False]),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_comes_back(tmp_path: Path, save) -> None:
    save(tmp_path / "a.npz", **ARRAYS)
    for source in (tmp_path / "a.npz", io.BytesIO((tmp_path / "a.npz").read_bytes())):
        read = read_npz(source)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(read[name], array)
            assert read[name].dtype == array.dtype


def archive(header: str, data: bytes, packing: int = zipfile.ZIP_STORED) -> io.BytesIO:
    """Make an archive with an array of this header and data."""
    text = header.encode().ljust(117) + b"\n"
    part = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as target:
        target.writestr("a.npy", part)
    return buffer


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999,), }", b"1234", "can hold"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", b"", "can hold"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"\x80\x04N.", "can hold"),
        ("{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }", b"\xff" * 4, "characters"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,", b"1234", "not a readable"),
    ],
)
def test_headers_that_lie_are_refused(header: str, data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_npz(archive(header, data))


def test_a_small_file_cannot_unpack_to_much() -> None:
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (100000000,), }"
    with pytest.raises(ValueError, match="claim to unpack"):
        read_npz(archive(header, bytes(100_000_000), zipfile.ZIP_DEFLATED))


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("no archive")
    with pytest.raises(ValueError, match="not a readable"):
        read_npz(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "none.npz")

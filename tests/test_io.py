"""A reader of an atomically written file sees the old content or the new one, never a part."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from unmask.io import atomic_path, write_bytes_atomic, write_text_atomic


def test_writes_into_missing_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "note.txt"
    write_text_atomic(target, "schön")
    assert target.read_bytes() == "schön".encode()


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "note.txt"
    write_bytes_atomic(target, b"old")

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half of the new")
            assert target.read_bytes() == b"old"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]


def test_the_temporary_file_keeps_folder_and_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "picture.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"x")
    assert (tmp_path / "picture.png").read_bytes() == b"x"


@pytest.mark.skipif(os.name != "posix", reason="permissions are a matter of POSIX")
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_bytes_atomic(tmp_path / "x", b"")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_replaces_an_existing_file(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "x", "a long first version")
    write_text_atomic(str(tmp_path / "x"), "second")
    assert (tmp_path / "x").read_text() == "second"

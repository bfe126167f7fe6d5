"""A reader of an atomically written file sees the old content or the new one, never a part."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from unmask.errors import DataError, UnmaskError
from unmask.io import (
    append_line,
    atomic_path,
    prepare_folder,
    read_lines,
    short_stem,
    sweep,
    write_bytes_atomic,
    write_text_atomic,
)


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
def test_permissions_follow_the_umask_which_nobody_touches(tmp_path: Path, monkeypatch) -> None:
    old = os.umask(0o027)
    with monkeypatch.context() as patch:
        patch.setattr(os, "umask", None)
        write_bytes_atomic(tmp_path / "x", b"")
    os.umask(old)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["a" * 251 + ".txt", "a" * 255, "." + "b" * 254, "c." + "d" * 253])
def test_names_as_long_as_they_may_be(tmp_path: Path, name: str) -> None:
    write_text_atomic(tmp_path / name, "here")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    def full_disk() -> None:
        with atomic_path(tmp_path / "big.npy"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"No space left on device: '.*/big\.npy'"):
        full_disk()
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"'.*/folder'"):
        write_bytes_atomic(tmp_path / "folder", b"")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_an_error_about_another_file_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), atomic_path(tmp_path / "a") as temporary:
        temporary.write_bytes((tmp_path / "other").read_bytes())


@pytest.mark.skipif(os.name != "posix", reason="locks are a matter of POSIX")
def test_what_killed_processes_leave_is_swept(tmp_path: Path) -> None:
    killed = (
        "import os, signal, sys; from unmask.io import atomic_path\n"
        "with atomic_path(sys.argv[1]) as t: t.write_text('half'); os.kill(os.getpid(), 9)"
    )
    for folder in (tmp_path, tmp_path / "inside"):
        subprocess.run([sys.executable, "-c", killed, str(folder / "a.png")], check=False)
    write_bytes_atomic(tmp_path / "inside" / "b.png", b"")  # whoever writes sweeps first
    assert [p.name for p in (tmp_path / "inside").iterdir()] == ["b.png"]
    (tmp_path / ".notes-of-mine.png").touch()
    assert len(list(tmp_path.iterdir())) == 3
    with atomic_path(tmp_path / "b.png") as alive:
        sweep(tmp_path)
        names = {p.name for p in tmp_path.iterdir()}
        assert names == {alive.name, ".notes-of-mine.png", "inside"}
    sweep(tmp_path / "missing")


def test_a_folder_is_tried_before_it_is_needed(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "a" / "b")
    assert not any((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(UnmaskError, match=r"file/out: cannot be written to \(Not a directory\)"):
        prepare_folder(tmp_path / "file" / "out")


def test_stems_are_shortened_only_where_they_must() -> None:
    assert short_stem("a" * 251, 4) == "a" * 251
    one, other = short_stem("ä" * 126 + "1", 5), short_stem("ä" * 126 + "2", 5)
    assert one != other
    assert all(240 < len(stem.encode()) <= 250 for stem in (one, other))


def test_replaces_an_existing_file(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "x", "a long first version")
    write_text_atomic(str(tmp_path / "x"), "second")
    assert (tmp_path / "x").read_text() == "second"


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "done.jsonl"
    assert list(read_lines(path)) == []
    append_line(path, {"file": "a"})
    append_line(path, {"file": "b\n"})
    assert list(read_lines(path)) == [{"file": "a"}, {"file": "b\n"}]


@pytest.mark.parametrize("whole", ["", '{"n":1}\n'])
def test_half_a_line_is_dropped_and_written_over(tmp_path: Path, whole: str) -> None:
    path = tmp_path / "done.jsonl"
    path.write_text(whole + '{"n":2')
    assert len(list(read_lines(path))) == whole.count("\n")
    append_line(path, {"n": 3})
    assert path.read_text() == whole + '{"n":3}\n'


@pytest.mark.parametrize("line", ["not json", "[3]"])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "done.jsonl"
    path.write_text('{"n":1}\n' + line + '\n{"n":3}\n')
    with pytest.raises(DataError, match=r"done\.jsonl: line 2"):
        list(read_lines(path))

"""Results that would replace what they are made of, and data that names files outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unmask.errors import DataError
from unmask.paths import check_outputs, path_inside, walk_files


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "Größe.png"
    path.parent.mkdir()
    path.write_bytes(b"photo")
    return path


@pytest.mark.parametrize(
    "spelling",
    [
        "photos/Größe.png",
        "photos/../photos/Größe.png",
        "other/../photos/./Größe.png",
        "photos/GRÖSSE.PNG",
        "PHOTOS/größe.png",
        "photos/Gro\u0308ße.png",  # the letter and its dots apart, as macOS writes it
        "link/Größe.png",
        "soft.png",
        "hard.png",
    ],
)
def test_an_output_never_replaces_an_input(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    (tmp_path / "link").symlink_to(photo.parent)
    (tmp_path / "soft.png").symlink_to(photo)
    os.link(photo, tmp_path / "hard.png")
    monkeypatch.chdir(tmp_path)
    for output, source in ((spelling, photo), (tmp_path / spelling, "photos/Größe.png")):
        with pytest.raises(DataError) as caught:
            check_outputs(["new.png", output], ["none.png", source])
        assert str(output) in str(caught.value)
        assert str(source) in str(caught.value)
        # What is a link to an output is spoilt with it.
        with pytest.raises(DataError):
            check_outputs([source], [output])


def test_other_files_may_be_written(photo: Path, tmp_path: Path) -> None:
    same_content = tmp_path / "out" / photo.name
    same_content.parent.mkdir()
    same_content.write_bytes(photo.read_bytes())
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    check_outputs([same_content, tmp_path / "new" / "a.png"], [photo, tmp_path / "loop" / "a"])
    check_outputs([], [photo])
    check_outputs([photo], [])


@pytest.mark.parametrize("written", ["a.png", "sub/a.png", r"sub\a.png", r".\sub\./a.png", "a..b"])
def test_paths_inside(tmp_path: Path, written: str) -> None:
    found = path_inside(tmp_path, written, "x")
    assert found == tmp_path / written.replace("\\", "/")


@pytest.mark.parametrize(
    "written",
    [
        "/etc/passwd",
        r"\etc\passwd",
        "..",
        "../a.png",
        r"sub\..\..\a.png",
        "sub/../a.png",
        "C:/a.png",
        "C:a.png",
        "sub/C:/a.png",
        r"\\host\share\a.png",
        "//host/share/a.png",
        "",
        ".",
        "/",
        "a\0.png",
        "\ud800.png",
        "link.png",
        "up/a.png",
        "up/new/a.png",
        r"up\a.png",
        None,
        7,
        "../" * 5000,
    ],
)
def test_paths_that_leave_the_folder(photo: Path, tmp_path: Path, written: object) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "link.png").symlink_to(photo)
    (folder / "up").symlink_to(tmp_path)
    with pytest.raises(DataError) as caught:
        path_inside(folder, written, "t.csv: line 3: file")
    message = str(caught.value)
    assert message.startswith("t.csv: line 3: file: must be a path inside the folder")
    assert repr(written)[:80] in message
    assert len(message) < 400


def test_links_that_stay_inside(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "near.png").symlink_to(photo)
    (tmp_path / "outer").symlink_to(photo.parent)
    assert path_inside(tmp_path, "near.png", "x").read_bytes() == b"photo"
    assert path_inside(tmp_path / "outer", photo.name, "x").read_bytes() == b"photo"


def test_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.png", "a/c.png", "a/.d.png", ".e/f.png", "out/g.png", "a/out/h.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "inside").symlink_to(tmp_path / "out")

    def found(**options: object) -> list[str]:
        files = walk_files(tmp_path, **options)
        return [file.relative_to(tmp_path).as_posix() for file in files]

    assert found() == ["b.png", "loop"]
    everything = ["a/c.png", "a/out/h.png", "b.png", "loop", "out/g.png"]
    assert found(recursive=True) == everything
    leave_out = [tmp_path / "a" / ".." / "inside", tmp_path / "b.png", tmp_path / "none"]
    assert found(recursive=True, leave_out=leave_out) == ["a/c.png", "a/out/h.png", "loop"]

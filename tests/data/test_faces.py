"""Face folders: archives, labels, splits, and the canonical crop of a record."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from unmask.data.faces import gather_faces, read_face_folder
from unmask.data.record import load_canonical
from unmask.errors import DataError
from unmask.face import canonical_matrix, transform_points

NAMES = ["a.png", "b.png", "c.png"]


def points(count: int = 98) -> np.ndarray:
    """Eyes and mouth of a face that does not fill its canonical crop, the rest anywhere."""
    placed = np.random.default_rng(count).uniform(20, 80, (count, 2))
    eyes = (range(60, 68), range(68, 76)) if count == 98 else (range(36, 42), range(42, 48))
    placed[list(eyes[0])], placed[list(eyes[1])] = (35, 40), (65, 40)
    placed[[76, 82] if count == 98 else [48, 54]] = (40, 75), (60, 75)
    return placed.astype(np.float32)


def make_folder(folder: Path, count: int = 98, **extra: np.ndarray) -> Path:
    image = np.zeros((100, 100, 3), np.uint8)
    image[..., 0] = 200  # blue in OpenCV's order
    for name in NAMES:
        cv2.imwrite(str(folder / name), image)
    landmarks = np.stack([points(count) + i for i in range(3)])
    content = {"files": np.array(NAMES), f"landmarks{count}": landmarks, **extra}
    np.savez(folder / f"landmarks{count}.npz", **content)
    return folder


def write_labels(folder: Path, rows: list[dict[str, str]]) -> None:
    columns = ["file", "split", "gender", "age", "race", "source"]
    with (folder / "labels.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("count", [98, 68])
def test_plain_folder(tmp_path: Path, count: int):
    records = read_face_folder(make_folder(tmp_path, count))
    assert [r.path for r in records] == [tmp_path / name for name in NAMES]
    assert {r.split for r in records} == {"train"}
    assert records[1].gender is None
    np.testing.assert_allclose(records[2].landmarks, points(count) + 2)
    assert records[0].landmarks.dtype == np.float32


def test_weights_of_folders(tmp_path: Path):
    for name in ("tight", "wide"):
        (tmp_path / name).mkdir()
        make_folder(tmp_path / name)
    found = gather_faces([tmp_path], {"tight": 0.0, "wide": 2.0})
    assert {record.path.parent.name for record in found.records} == {"wide"}
    assert found.weights.tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(DataError, match=r"faces\.wide must be 0 or more. Received: -1"):
        gather_faces([tmp_path], {"tight": 1.0, "wide": -1.0})


def test_labels_by_file_name(tmp_path: Path):
    make_folder(tmp_path)
    write_labels(
        tmp_path,
        [
            {"file": "c.png", "split": "val", "gender": "female", "age": "31", "race": "0"},
            {"file": "a.png", "split": "train", "gender": "", "source": "web"},
        ],
    )
    a, b, c = read_face_folder(tmp_path)
    assert (a.gender, a.age, a.race, a.source, a.split) == (None, None, None, "web", "train")
    assert (b.gender, b.split) == (None, "train")
    assert (c.gender, c.age, c.race, c.split) == ("female", 31, 0, "val")
    assert [r.path.name for r in read_face_folder(tmp_path, split="val")] == ["c.png"]


def test_split_of_the_archive_goes_first(tmp_path: Path):
    make_folder(tmp_path, 68, split=np.array(["test", "train", "val"]))
    write_labels(tmp_path, [{"file": "a.png", "split": "train"}])
    assert [r.split for r in read_face_folder(tmp_path)] == ["test", "train", "val"]


@pytest.mark.parametrize("outside", ["../a.png", r"..\a.png", "/etc/a.png", "C:a.png", "up/a.png"])
def test_names_of_the_archive_do_not_leave_the_folder(tmp_path: Path, outside: str):
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "up").symlink_to(tmp_path)
    make_folder(folder, files=np.array(["a.png", outside, "c.png"]))
    with pytest.raises(DataError) as caught:
        read_face_folder(folder)
    assert str(caught.value).startswith(f"{folder / 'landmarks98.npz'}: files[1]: must be a path")
    assert repr(outside) in str(caught.value)


def test_faces_with_unreliable_points_are_left_out(tmp_path: Path):
    make_folder(tmp_path, spread=np.array([0.001, 0.02, np.nan]))
    assert [r.path.name for r in read_face_folder(tmp_path)] == ["a.png"]
    make_folder(tmp_path, spread=np.zeros(2))
    with pytest.raises(DataError, match=r"3 files but spread has shape \(2,\)"):
        read_face_folder(tmp_path)


def test_98_points_are_preferred(tmp_path: Path):
    make_folder(tmp_path, 68)
    make_folder(tmp_path, 98)
    assert read_face_folder(tmp_path)[0].landmarks.shape == (98, 2)


def test_no_archive(tmp_path: Path):
    with pytest.raises(DataError, match=r"neither landmarks98\.npz nor landmarks68\.npz"):
        read_face_folder(tmp_path)


def test_inconsistent_archive(tmp_path: Path):
    make_folder(tmp_path, files=np.array(NAMES[:2]))
    with pytest.raises(DataError, match="2 files but 3 landmark sets"):
        read_face_folder(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        {"files": np.array(NAMES)},
        {"files": np.array(NAMES), "landmarks98": np.zeros((3, 68, 2))},
        {"files": np.array(NAMES), "landmarks98": np.zeros((3, 98, 2)), "split": np.array(["x"])},
    ],
)
def test_archive_of_another_form(tmp_path: Path, content: dict):
    np.savez(tmp_path / "landmarks98.npz", **content)
    with pytest.raises(DataError, match=r"landmarks98\.npz"):
        read_face_folder(tmp_path)


@pytest.mark.parametrize("content", [b"PK no", b""])
def test_unreadable_archive(tmp_path: Path, content: bytes):
    (tmp_path / "landmarks98.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"landmarks98\.npz"):
        read_face_folder(tmp_path)


def test_unreadable_labels(tmp_path: Path):
    make_folder(tmp_path)
    (tmp_path / "labels.csv").write_bytes(b"file,gender\nm\xe4rz.png,male\n")
    with pytest.raises(DataError, match=r"labels\.csv: cannot be read"):
        read_face_folder(tmp_path)


def test_label_that_is_no_number(tmp_path: Path):
    make_folder(tmp_path)
    write_labels(tmp_path, [{"file": "a.png", "age": "old"}])
    with pytest.raises(DataError, match=r"labels\.csv: a\.png: age: .*'old'"):
        read_face_folder(tmp_path)


def test_canonical_crop(tmp_path: Path):
    record = read_face_folder(make_folder(tmp_path))[0]
    face = load_canonical(record)
    assert face.image.shape == (256, 256, 3)
    assert face.image.dtype == np.uint8
    np.testing.assert_array_equal(face.image[128, 128], (0, 0, 200))  # RGB
    matrix = canonical_matrix(record.landmarks)
    np.testing.assert_allclose(face.landmarks, transform_points(record.landmarks, matrix))
    # The crop's square is 126 pixels wide, the file 100: there must be a border on some side.
    assert face.valid[128, 128]
    assert 0.5 < face.valid.mean() < 0.95
    small = load_canonical(record, 64)
    np.testing.assert_allclose(small.landmarks, (face.landmarks + 0.5) / 4 - 0.5, atol=1e-3)


def test_given_matrix(tmp_path: Path):
    record = read_face_folder(make_folder(tmp_path))[0]
    face = load_canonical(record, 100, matrix=np.eye(3)[:2])
    assert face.valid.all()
    np.testing.assert_allclose(face.landmarks, record.landmarks)

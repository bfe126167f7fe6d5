from pathlib import Path

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.image import save_image
from unmask.synthesis.sources import FRAMINGS, read_source

from .conftest import write_table

TINY = np.zeros((4, 4, 3), np.uint8)


def celeba(folder: Path, attributes: str, partition: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "list_attr_celeba.txt").write_text(attributes)
    if partition is not None:
        (folder / "list_eval_partition.txt").write_text(partition)
    return folder


ATTRIBUTES = "3\nBangs Male Young\na.jpg  1 -1  1\nb.jpg -1  1  1\nc.jpg -1 -1 -1\n"


def test_celeba_has_genders_splits_and_a_framing(tmp_path):
    folder = celeba(tmp_path, ATTRIBUTES, "a.jpg 0\nb.jpg 1\nc.jpg 2\n")
    (folder / "img_align_celeba").mkdir()
    faces = read_source(folder)
    assert [(f.file, f.gender, f.split) for f in faces] == [
        ("a.jpg", "female", "train"),
        ("b.jpg", "male", "val"),
        ("c.jpg", "female", "test"),
    ]
    assert faces[0].path == folder / "img_align_celeba" / "a.jpg"
    assert faces[0].framing == FRAMINGS["celeba"]


@pytest.mark.parametrize("outside", ["../a.jpg", "/a.jpg", r"..\a.jpg", "link/a.jpg"])
def test_celeba_names_do_not_leave_the_folder(tmp_path, outside):
    (tmp_path / "img_align_celeba").mkdir()
    (tmp_path / "img_align_celeba" / "link").symlink_to(tmp_path)
    celeba(tmp_path, ATTRIBUTES.replace("b.jpg", outside))
    with pytest.raises(DataError, match=r"celeba\.txt: line 4: file: must be a path inside"):
        read_source(tmp_path)


def test_celeba_without_a_partition_has_no_splits(tmp_path):
    faces = read_source(celeba(tmp_path, ATTRIBUTES))
    assert {face.split for face in faces} == {None}
    assert faces[0].path == tmp_path / "a.jpg"


@pytest.mark.parametrize(
    ("attributes", "partition", "message"),
    [
        ("1\nBangs Young\na.jpg 1 1\n", None, "line 2: column Male is missing"),
        (ATTRIBUTES.replace("b.jpg -1  1", "b.jpg -1  2"), None, "line 4: must be a file name"),
        (ATTRIBUTES.replace("c.jpg -1 -1 -1", "c.jpg -1"), None, "line 5: must be a file name"),
        (ATTRIBUTES, "a.jpg 0\nb.jpg 3\n", "partition.txt: line 2"),
        ("", None, "line 2: column Male is missing"),
    ],
)
def test_broken_celeba_tables_name_the_line(tmp_path, attributes, partition, message):
    with pytest.raises(DataError, match=message):
        read_source(celeba(tmp_path, attributes, partition))


def test_utkface_names_are_labels(tmp_path):
    for name in ("26_1_3_20170104.jpg", "part/7_0_0_2017.jpg.chip.jpg"):
        save_image(tmp_path / name, TINY)
    first, second = read_source(tmp_path)
    assert (first.gender, first.age, first.race) == ("female", 26, 3)
    assert (second.gender, second.age, second.race) == ("male", 7, 0)
    assert second.file == "part/7_0_0_2017.jpg.chip.jpg"
    assert first.framing == FRAMINGS["utkface"]


def test_a_misnamed_file_does_not_change_the_layout(tmp_path):
    for i in range(10):
        save_image(tmp_path / f"{20 + i}_1_0_2017.jpg", TINY)
    save_image(tmp_path / "61_1_20170109142408075.jpg", TINY)  # one of UTKFace's own
    faces = {face.file: face for face in read_source(tmp_path)}
    misnamed = faces["61_1_20170109142408075.jpg"]
    assert (misnamed.gender, misnamed.age) == (None, None)
    assert misnamed.framing == FRAMINGS["utkface"]


def test_ffhq_numbers_tell_the_split(tmp_path):
    for name in ("00000/00001.png", "60000/60000.png"):
        save_image(tmp_path / name, TINY)
    assert [(f.file, f.split) for f in read_source(tmp_path)] == [
        ("00000/00001.png", "train"),
        ("60000/60000.png", "val"),
    ]


def test_other_folders_are_just_images(tmp_path):
    save_image(tmp_path / "deep" / "er" / "me.png", TINY)
    (tmp_path / "notes.txt").write_text("no image")
    (face,) = read_source(tmp_path)
    assert (face.file, face.framing, face.landmarks) == ("deep/er/me.png", None, None)


def test_results_below_are_no_faces(tmp_path):
    for name in ("a.png", "sub/b.png", "out/images/a.png", "out/masked/a.png", "new/c.png"):
        save_image(tmp_path / name, TINY)
    (tmp_path / "out" / "synthesis.json").write_text("{}")
    assert [f.file for f in read_source(tmp_path)] == ["a.png", "new/c.png", "sub/b.png"]
    elsewhere = read_source(tmp_path, destination=tmp_path / "sub" / ".." / "new")
    assert [f.file for f in elsewhere] == ["a.png", "sub/b.png"]
    # Numbers in the results' names do not make it another layout.
    for i in range(20):
        save_image(tmp_path / "out" / "masks" / f"{i:05}.png", TINY)
    assert read_source(tmp_path)[0].framing is None


@pytest.mark.parametrize("destination", [".", "..", "../link"])
def test_results_among_the_faces_are_refused(tmp_path, destination):
    folder = tmp_path / "images"
    save_image(folder / "a.png", TINY)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(DataError, match="results would lie among the faces"):
        read_source(folder, destination=folder / destination)


def test_the_layout_can_be_said(tmp_path):
    save_image(tmp_path / "00001.png", TINY)
    assert read_source(tmp_path)[0].source == "ffhq"
    assert read_source(tmp_path, "images")[0].source is None
    with pytest.raises(ValueError, match="layout='wflw'"):
        read_source(tmp_path, "wflw")


def test_a_face_folder_keeps_its_labels(tmp_path, portrait, landmarks):
    save_image(tmp_path / "x.png", portrait)
    np.savez(tmp_path / "landmarks98.npz", files=np.array(["x.png"]), landmarks98=landmarks[None])
    (tmp_path / "labels.csv").write_text("file,gender,age,split\nx.png,female,40,val\n")
    (face,) = read_source(tmp_path)
    assert (face.file, face.gender, face.age, face.split) == ("x.png", "female", 40, "val")
    np.testing.assert_array_equal(face.landmarks, landmarks)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("x97", "z97", "line 1: column x97"),
        ("y40", "z40", "line 1: column y40 is missing"),
        ("sub/c.png", "../c.png", "line 4: file: must be a path inside"),
        ("a.jpg", "/a.jpg", "line 2: file: must be a path inside"),
        ("b.png,56.0", "b.png,wide", "line 3, x0: must be a finite number. Received: 'wide'"),
        ("b.png,56.0", "b.png,inf", "line 3, x0: must be a finite"),
    ],
)
def test_broken_tables_name_line_and_column(tmp_path, landmarks, old, new, message):
    write_table(tmp_path, ["a.jpg", "b.png", "sub/c.png"], landmarks)
    table = tmp_path / "landmarks.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_source(tmp_path)


def test_a_table_saved_by_excel(tmp_path, landmarks):
    write_table(tmp_path, ["a.jpg"], landmarks)
    table = tmp_path / "landmarks.csv"
    table.write_text(table.read_text(), encoding="utf-8-sig")
    assert [face.file for face in read_source(tmp_path)] == ["a.jpg"]


def test_nothing_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="no images"):
        read_source(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        read_source(tmp_path / "gone")

"""The published annotation formats."""

import numpy as np
import pytest
from skimage.data import astronaut

from unmask.errors import DataError
from unmask.image import save_image
from unmask.landmarks.data import read_300w, read_pts, read_wflw


def wflw_line(points, flags, name):
    numbers = [f"{value:.6f}" for value in points.ravel()]
    return " ".join([*numbers, "10", "20", "110", "140", *map(str, flags), name])


def test_a_wflw_list_keeps_points_box_flags_and_name(tmp_path):
    points = np.random.default_rng(0).uniform(0, 500, (2, 98, 2)).astype(np.float32)
    lines = [
        wflw_line(points[0], (1, 0, 0, 0, 1, 0), "7--Cheering/a.jpg"),
        wflw_line(points[1], (0, 0, 0, 0, 0, 0), "b.jpg"),
    ]
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n\n")
    faces = read_wflw(tmp_path / "list.txt", tmp_path / "images", split="train")
    assert [face.record.path for face in faces] == [
        tmp_path / "images" / "7--Cheering" / "a.jpg",
        tmp_path / "images" / "b.jpg",
    ]
    np.testing.assert_allclose(faces[1].record.landmarks, points[1], atol=1e-4)
    assert faces[0].attributes == {"pose", "occlusion"}
    assert faces[1].attributes == frozenset()
    assert faces[0].box == (10, 20, 110, 140)
    assert faces[0].record.split == "train"


def test_a_broken_wflw_line_is_named(tmp_path):
    good = wflw_line(np.zeros((98, 2)), (0,) * 6, "a.jpg")
    path = tmp_path / "list.txt"
    path.write_text(f"{good}\n1 2 3\n")
    with pytest.raises(DataError, match=r"list\.txt: line 2: 3 fields instead of 207"):
        read_wflw(path, tmp_path)
    path.write_text(good.replace("0.000000", "x", 1))
    with pytest.raises(DataError, match=r"line 1: .*'x'"):
        read_wflw(path, tmp_path)
    path.write_text(good.replace("a.jpg", "../a.jpg"))
    with pytest.raises(DataError, match=r"line 1: image: must be a path inside"):
        read_wflw(path, tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_wflw(tmp_path / "absent.txt", tmp_path)


def test_a_pts_file_counts_from_one(tmp_path):
    path = tmp_path / "a.pts"
    path.write_text("version: 1\nn_points:  3\n{\n1 1\n10.5 20.25\n\n3 4\n}\n")
    assert read_pts(path).tolist() == [[0, 0], [9.5, 19.25], [2, 3]]
    path.write_text("version: 1\nn_points: 4\n{\n1 1\n}\n")
    with pytest.raises(DataError, match="n_points is 4, but 1"):
        read_pts(path)
    for text in ("", "n_points: 1\n{\n1 x\n}", "n_points: 1\n{\n1 2"):
        path.write_text(text)
        with pytest.raises(DataError, match=r"a\.pts"):
            read_pts(path)


def test_300w_folders_are_split_as_usual(tmp_path):
    body = "\n".join(f"{i} {2 * i}" for i in range(68))
    text = f"version: 1\nn_points: 68\n{{\n{body}\n}}\n"
    for folder in ("helen/trainset", "helen/testset", "ibug", "afw"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.pts").write_text(text)
        save_image(tmp_path / folder / "1.png", astronaut()[:64, :64])
    (tmp_path / "afw" / "without_image.pts").write_text(text)
    names = {
        split: [str(r.path.parent.relative_to(tmp_path)) for r in read_300w(tmp_path, split=split)]
        for split in ("train", "test")
    }
    assert names == {"train": ["afw", "helen/trainset"], "test": ["helen/testset", "ibug"]}
    assert read_300w(tmp_path)[0].landmarks[2].tolist() == [1, 3]
    (tmp_path / "afw" / "1.pts").write_text("version: 1\nn_points: 1\n{\n1 1\n}\n")
    with pytest.raises(DataError, match="has 1 points, not 68"):
        read_300w(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_300w(tmp_path / "absent")

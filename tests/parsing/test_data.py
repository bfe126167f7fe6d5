"""Labels of faces: which class is which, and what mirroring makes of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.training.toys import draw_faces, draw_parsed
from unmask.data.faces import read_face_folder
from unmask.errors import DataError
from unmask.face import square_matrix
from unmask.parsing import CLASSES
from unmask.parsing.data import (
    UNKNOWN,
    Augmentation,
    ParsingSampler,
    from_celebamask,
    gather_labelled,
    load_labelled,
    mirror,
)

FOLDERS = {"faces_celebahq": 1.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    draw_parsed(folder / "faces_celebahq")
    return folder


def test_each_class_of_celebamask_is_named():
    names = [CLASSES[label] for label in from_celebamask(np.arange(19, dtype=np.uint8))]
    assert names == [
        "background", "skin", "nose", "skin", "left eye", "right eye", "left brow", "right brow",
        "background", "background", "inner mouth", "upper lip", "lower lip", "hair",
        *["background"] * 5,
    ]  # fmt: skip
    assert (from_celebamask(np.arange(19, 256, dtype=np.uint8)) == UNKNOWN).all()


def test_a_mirrored_left_eye_is_a_right_one():
    labels = np.uint8([[2, 0, 4, 255], [3, 10, 5, 7]])
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    turned, swapped = mirror(image, labels)
    assert swapped.tolist() == [[255, 5, 0, 3], [7, 4, 10, 2]]
    np.testing.assert_array_equal(turned, image[:, ::-1])
    for before, after in zip((image, labels), mirror(turned, swapped), strict=True):
        np.testing.assert_array_equal(after, before)


def test_the_persons_left_is_on_the_right_of_the_picture(data: Path):
    record = gather_labelled([data], FOLDERS, "train").records[0]
    _, labels = load_labelled(record)
    columns = [np.nonzero(labels == CLASSES.index(f"{side} eye"))[1] for side in ("left", "right")]
    assert columns[1].max() < 128 < columns[0].min()


def test_labels_move_with_the_picture_and_end_where_the_photo_does(data: Path):
    record = gather_labelled([data], FOLDERS, "train").records[0]
    jitter = square_matrix((127.5 + 10, 127.5 - 20), 200.0, 64)
    image, labels = load_labelled(record, 64, jitter=jitter)
    assert image.shape == (64, 64, 3)
    whole = load_labelled(record)[1].astype(np.uint8)
    moved = cv2.warpAffine(whole, jitter, (64, 64), flags=cv2.INTER_NEAREST, borderValue=(UNKNOWN,))
    assert (labels == moved).mean() > 0.97
    far = square_matrix((127.5, 127.5), 1000.0, 64)
    assert (load_labelled(record, 64, jitter=far)[1] == UNKNOWN).mean() > 0.7


def test_samples_are_functions_of_their_number(data: Path):
    faces = gather_labelled([data], FOLDERS, "train")
    first, again = (
        ParsingSampler(faces, Augmentation(), batch_size=3, side=64, seed=5) for _ in range(2)
    )
    again(0)
    for ours, theirs in zip(first(7), again(7), strict=True):
        assert ours.dtype == np.uint8
        np.testing.assert_array_equal(ours, theirs)
    images, labels = first(8)
    assert (images.shape, labels.shape) == ((3, 64, 64, 3), (3, 64, 64, 1))
    assert (images != first(7)[0]).any()


def test_faces_without_labels_are_left_out(data: Path, tmp_path: Path):
    # A .png beside its landmarks is a photo and no labels of itself.
    draw_faces(tmp_path / "faces_celebahq")
    assert read_face_folder(tmp_path / "faces_celebahq")
    with pytest.raises(DataError, match=r"'train' with NAME\.png"):
        gather_labelled([tmp_path], FOLDERS, "train")
    assert len(gather_labelled([data, tmp_path], FOLDERS, "val")) == 2


def test_labels_of_another_size_are_refused(tmp_path: Path):
    draw_parsed(tmp_path / "faces_celebahq")
    record = gather_labelled([tmp_path], FOLDERS, "train").records[0]
    cv2.imwrite(str(record.path.with_suffix(".png")), np.zeros((100, 256), np.uint8))
    with pytest.raises(DataError, match=r"0\.png: must have its photo's size.*\(100, 256\)"):
        load_labelled(record)

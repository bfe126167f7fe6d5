"""Stored views and the augmented batches made of them."""

from __future__ import annotations

import pickle
import resource
from pathlib import Path

import numpy as np
import pytest

from unmask.data.record import FaceRecord, FaceSet, Order, load_canonical
from unmask.errors import DataError
from unmask.face import CROP_SIZE
from unmask.gender.augment import augment, notebook_augment
from unmask.gender.data import (
    Views,
    ViewSampler,
    age_group,
    fair_weights,
    read_faces,
    stored_views,
)
from unmask.gender.lite import FRAMINGS

WINDOW = FRAMINGS["window"]


@pytest.fixture(scope="module")
def records(face_data):
    return read_faces([face_data], {"faces": 1.0}, "train").records


@pytest.fixture(scope="module")
def views(records, tmp_path_factory):
    return stored_views(records, tmp_path_factory.mktemp("views") / "v.npy", masked=2, seed=5)


def test_faces_of_unknown_gender_are_left_out(records):
    assert len(records) == 23
    assert {record.gender for record in records} == {"female", "male"}


def test_no_face_at_all_is_an_error(face_data):
    with pytest.raises(DataError, match="split 'test'"):
        read_faces([face_data / "faces"], {}, "test")


def test_bare_window_is_the_canonical_crop_that_the_network_sees(records, views):
    crop = load_canonical(records[3], CROP_SIZE).image
    left, top, side = WINDOW.left, WINDOW.top, WINDOW.side
    np.testing.assert_array_equal(views.windows(0)[3], crop[top : top + side, left : left + side])


def test_masks_change_the_lower_face_and_leave_the_eyes(views):
    eyes = np.s_[views.pixels.shape[2] // 4 : 2 * views.pixels.shape[2] // 5]
    for face in range(len(views.labels)):
        bare, first, second = views.pixels[face].astype(int)
        assert np.abs(first[120:] - bare[120:]).mean() > 2
        assert np.abs(first - second).max() > 30
        assert np.abs(first[eyes] - bare[eyes]).mean() < 2


def test_views_are_drawn_once_and_the_same_for_a_seed(records, views, tmp_path):
    again = stored_views(records, tmp_path / "v.npy", masked=2, seed=5)
    np.testing.assert_array_equal(again.pixels, views.pixels)
    written = (tmp_path / "v.npy").stat().st_mtime_ns
    stored_views(records, tmp_path / "v.npy", masked=2, seed=5)
    assert (tmp_path / "v.npy").stat().st_mtime_ns == written


def test_stored_views_of_something_else_are_refused(records, views, tmp_path):
    path = tmp_path / "v.npy"
    stored_views(records[:3], path, masked=1, seed=5)
    with pytest.raises(DataError, match=r"v\.json: was made with seed=5, wanted is 6"):
        stored_views(records[:3], path, masked=1, seed=6)
    # As many faces, but others.
    with pytest.raises(DataError, match="was made with faces="):
        stored_views(records[1:4], path, masked=1, seed=5)
    with pytest.raises(DataError, match="was made with view='48 66 160'"):
        stored_views(records[:3], path, FRAMINGS["whole"], masked=1, seed=5)
    path.with_suffix(".json").unlink()
    with pytest.raises(DataError, match=r"v\.json: cannot be read"):
        stored_views(records[:3], path, masked=1, seed=5)


def test_a_full_disk_is_an_error_and_what_was_drawn_is_kept(records, tmp_path):
    path, limits = tmp_path / "v.npy", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        with pytest.raises(DataError, match=r"v\.unfinished: cannot be written"):
            stored_views(records[:4], path, masked=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not path.exists()
    assert path.with_suffix(".unfinished").stat().st_size >= 2 * 208 * 208 * 3
    drawn = stored_views(records[:4], path, masked=0)
    whole = stored_views(records[:4], tmp_path / "w.npy", masked=0)
    np.testing.assert_array_equal(drawn.pixels, whole.pixels)


def test_batches_depend_on_their_number_alone(views):
    sampler = ViewSampler(views, Order(np.ones(23), seed=3), batch_size=8, masked_share=0.5, seed=3)
    images, labels = sampler(4)
    assert images.shape == (8, WINDOW.side, WINDOW.side, 3)
    assert images.dtype == np.uint8
    assert labels.shape == (8, 1)
    assert set(np.unique(labels)) <= {0.0, 1.0}
    pickled = pickle.dumps(sampler)
    assert len(pickled) < 10_000  # the file's name, and not what is in it
    np.testing.assert_array_equal(pickle.loads(pickled)(4)[0], images)
    assert not np.array_equal(sampler(5)[0], images)


def test_weights_decide_how_often_a_face_is_shown():
    pixels = np.zeros((4, 1, 208, 208, 3), np.uint8)
    pixels += np.arange(4, dtype=np.uint8)[:, None, None, None, None]
    views = Views(pixels, np.array([0, 1, 0, 1], np.float32), FRAMINGS["window"])
    order = Order(np.array([0.0, 2, 3, 5]), seed=0)
    images, _ = ViewSampler(views, order, 400, 0.0, augmentation="none")(0)
    shown = np.bincount(images[:, 0, 0, 0], minlength=4)
    assert shown.tolist() == [0, 80, 120, 200]


def test_augmentation_changes_images_but_not_their_source(views):
    source = views.pixels[0, 0]
    before = source.copy()
    results = [augment(source, np.random.default_rng(seed)) for seed in range(30)]
    np.testing.assert_array_equal(source, before)
    assert all(r.shape == (160, 160, 3) and r.dtype == np.uint8 for r in results)
    assert len({r.tobytes() for r in results}) == 30
    # On average the face stays where it is and keeps its brightness.
    mean = np.mean(results, axis=0).mean()
    assert abs(mean - views.windows(0)[0].mean()) < 25


def faces(folder: str, gender: str, age: int | None, count: int) -> list[FaceRecord]:
    path = Path(folder) / "face.jpg"
    return [FaceRecord(path, np.zeros((98, 2), np.float32), "train", gender, age)] * count


def test_age_and_collection_tell_nothing_about_the_gender():
    records = faces("m", "male", 70, 30) + faces("f", "female", 70, 10)
    records += faces("m", "male", 25, 5) + faces("f", "female", 25, 20)
    records += faces("wide", "male", None, 2) + faces("wide", "female", None, 1)
    before = np.array([3.0 if r.path.parent.name == "wide" else 1.0 for r in records])
    weights = fair_weights(FaceSet(tuple(records), before))
    for part, total in ((slice(0, 40), 40), (slice(40, 65), 25), (slice(65, 68), 9)):
        male = np.array([r.gender == "male" for r in records[part]])
        assert weights[part][male].sum() == pytest.approx(total / 2)
        assert weights[part][~male].sum() == pytest.approx(total / 2)


def test_a_group_of_one_gender_keeps_its_weight():
    group = FaceSet(tuple(faces("a", "male", 5, 4)), np.full(4, 2.0))
    assert fair_weights(group).tolist() == [2.0] * 4


@pytest.mark.parametrize(
    ("age", "name"),
    [(0, "0-3"), (4, "4-12"), (59, "45-59"), (60, "60 and older"), (None, "unknown")],
)
def test_age_groups(age, name):
    assert age_group(age) == name


def test_the_notebooks_augmentation_moves_faces_by_seed_alone():
    image = np.zeros((64, 64, 3), np.uint8)
    image[24:40, 24:40] = 255
    moved = [notebook_augment(image, np.random.default_rng(seed)) for seed in range(40)]
    np.testing.assert_array_equal(moved[0], notebook_augment(image, np.random.default_rng(0)))
    centres = [np.argwhere(m[..., 0] > 127).mean(0) for m in moved if m.any()]
    assert len(centres) > 30
    assert 8 < np.std(centres) < 20  # shifts are uniform up to 0.4 of the side

"""Training samples: repeatable, consistent, and honest about padding."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from unmask.data.faces import read_face_folder
from unmask.data.record import FaceSet, Order
from unmask.errors import DataError
from unmask.inpainting.data import (
    Augmentation,
    InpaintingSampler,
    SampleSettings,
)
from unmask.inpainting.window import draw_landmark_map
from unmask.landmark_layout import is_turned

FULL = Augmentation(rotation=6, scale=0.05, shift=5, recolour=True, landmark_noise=1)
WINDOW = SampleSettings(framing="window", side=192, hole_growth=(2, 7), worn=0.5, augmentation=FULL)


@pytest.fixture(scope="module")
def make(faces, linear):
    """What makes a sampler of the faces, or of some records, with changed settings."""

    def sampler(records=faces.records, *, seed=3, predictor=None, steady=False, **changes):
        settings = replace(WINDOW, **changes)
        return InpaintingSampler(
            FaceSet(tuple(records), np.ones(len(records))),
            settings.steady() if steady else settings,
            batch_size=2, seed=seed, coarse=lambda: linear, predictor=predictor, shuffle=not steady,
        )  # fmt: skip

    return sampler


def same(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_landmark_map_rounds_to_pixels_and_leaves_out_what_lies_outside():
    points = np.array([[1.4, 2.0], [0.6, 2.4], [-0.4, 0.0], [7.4, 7.0], [7.6, 0.0], [3.0, -0.6]])
    drawn = draw_landmark_map(points, 8)
    assert drawn.shape == (8, 8, 1)
    assert drawn.dtype == np.float32
    # (x, y) = (1, 2) twice, (0, 0), (7, 7); the others round to column 8 and row -1.
    assert sorted(zip(*np.nonzero(drawn[..., 0]), strict=True)) == [(0, 0), (2, 1), (7, 7)]


def test_samples_are_consistent(make):
    sample = make().sample(0)
    assert {name: array.shape[-1] for name, array in sample.items()} == {
        "image": 3, "truth": 3, "coarse": 3, "mask": 1, "valid": 1, "landmark_map": 1,
    }  # fmt: skip
    for values in sample.values():
        assert values.dtype == np.uint8
        assert values.shape[:2] == (192, 192)
    for name in ("mask", "landmark_map", "valid"):
        assert set(np.unique(sample[name])) <= {0, 1}
    assert 0.05 < sample["mask"].mean() < 0.6
    assert 60 <= sample["landmark_map"].sum() <= 98
    # The coarse completion keeps what is known.
    known = sample["mask"][..., 0] == 0
    np.testing.assert_array_equal(sample["coarse"][known], sample["image"][known])


def test_the_hole_covers_the_drawn_mask(make):
    sample = make(steady=True).sample(1)
    changed = np.abs(sample["image"].astype(int) - sample["truth"]).max(-1)
    hole = sample["mask"][..., 0] > 0
    # Outside the hole only the ear loops and a soft shadow are left.
    assert changed[hole].mean() > 10 * changed[~hole].mean()


def test_a_batch_depends_on_seed_and_number_alone(make):
    sampler = make()
    (first,) = sampler(5)
    sampler(2)
    assert same(first, make()(5)[0])
    for i in range(2):
        alone = make().sample(10 + i)
        assert same({name: array[i] for name, array in first.items()}, alone)
    assert not same(first, sampler(4)[0])
    assert not same(first, make(seed=4)(5)[0])


def test_a_worker_process_makes_the_same(faces):
    settings = replace(WINDOW, framing="crop", side=256)
    sampler = InpaintingSampler(faces, settings, batch_size=1, seed=1)
    (before,) = sampler(0)
    content = pickle.dumps(sampler)
    assert len(content) < 50_000  # the faces' paths and landmarks, no pixels
    assert same(before, pickle.loads(content)(0)[0])


def test_an_epoch_shows_faces_as_often_as_their_weights_say(faces):
    weights = np.array([1.0, 1.0, 2.0, 0.5, 3.5, 0.25])
    weighted, order = Order(weights, 7), Order(faces.weights, 7)
    assert len(weighted) == 8
    counts = np.stack([np.bincount(weighted.epoch(n), minlength=6) for n in range(400)])
    np.testing.assert_allclose(counts.mean(0), 8 / 8.25 * weights, atol=0.15)
    assert np.ptp(counts, axis=0).max() == 1
    assert sorted(order.epoch(0)) == list(range(6))
    assert order.epoch(0).tolist() != order.epoch(1).tolist()
    assert Order(faces.weights, 7, shuffle=False).epoch(3).tolist() == list(range(6))


def test_smaller_samples_show_the_same_face(make):
    large, small = make().sample(1), make(side=96).sample(1)
    shrunk = large["truth"].reshape(96, 2, 96, 2, 3).mean((1, 3))
    assert np.abs(shrunk - small["truth"]).max() <= 2
    assert abs(large["mask"].mean() - small["mask"].mean()) < 0.01
    ys, xs = np.nonzero(large["landmark_map"][..., 0])
    small_ys, small_xs = np.nonzero(small["landmark_map"][..., 0])
    assert abs(xs.mean() / 2 - small_xs.mean()) < 2
    assert abs(ys.mean() / 2 - small_ys.mean()) < 2


def test_the_window_is_a_part_of_the_crop(make, faces):
    crop = InpaintingSampler(
        faces, replace(WINDOW, framing="crop", side=256, augmentation=Augmentation()),
        batch_size=1, seed=3,
    ).sample(2)  # fmt: skip
    part = make(augmentation=Augmentation()).sample(2)
    assert "coarse" not in crop
    difference = np.abs(crop["truth"][64:, 32:224].astype(int) - part["truth"])
    assert np.median(difference) == 0
    assert np.abs(crop["mask"][64:, 32:224].astype(int) - part["mask"]).mean() < 0.02
    assert np.argwhere(crop["landmark_map"][64:, 32:224]).tolist() == (
        np.argwhere(part["landmark_map"]).tolist()
    )


def test_without_augmentation_landmarks_are_the_true_ones(make, records):
    settings = {"augmentation": Augmentation(mirror=False), "hole_growth": (0, 0), "worn": 0.0}
    exact, noisy = (make(records[:1], **settings | {"augmentation": a}) for a in (
        Augmentation(mirror=False), Augmentation(mirror=False, landmark_noise=1.0),
    ))  # fmt: skip
    assert np.array_equal(exact.sample(0)["landmark_map"], exact.sample(3)["landmark_map"])
    assert not np.array_equal(noisy.sample(0)["landmark_map"], noisy.sample(3)["landmark_map"])
    assert np.array_equal(exact.sample(0)["truth"], noisy.sample(3)["truth"])


def test_what_the_photo_does_not_show_is_not_valid(make, records):
    record = records[0]
    # Landmarks that move the window over the left border of the photo.
    moved = replace(record, landmarks=record.landmarks - np.array([90, 0], np.float32))
    sampler = make([record, moved], steady=True)
    valid = sampler.sample(1)["valid"][..., 0]
    assert sampler.sample(0)["valid"].mean() > valid.mean()
    assert not valid[:, 0].any()
    assert valid[96, 150:].any()


def test_faces_that_cannot_be_used_are_named(make, face_folder):
    with pytest.raises(DataError, match="no faces"):
        make([])
    record = read_face_folder(face_folder)[0]
    with pytest.raises(DataError, match=r"0\.png: needs 98 landmarks, has 68"):
        make([replace(record, landmarks=record.landmarks[:68])])
    with pytest.raises(ValueError, match="a predictor is needed"):
        make(predicted=0.5)
    with pytest.raises(ValueError, match="coarse completions are for the window"):
        make(framing="crop")


# === Predicted landmarks, loose holes ===


def test_landmarks_come_from_the_predictor_on_the_masked_crop(make):
    seen = []

    def predictor(crops):
        seen.append(crops)
        return np.tile(np.array([32 + 50.0, 64 + 70.0]), (1, 98, 1))

    sample = make(steady=True, predicted=1.0, predictor=predictor).sample(0)
    assert seen[0].shape == (1, 256, 256, 3)
    assert [tuple(p) for p in np.argwhere(sample["landmark_map"][..., 0])] == [(70, 50)]
    # The predictor saw what the generator sees, and more around it.
    crop = seen[0][0, 64:256, 32:224]
    known = np.broadcast_to(sample["valid"] > 0, crop.shape)
    np.testing.assert_array_equal(crop[known], sample["image"][known])
    # The face itself is framed as without a predictor.
    plain = make(steady=True).sample(0)
    assert np.abs(plain["truth"].astype(int) - sample["truth"]).mean() < 2.5


def test_some_landmarks_come_from_the_predictor(make):
    calls = []

    def predictor(crops):
        calls.append(crops)
        return np.zeros((1, 98, 2))

    sampler = make(side=48, predicted=0.5, predictor=predictor)
    for number in range(24):
        sampler.sample(number)
    assert 6 <= len(calls) <= 18
    with pytest.raises(ValueError, match=r"shape=\(1, 68, 2\)"):
        make(predicted=1.0, predictor=lambda crops: np.zeros((1, 68, 2))).sample(0)


def test_loose_holes_reach_past_the_mask_and_leave_the_other_samples_alone(make):
    plain, loose, grown = make(), make(loose=0.5), 0
    for number in range(16):
        a, b = plain.sample(number), loose.sample(number)
        np.testing.assert_array_equal(a["truth"], b["truth"])
        np.testing.assert_array_equal(a["landmark_map"], b["landmark_map"])
        assert (b["mask"] >= a["mask"]).all()
        grown += int((b["mask"] > a["mask"]).any())
    assert 3 <= grown <= 13


def test_turned_heads_are_shown_more_often(make, records):
    # The nose tip near one cheek.
    points = records[1].landmarks.copy()
    points[54] = 0.9 * points[4] + 0.1 * points[28]
    faces = [records[0], replace(records[1], landmarks=points)]
    assert [is_turned(face.landmarks) for face in faces] == [False, True]
    sampler = make(faces, steady=True, profile_oversampling=3.0)
    assert [sampler.record(n) is faces[1] for n in range(len(sampler))] == [False, True, True, True]
    assert len(make(faces)) == 2

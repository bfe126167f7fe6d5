"""Training samples: repeatable, consistent, and honest about padding."""

from dataclasses import replace

import numpy as np
import pytest

from unmask.data.faces import read_face_folder
from unmask.data.pose import is_turned
from unmask.errors import DataError
from unmask.inpainting.data import InpaintingData, Variety, draw_landmark_map
from unmask.inpainting.holes import block_hole, stroke_hole


@pytest.fixture(scope="module")
def data(records, prior):
    return InpaintingData(records, prior, seed=3)


def test_landmark_map_rounds_to_pixels_and_leaves_out_what_lies_outside():
    points = np.array([[1.4, 2.0], [0.6, 2.4], [-0.4, 0.0], [7.4, 7.0], [7.6, 0.0], [3.0, -0.6]])
    drawn = draw_landmark_map(points, 8)
    assert drawn.shape == (8, 8, 1)
    assert drawn.dtype == np.float32
    # (x, y) = (1, 2) twice, (0, 0), (7, 7); the others round to column 8 and row -1.
    assert sorted(zip(*np.nonzero(drawn[..., 0]), strict=True)) == [(0, 0), (2, 1), (7, 7)]


def test_samples_are_consistent(data):
    sample = data.sample(0)
    shapes = [a.shape for a in sample.arrays()]
    assert shapes == [(192, 192, c) for c in (3, 1, 1, 3, 3, 1)]
    for values in sample.arrays():
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() <= 1
    for values in (sample.mask, sample.landmark_map, sample.valid):
        assert set(np.unique(values)) <= {0, 1}
    assert 0.05 < sample.mask.mean() < 0.6
    assert 60 <= sample.landmark_map.sum() <= 98
    # The guess keeps what is known.
    known = sample.mask[..., 0] == 0
    np.testing.assert_array_equal(sample.coarse[known], sample.image[known])


def test_the_hole_covers_the_drawn_mask(records, prior):
    data = InpaintingData(records, prior, seed=3, augment=False)
    sample = data.sample(1)
    changed = np.abs(sample.image - sample.truth).max(-1)
    hole = sample.mask[..., 0] > 0
    # Outside the hole only the ear loops and a soft shadow are left.
    assert changed[hole].mean() > 10 * changed[~hole].mean()


def test_a_sample_depends_on_seed_and_number_alone(data, records, prior):
    first = data.sample(5)
    data.sample(2)
    other = InpaintingData(records, prior, seed=3)
    for a, b in zip(first.arrays(), other.sample(5).arrays(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(first.truth - data.sample(4).truth).max() > 0.1
    reseeded = InpaintingData(records, prior, seed=4).sample(5)
    assert np.abs(first.truth - reseeded.truth).max() > 0.1


def test_an_epoch_shows_every_face_once(records, prior):
    tagged = [replace(record, gender=str(i)) for i, record in enumerate(records)]
    data = InpaintingData(tagged, prior, seed=3, augment=False)
    means = {round(float(data.sample(i).truth.mean()), 5) for i in range(len(data))}
    assert len(means) == len(records)
    np.testing.assert_array_equal(data.sample(0).truth, data.sample(len(data)).truth)


def test_batches_stack_samples_and_can_start_anywhere(data):
    stream = data.batches(2, side=64, first=3)
    batch = next(stream)
    assert batch.image.shape == (2, 64, 64, 3)
    expected = data.sample(7, side=64)
    for stacked, single in zip(batch.arrays(), expected.arrays(), strict=True):
        np.testing.assert_array_equal(stacked[1], single)
    following = next(stream)
    np.testing.assert_array_equal(following.mask[0], data.sample(8, side=64).mask)
    stream.close()


def test_smaller_samples_show_the_same_face(data):
    large, small = data.sample(1), data.sample(1, side=96)
    shrunk = large.truth.reshape(96, 2, 96, 2, 3).mean((1, 3))
    assert np.abs(shrunk - small.truth).max() < 0.01
    assert abs(large.mask.mean() - small.mask.mean()) < 0.01
    ys, xs = np.nonzero(large.landmark_map[..., 0])
    small_ys, small_xs = np.nonzero(small.landmark_map[..., 0])
    assert abs(xs.mean() / 2 - small_xs.mean()) < 2
    assert abs(ys.mean() / 2 - small_ys.mean()) < 2


def test_what_the_photo_does_not_show_is_not_valid(records, prior):
    record = records[0]
    # Landmarks that move the window over the left border of the photo.
    moved = replace(record, landmarks=record.landmarks - np.array([90, 0], np.float32))
    data = InpaintingData([record, moved], prior, seed=3, augment=False)
    assert data.sample(0).valid.mean() > data.sample(1).valid.mean()
    valid = data.sample(1).valid[..., 0]
    assert not valid[:, 0].any()
    assert valid[96, 150:].any()


def test_faces_that_cannot_be_used_are_named(face_folder, prior):
    with pytest.raises(DataError, match="no faces"):
        InpaintingData([], prior, seed=0)
    record = read_face_folder(face_folder)[0]
    with pytest.raises(DataError, match=r"0\.png: needs 98 landmarks, has 68"):
        InpaintingData([replace(record, landmarks=record.landmarks[:68])], prior, seed=0)


def test_an_error_of_the_preparing_thread_reaches_the_reader(data):
    stream = data.batches(2, side=-5)
    with pytest.raises(Exception, match=r"resize|size|shape"):
        next(stream)


# === Other holes, predicted landmarks ===


@pytest.mark.parametrize("draw", [stroke_hole, block_hole])
def test_other_holes_are_repeatable_moderate_and_different(draw):
    holes = [draw(96, np.random.default_rng(seed)) for seed in range(20)]
    np.testing.assert_array_equal(holes[3], draw(96, np.random.default_rng(3)))
    shares = [hole.mean() for hole in holes]
    assert min(shares) > 0.01
    assert max(shares) < 0.62
    assert len(set(shares)) > 15


def test_block_holes_have_straight_sides():
    hole = block_hole(96, np.random.default_rng(1))
    changes = np.abs(np.diff(hole.astype(int), axis=1)).sum(1)
    assert set(changes.tolist()) <= {0, 1, 2, 3, 4, 5, 6}
    rows = {row.tobytes() for row in hole}
    assert len(rows) <= 7  # three rectangles begin and end at six places


def test_shares_of_holes_are_kept_and_leave_the_other_samples_alone(records, prior):
    plain = InpaintingData(records, prior, seed=3)
    mixed = InpaintingData(records, prior, seed=3, variety=Variety(strokes=0.3, blocks=0.3))
    same = 0
    for number in range(24):
        a, b = plain.sample(number, 48), mixed.sample(number, 48)
        unchanged = all((x == y).all() for x, y in zip(a.arrays(), b.arrays(), strict=True))
        same += unchanged
        if not unchanged:
            # Nothing is worn: what is seen outside the hole is the truth.
            known = (b.mask == 0) & (b.valid > 0)
            np.testing.assert_array_equal((b.image * known), (b.truth * known))
            np.testing.assert_array_equal(a.truth, b.truth)
    assert 5 <= same <= 15


def test_landmarks_come_from_the_predictor_on_the_masked_crop(records, prior):
    seen = []

    def predictor(crops):
        seen.append(crops)
        return np.tile(np.array([32 + 50.0, 64 + 70.0]), (1, 98, 1))

    variety = Variety(predicted=1.0, predictor=predictor)
    data = InpaintingData(records, prior, seed=3, augment=False, variety=variety)
    sample = data.sample(0)
    assert seen[0].shape == (1, 256, 256, 3)
    assert [tuple(p) for p in np.argwhere(sample.landmark_map[..., 0])] == [(70, 50)]
    # The predictor saw what the generator sees, and more around it.
    crop = seen[0][0, 64:256, 32:224] / np.float32(255)
    known = np.broadcast_to(sample.valid > 0, crop.shape)
    np.testing.assert_array_equal(crop[known], sample.image[known])
    # The face itself is framed as without a predictor.
    plain = InpaintingData(records, prior, seed=3, augment=False).sample(0)
    assert np.abs(plain.truth - sample.truth).mean() < 0.01


def test_some_landmarks_come_from_the_predictor(records, prior):
    calls = []

    def predictor(crops):
        calls.append(crops)
        return np.zeros((1, 98, 2))

    data = InpaintingData(
        records, prior, seed=3, variety=Variety(strokes=0.5, predicted=0.5, predictor=predictor)
    )
    for number in range(24):
        data.sample(number, 48)
    assert 1 <= len(calls) <= 12  # a quarter of them: strokes have no masked face


def test_loose_holes_reach_past_the_mask_and_leave_the_other_samples_alone(records, prior):
    plain = InpaintingData(records, prior, seed=3)
    loose = InpaintingData(records, prior, seed=3, variety=Variety(loose=0.5))
    grown = 0
    for number in range(24):
        a, b = plain.sample(number), loose.sample(number)
        np.testing.assert_array_equal(a.truth, b.truth)
        np.testing.assert_array_equal(a.landmark_map, b.landmark_map)
        assert (b.mask >= a.mask).all()
        grown += int((b.mask > a.mask).any())
    assert 6 <= grown <= 18


def test_turned_heads_are_shown_more_often(records, prior):
    # The nose tip near one cheek.
    points = records[1].landmarks.copy()
    points[54] = 0.9 * points[4] + 0.1 * points[28]
    faces = [records[0], replace(records[1], landmarks=points)]
    assert [is_turned(face.landmarks) for face in faces] == [False, True]
    data = InpaintingData(faces, prior, seed=1, augment=False, variety=Variety(turned=3))
    truths = [data.sample(number).truth for number in range(len(data))]
    assert len(truths) == 4
    for again in truths[2:]:
        np.testing.assert_array_equal(again, truths[1])
    assert np.abs(truths[0] - truths[1]).max() > 0.1
    assert len(InpaintingData(faces, prior, seed=1)) == 2


def test_variety_that_cannot_be_is_refused(records, prior):
    with pytest.raises(ValueError, match=r"strokes=0\.7, blocks=0\.6"):
        Variety(strokes=0.7, blocks=0.6)
    with pytest.raises(ValueError, match=r"predicted=2"):
        Variety(predicted=2)
    with pytest.raises(ValueError, match="a predictor is needed"):
        Variety(predicted=0.5)
    with pytest.raises(ValueError, match=r"loose=-1"):
        Variety(loose=-1)
    with pytest.raises(ValueError, match="turned=0"):
        Variety(turned=0)
    variety = Variety(predicted=1.0, predictor=lambda crops: np.zeros((1, 68, 2)))
    data = InpaintingData(records, prior, seed=3, variety=variety)
    with pytest.raises(ValueError, match=r"shape=\(1, 68, 2\)"):
        data.sample(0)

"""Putting a completed crop back: only the hole changes, and it meets its surroundings."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from unmask.face import match_border, matrix_from_mask_box, paste_back, square_matrix, warp
from unmask.grain import match_grain
from unmask.refine import free_eyes, refine_mask


def _disc(side: int, radius: float) -> np.ndarray:
    y, x = np.indices((side, side)) - (side - 1) / 2
    return x**2 + y**2 < radius**2


@pytest.mark.parametrize("angle", [0.0, 0.4])
@pytest.mark.parametrize("side", [90.0, 300.0])
def test_only_the_hole_changes(angle, side):
    photo = np.random.default_rng(0).integers(0, 256, (400, 500, 3)).astype(np.uint8)
    matrix = square_matrix((240, 190), side, 256, (np.cos(angle), np.sin(angle)))
    hole = _disc(256, 60)
    completed = np.full((256, 256, 3), 128, np.uint8)
    result, changed = paste_back(photo, completed, hole, matrix)
    np.testing.assert_array_equal(result[~changed], photo[~changed])
    # The disc's area, seen in the photo.
    assert changed.sum() == pytest.approx(np.pi * (60 * side / 256) ** 2, rel=0.05)
    y, x = np.nonzero(changed)
    np.testing.assert_allclose((x.mean(), y.mean()), (240, 190), atol=0.6)


def test_the_same_picture_comes_back():
    y, x = np.indices((300, 300))
    photo = np.stack([x / 2, y / 2, (x + y) / 4 + 60], -1).astype(np.uint8)
    matrix = square_matrix((150, 150), 256, 256)
    crop = np.asarray(warp(photo, matrix, 256), np.uint8)
    result, changed = paste_back(photo, crop, _disc(256, 70), matrix)
    assert changed.any()
    assert np.abs(result.astype(int) - photo).max() <= 2


def test_a_hole_beyond_the_photo():
    photo = np.zeros((64, 64, 3), np.uint8)
    matrix = square_matrix((-500, -500), 256, 256)
    result, changed = paste_back(photo, np.full((256, 256, 3), 9, np.uint8), _disc(256, 60), matrix)
    assert not changed.any()
    np.testing.assert_array_equal(result, photo)


def test_empty_hole():
    photo = np.full((64, 64, 3), 7, np.uint8)
    empty = np.zeros((256, 256), bool)
    result, changed = paste_back(
        photo, np.zeros((256, 256, 3), np.uint8), empty, square_matrix((32, 32), 64)
    )
    assert not changed.any()
    np.testing.assert_array_equal(result, photo)


def test_a_colour_cast_is_matched_at_the_border():
    crop = np.full((128, 128, 3), (150, 120, 100), np.uint8)
    hole = _disc(128, 40)
    crop[hole] += 12
    matched = match_border(crop, hole)
    np.testing.assert_array_equal(matched[~hole], crop[~hole])
    rim = _disc(128, 40) & ~_disc(128, 39)
    assert np.abs(matched[rim] - (150, 120, 100)).mean() < 4
    # Deep inside the generator is trusted.
    assert np.abs(matched[64, 64] - crop[64, 64]).max() < 1


def test_an_outline_is_not_smeared():
    crop = np.full((128, 128, 3), 30, np.uint8)
    hole = _disc(128, 40)
    crop[hole] = 200
    np.testing.assert_allclose(match_border(crop, hole), crop, atol=1)


def test_mask_box_gives_the_measured_framing():
    matrix = matrix_from_mask_box((60.0, 134.0, 195.0, 240.0))
    # A box of the average size at the average place is the canonical crop itself.
    np.testing.assert_allclose(matrix, [[1, 0, 0], [0, 1, 0]], atol=4)
    with pytest.raises(ValueError, match="empty"):
        matrix_from_mask_box((5, 5, 5, 9))


def test_refining_joins_what_touches_and_fills_holes():
    coarse = _disc(256, 40)
    probability = np.full((256, 256), 0.2, np.float32)
    probability[_disc(256, 60) & ~_disc(256, 42)] = 0.9  # touches after closing
    probability[5:25, 5:25] = 0.9  # something else
    probability[120:130, 120:130] = 0.0  # a print or a valve
    refined = refine_mask(coarse, probability)
    assert refined[_disc(256, 58)].all()
    assert not refined[~_disc(256, 62)].any()


def test_refining_drops_what_the_crop_denies():
    probability = np.full((256, 256), 0.9, np.float32)
    probability[:, 128:] = 0.05
    refined = refine_mask(_disc(256, 60), probability)
    assert not refined[:, 133:].any()


def test_refining_takes_the_suspected_rim_along():
    probability = np.where(_disc(256, 60), 0.9, 0.0).astype(np.float32)
    sharp = refine_mask(_disc(256, 60), probability)
    probability[_disc(256, 68) & ~_disc(256, 60)] = 0.3
    refined = refine_mask(_disc(256, 60), probability)
    radii = [np.sqrt(mask.sum() / np.pi) for mask in (sharp, refined)]
    assert radii[1] - radii[0] == pytest.approx(4, abs=0.7)


@pytest.mark.parametrize(("count", "jaw", "bridge"), [(98, 33, 51), (68, 17, 27)])
def test_refining_stays_near_the_face(count, jaw, bridge):
    angle = np.linspace(np.pi, 0, jaw)
    landmarks = np.full((count, 2), 128.0)
    landmarks[:jaw] = np.stack([128 + 70 * np.cos(angle), 128 + 90 * np.sin(angle)], 1)
    landmarks[bridge] = (128, 120)
    everything = np.full((256, 256), 0.9, np.float32)
    refined = refine_mask(everything > 0, everything, landmarks)
    rows, columns = np.nonzero(refined)
    assert refined[128:215, 128].all()
    assert rows.max() < 244
    assert columns.min() > 32
    assert columns.max() < 224


def _face_points(side: int) -> np.ndarray:
    """68 points of a face that fills a square: jaw, then brows, nose, eyes and mouth, roughly."""
    angles = np.linspace(0, np.pi, 17)
    jaw = np.stack([0.5 - 0.48 * np.cos(angles), 0.3 + 0.65 * np.sin(angles)], 1)
    brows = np.stack([np.r_[0.2:0.42:5j, 0.58:0.8:5j], np.full(10, 0.1)], 1)
    nose = np.stack([np.full(9, 0.5), np.linspace(0.2, 0.5, 9)], 1)
    eyes = np.stack([np.r_[0.22:0.38:6j, 0.62:0.78:6j], np.full(12, 0.2)], 1)
    mouth = np.stack([np.linspace(0.35, 0.65, 20), np.full(20, 0.7)], 1)
    return (np.concatenate([jaw, brows, nose, eyes, mouth]) * side).astype(np.float32)


def _textured(side: int, fineness: float) -> np.ndarray:
    """A grey photo with noise of deviation 3 whose dots are so many pixels wide."""
    noise = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), fineness) if fineness else noise
    grey = 128 + 3 * noise / noise.std()
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


@pytest.mark.parametrize(
    ("fineness", "pixel", "least", "most"),
    [(0, 1.0, -0.3, 0.1), (1.0, 1.0, 0.25, 0.8), (2.0, 2.0, 0.6, 0.95)],
)
def test_grain_is_that_of_the_skin_around(fineness, pixel, least, most):
    photo, hole, side = _textured(256, fineness), _disc(256, 70), 256
    photo[hole] = 128
    rng = np.random.default_rng(1)
    grained = match_grain(photo, hole, _face_points(side), rng, pixel=pixel)
    np.testing.assert_array_equal(grained[~hole], photo[~hole])
    # What is larger than the generator's pixels is the generator's to paint.
    details = [
        grey - cv2.GaussianBlur(grey, (0, 0), 2.8 * pixel)
        for grey in (x[..., 0].astype(np.float32) for x in (_textured(256, fineness), grained))
    ]
    wanted, found = (d[88:168, 88:168] for d in details)
    assert 0.65 < found.std() / wanted.std() < 1.05
    likeness = np.corrcoef(found[:, 1:].ravel(), found[:, :-1].ravel())[0, 1]
    assert least < likeness < most


def test_hair_beside_the_face_is_no_skin():
    photo = np.full((256, 256, 3), 128, np.uint8)
    hole, points = _disc(256, 60), _face_points(256)
    hair = np.zeros((256, 256), bool)
    hair[:, :28] = hair[:, 228:] = True
    photo[hair] = _textured(256, 1.0)[hair] + 20
    np.testing.assert_array_equal(match_grain(photo, hole, points, np.random.default_rng(1)), photo)


def test_a_clean_photo_and_an_empty_hole_get_no_grain():
    clean, rng = np.full((192, 192, 3), 90, np.uint8), np.random.default_rng(1)
    points = _face_points(192)
    np.testing.assert_array_equal(match_grain(clean, _disc(192, 50), points, rng), clean)
    rough, nothing = _textured(192, 0), np.zeros((192, 192), bool)
    np.testing.assert_array_equal(match_grain(rough, nothing, points, rng), rough)


@pytest.mark.parametrize("count", [98, 68])
def test_eyes_are_left_alone(count):
    points = np.full((count, 2), 128.0, np.float32)
    starts, number = ((60, 68), 8) if count == 98 else ((36, 42), 6)
    centers = ((90.0, 120.0), (165.0, 120.0))
    for start, center in zip(starts, centers, strict=True):
        angles = np.linspace(0, 2 * np.pi, number, endpoint=False)
        points[start : start + number] = center + 8 * np.stack([np.cos(angles), np.sin(angles)], 1)
    mask = np.ones((256, 256), bool)
    free = free_eyes(mask, points)
    for x, y in centers:
        assert not free[int(y) - 8 : int(y) + 9, int(x)].any()
        assert free[int(y) + 16, int(x)]
    assert (mask & ~free).sum() < 2 * np.pi * 14**2
    assert free[128, 128]

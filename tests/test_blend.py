"""Putting a completed crop back: only the hole changes, and it meets its surroundings."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from unmask.blend import match_border, match_grain, match_tint, paste_back
from unmask.face import square_matrix, warp

# === Tint ===


@pytest.fixture
def colour():
    return cv2.resize(data.astronaut()[:256, 100:356], (128, 128), interpolation=cv2.INTER_AREA)


@pytest.fixture
def hole():
    hole = np.zeros((128, 128), bool)
    hole[60:100, 40:90] = True
    return hole


def jpeg(image):
    _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [1, 75])
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]


def test_colour_photos_stay(colour, hole):
    np.testing.assert_array_equal(match_tint(colour, hole), colour)


def test_dull_colour_photos_stay(colour, hole):
    grey = colour.mean(-1, keepdims=True)
    dull = np.clip(grey * 0.4 + (colour - grey) * 0.4, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(match_tint(dull, hole), dull)


@pytest.mark.parametrize("compressed", [False, True])
def test_black_and_white_photos_get_no_colour(colour, hole, compressed):
    photo = np.repeat(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=-1)
    photo = jpeg(photo) if compressed else photo
    photo = np.where(hole[..., None], colour, photo)
    toned = match_tint(photo, hole)
    assert np.ptp(photo[hole], axis=-1).mean() > 20
    assert np.ptp(toned[hole], axis=-1).max() <= 2
    grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY).astype(int)
    np.testing.assert_allclose(toned[hole].mean(-1), grey[hole], atol=2)
    np.testing.assert_array_equal(toned[~hole], photo[~hole])


def test_what_lies_beyond_the_photo_tells_nothing(colour, hole):
    photo = np.repeat(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=-1)
    valid = np.ones((128, 128), bool)
    valid[:, 96:] = False
    photo = np.where((hole | ~valid)[..., None], colour, photo)
    np.testing.assert_array_equal(match_tint(photo, hole), photo)
    toned = match_tint(photo, hole, valid)
    # Beyond the border too: the colours on both sides of the hole's outline are compared later.
    assert np.ptp(toned, axis=-1).max() <= 2
    shown = valid & ~hole
    np.testing.assert_array_equal(toned[shown], photo[shown])
    np.testing.assert_array_equal(match_tint(photo, hole, np.zeros_like(valid)), photo)


def test_sepia_is_met(colour, hole):
    grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)[..., None] / 255.0
    sepia = (255 * grey ** np.array([0.8, 1.0, 1.25])).astype(np.uint8)
    toned = match_tint(np.where(hole[..., None], colour, sepia), hole)
    assert np.abs(toned[hole].astype(int) - sepia[hole]).mean() < 4


def test_nothing_to_compare_or_to_fill(colour):
    everything = np.ones((128, 128), bool)
    np.testing.assert_array_equal(match_tint(colour, everything), colour)
    np.testing.assert_array_equal(match_tint(colour, ~everything), colour)


# === Paste ===


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


def test_crop_that_reaches_over_the_photos_edge():
    photo = np.random.default_rng(0).integers(0, 256, (100, 100, 3)).astype(np.uint8)
    matrix = square_matrix((95.0, 95.0), 80.0, 256)
    crop = np.asarray(warp(photo, matrix, 256), np.uint8)
    hole = np.zeros((256, 256), bool)
    hole[60:250, 60:250] = True
    result, changed = paste_back(photo, 255 - crop, hole, matrix)
    assert result.shape == photo.shape
    assert changed[99, 99]
    np.testing.assert_array_equal(result[~changed], photo[~changed])


def test_pasting_in_blocks_shows_no_seam(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (300, 300, 3)).astype(np.uint8)
    crop = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    hole = np.zeros((64, 64), bool)
    hole[10:50, 12:60] = True
    matrix = square_matrix((150.3, 140.7), 250.0, 64, (np.cos(0.2), np.sin(0.2)))
    whole, changed = paste_back(photo, crop, hole, matrix)
    monkeypatch.setattr("unmask.blend._BLOCK", 50)
    parts, changed_parts = paste_back(photo, crop, hole, matrix)
    assert (changed != changed_parts).mean() < 1e-3
    assert np.abs(whole.astype(int) - parts)[changed & changed_parts].max() <= 3


# === Grain ===


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

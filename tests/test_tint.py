"""Colour must not appear in photos that have none, and stay in those that have."""

import cv2
import numpy as np
import pytest
from skimage import data

from unmask.tint import match_tint


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

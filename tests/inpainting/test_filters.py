"""Blurs inside networks and losses."""

import cv2
import numpy as np
import pytest
from keras import ops

from unmask.inpainting.filters import FineBrightness, blur, brightness, remove_checkers


@pytest.mark.parametrize(("sigma", "channels"), [(1.0, 1), (2.5, 3)])
def test_blur_is_opencvs(sigma, channels):
    image = np.random.default_rng(0).uniform(size=(40, 32, channels)).astype(np.float32)
    side = 2 * int(3 * sigma) + 1
    expected = cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REFLECT_101)
    ours = np.asarray(blur(ops.convert_to_tensor(image[None]), sigma))[0]
    np.testing.assert_allclose(ours, expected.reshape(image.shape), atol=1e-5)


def test_images_and_channels_are_blurred_apart():
    images = np.zeros((2, 24, 24, 2), np.float32)
    images[1, 12, 12, 1] = 1
    ours = np.asarray(blur(ops.convert_to_tensor(images), 1.5))
    assert ours[0].max() == ours[1, ..., 0].max() == 0
    assert ours[1, ..., 1].sum() == pytest.approx(1, abs=1e-5)


def test_checkers_go_and_slopes_stay():
    ramp = np.linspace(0, 1, 32, dtype=np.float32)[None, None, :, None] * np.ones((1, 32, 1, 2))
    stripes = np.where(np.arange(32) % 2, 0.3, -0.3)[None, :, None, None]
    ours = np.asarray(remove_checkers((ramp + stripes).astype(np.float32)))
    np.testing.assert_allclose(ours[:, 1:-1, 1:-1], ramp[:, 1:-1, 1:-1], atol=1e-6)


def test_brightness_is_luma():
    assert np.asarray(brightness(np.float32([[[[1, 0.5, 0]]]]))).item() == pytest.approx(0.5925)


def test_fine_brightness_shows_details_enlarged_and_no_light():
    layer = FineBrightness(sigma=1.5, gain=6.0)
    ramp = np.linspace(0, 1, 48, dtype=np.float32)[None, None, :, None] * np.ones((1, 48, 1, 3))
    assert np.abs(np.asarray(layer(ramp.astype(np.float32)))[:, 8:40, 8:40]).max() < 1e-3
    checks = np.indices((48, 48)).sum(0)[None, ..., None] % 2 * np.ones(3, np.float32)
    found = np.asarray(layer(checks.astype(np.float32)))[:, 8:40, 8:40]
    assert found.max() - found.min() == pytest.approx(6.0, rel=0.01)
    assert FineBrightness.from_config(layer.get_config()).gain == 6.0

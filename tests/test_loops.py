"""Ear loops go where they touch a mask, and nothing else does."""

from __future__ import annotations

import cv2
import keras
import numpy as np
import pytest

from unmask.loops import find_loops, remove_loops

SKIN = (200, 150, 120)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A network that takes whatever is blue for a loop, where the mask is not."""
    inputs = keras.Input((256, 256, 4))
    layer = keras.layers.Conv2D(1, 1, activation="sigmoid")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.reshape([0.0, 0.0, 40.0, -40.0], (1, 1, 4, 1)), np.array([-28.0])])
    return model


@pytest.fixture
def face() -> tuple[np.ndarray, np.ndarray]:
    """Skin with a blue mask, a blue loop on its left, and a blue line that does not touch it."""
    crop = np.full((256, 256, 3), SKIN, np.uint8)
    mask = np.zeros((256, 256), bool)
    mask[140:230, 70:190] = True
    crop[mask] = (30, 60, 220)
    cv2.line(crop, (69, 150), (30, 110), (40, 70, 230), 3)
    cv2.line(crop, (230, 20), (230, 80), (40, 70, 230), 3)
    return crop, mask


def test_a_loop_is_what_touches_its_mask(network, face):
    crop, mask = face
    (loops,) = find_loops(network, crop[None], mask[None])
    assert loops[110:150, 30:69].any()
    assert loops[128, 48]
    assert not loops[:, 200:].any()
    assert not (loops & mask).any()


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_it_takes_the_colour_beside_it(network, face, scale):
    crop, mask = face
    (loops,) = find_loops(network, crop[None], mask[None])
    photo = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    to_crop = np.array([[1 / scale, 0, 0.5 / scale - 0.5], [0, 1 / scale, 0.5 / scale - 0.5]])
    result, changed = remove_loops(photo, loops, mask, to_crop)
    np.testing.assert_array_equal(result[~changed], photo[~changed])
    x, y = (round((v + 0.5) * scale - 0.5) for v in (48, 128))
    assert photo[y, x, 2] > 200
    assert np.abs(result[y, x].astype(int) - SKIN).max() <= 6
    assert 0 < changed.sum() < 0.03 * changed.size


def test_without_loops_the_photo_is_the_same(face):
    crop, mask = face
    result, changed = remove_loops(crop, np.zeros_like(mask), mask, np.eye(2, 3))
    np.testing.assert_array_equal(result, crop)
    assert not changed.any()

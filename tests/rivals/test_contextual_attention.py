"""Contextual attention: what it copies, from where, and what it leaves alone."""

import numpy as np
from keras import ops

from unmask.rivals.layers import ContextualAttention, shrink_nearest


def texture(side=32, period=8, channels=6):
    """A random tile, repeated."""
    tile = np.random.default_rng(5).normal(size=(period, period, channels))
    return np.tile(tile, (side // period, side // period, 1))[None].astype(np.float32)


def hole(side=32, start=14, stop=22):
    mask = np.zeros((1, side, side, 1), np.float32)
    mask[:, start:stop, start:stop] = 1
    return mask


def attend(features, mask):
    return ops.convert_to_numpy(ContextualAttention()([features, mask]))


def test_a_repeated_texture_is_copied_into_the_hole():
    features, mask = texture(), hole()
    # The values in the hole decide what is looked for, and are not copied themselves.
    rebuilt = attend(features, mask)
    inside = mask[0, ..., 0] > 0
    np.testing.assert_allclose(rebuilt[0][inside], features[0][inside], atol=0.02)
    middle = slice(16, 20)
    dim = np.where(mask > 0, 0.5 * features, features).astype(np.float32)
    copied = attend(dim, mask)[0, middle, middle]
    np.testing.assert_allclose(copied, features[0, middle, middle], atol=0.1)


def test_nothing_is_copied_where_all_is_hidden():
    features = texture()
    assert not attend(features, np.ones_like(hole())).any()


def test_each_image_has_its_own_hole():
    features = np.concatenate([texture(), texture()[:, ::-1]])
    masks = np.concatenate([hole(), hole(start=4, stop=16)])
    both = attend(features, masks)
    for place in (0, 1):
        alone = attend(features[place : place + 1], masks[place : place + 1])
        np.testing.assert_allclose(both[place : place + 1], alone, atol=1e-5)


def test_masks_of_the_whole_image_are_shrunk_and_sides_may_differ():
    features, mask = texture()[:, :16], hole()[:, :16]
    whole = mask.repeat(4, axis=1).repeat(4, axis=2)
    np.testing.assert_array_equal(attend(features, whole), attend(features, mask))


def test_nearest_shrinking_aligns_the_corners_and_rounds_halves_up():
    rows = np.arange(10, dtype=np.float32).reshape(1, 10, 1, 1).repeat(10, axis=2)
    shrunk = ops.convert_to_numpy(shrink_nearest(rows, 2))
    assert shrunk[0, :, 0, 0].tolist() == [0, 2, 5, 7, 9]  # 0, 2.25, 4.5, 6.75, 9
    assert shrunk.shape == (1, 5, 5, 1)

"""What happens to a generator's answer before it is pasted."""

import numpy as np

from unmask.inpainting.predict import _corrected

HOLE = np.zeros((64, 64), bool)
HOLE[8:56, 8:56] = True


def corrected(correction):
    guesses = np.full((1, 64, 64, 3), 0.5, np.float32)
    outputs = (guesses + np.float32(correction)).astype(np.float32)
    result = _corrected(outputs, guesses, HOLE[None])
    np.testing.assert_array_equal(result[0][~HOLE], guesses[0][~HOLE])
    return result[0] - 0.5


def test_the_grid_goes_and_edges_stay():
    """What comes back every 4 pixels is taken out; an edge keeps nearly all of its step."""
    edge = np.where(np.arange(64) < 32, -0.2, 0.2)[None, :, None] * np.ones((64, 64, 3))
    grid = 0.1 * np.tile([[1, -1, 0, 0], [0, 0, -1, 1]], (32, 16))[..., None]
    cleaned = corrected(edge + grid) / 0.6
    inner = np.s_[20:44, 20:44]
    away = np.abs(np.arange(20, 44) - 31.5) > 2
    assert np.abs(cleaned - edge)[inner][:, away].max() < 0.02
    step = cleaned[20:44, 33] - cleaned[20:44, 30]
    assert step.min() > 0.3


def test_a_part_of_the_brightness_is_added():
    ramp = np.linspace(-0.2, 0.2, 64)[None, :, None] * np.ones(3)
    added = corrected(ramp)[20:44, 20:44]
    np.testing.assert_allclose(
        added, 0.6 * np.broadcast_to(ramp, (64, 64, 3))[20:44, 20:44], atol=4e-3
    )


def test_colour_noise_goes_and_broad_colour_stays():
    red = np.array([0.2, 0, 0]) - 0.299 * 0.2  # changes no brightness
    np.testing.assert_allclose(
        corrected(red)[20:44, 20:44], 0.5 * np.ones((24, 24, 3)) * red, atol=2e-3
    )
    dots = np.zeros((64, 64, 3))
    dots[3::11, 5::11] = red
    assert np.abs(corrected(dots)).max() < 0.02 * np.abs(red).max()

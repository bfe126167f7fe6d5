"""What happens to a generator's answer before it is pasted."""

import numpy as np

from unmask.inpainting.predict import _without_grid


def test_the_grid_goes_and_edges_stay():
    """What comes back every 4 pixels is taken out; an edge keeps nearly all of its step."""
    guesses = np.full((1, 64, 64, 3), 0.5, np.float32)
    holes = np.zeros((1, 64, 64), bool)
    holes[:, 8:56, 8:56] = True
    edge = np.where(np.arange(64) < 32, -0.2, 0.2)[None, None, :, None]
    grid = 0.1 * np.tile([[1, -1, 0, 0], [0, 0, -1, 1]], (32, 16))[None, :, :, None]
    outputs = (guesses + edge + grid).astype(np.float32)
    cleaned = _without_grid(outputs, guesses, holes)
    np.testing.assert_array_equal(cleaned[~holes], guesses[~holes])
    wanted = (guesses + edge).astype(np.float32)
    inner = np.s_[0, 20:44, 20:44]
    away = np.abs(np.arange(20, 44) - 31.5) > 2
    assert np.abs(outputs - wanted)[inner].max() > 0.09
    assert np.abs(cleaned - wanted)[inner][:, away].max() < 0.02
    step = cleaned[0, 20:44, 33] - cleaned[0, 20:44, 30]
    assert step.min() > 0.3

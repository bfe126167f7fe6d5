"""What happens to a generator's answer before it is pasted: a part of it counts, as tested here."""

import numpy as np
import pytest

from unmask.inpainting.predict import (
    BORDER_SHARE,
    COLOUR_SHARE,
    INNER_SHARE,
    correct_coarse,
    split_correction,
)

HOLE = np.zeros((64, 64), bool)
HOLE[8:56, 8:56] = True


def corrected(correction):
    coarse = np.full((1, 64, 64, 3), 0.5, np.float32)
    outputs = (coarse + np.float32(correction)).astype(np.float32)
    result = correct_coarse(outputs, coarse, HOLE[None])
    np.testing.assert_array_equal(result[0][~HOLE], coarse[0][~HOLE])
    return result[0] - 0.5


def test_checkers_go():
    edge = np.where(np.arange(64) < 32, -0.2, 0.2)[None, :, None] * np.ones((64, 64, 3))
    checkers = 0.1 * np.where(np.indices((64, 64)).sum(0) % 2, 1, -1)[..., None]
    coarse = np.zeros((64, 64, 3), np.float32)
    brightness, _ = split_correction(np.float32(edge + checkers), coarse, HOLE)
    away = np.abs(np.arange(10, 54) - 31.5) > 1
    found, wanted = brightness[10:54, 10:54], edge[10:54, 10:54, 0]
    np.testing.assert_allclose(found[:, away], wanted[:, away], atol=1e-6)


def test_a_grid_goes_and_an_edge_stays_sharp():
    grid = 0.1 * (np.indices((64, 64)) % 4 == 0).all(0)[..., None] * np.ones(3)
    assert np.abs(corrected(grid - grid.mean())[16:48, 16:48]).max() < 0.012
    edge = np.where(np.arange(64) < 32, -0.1, 0.1)[None, :, None] * np.ones((64, 64, 3))
    added = corrected(edge)[32, :, 0]
    # At the step itself the fine part counts too, far from it the broad part's share alone.
    assert added[33] - added[30] > 1.3 * 0.2 * INNER_SHARE
    assert added[44] - added[20] == pytest.approx(0.2 * INNER_SHARE, abs=0.02)


def test_more_of_the_broad_part_counts_near_the_border():
    added = corrected(np.full((64, 64, 3), 0.1))[32, :, 0]
    assert added[32] == pytest.approx(0.1 * INNER_SHARE, abs=2e-3)
    assert added[9] == pytest.approx(0.1 * BORDER_SHARE, abs=5e-3)
    assert added[9:12].mean() > added[16:20].mean() > added[28:36].mean()


def test_colour_noise_goes_and_broad_colour_stays():
    red = np.array([0.2, 0, 0]) - 0.299 * 0.2  # changes no brightness
    kept = np.ones((24, 24, 3)) * COLOUR_SHARE * red
    np.testing.assert_allclose(corrected(red)[20:44, 20:44], kept, atol=1e-3)
    dots = np.zeros((64, 64, 3))
    dots[3::11, 5::11] = red
    assert np.abs(corrected(dots)).max() < 0.03 * np.abs(red).max()

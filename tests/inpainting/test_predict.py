"""What happens to a generator's answer before it is pasted: a part of it counts, as tested here."""

import numpy as np
import pytest

from unmask.inpainting.predict import COLOUR_SHARE, STRENGTH, correct_coarse

HOLE = np.zeros((64, 64), bool)
HOLE[8:56, 8:56] = True


def corrected(correction):
    coarse = np.full((1, 64, 64, 3), 0.5, np.float32)
    outputs = (coarse + np.float32(correction)).astype(np.float32)
    result = correct_coarse(outputs, coarse, HOLE[None])
    np.testing.assert_array_equal(result[0][~HOLE], coarse[0][~HOLE])
    return (result[0] - 0.5) / STRENGTH


def test_edges_stay_and_checkers_go():
    edge = np.where(np.arange(64) < 32, -0.2, 0.2)[None, :, None] * np.ones((64, 64, 3))
    checkers = 0.1 * np.where(np.indices((64, 64)).sum(0) % 2, 1, -1)[..., None]
    added = corrected(edge + checkers)[10:54, 10:54]
    away = np.abs(np.arange(10, 54) - 31.5) > 1
    np.testing.assert_allclose(added[:, away], edge[10:54, 10:54][:, away], atol=1e-6)
    assert (added[:, 23] - added[:, 20]).min() == pytest.approx(0.4, abs=1e-6)


def test_colour_noise_goes_and_broad_colour_stays():
    red = np.array([0.2, 0, 0]) - 0.299 * 0.2  # changes no brightness
    kept = np.ones((24, 24, 3)) * COLOUR_SHARE * red
    np.testing.assert_allclose(corrected(red)[20:44, 20:44], kept, atol=1e-3)
    dots = np.zeros((64, 64, 3))
    dots[3::11, 5::11] = red
    assert np.abs(corrected(dots)).max() < 0.03 * np.abs(red).max()

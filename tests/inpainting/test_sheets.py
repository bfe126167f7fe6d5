"""Sample sheets show what a user would get."""

import keras
import numpy as np
import pytest

from unmask.inpainting.predict import STRENGTH
from unmask.inpainting.sheets import SampleSheet

SIDE = 64


def painter(*, guided):
    """Return a generator that adds a tenth to the guess, or paints grey without one."""
    image, mask, points, coarse = (
        keras.Input((None, None, n), name=name)
        for name, n in (("image", 3), ("mask", 1), ("landmark_map", 1), ("coarse", 3))
    )
    inputs = [image, mask, points] + ([coarse] if guided else [])
    return keras.Model(inputs, coarse + 0.1 if guided else 0.0 * image + 0.4)


@pytest.mark.parametrize("guided", [True, False])
def test_the_result_is_what_run_would_paste(records, prior, guided):
    sheet = SampleSheet(records, prior, side=SIDE, rows=2).draw(painter(guided=guided))
    assert sheet.shape == (2 * SIDE, 4 * SIDE, 3)
    known, guess, result, truth = np.split(sheet[:SIDE].astype(int), 4, axis=1)
    hole = (known == 255).all(-1)
    assert hole.mean() > 0.1
    if guided:
        unclipped = hole & (result < 255).all(-1)
        added = (result - guess)[unclipped]
        assert np.median(added) == pytest.approx(25.5 * STRENGTH, abs=1)
    else:
        assert (result[hole] == 102).all()
    outside = ~hole & (known == truth).all(-1)
    np.testing.assert_array_equal(result[outside], truth[outside])

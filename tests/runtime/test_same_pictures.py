"""Ten photos come out of ONNX Runtime as out of Keras."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.demo import portraits, wear_mask
from unmask.pipeline import Unmasker
from unmask.result import Result

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Result, Result]]:
    """Complete two portraits under five masks each, mirrored and moved, with either runtime."""
    runtimes = [Unmasker(runtime="onnx"), Unmasker(runtime="keras")]
    photos: list[np.ndarray] = []
    for portrait in portraits():
        for number in range(5):
            worn = wear_mask(runtimes[0], portrait, seed=number)
            # Another grid of pixels each time, so that another crop is resampled.
            moved = worn[3 * number :, 5 * number :]
            photos.append(np.ascontiguousarray(moved[:, ::-1] if number % 2 else moved))
    return list(zip(*(unmasker(list(photos)) for unmasker in runtimes), strict=True))


def test_the_same_faces_are_found(pairs: list[tuple[Result, Result]]) -> None:
    assert len(pairs) == 10
    for onnx, keras in pairs:
        assert len(onnx.faces) == len(keras.faces) >= 1
        assert [face.gender for face in onnx.faces] == [face.gender for face in keras.faces]


def test_the_pictures_are_the_same(pairs: list[tuple[Result, Result]]) -> None:
    differences = [np.abs(a.image.astype(int) - b.image) for a, b in pairs]
    assert max(difference.max() for difference in differences) <= 6
    for difference in differences:
        assert (difference > 1).mean() <= 0.001

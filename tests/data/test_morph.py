"""Morphs of two faces."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.data.morph import morph
from unmask.data.record import CanonicalFace


def dotted(shift: float, grey: int) -> CanonicalFace:
    """A grey picture with a bright dot at each of its landmarks."""
    grid = np.stack(np.meshgrid([20.0, 40.0, 60.0], [20.0, 40.0, 60.0]), axis=-1).reshape(-1, 2)
    points = (grid + np.array([shift, 0])).astype(np.float32)
    image = np.full((80, 80, 3), grey, np.uint8)
    for x, y in points.astype(int):
        image[y - 1 : y + 2, x - 1 : x + 2] = 250
    valid = np.ones((80, 80), bool)
    valid[:, :4] = False
    return CanonicalFace(image, points, valid)


def test_landmarks_meet_half_way():
    face = morph(dotted(-3, 50), dotted(3, 100), 0.5)
    np.testing.assert_allclose(face.landmarks, dotted(0, 0).landmarks, atol=1e-4)
    for x, y in face.landmarks.astype(int):
        assert face.image[y, x, 0] > 230
    # Between the dots it is the mean of both.
    assert face.image[30, 30, 0] == pytest.approx(75, abs=1)
    assert not face.valid[:, :3].any()
    assert face.valid[:, 8:].all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_ends_are_the_faces_themselves(share):
    faces = dotted(-3, 50), dotted(3, 100)
    face, expected = morph(*faces, share), faces[int(share)]
    np.testing.assert_allclose(face.landmarks, expected.landmarks)
    np.testing.assert_allclose(face.image.astype(int), expected.image, atol=1)

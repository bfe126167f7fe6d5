"""The refine network."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.inpainting.lite import build_generator, build_refiner
from unmask.inpainting.predict import complete_faces, complete_windows


@pytest.fixture(scope="module")
def refiner():
    return build_refiner(width=8, depth=1)


def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (2, 192, 192, 3), dtype=np.uint8)
    holes = np.zeros((2, 192, 192), bool)
    holes[:, 72:144, 48:144] = True
    return images, holes, rng.uniform(0, 192, (2, 98, 2)).astype(np.float32)


def test_it_has_the_weights_of_lites_generator(refiner):
    plain = build_generator(width=8, depth=1)
    assert [(v.path, v.shape) for v in refiner.variables] == [
        (v.path, v.shape) for v in plain.variables
    ]


def test_it_changes_the_hole_alone_and_starts_at_nearly_nothing(refiner):
    images, holes, points = case()
    result = complete_windows(refiner, images, holes, points, images, in_full=True)
    np.testing.assert_array_equal(result[~holes], images[~holes])
    assert np.abs(result.astype(int) - images).max() <= 24


def test_what_it_copies_comes_from_the_known_part():
    refiner = build_refiner(width=8, depth=1)
    attention = refiner.get_layer("attention")
    features = np.random.default_rng(0).normal(size=(1, 16, 16, 4)).astype("float32")
    mask = np.zeros((1, 64, 64, 1), "float32")
    mask[:, :, 32:] = 1
    copied = np.asarray(attention([features, mask]))
    moved = features.copy()
    moved[:, :, 10:] += 5.0 * np.sign(moved[:, :, 10:])
    # The hole's own features decide what is copied, and are never copied.
    assert np.abs(copied).max() <= np.abs(features[:, :, :10]).max() + 1e-4
    assert np.abs(np.asarray(attention([moved, mask]))).max() <= np.abs(features).max() + 1e-4


def test_only_faces_of_a_gender_with_a_generator_are_completed():
    images, holes, points = case()

    def coarse(images, holes, valid, points, genders):
        return images, np.where(holes[..., None], np.uint8(9), images)

    faces = images, holes, np.ones_like(holes), points, ["male", "female"]
    model = build_generator(width=8, depth=1)
    filled, completed = complete_faces({"male": model}, coarse, *faces)
    np.testing.assert_array_equal(completed[1], filled[1])
    assert (completed[0][holes[0]] != filled[0][holes[0]]).any()

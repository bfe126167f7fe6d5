"""Our network and the paper's behind our window: they see that window alone."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.face import CROP_SIZE
from unmask.gender.lite import FRAMINGS, build_lite, look_through
from unmask.gender.paper import build_classifier
from unmask.weights import load_weights, save_weights

WINDOW = FRAMINGS["window"]
INSIDE = np.s_[:, WINDOW.top : WINDOW.top + WINDOW.side, WINDOW.left : WINDOW.left + WINDOW.side]


@pytest.fixture(scope="module")
def classifier():
    return build_classifier(units=8, hidden=8, size=96)


def test_scalings_differ_by_the_mapping_that_they_name(classifier):
    paper, inception = (look_through(classifier, "whole", s) for s in ("paper", "inception"))
    image = np.random.default_rng(0).uniform(0, 1, (2, 256, 256, 3)).astype(np.float32)
    direct = paper.predict_on_batch(image * 2 - 1)
    np.testing.assert_allclose(inception.predict_on_batch(image), direct, rtol=1e-4)


def test_unknown_names_are_refused(classifier):
    with pytest.raises(ValueError, match="scaling='torch'"):
        look_through(classifier, scaling="torch")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="view='nose'"):
        look_through(classifier, "nose")  # type: ignore[arg-type]


def test_lite_ignores_everything_outside_its_window():
    model = build_lite()
    rng = np.random.default_rng(0)
    face = rng.uniform(0, 1, (1, CROP_SIZE, CROP_SIZE, 3)).astype(np.float32)
    other = rng.uniform(0, 1, face.shape).astype(np.float32)
    other[INSIDE] = face[INSIDE]
    np.testing.assert_array_equal(model.predict_on_batch(face), model.predict_on_batch(other))


def test_cropped_lite_is_the_same_network(tmp_path):
    whole, cropped = build_lite(), build_lite(cropped=True)
    save_weights(cropped, tmp_path / "w.safetensors", dtype="float32")
    load_weights(whole, tmp_path / "w.safetensors")
    image = np.random.default_rng(1).uniform(0, 1, (2, 256, 256, 3)).astype(np.float32)
    np.testing.assert_allclose(
        whole.predict_on_batch(image), cropped.predict_on_batch(image[INSIDE]), atol=1e-6
    )


def test_cropped_classifier_is_the_same_network(classifier):
    whole, cropped = (look_through(classifier, "window", cropped=c) for c in (False, True))
    assert [v.path for v in whole.weights] == [v.path for v in cropped.weights]
    image = np.random.default_rng(1).uniform(0, 1, (2, 256, 256, 3)).astype(np.float32)
    np.testing.assert_allclose(
        whole.predict_on_batch(image), cropped.predict_on_batch(image[INSIDE]), atol=1e-5
    )


def test_lite_fits_the_shipped_size():
    assert 2 * build_lite().count_params() <= 6_000_000


def test_every_stage_has_its_width_and_its_blocks():
    with pytest.raises(ValueError, match="same length"):
        build_lite(widths=(8, 16), blocks=(1,))

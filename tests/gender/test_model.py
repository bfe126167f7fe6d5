"""The paper's parameter counts, and a compact network that sees only its window."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from unmask.face import CROP_SIZE
from unmask.gender.model import LITE, VIEW, build_classifier, build_compact, build_head
from unmask.weights import load_weights, save_weights


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


@pytest.mark.parametrize(("units", "count"), [(1536, 9_720_321), (320, 4_964_545)])
def test_head_has_the_published_number_of_trainable_parameters(units, count):
    assert trainable(build_head(units=units)) == count


def test_the_head_that_the_notebook_saved_has_its_number():
    assert trainable(build_head(units=1548, hidden=0)) == 5_581_541


def test_head_uses_the_activation_in_its_two_tuned_layers():
    head = build_head(units=8, hidden=16, activation="tanh", features=4)
    names = [layer.activation.__name__ for layer in head.layers if hasattr(layer, "units")]
    assert names == ["relu", "tanh", "tanh", "sigmoid"]


def test_paper_classifier_trains_the_head_alone():
    model = build_classifier(units=1536)
    assert model.input_shape == (None, 256, 256, 3)
    assert trainable(model) == 9_720_321
    assert len(model.get_layer("inception_v3").trainable_variables) == 0


def test_backbone_variables_have_the_same_names_every_time():
    first, second = (
        [v.path for v in build_classifier(units=32, size=96).variables if "seed" not in v.path]
        for _ in range(2)
    )
    assert first == second
    assert len(set(first)) == len(first)


def test_scalings_differ_by_the_mapping_that_they_name():
    paper = build_classifier(units=8, hidden=8, size=96, scaling="paper")
    inception = build_classifier(units=8, hidden=8, size=96, scaling="inception")
    inception.set_weights(paper.get_weights())
    image = np.random.default_rng(0).uniform(0, 1, (2, 96, 96, 3)).astype(np.float32)
    direct = paper.predict_on_batch(image * 2 - 1)
    np.testing.assert_allclose(inception.predict_on_batch(image), direct, rtol=1e-4)


def test_backbone_weights_from_a_file_arrive_in_the_backbone(tmp_path):
    source = keras.applications.InceptionV3(
        include_top=False, pooling="avg", input_shape=(96, 96, 3), weights=None
    )
    path = tmp_path / "inception.weights.h5"
    source.save_weights(path)
    model = build_classifier(units=8, hidden=8, size=96, weights=path)
    loaded = model.get_layer("inception_v3").get_weights()
    for ours, theirs in zip(loaded, source.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="backbone='vgg'"):
        build_classifier("vgg")
    with pytest.raises(ValueError, match="scaling='torch'"):
        build_classifier(scaling="torch")  # type: ignore[arg-type]


def test_compact_ignores_everything_outside_its_window():
    model = build_compact(**LITE)
    left, top, side = VIEW
    rng = np.random.default_rng(0)
    face = rng.uniform(0, 1, (1, CROP_SIZE, CROP_SIZE, 3)).astype(np.float32)
    other = rng.uniform(0, 1, face.shape).astype(np.float32)
    window = np.s_[:, top : top + side, left : left + side]
    other[window] = face[window]
    np.testing.assert_array_equal(model.predict_on_batch(face), model.predict_on_batch(other))


def test_cropped_compact_is_the_same_network(tmp_path):
    whole, cropped = build_compact(**LITE), build_compact(**LITE, cropped=True)
    save_weights(cropped, tmp_path / "w.safetensors", dtype="float32")
    load_weights(whole, tmp_path / "w.safetensors")
    image = np.random.default_rng(1).uniform(0, 1, (2, 256, 256, 3)).astype(np.float32)
    left, top, side = VIEW
    window = image[:, top : top + side, left : left + side]
    np.testing.assert_allclose(
        whole.predict_on_batch(image), cropped.predict_on_batch(window), atol=1e-6
    )


def test_cropped_classifier_is_the_same_network():
    options = {"units": 8, "hidden": 8, "size": 96, "view": VIEW}
    whole, cropped = build_classifier(**options), build_classifier(**options, cropped=True)
    assert [v.path for v in whole.weights] == [v.path for v in cropped.weights]
    cropped.set_weights(whole.get_weights())
    image = np.random.default_rng(1).uniform(0, 1, (2, 256, 256, 3)).astype(np.float32)
    left, top, side = VIEW
    window = image[:, top : top + side, left : left + side]
    np.testing.assert_allclose(
        whole.predict_on_batch(image), cropped.predict_on_batch(window), atol=1e-5
    )
    with pytest.raises(ValueError, match="`cropped` needs a `view`"):
        build_classifier(cropped=True)


def test_compact_fits_the_shipped_size():
    assert 2 * build_compact(**LITE).count_params() <= 6_000_000


def test_compact_refuses_a_window_outside_the_crop():
    with pytest.raises(ValueError, match=r"view=\(200, 0, 100\)"):
        build_compact(view=(200, 0, 100))
    with pytest.raises(ValueError, match="same length"):
        build_compact(widths=(8, 16), blocks=(1,))

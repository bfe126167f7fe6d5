"""The paper's parameter counts, and its frozen backbone."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from unmask.gender.paper import build_classifier, build_head


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
    model = build_classifier()
    assert model.input_shape == (None, 256, 256, 3)
    assert trainable(model) == 9_720_321
    assert model.count_params() == 31_537_441
    assert len(model.get_layer("inception_v3").trainable_variables) == 0


def test_backbone_variables_have_the_same_names_every_time():
    first, second = (
        [v.path for v in build_classifier(units=32, size=96).variables if "seed" not in v.path]
        for _ in range(2)
    )
    assert first == second
    assert len(set(first)) == len(first)


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

"""The paper's parameter counts, and its frozen backbone."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from unmask.gender.lite import look_through
from unmask.gender.paper import build_classifier, build_head


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


@pytest.mark.parametrize(
    ("units", "hidden", "count"),
    [(1536, 2048, 9_720_321), (320, 2048, 4_964_545), (1548, 0, 5_581_541)],
)
def test_head_has_the_published_number_of_trainable_parameters(units, hidden, count):
    assert trainable(build_head(units, hidden)) == count


def test_head_uses_the_activation_in_its_two_tuned_layers():
    head = build_head(units=8, hidden=16, activation="tanh", features=4)
    names = [layer.activation.__name__ for layer in head.layers if hasattr(layer, "units")]
    assert names == ["relu", "tanh", "tanh", "sigmoid"]


@pytest.fixture(scope="module")
def classifier() -> keras.Model:
    return build_classifier()


def test_paper_classifier_trains_the_head_alone(classifier):
    assert classifier.input_shape == (None, 256, 256, 3)
    assert trainable(classifier) == 9_720_321
    assert classifier.count_params() == 31_537_441
    assert len(classifier.get_layer("inception_v3").trainable_variables) == 0
    # What is put before our networks leaves it as it is.
    names = {layer.name for layer in look_through(classifier).layers}
    assert names == {layer.name for layer in classifier.layers}


def test_backbone_weights_from_a_file_arrive_in_the_backbone(classifier, tmp_path):
    source = keras.applications.InceptionV3(
        include_top=False, pooling="avg", input_shape=(96, 96, 3), weights=None
    )
    path = tmp_path / "inception.weights.h5"
    source.save_weights(path)
    model = build_classifier(units=8, hidden=8, size=96, weights=path)
    loaded = model.get_layer("inception_v3").get_weights()
    for ours, theirs in zip(loaded, source.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # Variables have the same names every time.
    first, second = (
        [v.path for v in network.variables if "seed" not in v.path]
        for network in (classifier, model)
    )
    assert first == second
    assert len(set(first)) == len(first)

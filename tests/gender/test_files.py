"""A weight file tells which gender network it holds, and what that network looks at."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.errors import WeightsError
from unmask.gender.files import framing_of, load_classifier, load_gender
from unmask.gender.framing import FRAMINGS
from unmask.gender.model import VIEW, build_classifier
from unmask.weights import default_weights_dir, save_arrays, save_weights

SIZE = 75


@pytest.fixture(scope="module")
def classifier():
    return build_classifier(units=8, hidden=16, activation="tanh", size=SIZE)


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).uniform(0, 1, (2, 256, 256, 3)).astype(np.float32)


def test_what_was_trained_here_sees_what_it_was_trained_on(classifier, crops, tmp_path):
    settings = {"scaling": "inception", "activation": "tanh", "size": str(SIZE)}
    save_weights(classifier, tmp_path / "g.safetensors", settings, dtype="float32")
    loaded = load_gender(tmp_path / "g.safetensors")
    cropped = load_gender(tmp_path / "g.safetensors", cropped=True)
    left, top, side = VIEW
    window = crops[:, top : top + side, left : left + side]
    np.testing.assert_allclose(loaded(crops), cropped(window), atol=1e-5)
    assert loaded.get_layer("scaling").scale == 2.0
    assert framing_of(cropped) == FRAMINGS["window"]
    head = loaded.get_layer("gender_head")
    assert head.get_layer("dense_1").activation.__name__ == "tanh"


def test_without_settings_a_classifier_is_the_authors(classifier, crops, tmp_path):
    save_weights(classifier, tmp_path / "g.safetensors", dtype="float32")
    whole = load_gender(tmp_path / "g.safetensors")
    assert whole.input_shape == (None, 256, 256, 3)
    assert not {"scaling", "view"} & {layer.name for layer in whole.layers}
    cropped = load_gender(tmp_path / "g.safetensors", cropped=True)
    assert framing_of(cropped) == FRAMINGS["whole"]


def test_the_shipped_file_is_the_compact_network():
    path = default_weights_dir() / "lite" / "gender.safetensors"
    assert load_gender(path).name == load_gender(path, cropped=True).name == "gender_compact"


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_arrays(path, {"a": np.zeros(2, np.float32)}, {})
    with pytest.raises(WeightsError, match=r"x\.safetensors.*Neither the compact network"):
        load_gender(path)
    with pytest.raises(WeightsError, match=r"x\.safetensors: dense_1/kernel is missing"):
        load_classifier(path)
    save_arrays(path, {"dense_1/kernel": np.zeros((4, 2), np.float32)}, {"scaling": "torch"})
    with pytest.raises(WeightsError, match=r"x\.safetensors: metadata: .*'torch'"):
        load_gender(path)

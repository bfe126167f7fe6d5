"""The gender network at run time, and what a weight file tells of it."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.data.faces import read_face_folder
from unmask.data.record import load_canonical
from unmask.errors import WeightsError
from unmask.gender.lite import FRAMINGS, build_lite
from unmask.gender.load import framing_of, load_gender
from unmask.gender.paper import build_classifier
from unmask.gender.predict import predict_gender
from unmask.weights import default_weights_dir, save_arrays, save_weights

SIZE = 75
NETWORK = {"widths": (8, 16, 16), "blocks": (1, 1, 1), "dropout": 0.0}


def test_prediction_agrees_with_the_network_and_takes_any_count(face_data):
    model = build_lite(**NETWORK)
    faces = read_face_folder(face_data / "faces", split="val")
    crops = np.stack([load_canonical(face).image for face in faces])
    predicted = predict_gender(model, crops, batch_size=3)
    assert predicted.shape == (8,)
    assert predicted.dtype == np.float32
    direct = model.predict_on_batch(crops.astype(np.float32) / 255)[:, 0]
    np.testing.assert_allclose(predicted, direct, atol=1e-5)
    assert predict_gender(model, crops[:0]).shape == (0,)
    both = predict_gender(model, crops, batch_size=3, mirror=True)
    mirrored = np.ascontiguousarray(crops[:, :, ::-1])
    np.testing.assert_allclose(both, predict_gender(model, mirrored, mirror=True), atol=1e-5)
    flipped = predict_gender(model, mirrored)
    assert (np.minimum(predicted, flipped) - 1e-6 <= both).all()
    assert (both <= np.maximum(predicted, flipped) + 1e-6).all()


def test_prediction_refuses_other_arrays():
    with pytest.raises(ValueError, match="dtype=float32"):
        predict_gender(build_lite(**NETWORK), np.zeros((1, 256, 256, 3), np.float32))


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
    framing = FRAMINGS["window"]
    left, top, side = framing.left, framing.top, framing.side
    window = crops[:, top : top + side, left : left + side]
    np.testing.assert_allclose(loaded(crops), cropped(window), atol=1e-5)
    assert loaded.get_layer("scaling").scale == 2.0
    assert framing_of(cropped) == FRAMINGS["window"]
    head = loaded.get_layer("gender_head")
    assert head.get_layer("dense_1").activation.__name__ == "tanh"


def test_without_settings_a_classifier_is_the_authors(classifier, tmp_path):
    save_weights(classifier, tmp_path / "g.safetensors", {"size": str(SIZE)}, dtype="float32")
    cropped = load_gender(tmp_path / "g.safetensors", cropped=True)
    assert cropped.input_shape == (None, 256, 256, 3)
    assert not {"scaling", "view"} & {layer.name for layer in cropped.layers}
    assert framing_of(cropped) == FRAMINGS["whole"]


def test_the_shipped_file_is_the_compact_network():
    path = default_weights_dir() / "lite" / "gender.safetensors"
    assert load_gender(path, cropped=True).name == "gender_compact"


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_arrays(path, {"a": np.zeros(2, np.float32)}, {})
    with pytest.raises(WeightsError, match=r"x\.safetensors.*Neither the compact network"):
        load_gender(path)
    save_arrays(path, {"dense_1/kernel": np.zeros((4, 2), np.float32)}, {"size": "large"})
    with pytest.raises(WeightsError, match=r"x\.safetensors: metadata: .*'large'"):
        load_gender(path)

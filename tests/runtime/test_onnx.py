"""ONNX files answer as the Keras networks they were made of."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from unmask.errors import WeightsError
from unmask.inference import OnnxNetwork, forward
from unmask.presets import build_stage, get_preset
from unmask.segmentation.finder import load_finder
from unmask.weights import find, load_weights

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, OnnxNetwork]:
    pytest.importorskip("tf2onnx")
    from unmask.export import _WRITERS

    keras.utils.set_random_seed(3)
    photo, mask = keras.Input((None, None, 3), name="photo"), keras.Input((8, 8, 1), name="mask")
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(photo)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(2, 3, strides=2, padding="same")(x)
    model = keras.Model([photo, mask], [keras.layers.Conv2D(1, 1)(mask), x])
    path = _WRITERS["onnx"](model, tmp_path_factory.mktemp("onnx") / "tiny")
    return model, OnnxNetwork(path)


@pytest.mark.parametrize("side", [16, 40])
def test_the_last_output_is_keras_own(exported: tuple[keras.Model, OnnxNetwork], side: int):
    model, network = exported
    rng = np.random.default_rng(side)
    inputs = rng.random((2, side, side, 3), np.float32), rng.random((2, 8, 8, 1), np.float32)
    found = forward(network, *inputs)
    assert found.shape == (2, side // 2, side // 2, 2)
    # Kernels are rounded to float16.
    np.testing.assert_allclose(found, forward(model, *inputs), atol=2e-3)
    assert network.input_shape == (None, None, None, 3)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 50])
def test_other_files_are_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "face.onnx"
    with pytest.raises(WeightsError, match=r"face\.onnx: no such file"):
        OnnxNetwork(path)
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"face\.onnx: not a usable ONNX model"):
        OnnxNetwork(path)


@pytest.mark.parametrize("stage", sorted(get_preset("lite").networks))
def test_the_shipped_files_are_the_same_networks(stage: str):
    """They are exported after each training; whoever forgets it learns it here."""
    model = build_stage("lite", stage)
    load_weights(model, find("lite", stage).path)
    network = OnnxNetwork(find("lite", stage, onnx=True).path)
    rng = np.random.default_rng(1)
    shapes = [[side or 96 for side in one.shape[1:]] for one in model.inputs]
    inputs = [rng.random((1, *shape), np.float32) for shape in shapes]
    difference = np.abs(forward(network, *inputs) - forward(model, *inputs))
    assert difference.mean() < 1e-3
    assert difference.max() < 0.05


@pytest.mark.parametrize("stage", ["gender", "coarse", "landmarks"])
def test_another_network_finds_no_masks(stage: str):
    path = find("lite", stage, onnx=True).path
    with pytest.raises(WeightsError, match=f"{stage}.onnx: not a U-Net"):
        load_finder(path)

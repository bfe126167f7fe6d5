"""The authors' file, written here as Keras 2 writes it."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from unmask.errors import WeightsError
from unmask.gender.convert import load_published
from unmask.gender.load import load_gender
from unmask.inception import in_order_of_creation

SIZE, HIDDEN, UNITS, FEATURES = 75, 12, 7, 2048


def head_tensors(rng: np.random.Generator) -> dict[str, dict[str, np.ndarray]]:
    """Return the head's layers as `model.save` of the notebook names them."""
    widths = [FEATURES, HIDDEN, UNITS, UNITS]
    layers: dict[str, dict[str, np.ndarray]] = {"flatten": {}}
    for index, width in enumerate(widths):
        name = f"batch_normalization_{94 + index}"
        layers[name] = {
            f"{name}/gamma:0": rng.uniform(0.5, 1.5, width),
            f"{name}/beta:0": rng.normal(0, 0.1, width),
            f"{name}/moving_mean:0": rng.normal(0, 0.1, width),
            f"{name}/moving_variance:0": rng.uniform(0.5, 1.5, width),
        }
        following = widths[index + 1] if index < 3 else 1
        dense = f"dense_{index}" if index else "dense"
        if index == 3:
            layers["dropout"] = {}
        layers[dense] = {
            f"{dense}/kernel:0": rng.normal(0, width**-0.5, (width, following)),
            f"{dense}/bias:0": rng.normal(0, 0.1, following),
        }
    return layers


def backbone_tensors(source: keras.Model, offset: int) -> dict[str, np.ndarray]:
    """Return tensors for a Keras model of InceptionV3 whose numbering starts at `offset`."""
    rng, tensors = np.random.default_rng(1), {}
    convolutions = in_order_of_creation(source, keras.layers.Conv2D)
    normalisations = in_order_of_creation(source, keras.layers.BatchNormalization)
    for index, (conv, bn) in enumerate(zip(convolutions, normalisations, strict=True), offset):
        number = f"_{index}" if index else ""
        spread = np.sqrt(2 / np.prod(conv.kernel.shape[:3]))
        tensors[f"conv2d{number}/kernel:0"] = rng.normal(0, spread, tuple(conv.kernel.shape))
        for leaf in ("beta", "moving_mean"):
            values = rng.normal(0, 0.1, tuple(bn.beta.shape))
            tensors[f"batch_normalization{number}/{leaf}:0"] = values
        variance = rng.uniform(0.5, 1.5, tuple(bn.beta.shape))
        tensors[f"batch_normalization{number}/moving_variance:0"] = variance
    # In a frozen model Keras 2 lists the tensors by layer; the order must not matter.
    return dict(sorted(tensors.items()))


def write(path: Path, layers: dict[str, dict[str, np.ndarray]]) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = np.bytes_(b"2.4.0")
        file.attrs["model_config"] = np.bytes_(b'{"class_name": "os.system"}')
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [np.bytes_(name.encode()) for name in layers]
        for layer, tensors in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [np.bytes_(name.encode()) for name in tensors]
            for name, values in tensors.items():
                group.create_dataset(name, data=values.astype(np.float32))
    return path


@pytest.fixture(scope="module")
def head_layers():
    return head_tensors(np.random.default_rng(0))


@pytest.fixture(scope="module")
def source() -> keras.Model:
    return keras.applications.InceptionV3(
        include_top=False, pooling="avg", input_shape=(SIZE, SIZE, 3), weights=None
    )


def test_the_whole_file_arrives(tmp_path, head_layers, source):
    offset = 94  # the notebook had built the network before
    backbone = backbone_tensors(source, offset)
    path = write(tmp_path / "kt.hdf5", {"inception_v3": backbone, **head_layers})
    model, report = load_published(path, size=SIZE)
    assert str(report) == "400 loaded, 0 missing, 0 unused"
    assert model.get_layer("gender_head").get_layer("dense_1").units == UNITS
    # Followed through the first blocks of a Keras model that is loaded layer by layer.
    image = np.random.default_rng(2).uniform(0, 1, (2, SIZE, SIZE, 3)).astype(np.float32)
    pairs = zip(
        in_order_of_creation(source, keras.layers.Conv2D),
        in_order_of_creation(source, keras.layers.BatchNormalization),
        strict=True,
    )
    for index, (conv, bn) in enumerate(pairs, offset):
        number = f"_{index}"
        conv.set_weights([backbone[f"conv2d{number}/kernel:0"]])
        bn.set_weights(
            [
                backbone[f"batch_normalization{number}/{leaf}:0"]
                for leaf in ("beta", "moving_mean", "moving_variance")
            ]
        )
    features = source.predict_on_batch(image)
    np.testing.assert_allclose(
        model.predict_on_batch(image), by_hand(features, head_layers), rtol=1e-3, atol=1e-4
    )


def test_the_file_may_stay_as_it_is(tmp_path, head_layers, source):
    backbone = backbone_tensors(source, 0)
    path = write(tmp_path / "kt.hdf5", {"inception_v3": backbone, **head_layers})
    viewed = load_gender(path, cropped=True)
    assert viewed.input_shape == (None, 256, 256, 3)  # 256 pixels all the way, as in the paper
    first = in_order_of_creation(viewed.get_layer("inception_v3"), keras.layers.Conv2D)[0]
    np.testing.assert_allclose(first.kernel, backbone["conv2d/kernel:0"], rtol=1e-6)
    kernel = viewed.get_layer("gender_head").get_layer("dense_1").kernel
    np.testing.assert_allclose(kernel, head_layers["dense_1"]["dense_1/kernel:0"], rtol=1e-6)
    alone = write(tmp_path / "head.hdf5", head_layers)
    with pytest.raises(WeightsError, match=r"head\.hdf5: holds the head alone"):
        load_gender(alone)


def by_hand(x: np.ndarray, layers: dict[str, dict[str, np.ndarray]]) -> np.ndarray:
    """Compute the head with NumPy."""
    for index in range(4):
        name = f"batch_normalization_{94 + index}"
        gamma, beta, mean, variance = layers[name].values()
        x = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
        kernel, bias = layers[f"dense_{index}" if index else "dense"].values()
        x = x @ kernel + bias
        x = np.maximum(x, 0) if index < 3 else 1 / (1 + np.exp(-x))
    return x


def test_a_head_alone_leaves_the_backbone_missing(tmp_path, head_layers):
    layers = {**head_layers, "dense": {**head_layers["dense"], "dense/old:0": np.zeros(3)}}
    model, report = load_published(write(tmp_path / "h.hdf5", layers), size=SIZE)
    assert len(report.loaded) == 24
    assert len(report.missing) == 94 * 4
    assert report.unused == ("dense/dense/old:0",)
    features = np.random.default_rng(3).normal(0, 1, (3, FEATURES)).astype(np.float32)
    np.testing.assert_allclose(
        model.get_layer("gender_head").predict_on_batch(features),
        by_hand(features, head_layers),
        atol=1e-4,
    )


def test_a_head_without_the_hidden_layer_is_told_by_its_layers(tmp_path, head_layers):
    layers = dict(head_layers)
    del layers["dense"], layers["batch_normalization_95"]
    rng = np.random.default_rng(5)
    layers["dense_1"] = {
        "dense_1/kernel:0": rng.normal(0, 0.02, (FEATURES, UNITS)), "dense_1/bias:0": np.ones(UNITS)
    }  # fmt: skip
    model, report = load_published(write(tmp_path / "h.hdf5", layers), size=SIZE)
    assert (len(report.loaded), report.unused) == (18, ())
    head = model.get_layer("gender_head")
    np.testing.assert_allclose(head.get_layer("dense_1").bias, np.ones(UNITS))
    assert "dense_hidden" not in [layer.name for layer in head.layers]


def test_other_networks_are_refused(tmp_path, head_layers):
    def refused(layers: dict[str, dict[str, np.ndarray]], message: str) -> None:
        with pytest.raises(WeightsError, match=message):
            load_published(write(tmp_path / "x.hdf5", layers), size=SIZE)

    fewer = {name: held for name, held in head_layers.items() if name != "dense_3"}
    refused(fewer, "must have 8 or 6 layers")
    refused({**head_layers, "dense_1": head_layers["dense_3"]}, r"kernels must be .*Received")
    # A bias or a kernel alone cannot ask for a network that fills the memory.
    wide = {
        "dense/kernel:0": head_layers["dense"]["dense/kernel:0"],
        "dense/bias:0": np.zeros(2**17),
    }
    refused({**head_layers, "dense": wide}, r"dense/bias:0 has shape \(131072,\)")
    wide = {"dense/kernel:0": np.zeros((1, 2**17)), "dense/bias:0": np.zeros(2**17)}
    refused({**head_layers, "dense": wide}, "kernels must be")
    flat = {"dense/kernel:0": np.zeros(12), "dense/bias:0": np.zeros(12)}
    refused({**head_layers, "dense": flat}, "not a dense layer")
    without = dict(head_layers["batch_normalization_95"])
    without.pop("batch_normalization_95/gamma:0")
    refused({**head_layers, "batch_normalization_95": without}, "gamma of bn_hidden is missing")
    stump = {"conv2d/kernel:0": np.zeros((3, 3, 3, 32))}
    refused({"inception_v3": stump, **head_layers}, "InceptionV3 has 94 tensors kernel")

"""Keras HDF5 files as several Keras versions write them, and files that mean harm."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from unmask import hdf5
from unmask.errors import WeightsError
from unmask.hdf5 import assign_keras_weights, open_keras_weights

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


def write(
    path: Path, layers: dict[str, dict[str, np.ndarray]], *, whole: bool = True, text=np.bytes_
) -> Path:
    """Write a file as Keras 2 does: `model.save` if whole, else `save_weights`."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        root.attrs["layer_names"] = _names(list(layers), text)
        for layer, tensors in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = _names(list(tensors), text)
            for name, values in tensors.items():
                group.create_dataset(name, data=values)
    return path


def _names(names: list[str], text) -> np.ndarray | list:
    if text is str:
        return np.array(names, dtype=h5py.string_dtype())
    return [text(name.encode()) for name in names]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("text", [np.bytes_, str])
def test_both_layouts_and_both_kinds_of_text(tmp_path, whole, text):
    layers = {"flatten": {}, "dense": {"dense/kernel:0": KERNEL, "dense/bias:0": KERNEL[0]}}
    path = write(tmp_path / "a.h5", layers, whole=whole, text=text)
    with open_keras_weights(path) as weights:
        assert list(weights.shapes) == ["flatten", "dense"]
        assert weights.shapes["dense"] == {"dense/kernel:0": (2, 3), "dense/bias:0": (3,)}
        np.testing.assert_array_equal(weights.read("dense", "dense/kernel:0"), KERNEL)


def test_long_lists_are_cut_into_numbered_attributes(tmp_path):
    path = write(tmp_path / "a.h5", {"a": {"k:0": KERNEL}, "b": {"k:0": KERNEL + 1}})
    with h5py.File(path, "r+") as file:
        del file["model_weights"].attrs["layer_names"]
        file["model_weights"].attrs["layer_names0"] = [b"a"]
        file["model_weights"].attrs["layer_names1"] = [b"b"]
    with open_keras_weights(path) as weights:
        assert list(weights.shapes) == ["a", "b"]


def test_half_precision_and_compressed_tensors(tmp_path):
    path = write(tmp_path / "a.h5", {"a": {}})
    with h5py.File(path, "r+") as file:
        group = file["model_weights/a"]
        group.attrs["weight_names"] = [b"k:0"]
        group.create_dataset("k:0", data=KERNEL.astype(np.float16), compression="gzip")
    with open_keras_weights(path) as weights:
        np.testing.assert_array_equal(weights.read("a", "k:0"), KERNEL)


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught, open_keras_weights(path):
        pass
    assert str(path) in str(caught.value)
    return str(caught.value)


def replaced(path: Path, value: object) -> Path:
    write(path, {"a": {"k:0": KERNEL}})
    with h5py.File(path, "r+") as file:
        del file["model_weights/a/k:0"]
        file["model_weights/a/k:0"] = value
    return path


def test_links_to_other_places_are_refused(tmp_path):
    write(tmp_path / "other.h5", {"a": {"k:0": KERNEL}})
    external = h5py.ExternalLink(str(tmp_path / "other.h5"), "/model_weights/a/k:0")
    assert "link to somewhere else" in refused(replaced(tmp_path / "a.h5", external))
    soft = h5py.SoftLink("/model_weights")
    assert "link to somewhere else" in refused(replaced(tmp_path / "b.h5", soft))


def test_data_in_other_files_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(24))
    path = write(tmp_path / "a.h5", {"a": {}})
    with h5py.File(path, "r+") as file:
        group = file["model_weights/a"]
        group.attrs["weight_names"] = [b"k:0"]
        outside = [(str(tmp_path / "secret"), 0, 24)]
        group.create_dataset("k:0", (2, 3), np.float32, external=outside)
    assert "another file" in refused(path)
    layout = h5py.VirtualLayout((2, 3), np.float32)
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret"), "x", shape=(2, 3))
    with h5py.File(path, "r+") as file:
        del file["model_weights/a/k:0"]
        file["model_weights/a"].create_virtual_dataset("k:0", layout)
    assert "another file" in refused(path)


@pytest.mark.parametrize("chunks", [(1024, 1024), (4096, 4096)])
def test_a_small_file_cannot_claim_much_memory(tmp_path, chunks):
    path = write(tmp_path / "a.h5", {"a": {}})
    with h5py.File(path, "r+") as file:
        group = file["model_weights/a"]
        group.attrs["weight_names"] = [b"k:0"]
        # Nothing of it is stored; what is packed shrinks to nothing, too.
        group.create_dataset("k:0", (5000, 5000), np.float32, chunks=chunks, compression="gzip")
    assert path.stat().st_size < 1 << 20
    assert "larger than a file of" in refused(path)


def test_damaged_files_are_refused_or_read(tmp_path, monkeypatch):
    """Bytes changed at random: whatever h5py makes of them, only one error comes out."""
    monkeypatch.setattr(hdf5, "_check_elsewhere", lambda path: None)
    tensors = {
        f"layer{i}": {f"layer{i}/kernel:0": KERNEL, f"layer{i}/b:0": KERNEL[0]} for i in "ab"
    }
    whole = write(tmp_path / "whole.h5", tensors).read_bytes()
    used = [i for i, value in enumerate(whole) if value]
    outcomes = set()
    for seed in range(400):
        rng, damaged = random.Random(seed), bytearray(whole)
        for place in rng.choices(used, k=rng.choice([1, 2, 8])):
            damaged[place] = rng.randrange(256)
        (tmp_path / "damaged.h5").write_bytes(damaged)
        try:
            with open_keras_weights(tmp_path / "damaged.h5") as weights:
                for layer, held in weights.shapes.items():
                    for name in held:
                        weights.read(layer, name)
            outcomes.add("read")
        except WeightsError as error:
            str(error).encode()
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_file_that_never_ends_is_refused_in_time(tmp_path, monkeypatch):
    path = write(tmp_path / "a.h5", {"a": {"k:0": KERNEL}}, text=str)
    damaged = bytearray(path.read_bytes())
    # In the heap of texts the last object is the free space; one of size 0 leads to itself.
    at = damaged.index(b"GCOL") + 16
    while struct.unpack_from("<H", damaged, at)[0]:
        at += 16 + -(-struct.unpack_from("<Q", damaged, at + 8)[0] // 8) * 8
    struct.pack_into("<Q", damaged, at + 8, 0)
    path.write_bytes(damaged)
    monkeypatch.setattr(hdf5, "_SECONDS", 3.0)
    assert "not read after 3 s" in refused(path)


def test_broken_files_are_named(tmp_path):
    assert "no such file" in refused(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no weights", encoding="utf-8")
    assert "not a readable HDF5 file" in refused(tmp_path / "text.h5")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    assert "layer_names" in refused(tmp_path / "empty.h5")
    assert "must hold numbers" in refused(replaced(tmp_path / "words.h5", "words"))
    path = write(tmp_path / "a.h5", {"a": {"k:0": KERNEL}})
    with h5py.File(path, "r+") as file:
        file["model_weights/a"].attrs["weight_names"] = [b"other:0"]
    assert "other:0 does not exist" in refused(path)
    with h5py.File(path, "r+") as file:
        file["model_weights/a"].attrs["weight_names"] = [1.5]
    assert "must be names" in refused(path)


def test_infinite_weights_are_refused(tmp_path):
    path = write(tmp_path / "a.h5", {"a": {"k:0": np.full(3, np.inf)}})
    with (
        open_keras_weights(path) as weights,
        pytest.raises(WeightsError, match="not finite"),
    ):
        weights.read("a", "k:0")


# === Networks ===


def network(depth: int = 12, seed: int = 0) -> keras.Model:
    """A chain of layers of two classes, more than ten of one."""
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((3,))
    for width in range(3, 3 + depth):
        x = keras.layers.Dense(width, bias_initializer="normal")(x)
    return keras.Model(inputs, keras.layers.BatchNormalization(scale=False)(x))


def save_as_keras_2(model: keras.Model, path: Path) -> Path:
    layers = {
        layer.name: {f"{layer.name}/{i}:0": np.array(w) for i, w in enumerate(layer.weights)}
        for layer in model.layers
    }
    return write(path, layers, whole=False)


@pytest.mark.parametrize("layout", [2, 3])
def test_a_network_gets_its_own_weights_back(tmp_path, layout):
    source, target = network(), network(seed=1)
    path = tmp_path / "a.weights.h5"
    save_as_keras_2(source, path) if layout == 2 else source.save_weights(path)
    assign_keras_weights(target, path)
    for ours, theirs in zip(source.weights, target.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("layout", [2, 3])
@pytest.mark.parametrize("depth", [11, 13])
def test_the_file_of_another_network_changes_nothing(tmp_path, layout, depth):
    source, target = network(depth), network(seed=1)
    path = tmp_path / "a.weights.h5"
    save_as_keras_2(source, path) if layout == 2 else source.save_weights(path)
    before = target.get_weights()
    with pytest.raises(WeightsError, match="belongs to another network"):
        assign_keras_weights(target, path)
    for old, new in zip(before, target.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("place", [0, -1])
def test_nan_changes_nothing(tmp_path, place):
    source, target = network(), network(seed=1)
    source.weights[place].assign(np.full(source.weights[place].shape, np.nan))
    source.save_weights(tmp_path / "a.weights.h5")
    before = target.get_weights()
    with pytest.raises(WeightsError, match=r"a\.weights\.h5: .* not finite"):
        assign_keras_weights(target, tmp_path / "a.weights.h5")
    for old, new in zip(before, target.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)

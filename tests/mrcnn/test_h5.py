from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from unmask.errors import WeightsError
from unmask.mrcnn.h5 import load_h5, save_h5, stored_backbone


def network(classes: int = 3, blocks: int = 6, seed: int = 0) -> keras.Model:
    """Layers with the names that matter: a backbone, a nested RPN, a head."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv1")(inputs)
    x = layers.BatchNormalization(name="bn_conv1")(x)
    for i in range(blocks):
        x = layers.Conv2D(4, 1, name=f"res4{chr(97 + i)}_branch2a")(x)
    features = keras.Input((None, None, 4))
    rpn = keras.Model(
        features, layers.Conv2D(2, 1, name="rpn_class_raw")(features), name="rpn_model"
    )
    rpn(x)
    x = layers.Flatten(name="flat")(x)
    outputs = [
        rpn(layers.Reshape((6, 6, 4))(x)),
        layers.Dense(classes, name="mrcnn_class_logits")(x),
    ]
    return keras.Model(inputs, outputs)


def values(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(w.numpy()) for w in model.weights]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mask_rcnn.h5"
    save_h5(network(), path)
    return path


def test_round_trip_and_layout(file: Path) -> None:
    target = network(seed=1)
    report = load_h5(target, file, complete=True)
    assert len(report.loaded) == 10
    assert (report.missing, report.unused) == ((), ())
    for ours, theirs in zip(values(target), values(network()), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with h5py.File(file) as h5:
        assert h5.attrs["layer_names"][0] == b"conv1"
        assert h5["bn_conv1"].attrs["weight_names"].tolist() == [
            f"bn_conv1/{leaf}:0".encode()
            for leaf in ("gamma", "beta", "moving_mean", "moving_variance")
        ]
        assert h5["rpn_model/rpn_class_raw/kernel:0"].shape == (1, 1, 4, 2)
        assert h5["mrcnn_class_logits/mrcnn_class_logits/bias:0"].shape == (3,)


def test_text_attributes_and_whole_saved_models(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "whole.h5"
    with h5py.File(file) as source, h5py.File(other, "w") as target:
        root = target.create_group("model_weights")
        for name in source:
            source.copy(name, root)
            names = [n.decode() for n in source[name].attrs["weight_names"]]
            root[name].attrs["weight_names"] = names
        # Long lists of names are stored in pieces.
        every = [n.decode() for n in source.attrs["layer_names"]]
        root.attrs["layer_names0"], root.attrs["layer_names1"] = every[:4], every[4:]
    target_model = network(seed=1)
    load_h5(target_model, other, complete=True)
    for ours, theirs in zip(values(target_model), values(network()), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_another_number_of_classes(file: Path) -> None:
    target = network(classes=2, seed=1)
    before = values(target)
    with pytest.raises(WeightsError, match=r"mrcnn_class_logits.*\(144, 3\).*\(144, 2\).*exclude"):
        load_h5(target, file)
    for ours, theirs in zip(values(target), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    report = load_h5(target, file, ["mrcnn_class_logits", "mrcnn_bbox"])
    assert "mrcnn_class_logits" not in report.loaded
    np.testing.assert_array_equal(
        target.get_layer("mrcnn_class_logits").get_weights()[0], before[-2]
    )


def test_another_backbone(tmp_path: Path) -> None:
    path = tmp_path / "resnet101.h5"
    save_h5(network(blocks=23), path)
    with pytest.raises(WeightsError, match="resnet101, here it is resnet50"):
        load_h5(network(blocks=6), path, complete=True)
    # By name, what fits is taken.
    report = load_h5(network(blocks=6), path)
    assert report.missing == ()
    assert report.unused == tuple(f"res4{chr(97 + i)}_branch2a" for i in range(6, 23))
    save_h5(network(blocks=6), path)
    with pytest.raises(WeightsError, match="resnet50, here it is resnet101"):
        load_h5(network(blocks=23), path, complete=True)


def test_a_file_of_a_backbone_alone(file: Path) -> None:
    with h5py.File(file, "a") as h5:
        kept = [n for n in h5.attrs["layer_names"] if not n.startswith((b"rpn", b"mrcnn"))]
        h5.attrs["layer_names"] = [*kept, b"fc1000"]
        h5.move("mrcnn_class_logits", "fc1000")
    report = load_h5(network(), file)
    assert report.missing == ("rpn_model", "mrcnn_class_logits")
    assert report.unused == ("fc1000",)
    with pytest.raises(WeightsError, match="by_name=True"):
        load_h5(network(), file, complete=True)


def test_layers_made_of_others(tmp_path: Path) -> None:
    def attentive(seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        x = keras.Input((4, 6))
        return keras.Model(x, layers.MultiHeadAttention(2, 3, name="attention")(x, x))

    save_h5(attentive(0), tmp_path / "a.h5")
    target = attentive(1)
    load_h5(target, tmp_path / "a.h5", complete=True)
    for ours, theirs in zip(values(target), values(attentive(0)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_layers_without_weights_can_be_left_out(file: Path) -> None:
    assert "flat" not in load_h5(network(), file, ["flat"]).missing


def test_misspelt_exclude(file: Path) -> None:
    with pytest.raises(WeightsError, match="mrcnn_class_logit'"):
        load_h5(network(), file, ["mrcnn_class_logit"])
    with pytest.raises(ValueError, match="list"):
        load_h5(network(), file, "mrcnn_class_logits")


def test_weights_that_are_not_finite_are_refused_by_name(file: Path) -> None:
    with h5py.File(file, "a") as h5:
        h5["bn_conv1/bn_conv1/beta:0"][1] = np.nan
    target = network(seed=1)
    before = values(target)
    with pytest.raises(WeightsError, match="bn_conv1/beta:0: has values that are not finite"):
        load_h5(target, file)
    for ours, theirs in zip(values(target), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_shapes_are_compared_before_anything_is_allocated(file: Path) -> None:
    with h5py.File(file, "a") as h5:
        del h5["conv1/conv1/kernel:0"]
        # A terabyte that is nowhere on the disk.
        h5["conv1"].create_dataset("conv1/kernel:0", shape=(2**19, 2**19), dtype="f4", chunks=True)
    with pytest.raises(WeightsError, match="524288"):
        load_h5(network(), file)


@pytest.mark.parametrize("kind", ["external", "soft", "storage"])
def test_links_are_not_followed(file: Path, kind: str) -> None:
    with h5py.File(file, "a") as h5:
        del h5["conv1/conv1/bias:0"]
        if kind == "external":
            h5["conv1/conv1/bias:0"] = h5py.ExternalLink("other.h5", "/secret")
        elif kind == "soft":
            h5["conv1/conv1/bias:0"] = h5py.SoftLink("/bn_conv1/bn_conv1/beta:0")
        else:
            h5["conv1"].create_dataset(
                "conv1/bias:0", shape=(4,), dtype="f4", external=[("other.bin", 0, 16)]
            )
    with pytest.raises(WeightsError, match=r"link|another file"):
        load_h5(network(), file)


def test_files_that_are_no_weight_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        load_h5(network(), tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(WeightsError, match="not a readable HDF5"):
        load_h5(network(), tmp_path / "text.h5")
    network().save_weights(tmp_path / "keras.weights.h5")
    with pytest.raises(WeightsError, match="none of its layers has the name"):
        load_h5(network(), tmp_path / "keras.weights.h5")


def test_a_file_says_which_resnet_it_is_for(tmp_path: Path) -> None:
    path = tmp_path / "any.h5"
    for blocks, name in ((6, "resnet50"), (23, "resnet101")):
        save_h5(network(blocks=blocks), path)
        assert stored_backbone(path) == name
    save_h5(network(blocks=2), path)
    with pytest.raises(WeightsError, match="no ResNet of 50 or 101 layers: 2 blocks"):
        stored_backbone(path)

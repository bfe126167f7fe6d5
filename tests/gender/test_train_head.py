"""The paper's head on cached features: caching, resuming, and a backbone with missing kernels."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import pytest

from unmask import Unmasker
from unmask.cli import main
from unmask.data.faces import load_canonical
from unmask.errors import DataError, WeightsError
from unmask.gender.data import stored_views
from unmask.gender.features import Copies, cached_features
from unmask.gender.files import load_gender
from unmask.gender.model import PAPER, build_classifier
from unmask.gender.predict import predict_gender
from unmask.gender.sources import read_faces
from unmask.gender.train import TrainConfig, _compiled, train
from unmask.gender.train_head import HeadConfig, train_head
from unmask.inception import (
    assign_folded,
    build_inception,
    empty_convolutions,
    split_top,
    train_after,
)
from unmask.weights import load_arrays, load_weights

SIZE = 75
MISSING = (81, 90)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A folded archive with small random numbers, without the two kernels."""
    source = keras.applications.InceptionV3(
        include_top=False, pooling="avg", input_shape=(SIZE, SIZE, 3), weights=None
    )
    rng = np.random.default_rng(0)
    arrays = {}
    convolutions = [layer for layer in source.layers if isinstance(layer, keras.layers.Conv2D)]
    convolutions.sort(key=lambda layer: int(layer.name.partition("_")[2] or 0))
    for index, layer in enumerate(convolutions):
        shape = tuple(layer.kernel.shape)
        spread = np.sqrt(2 / np.prod(shape[:3]))
        arrays[f"{index:02d}_bias"] = rng.uniform(0, 0.1, shape[-1]).astype(np.float32)
        if index not in MISSING:
            kernel = rng.normal(0, 40, shape).clip(-127, 127)
            arrays[f"{index:02d}_kernel_int8"] = kernel.astype(np.int8)
            arrays[f"{index:02d}_kernel_scale"] = np.full(shape[-1], spread / 40, np.float32)
    path = tmp_path_factory.mktemp("net") / "folded.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def trunk(archive):
    return build_inception(SIZE, archive)


@pytest.fixture(scope="module")
def views(face_data, tmp_path_factory):
    records = read_faces([face_data / "faces"], "train")[:6]
    return stored_views(records, tmp_path_factory.mktemp("v") / "v.npy", masked=2)


def test_folded_convolutions_are_exact_and_the_missing_are_found(archive, trunk):
    gaps = empty_convolutions(trunk)
    assert len(gaps) == 2
    tops = split_top(trunk)[1]
    assert all(tops.get_layer(name) for name in gaps)
    first = trunk.layers[1:3]
    with np.load(archive) as arrays:
        kernel = arrays["00_kernel_int8"] * arrays["00_kernel_scale"]
        bias = arrays["00_bias"]
    image = np.random.default_rng(1).uniform(-1, 1, (1, SIZE, SIZE, 3)).astype(np.float32)
    expected = keras.ops.conv(image, kernel, strides=2, padding="valid") + bias
    found = first[1](first[0](image), training=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_split_halves_make_the_whole(trunk):
    lower, top = split_top(trunk)
    image = np.random.default_rng(1).uniform(-1, 1, (2, SIZE, SIZE, 3)).astype(np.float32)
    np.testing.assert_allclose(
        top.predict_on_batch(lower.predict_on_batch(image)),
        trunk.predict_on_batch(image),
        rtol=1e-4,
        atol=1e-5,
    )


def test_broken_archives_are_refused(archive, tmp_path):
    with np.load(archive) as arrays:
        content = dict(arrays)
    network = keras.applications.InceptionV3(include_top=False, weights=None)
    del content["07_bias"]
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(WeightsError, match="07_bias is missing"):
        assign_folded(network, tmp_path / "a.npz")
    content["07_bias"] = np.zeros(5, np.float32)
    np.savez(tmp_path / "b.npz", **content)
    with pytest.raises(WeightsError, match="07_bias has shape"):
        assign_folded(network, tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot be read"):
        assign_folded(network, tmp_path / "c.npz")
    with pytest.raises(WeightsError, match="no such file"):
        build_inception(SIZE, tmp_path / "d.npz")


@pytest.mark.skipif(
    any((Path.home() / ".keras" / "models").glob("inception_v3_weights*notop.h5")),
    reason="Keras has the weights already",
)
def test_weights_that_cannot_be_downloaded(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(WeightsError, match="cannot be downloaded; give their file"):
        build_inception(SIZE, "imagenet")
    with pytest.raises(ValueError, match="at least 75"):
        build_inception(32, "imagenet")


def pooled(factor: float = 1.0) -> keras.Model:
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(factor)(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def weighted() -> keras.Model:
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(3, 1)(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def test_features_are_those_of_the_views(views, tmp_path):
    copies = Copies(bare=1, masked=3)
    features = cached_features(pooled(), views, copies, tmp_path / "f.npy", scaling="inception")
    assert features.values.shape == (6, 4, 3)
    windows = np.stack([views.window(2, v) for v in (0, 1, 2, 1)]) / 127.5 - 1
    np.testing.assert_allclose(features.values[2], windows.mean((1, 2)), atol=0.01)
    flat, labels = features.flat()
    assert flat.shape == (24, 3)
    np.testing.assert_array_equal(labels[:, 0], np.repeat(views.labels, 4))


def test_augmented_copies_differ_and_are_the_same_again(views, tmp_path):
    copies = Copies(bare=3, masked=0, augmented=True, seed=4)
    first = cached_features(pooled(), views, copies, tmp_path / "a.npy")
    second = cached_features(pooled(), views, copies, tmp_path / "b.npy")
    np.testing.assert_array_equal(first.values, second.values)
    assert (np.ptp(first.values.astype(np.float32), axis=1) > 1e-3).all()


def test_an_interrupted_computation_goes_on(views, tmp_path, monkeypatch):
    path, copies = tmp_path / "f.npy", Copies()
    whole = cached_features(pooled(), views, copies, tmp_path / "whole.npy").values
    seen: list[int] = []
    image = Copies.image

    def stopping(self, views, face, copy):
        seen.append(face)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return image(self, views, face, copy)

    monkeypatch.setattr(Copies, "image", stopping)
    with pytest.raises(KeyboardInterrupt):
        cached_features(pooled(), views, copies, path, faces_at_once=2)
    assert not path.exists()
    values = cached_features(pooled(), views, copies, path, faces_at_once=2).values
    np.testing.assert_array_equal(values, whole)
    assert seen[6:] == [2, 2, 3, 3, 4, 4, 5, 5]
    with pytest.raises(DataError, match=r"f\.npy: was made with bare=1, wanted is 2"):
        cached_features(pooled(), views, Copies(bare=2), path)
    with pytest.raises(DataError, match="was made with scaling='paper', wanted is 'inception'"):
        cached_features(pooled(), views, copies, path, scaling="inception")
    with pytest.raises(DataError, match="was made with network="):
        cached_features(weighted(), views, copies, path)


def test_large_activations_stay_finite(views, tmp_path):
    features = cached_features(pooled(1e6), views, Copies(), tmp_path / "f.npy")
    assert np.isfinite(features.values).all()


def test_copies_of_nothing_are_refused():
    with pytest.raises(ValueError, match="bare=0, masked=0"):
        Copies(bare=0, masked=0)


@pytest.fixture(scope="module")
def config(face_data, archive, tmp_path_factory):
    return HeadConfig(
        data=face_data,
        out=tmp_path_factory.mktemp("head"),
        backbone=archive,
        folders=("faces",),
        folder_weights=(1.0,),
        masked=1,
        units=8,
        hidden=16,
        learning_rate=1e-3,
        batch_size=8,
        epochs=2,
        dtype_policy="float32",
        size=SIZE,
    )


@pytest.fixture(scope="module")
def figures(config):
    return train_head(config)


@pytest.mark.slow
def test_training_fills_the_gaps_and_leaves_the_rest(config, figures, trunk, face_data):
    assert figures.masked.count == 8
    path = config.out / "gender.safetensors"
    model = build_classifier(units=8, hidden=16, size=SIZE, **PAPER)
    load_weights(model, path)
    crop = np.random.default_rng(0).uniform(0, 1, (1, 256, 256, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        load_gender(path).predict_on_batch(crop), model.predict_on_batch(crop)
    )
    trained = model.get_layer("inception_v3")
    assert empty_convolutions(trained) == []
    changed = [
        layer.name
        for layer, other in zip(trunk.layers, trained.layers, strict=True)
        for ours, theirs in zip(layer.get_weights(), other.get_weights(), strict=True)
        if not np.allclose(ours, theirs, atol=1e-3)
    ]
    assert changed == empty_convolutions(trunk)
    # What was saved gives the reported figures on whole crops.
    records = read_faces([face_data / "faces"], "val")
    crops = np.stack([load_canonical(record).image for record in records])
    male = predict_gender(model, crops) >= 0.5
    right = np.mean(male == np.array([r.gender == "male" for r in records]))
    assert right == pytest.approx(figures.unmasked.accuracy, abs=0.13)


@pytest.mark.slow
def test_more_epochs_go_on_with_the_same_features(config, figures):
    written = (config.out / "train_maps.npy").stat().st_mtime_ns
    train_head(replace(config, epochs=3))
    with (config.out / "history.csv").open(encoding="utf-8") as handle:
        assert [row.partition(",")[0] for row in handle][1:] == ["1", "2", "3"]
    assert (config.out / "train_maps.npy").stat().st_mtime_ns == written


@pytest.mark.slow
def test_evaluating_the_saved_file_gives_the_reported_figures(config, figures, face_data, tmp_path):
    weights = config.out / "gender.safetensors"
    arguments = [
        "--network",
        "paper",
        "--weights",
        str(weights),
        "--data",
        str(face_data / "faces"),
    ]
    assert main(["evaluate", "gender", *arguments, "--masks", "1", "--out", str(tmp_path)]) == 0
    again = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))["report"]
    # The weights were rounded to float16, and an answer near 0.5 may change sides.
    for name, scores in asdict(figures).items():
        assert again[name]["count"] == scores["count"]
        assert again[name]["accuracy"] == pytest.approx(scores["accuracy"], abs=0.13)
        assert again[name]["auc"] == pytest.approx(scores["auc"], abs=0.1)


@pytest.mark.slow
def test_the_pipeline_builds_the_network_that_was_trained(config, figures, tmp_path):
    content = (config.out / "gender.safetensors").read_bytes()
    (tmp_path / "g.safetensors").write_bytes(content)
    entry = {
        "preset": "paper",
        "stage": "gender",
        "path": "g.safetensors",
        "licence": "",
        "card": "",
    }
    lines = ["[[file]]", *(f'{key} = "{value}"' for key, value in entry.items())]
    lines += [f'sha256 = "{hashlib.sha256(content).hexdigest()}"', f"size = {len(content)}\n"]
    (tmp_path / "manifest.toml").write_text("\n".join(lines), encoding="utf-8")
    network = Unmasker("paper", weights_dir=tmp_path).gender
    assert network.get_layer("gender_head").get_layer("dense_1").units == 8
    assert network.get_layer("view").output.shape[1:3] == (160, 160)
    assert network.get_layer("scaling")


@pytest.mark.slow
def test_fine_tuning_changes_the_top_blocks_alone(config, figures, trunk, tmp_path):
    for cached in config.out.glob("*_maps.*"):
        shutil.copy(cached, tmp_path)  # the same maps: only the training differs
    train_head(replace(config, out=tmp_path, fine_tune=True, epochs=1))
    tuned = load_gender(tmp_path / "gender.safetensors").get_layer("inception_v3")
    changed = {
        layer.name
        for layer, other in zip(trunk.layers, tuned.layers, strict=True)
        for ours, theirs in zip(layer.get_weights(), other.get_weights(), strict=True)
        if not np.allclose(ours, theirs, atol=1e-3)
    }
    top = split_top(trunk)[1].layers
    assert changed > set(empty_convolutions(trunk))
    assert changed <= {layer.name for layer in top if isinstance(layer, keras.layers.Conv2D)}


@pytest.mark.slow
def test_training_from_end_to_end_changes_what_is_not_frozen(config, figures, trunk, tmp_path):
    start = config.out / "gender.safetensors"
    settings = TrainConfig(
        data=config.data,
        out=tmp_path,
        classifier=start,
        frozen_until="mixed9",
        folders=("faces",),
        folder_weights=(1.0,),
        minutes=1e-4,
        batch_size=8,
        steps_per_epoch=1,
        learning_rate=1e-2,
        ema=0.0,
        masked_views=1,
        dtype_policy="float32",
    )
    # One step at a constant rate; that of `train` depends on the clock.
    model = _compiled(settings)
    inception = model.get_layer("inception_v3")
    before = {layer.name: layer.get_weights() for layer in inception.layers}
    images = np.random.default_rng(0).uniform(0, 1, (4, 160, 160, 3)).astype(np.float32)
    model.train_on_batch(images, np.array([[0.0], [1.0], [0.0], [1.0]]))
    changed = {
        layer.name
        for layer in inception.layers
        for ours, theirs in zip(layer.get_weights(), before[layer.name], strict=True)
        if not np.allclose(ours, theirs, atol=1e-3)
    }
    below = keras.Model(trunk.input, trunk.get_layer("mixed9").output).layers
    assert changed
    assert not changed & {layer.name for layer in below}
    assert all(isinstance(trunk.get_layer(name), keras.layers.Conv2D) for name in changed)
    assert train(settings).masked.count == 8
    after = load_gender(tmp_path / "gender.safetensors")
    # What is saved says how it is to be used.
    assert after.get_layer("view").output.shape[1:3] == (160, 160)
    _, metadata = load_arrays(tmp_path / "gender.safetensors")
    assert metadata["size"] == str(SIZE)


def test_training_starts_from_one_file_only(tmp_path):
    with pytest.raises(ValueError, match="only one of init and classifier"):
        TrainConfig(data=tmp_path, out=tmp_path, init=tmp_path, classifier=tmp_path)


def test_an_unknown_layer_is_refused(trunk):
    with pytest.raises(ValueError, match="mixed11"):
        train_after(trunk, "mixed11")

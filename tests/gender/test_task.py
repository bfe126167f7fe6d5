"""What the gender trainings keep is what they measured, and only what may learn has learnt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from unmask.errors import DataError, WeightsError
from unmask.gender.evaluate import probabilities
from unmask.gender.load import framing_of, load_gender
from unmask.gender.task import GenderRecipe, GenderTask, HeadRecipe, HeadTask
from unmask.inception import assign_folded, build_inception, train_after
from unmask.training.recipe import read_recipe
from unmask.training.runner import train
from unmask.training.task import Places
from unmask.weights import load_metadata

SIZE = 75
SMALL = {
    "faces.faces": 1.0, "classifier.size": SIZE, "classifier.units": 8, "batch_size": 8,
    "masked_views": 1, "history_steps": 2, "steps_per_execution": 1, "dtype_policy": "float32",
}  # fmt: skip


def settings(name: str, kind: type, steps: int, **changes):
    recipe = read_recipe(name, {**SMALL, **changes}).phase(0, kind)
    return replace(recipe, steps=steps, minutes=0.0)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A folded archive with small random numbers, without one kernel."""
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
        if index != 81:
            kernel = rng.normal(0, 40, shape).clip(-127, 127)
            arrays[f"{index:02d}_kernel_int8"] = kernel.astype(np.int8)
            arrays[f"{index:02d}_kernel_scale"] = np.full(shape[-1], spread / 40, np.float32)
    path = tmp_path_factory.mktemp("net") / "folded.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def head(face_data, archive, tmp_path_factory):
    """The paper's head after a few steps: its task and its kept file."""
    changes = {"classifier.backbone": str(archive), "classifier.hidden": 16, "masked": 1}
    places = Places([face_data], tmp_path_factory.mktemp("head"))
    task = HeadTask(settings("paper/gender", HeadRecipe, 4, **changes), places)
    return task, train(task, workers=0)


@pytest.mark.slow
def test_the_kept_classifier_gives_the_reported_figures(head):
    task, path = head
    figures = json.loads((path.parent / "report.json").read_text(encoding="utf-8"))
    network = load_gender(path, cropped=True)
    views = task.views["val"]
    assert framing_of(network) == views.framing
    assert views.pixels.shape == (8, 2, 256, 256, 3)  # the whole crop, as in the paper
    predicted = probabilities(network, views)
    # The features were stored in float16, and an answer near 0.5 may change sides.
    for column, name in enumerate(("unmasked", "masked")):
        right = ((predicted[:, column] >= 0.5) == (views.labels > 0.5)).mean()
        assert figures[name]["count"] == 8
        assert figures[name]["accuracy"] == pytest.approx(right, abs=0.13)
    metadata = load_metadata(path)
    assert metadata["scaling"] == "paper"
    assert float(metadata["masked_accuracy"]) == pytest.approx(figures["masked"]["accuracy"])
    # The backbone is as it was.
    trunk = build_inception(SIZE, task.recipe.classifier.backbone)
    for ours, theirs in zip(trunk.weights, network.get_layer("inception_v3").weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


@pytest.mark.slow
def test_end_to_end_changes_what_is_not_frozen(head, face_data, tmp_path):
    _, start = head
    changes = {
        "frozen_until": "mixed9", "classifier.hidden": 16, "optimizer.learning_rate": 1e-2,
        "optimizer.schedule": "constant", "optimizer.ema_momentum": 0.0,
    }  # fmt: skip
    places = Places([face_data], tmp_path)
    recipe = settings("paper/gender-end-to-end", GenderRecipe, 1, **changes)
    path = train(GenderTask(recipe, places), init=start, workers=0)
    before, after = (load_gender(p).get_layer("inception_v3") for p in (start, path))
    changed = {
        layer.name
        for layer, other in zip(before.layers, after.layers, strict=True)
        for ours, theirs in zip(layer.get_weights(), other.get_weights(), strict=True)
        if not np.allclose(ours, theirs, atol=1e-3)
    }
    below = keras.Model(before.input, before.get_layer("mixed9").output).layers
    assert changed
    assert not changed & {layer.name for layer in below}
    assert all(isinstance(before.get_layer(name), keras.layers.Conv2D) for name in changed)
    other = replace(recipe, classifier=replace(recipe.classifier, scaling="inception"))
    with pytest.raises(WeightsError, match="scaling is 'paper', the recipe's is 'inception'"):
        train(GenderTask(other, Places([face_data], tmp_path / "o")), init=start, workers=0)


def test_faces_without_landmarks_get_no_figures_under_masks(face_data, tmp_path):
    rows = [f"{i:02d}.png,{'fm'[i % 2]},{('train', 'val')[i >= 8]}" for i in range(12)]
    text = "\n".join(["file,gender,split", *rows]).replace(",f,", ",female,")
    table = face_data / "faces" / "table.csv"
    table.write_text(text.replace(",m,", ",male,"), encoding="utf-8")
    changes = {"compact.widths": [8, 8], "compact.blocks": [1, 1], "batch_size": 2}
    recipe = settings("lite/gender", GenderRecipe, 2, **changes)
    path = train(GenderTask(recipe, Places([table], tmp_path)), workers=0)
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["unmasked"]["count"] == 4
    assert report["masked"] is None
    assert "masked_accuracy" not in load_metadata(path)


def test_naming_needs_a_network(face_data, tmp_path):
    recipe = settings("lite/gender", GenderRecipe, 1, pseudo_labels=True)
    with pytest.raises(DataError, match="pseudo_labels: needs a network to start from"):
        train(GenderTask(recipe, Places([face_data], tmp_path)), workers=0)


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


def test_folded_convolutions_are_exact(archive):
    trunk = build_inception(SIZE, archive)
    first = trunk.layers[1:3]
    with np.load(archive) as arrays:
        kernel = arrays["00_kernel_int8"] * arrays["00_kernel_scale"]
        bias = arrays["00_bias"]
    image = np.random.default_rng(1).uniform(-1, 1, (1, SIZE, SIZE, 3)).astype(np.float32)
    expected = keras.ops.conv(image, kernel, strides=2, padding="valid") + bias
    found = first[1](first[0](image), training=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="mixed11"):
        train_after(trunk, "mixed11")

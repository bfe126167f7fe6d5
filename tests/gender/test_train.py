"""A short training: it learns, goes on after a stop, and what it saves is what it measured."""

from __future__ import annotations

import csv
from dataclasses import replace

import keras
import numpy as np
import pytest

from unmask.data.faces import load_canonical, read_face_folder
from unmask.gender.data import AugmentedViews, stored_views
from unmask.gender.evaluate import evaluate
from unmask.gender.model import build_compact
from unmask.gender.predict import predict_gender
from unmask.gender.sources import read_faces
from unmask.gender.train import TrainConfig, train, validation_views
from unmask.weights import load_arrays, load_weights

NETWORK = {"widths": (8, 16, 16), "blocks": (1, 1, 1), "dropout": 0.0}


@pytest.fixture(scope="module")
def config(face_data, tmp_path_factory):
    return TrainConfig(
        network=NETWORK,
        data=face_data,
        out=tmp_path_factory.mktemp("run"),
        folders=("faces",),
        folder_weights=(1.0,),
        minutes=0.15,
        batch_size=8,
        steps_per_epoch=4,
        ema=0.5,
        masked_views=1,
        dtype_policy="float32",
    )


@pytest.fixture(scope="module")
def figures(config):
    return train(config)


def history(config):
    with (config.out / "history.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_the_loss_falls(config, figures):
    records = read_faces([config.data / "faces"], "train")
    views = stored_views(records, config.out / "all.npy", masked=1)
    keras.utils.set_random_seed(0)
    model = build_compact(**NETWORK, cropped=True)
    model.compile(optimizer=keras.optimizers.AdamW(2e-3), loss="binary_crossentropy")
    losses = model.fit(AugmentedViews(views, batch_size=8, steps=6), epochs=8, verbose=0)
    assert losses.history["loss"][-1] < 0.7 * losses.history["loss"][0]


def test_saved_weights_give_the_reported_figures(config, figures):
    model = build_compact(**NETWORK, cropped=True)
    metadata = load_weights(model, config.out / "gender.safetensors")
    again = evaluate(model, validation_views(config))
    assert again.unmasked.accuracy == pytest.approx(figures.unmasked.accuracy, abs=0.13)
    assert again.masked.auc == pytest.approx(figures.masked.auc, abs=0.1)
    assert metadata["stage"] == "gender"
    assert "data" not in metadata


def test_training_goes_on_where_it_was_stopped(config, figures):
    epochs = len(history(config))
    train(replace(config, minutes=config.minutes + 0.05))
    numbers = [int(row["epoch"]) for row in history(config)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > epochs


def test_training_can_start_from_a_weight_file(config, figures, tmp_path):
    init = config.out / "gender.safetensors"
    started = replace(config, out=tmp_path, init=init, minutes=1e-4, steps_per_epoch=1)
    train(replace(started, learning_rate=1e-9))
    first, _ = load_arrays(init)
    second, metadata = load_arrays(tmp_path / "gender.safetensors")
    np.testing.assert_allclose(
        first["stage1_down_conv/kernel"], second["stage1_down_conv/kernel"], atol=1e-3
    )
    assert "init" not in metadata


def test_prediction_agrees_with_the_network_and_takes_any_count(config, figures, face_data):
    model = build_compact(**NETWORK)
    load_weights(model, config.out / "gender.safetensors")
    faces = read_face_folder(face_data / "faces", split="val")
    crops = np.stack([load_canonical(face).image for face in faces])
    predicted = predict_gender(model, crops, batch_size=3)
    assert predicted.shape == (8,)
    assert predicted.dtype == np.float32
    direct = model.predict_on_batch(crops.astype(np.float32) / 255)[:, 0]
    np.testing.assert_allclose(predicted, direct, atol=1e-5)
    assert predict_gender(model, crops[:0]).shape == (0,)
    both = predict_gender(model, crops, batch_size=3, mirror=True)
    np.testing.assert_allclose(
        both, predict_gender(model, np.ascontiguousarray(crops[:, :, ::-1]), mirror=True), atol=1e-5
    )
    flipped = predict_gender(model, np.ascontiguousarray(crops[:, :, ::-1]))
    assert (np.minimum(predicted, flipped) - 1e-6 <= both).all()
    assert (both <= np.maximum(predicted, flipped) + 1e-6).all()


def test_prediction_refuses_other_arrays():
    with pytest.raises(ValueError, match="dtype=float32"):
        predict_gender(build_compact(**NETWORK), np.zeros((1, 256, 256, 3), np.float32))


def test_every_folder_needs_a_weight(tmp_path):
    with pytest.raises(ValueError, match="same length"):
        TrainConfig(data=tmp_path, out=tmp_path, folders=("a", "b"), folder_weights=(1.0,))

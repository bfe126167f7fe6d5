"""The trainer: it learns, it resumes exactly, and it refuses what does not fit."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from unmask.errors import DataError, WeightsError
from unmask.inpainting import train as training
from unmask.inpainting.data import InpaintingData
from unmask.inpainting.generator import build_generator
from unmask.inpainting.train import TrainConfig, Trainer, load_records, train
from unmask.training.gradients import GradientStep
from unmask.weights import load_arrays, load_weights

ROOT = Path(__file__).resolve().parents[2]
TINY = {"width": 8, "depth": 1, "coarse": True}


@pytest.fixture
def config(face_folder, vgg_file, prior, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "LITE", TINY)
    prior.save(tmp_path / "prior.safetensors")
    return TrainConfig(
        folders=[face_folder], prior=tmp_path / "prior.safetensors", features=vgg_file,
        out=tmp_path / "out", side=64, batch_size=2, discriminator_width=8, policy="float32",
    )  # fmt: skip


@pytest.fixture
def data(records, prior):
    return InpaintingData(records, prior, seed=0)


def values_of(trainer):
    networks = (trainer.generator, trainer.discriminator)
    return [np.array(v.numpy()) for network in networks for v in network.weights]


def test_training_on_one_batch_makes_its_loss_fall(config, data):
    trainer = Trainer(replace(config, rate=1e-3, policy="mixed_bfloat16"))
    batch = data.batch(0, 2, 64).arrays()
    rows = [trainer.train_step(batch, 1.0) for _ in range(25)]
    assert set(rows[0]) == {
        "pixel", "perceptual", "style", "tv", "adversarial", "discriminator", "real", "fake",
    }  # fmt: skip
    assert np.isfinite([list(row.values()) for row in rows]).all()
    assert np.mean([row["pixel"] for row in rows[-5:]]) < 0.9 * rows[0]["pixel"]
    assert rows[-1]["discriminator"] < rows[0]["discriminator"]


def test_a_restored_training_goes_on_as_if_never_interrupted(config, data, tmp_path):
    trainer = Trainer(config)
    for number in range(2):
        trainer.train_step(data.batch(number, 2, 64).arrays(), 1.0)
    trainer.seconds = 12.5
    trainer.save(tmp_path / "checkpoint.safetensors")
    expected = trainer.train_step(data.batch(2, 2, 64).arrays(), 0.5)

    resumed = Trainer(replace(config, seed=99))
    resumed.restore(tmp_path / "checkpoint.safetensors")
    assert (resumed.step, resumed.seconds) == (2, 12.5)
    actual = resumed.train_step(data.batch(2, 2, 64).arrays(), 0.5)
    assert actual == pytest.approx(expected, rel=1e-5)
    for ours, theirs in zip(values_of(resumed), values_of(trainer), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    for ours, theirs in zip(resumed.averaged, trainer.averaged, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_each_step_changes_its_own_network_only(config, data):
    trainer = Trainer(config)
    batch = data.batch(0, 2, 64).arrays()
    before = values_of(trainer)
    count = len(trainer.generator.weights)
    _, (_, completed) = trainer._generator_step(*batch)
    middle = values_of(trainer)
    assert any((a != b).any() for a, b in zip(before[:count], middle[:count], strict=True))
    for a, b in zip(before[count:], middle[count:], strict=True):
        np.testing.assert_array_equal(a, b)
    trainer._discriminator_step(completed, *batch)
    after = values_of(trainer)
    for a, b in zip(middle[:count], after[:count], strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(middle[count:], after[count:], strict=True))


def test_padding_has_no_say(config, data):
    trainer = Trainer(config)
    arrays = data.batch(0, 2, 64).arrays()
    mask, truth, valid = arrays[1], arrays[4], arrays[5].copy()
    valid[:, :, :20] = 0

    def loss(valid):
        tensors = map(keras.ops.convert_to_tensor, (*arrays[:-1], valid))
        return trainer._generator_loss(*tensors)[1]

    _, completed = loss(valid)
    scored = np.broadcast_to(mask * valid, truth.shape) > 0
    assert (mask * (1 - valid)).any()
    np.testing.assert_array_equal(np.array(completed)[~scored], truth[~scored])
    assert np.abs(np.array(completed) - truth)[scored].mean() > 1e-3
    terms, _ = loss(np.zeros_like(valid))
    for name in ("pixel", "perceptual", "style", "adversarial"):
        assert float(terms[name]) == pytest.approx(0, abs=1e-4)


def test_averaged_weights_follow_the_generator(config, data):
    trainer = Trainer(config)
    start = [value.copy() for value in trainer.averaged]
    for number in range(3):
        trainer.train_step(data.batch(number, 2, 64).arrays(), 1.0)
    model = trainer.averaged_generator()
    for variable, first, value in zip(
        trainer.generator.weights, start, model.get_weights(), strict=True
    ):
        now = np.array(variable.numpy())
        if variable.trainable and np.abs(now - first).max() > 1e-4:
            assert np.abs(value - now).max() <= np.abs(first - now).max() + 1e-6
        if not variable.trainable:
            np.testing.assert_allclose(value, now, atol=1e-6)


def test_checkpoints_of_another_configuration_are_refused(config, tmp_path):
    Trainer(config).save(tmp_path / "checkpoint.safetensors")
    other = Trainer(replace(config, discriminator_width=16))
    before = values_of(other)
    with pytest.raises(WeightsError, match="another configuration"):
        other.restore(tmp_path / "checkpoint.safetensors")
    for a, b in zip(before, values_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_train_writes_weights_and_resumes(config):
    lines = []
    path = train(replace(config, minutes=0.1), lines.append)
    weights = build_generator(**TINY)
    noted = load_weights(weights, path)
    steps = int(noted["steps"])
    assert steps > 0
    _, metadata = load_arrays(config.out / "checkpoint.safetensors")
    assert json.loads(metadata["progress"])["step"] == steps
    assert json.loads((config.out / "config.json").read_text())["batch_size"] == "2"
    # The budget is used up: nothing is left to do, and nothing is lost.
    train(replace(config, minutes=0.1))
    assert int(load_weights(weights, path)["steps"]) == steps


def test_faces_are_chosen_by_split_and_gender(face_folder):
    assert len(load_records([face_folder], "train")) == 6
    assert {r.gender for r in load_records([face_folder], "val", "male")} == {"male"}
    with pytest.raises(DataError, match="test split"):
        load_records([face_folder], "test")


def test_a_gradient_step_is_the_optimisers():
    weight = keras.Variable([1.0, -2.0], name="weight")
    frozen = keras.Variable([3.0], name="frozen")
    count = keras.Variable([0.0], name="count", trainable=False)

    def loss(x):
        count.assign(count + 1.0)
        return keras.ops.sum(frozen * weight * x), {"twice": 2 * x}

    step = GradientStep(loss, [weight], [weight, frozen, count], keras.optimizers.SGD(0.5))
    value, extra = step(np.array([1.0, 2.0], np.float32))
    assert float(value) == pytest.approx(3 * (1 - 4))
    assert np.array(extra["twice"]).tolist() == [2, 4]
    np.testing.assert_allclose(weight.numpy(), [1 - 0.5 * 3, -2 - 0.5 * 6])
    assert frozen.numpy().tolist() == [3.0]
    step(np.array([1.0, 2.0], np.float32))
    assert count.numpy().tolist() == [2.0]


JAX_SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from unmask.inpainting import train as training
training.LITE = {"width": 8, "depth": 1, "coarse": True}
config = training.TrainConfig(
    folders=[], prior=Path(), features=Path(sys.argv[1]), out=Path(), side=64, batch_size=2,
    discriminator_width=8, rate=1e-3)
trainer = training.Trainer(config)
batch = tuple(np.load(sys.argv[2]).values())
left = np.array(trainer.discriminator.get_layer("conv2").left)
rows = [trainer.train_step(batch, 1.0) for _ in range(12)]
assert np.isfinite([list(row.values()) for row in rows]).all()
assert (np.array(trainer.discriminator.get_layer("conv2").left) != left).any()
print(rows[0]["pixel"], rows[-1]["pixel"])
"""


@pytest.mark.slow
def test_training_runs_on_jax(data, vgg_file, tmp_path):
    pytest.importorskip("jax")
    arrays = data.batch(0, 2, 64).arrays()
    np.savez(tmp_path / "batch.npz", **{f"a{i}": array for i, array in enumerate(arrays)})
    done = subprocess.run(
        [sys.executable, "-c", JAX_SCRIPT, str(vgg_file), str(tmp_path / "batch.npz")],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    first, last = map(float, done.stdout.split())
    assert last < first

"""The trainer: it learns, it resumes exactly, and it refuses what does not fit."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest

from unmask.errors import DataError, WeightsError
from unmask.inpainting import losses
from unmask.inpainting.aot import build_aot_discriminator, build_aot_generator
from unmask.inpainting.data import InpaintingData
from unmask.inpainting.discriminator import build_discriminator
from unmask.inpainting.generator import build_generator
from unmask.inpainting.history import Board, History
from unmask.inpainting.losses import LossWeights
from unmask.inpainting.networks import NETWORKS, Networks
from unmask.inpainting.train import load_records, train
from unmask.inpainting.trainer import Trainer
from unmask.training.gradients import GradientStep
from unmask.weights import load_arrays, load_weights

ROOT = Path(__file__).resolve().parents[2]
TINY = partial(build_generator, width=8, depth=1, coarse=True)
TINY_PAIR = Networks("tiny", TINY, partial(build_discriminator, 8, attention=False))


@pytest.fixture
def config(configured):
    return configured(TINY_PAIR)


@pytest.fixture
def data(records, prior):
    return InpaintingData(records, prior, seed=0)


def values_of(trainer):
    networks = (trainer.generator, trainer.discriminator)
    return [np.array(v.numpy()) for network in networks for v in network.weights]


def test_training_on_one_batch_makes_its_loss_fall(config, data):
    trainer = Trainer(replace(config, rate=3e-4, policy="mixed_bfloat16"))
    batch = data.batch(0, 2, 64).arrays()
    rows = [trainer.train_step(batch, 1.0) for _ in range(25)]
    assert set(rows[0]) == {
        "pixel", "perceptual", "style", "tv", "adversarial", "discriminator", "real", "fake",
    }  # fmt: skip
    assert np.isfinite([list(row.values()) for row in rows]).all()
    assert np.mean([row["pixel"] for row in rows[-5:]]) < 0.9 * rows[0]["pixel"]
    assert rows[-1]["discriminator"] < rows[0]["discriminator"]


@pytest.fixture
def batch():
    """A batch that hangs on no sample's making, with a quarter of its hole on padding."""
    rng = np.random.default_rng(0)
    image, coarse, truth = (rng.uniform(size=(2, 64, 64, 3)) for _ in range(3))
    mask, valid = np.zeros((2, 64, 64, 1)), np.ones((2, 64, 64, 1))
    mask[:, 24:56, 12:52] = 1
    valid[:, :, :22] = 0
    points = rng.uniform(size=mask.shape) > 0.98
    arrays = (image, mask, points, coarse, truth, valid)
    return tuple(np.asarray(array, np.float32) for array in arrays)


# Recorded before there was another schedule.
JOINT = {
    "pixel": [0.332917, 0.333123, 0.332633],
    "perceptual": [0.148419, 0.198098, 0.150079],
    "style": [0.017993, 0.021226, 0.010032],
    "tv": [0.666753, 0.665916, 0.666682],
    "adversarial": [0.257525, 0.248394, 0.244007],
    "discriminator": [0.184989, 0.181251, 0.178346],
    "real": [0.496738, 0.502252, 0.506308],
    "fake": [0.495725, 0.501310, 0.505571],
}


def test_the_joint_losses_are_those_recorded(config, batch):
    trainer = Trainer(config)
    rows = [trainer.train_step(batch, 1.0) for _ in range(3)]
    for name, values in JOINT.items():
        assert [row[name] for row in rows] == pytest.approx(values, rel=1e-3), name


def test_alternating_updates_the_discriminator_first(config, batch):
    config = replace(config, discriminator_rate=2e-3)
    trainer, by_hand = Trainer(replace(config, schedule="alternating")), Trainer(config)
    row = trainer.train_step(batch, 1.0)

    *inputs, truth, valid = map(keras.ops.convert_to_tensor, batch)
    _, mask, landmark_map, _ = inputs
    before = by_hand.discriminator.get_weights()
    output = by_hand.generator(inputs, training=False)
    shown = losses.composite(output, truth, mask * valid)
    _, scores = by_hand._discriminator_step(shown, *batch)
    _, (terms, completed) = by_hand._generator_step(*batch)
    assert row == pytest.approx({k: float(v) for k, v in {**terms, **scores}.items()}, rel=1e-4)
    for ours, theirs in zip(values_of(trainer), values_of(by_hand), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)

    def adversarial():
        fake = by_hand.discriminator([completed, landmark_map], training=False)
        patches = losses.soft_patch_mask(mask * valid, tuple(fake.shape[1:3]))
        return float(losses.adversarial_loss(fake, patches))

    assert row["adversarial"] == pytest.approx(adversarial(), rel=1e-4)
    by_hand.discriminator.set_weights(before)
    assert abs(row["adversarial"] - adversarial()) > 0.01 * row["adversarial"]


def test_an_unknown_schedule_is_refused(config):
    with pytest.raises(ValueError, match="schedule='weekly'"):
        Trainer(replace(config, schedule="weekly"))


@pytest.mark.parametrize("schedule", ["joint", "alternating"])
def test_a_restored_training_goes_on_as_if_never_interrupted(config, data, tmp_path, schedule):
    config = replace(config, schedule=schedule)
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
    wider = Networks("wider", TINY, partial(build_discriminator, 16, attention=False))
    other = Trainer(replace(config, networks=wider))
    before = values_of(other)
    with pytest.raises(WeightsError, match="another configuration"):
        other.restore(tmp_path / "checkpoint.safetensors")
    for a, b in zip(before, values_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_train_writes_weights_and_resumes(config):
    lines = []
    path = train(replace(config, minutes=0.1), lines.append)
    weights = TINY()
    noted = load_weights(weights, path)
    steps = int(noted["steps"])
    assert steps > 0
    _, metadata = load_arrays(config.out / "checkpoint.safetensors")
    assert json.loads(metadata["progress"])["step"] == steps
    assert json.loads((config.out / "config.json").read_text())["batch_size"] == "2"
    # The budget is used up: nothing is left to do, and nothing is lost.
    train(replace(config, minutes=0.1))
    assert int(load_weights(weights, path)["steps"]) == steps


class KilledError(Exception):
    """Stands for the end of a process between two checkpoints."""


def test_an_interrupted_training_repeats_what_it_lost(config):
    """Killed in step 6 with a checkpoint of step 5: steps 6 and 7 are as in one go."""
    config = replace(config, steps=7, history_steps=2, checkpoint_minutes=0.0, sheet_minutes=0.0)
    whole = replace(config, out=config.out / "whole", checkpoint_minutes=60, sheet_minutes=None)
    train(whole)

    rows = []

    def report(line):
        rows.append(line)
        if len(rows) == 3:  # the row of step 6, before its checkpoint
            raise KilledError

    with pytest.raises(KilledError):
        train(config, report)
    _, metadata = load_arrays(config.out / "checkpoint.safetensors")
    progress = json.loads(metadata["progress"])
    assert progress["step"] == 5
    assert len(progress["recent"]) == 1  # half a row
    train(config)
    ours, theirs = (
        [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        for folder in (config.out, whole.out)
    )
    assert [row["step"] for row in ours] == [2, 4, 6]
    for a, b in zip(ours, theirs, strict=True):
        assert {**a, "seconds": 0} == pytest.approx({**b, "seconds": 0}, rel=1e-3, abs=2e-5)
    ours, theirs = (load_arrays(f / "generator.safetensors")[0] for f in (config.out, whole.out))
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], atol=1e-3)
    assert (config.out / "samples" / "step-0000004.png").is_file()


KILL_SCRIPT = """
import pickle, sys
from unmask.inpainting.train import train
config = pickle.loads(open(sys.argv[1], "rb").read())
train(config, lambda line: print(line, flush=True))
"""


def run_training(config, folder):
    """Start a training in a process of its own, on one thread: there sums have one order only."""
    folder.mkdir(exist_ok=True)
    (folder / "config.pickle").write_bytes(pickle.dumps(config))
    one = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", KILL_SCRIPT, str(folder / "config.pickle")],
        cwd=ROOT, env=os.environ | one, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip


def history_of(config):
    lines = (config.out / "history.jsonl").read_text().splitlines()
    return [json.loads(line) | {"seconds": 0} for line in lines]


@pytest.mark.slow
def test_kill_nine_loses_nothing_but_time(config, tmp_path):
    config = replace(config, steps=30, history_steps=1, checkpoint_minutes=0.002)
    whole = replace(config, out=tmp_path / "whole", checkpoint_minutes=60.0)
    process, other = run_training(config, tmp_path / "first"), run_training(whole, tmp_path / "all")
    printed = []
    for line in process.stdout:
        printed.append(json.loads(line))
        # A few steps after a checkpoint, so that some are lost.
        if (config.out / "checkpoint.safetensors").is_file() and len(printed) % 5 == 4:
            break
    process.kill()
    process.wait()
    assert 4 <= len(printed) < 30
    _, metadata = load_arrays(config.out / "checkpoint.safetensors")
    assert 0 < json.loads(metadata["progress"])["step"] < 30
    resumed = run_training(config, tmp_path / "second")
    for child in (resumed, other):
        child.communicate()
        assert child.returncode == 0
    ours, theirs = history_of(config), history_of(whole)
    assert [row["step"] for row in ours] == list(range(1, 31))
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-6)


def test_history_averages_and_forgets_what_will_be_repeated(tmp_path):
    history = History(tmp_path / "history.jsonl", every=2)
    assert history.add(1, 1.0, {"pixel": 1.0}) is None
    assert history.add(2, 2.4, {"pixel": 2.0}) == {"step": 2, "seconds": 2, "pixel": 1.5}
    history.add(3, 3.0, {"pixel": 5.0})
    history.add(4, 4.0, {"pixel": 5.0})
    history.write()
    resumed = History(tmp_path / "history.jsonl", every=2, step=3, recent=[{"pixel": 3.0}])
    assert [row["step"] for row in resumed.rows] == [2]
    assert resumed.add(4, 4.0, {"pixel": 4.0})["pixel"] == 3.5


def test_event_files_hold_terms_and_sheets(tmp_path):
    pytest.importorskip("tensorboard")
    board = Board(tmp_path)
    board.add_row({"step": 50, "seconds": 9, "pixel": 0.25})
    board.add_sheet(np.zeros((8, 16, 3), np.uint8), 50)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    assert all(tag in content for tag in (b"pixel", b"seconds", b"samples"))


@pytest.mark.parametrize(
    "networks",
    [
        Networks("paper", partial(build_generator, 8, depth=1), partial(build_discriminator, 8)),
        Networks("aot", partial(build_aot_generator, 8, 1), partial(build_aot_discriminator, 8)),
    ],
    ids=lambda networks: networks.name,
)  # fmt: skip
def test_other_networks_and_terms_train_too(config, data, tmp_path, networks):
    image = keras.Input((None, None, 3))
    parser = keras.Model(image, keras.layers.Conv2D(3, 1, activation="softmax")(image))
    parser.save(tmp_path / "parser.keras")
    weights = LossWeights(style=1, parsing=0.1)
    trainer = Trainer(replace(
        config, networks=networks, weights=weights, parser=tmp_path / "parser.keras",
        published_targets=True, rate=3e-4,
    ))  # fmt: skip
    frozen = [np.array(v.numpy()) for v in trainer.parser.weights]
    batch = data.batch(0, 2, 64).arrays()
    rows = [trainer.train_step(batch, 1.0) for _ in range(8)]
    assert rows[0]["parsing"] > 0
    assert np.isfinite([list(row.values()) for row in rows]).all()
    assert rows[-1]["pixel"] < rows[0]["pixel"]
    for before, variable in zip(frozen, trainer.parser.weights, strict=True):
        np.testing.assert_array_equal(before, variable.numpy())


def test_a_parser_must_be_given_and_exist(config, tmp_path):
    weights = LossWeights(parsing=0.1)
    with pytest.raises(ValueError, match="parser=None"):
        Trainer(replace(config, weights=weights))
    with pytest.raises(WeightsError, match="no such file"):
        Trainer(replace(config, weights=weights, parser=tmp_path / "absent.keras"))


def test_every_named_pair_builds_what_its_name_says():
    sizes = {name: pair.generator().count_params() for name, pair in NETWORKS.items()
             if name in ("lite", "lite-aot")}  # fmt: skip
    assert sizes["lite"] < sizes["lite-aot"]
    assert list(NETWORKS) == [
        "lite", "lite-aot", "lite-detail", "lite-plain", "paper", "paper-aot", "aot-gan",
    ]  # fmt: skip


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
from dataclasses import replace
from functools import partial
from pathlib import Path
import keras
import numpy as np
from unmask.inpainting.discriminator import build_discriminator
from unmask.inpainting.generator import build_generator
from unmask.inpainting.losses import LossWeights
from unmask.inpainting.networks import Networks
from unmask.inpainting.trainer import TrainConfig, Trainer
networks = Networks("tiny", partial(build_generator, width=8, depth=1, coarse=True),
                    partial(build_discriminator, 8, attention=False))
image = keras.Input((None, None, 3))
parser = Path(sys.argv[3])
keras.Model(image, keras.layers.Conv2D(3, 1, activation="softmax")(image)).save(parser)
config = TrainConfig(
    folders=[], prior=Path(), features=Path(sys.argv[1]), out=Path(), side=64, batch_size=2,
    networks=networks, rate=3e-4, weights=LossWeights(parsing=0.1), parser=parser)
trainer = Trainer(config)
batch = tuple(np.load(sys.argv[2]).values())
left = np.array(trainer.discriminator.get_layer("conv2").left)
rows = [trainer.train_step(batch, 1.0) for _ in range(12)]
assert np.isfinite([list(row.values()) for row in rows]).all()
assert (np.array(trainer.discriminator.get_layer("conv2").left) != left).any()
print(rows[0]["pixel"], np.mean([row["pixel"] for row in rows[-4:]]))
alternating = Trainer(replace(config, schedule="alternating"))
rows = [alternating.train_step(batch, 1.0) for _ in range(2)]
assert np.isfinite([list(row.values()) for row in rows]).all()
assert rows[1]["discriminator"] < rows[0]["discriminator"]
"""


@pytest.mark.slow
def test_training_runs_on_jax(data, vgg_file, tmp_path):
    pytest.importorskip("jax")
    arrays = data.batch(0, 2, 64).arrays()
    np.savez(tmp_path / "batch.npz", **{f"a{i}": array for i, array in enumerate(arrays)})
    done = subprocess.run(
        [sys.executable, "-c", JAX_SCRIPT, str(vgg_file), str(tmp_path / "batch.npz"),
         str(tmp_path / "parser.keras")],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    first, last = map(float, done.stdout.split())
    assert last < 0.95 * first

"""The runner, with one layer that learns to add and with two that compete."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from unmask.errors import DataError, UnmaskError, WeightsError
from unmask.training.adversarial import AdversarialModel
from unmask.training.optimizers import PairAdam
from unmask.training.recipe import OptimizerSettings, Recipe
from unmask.training.runner import train
from unmask.training.task import Places, Task
from unmask.weights import load_arrays, load_metadata


def batch(number: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(number).normal(size=(8, 4)).astype(np.float32)
    return x, x.sum(1, keepdims=True)


class Adding(Task):
    """Learns the sum of four numbers."""

    stage, monitor, mode, loss = "adding", "val_mse", "min", "mse"
    pause = 0.0

    def build(self) -> keras.Model:
        inputs = keras.Input((4,))
        x = keras.layers.Dropout(0.1, name="dropout")(inputs)
        outputs = keras.layers.Dense(1, name="out", dtype="float32")(x)
        self.network = keras.Model(inputs, outputs)
        return self.network

    def sampler(self) -> Any:
        def sample(number: int) -> Any:
            time.sleep(self.pause)
            return batch(number)

        return sample

    def validate(self) -> dict[str, float]:
        x, y = batch(10**6)
        return {"val_mse": float(np.mean((np.asarray(self.network(x)) - y) ** 2))}


def recipe(steps: int = 60, **changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "task": "adding", "steps": steps, "history_steps": 10, "validation_rows": 2,
        "optimizer": OptimizerSettings(learning_rate=0.02, ema_momentum=0.9, name="adam"),
        **changes,
    }  # fmt: skip
    return Recipe(**settings)


def run(out: Path, steps: int = 60, **changes: Any) -> Path:
    return train(Adding(recipe(steps, **changes), Places([], out)), workers=0)


def test_learns_and_notes_it(tmp_path: Path):
    kept = run(tmp_path, 400)
    note = load_metadata(kept)
    assert float(note["val_mse"]) < 0.5
    assert int(float(note["step"])) <= 400
    with (tmp_path / "history.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [int(float(row["step"])) for row in rows] == list(range(10, 401, 10))
    assert [row["val_mse"] != "" for row in rows] == [False, True] * 20
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)


def test_the_kept_file_has_the_averages(tmp_path: Path):
    kept = run(tmp_path, 20)
    values, _ = load_arrays(kept)
    state, _ = load_arrays(tmp_path / "checkpoint.safetensors")
    own, *others = [value for value in state.values() if value.shape == (4, 1)]
    kernel = values["out/kernel"].astype(np.float32)
    assert np.abs(own - kernel).max() > 1e-3
    assert min(np.abs(other - kernel).max() for other in others) < 1e-3  # float16


def test_a_worse_result_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept = run(tmp_path, 40)
    before = kept.read_bytes()
    monkeypatch.setattr(Adding, "validate", lambda self: {"val_mse": 1e9})
    run(tmp_path, 80)
    assert kept.read_bytes() == before
    # Neither when the checkpoint is gone and the training starts anew beside the file.
    for path in tmp_path.glob("checkpoint*"):
        path.unlink()
    run(tmp_path, 20)
    assert kept.read_bytes() == before


def test_a_file_that_is_newer_than_the_checkpoint_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    values = iter([0.5, 0.4, 0.1])
    monkeypatch.setattr(Adding, "validate", lambda self: {"val_mse": next(values)})
    run(tmp_path, 40)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    kept = run(tmp_path, 60)
    # Killed after the weights were written, and before the checkpoint was.
    (tmp_path / "checkpoint.safetensors").write_bytes(before)
    best = kept.read_bytes()
    monkeypatch.setattr(Adding, "validate", lambda self: {"val_mse": 0.3})
    run(tmp_path, 60)
    assert kept.read_bytes() == best


def test_another_recipe_in_the_folder_is_refused(tmp_path: Path):
    run(tmp_path, 20)
    with pytest.raises(DataError, match="batch_size=8, wanted is 4"):
        run(tmp_path, 40, batch_size=4)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path):
    run(tmp_path, 60)
    last = tmp_path / "checkpoint.safetensors"
    last.write_bytes(last.read_bytes()[:100])
    rows: list[str] = []
    train(Adding(recipe(60), Places([], tmp_path)), workers=0, report=rows.append)
    assert [row.split()[1] for row in rows] == ["50", "60"]
    for path in tmp_path.glob("checkpoint*"):
        path.write_bytes(b"no")
    with pytest.raises(DataError, match=r"checkpoint.safetensors: no readable checkpoint"):
        run(tmp_path, 60)


def test_other_networks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run(tmp_path, 20)

    def build(self: Task) -> keras.Model:
        inputs = keras.Input((4,))
        self.network = keras.Model(inputs, keras.layers.Dense(2, name="out")(inputs))
        return self.network

    monkeypatch.setattr(Adding, "build", build)
    with pytest.raises(WeightsError, match="a checkpoint of other networks"):
        run(tmp_path, 40)


def test_nan_ends_the_training_and_spares_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(tmp_path, 20)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    monkeypatch.setattr(
        Adding, "sampler", lambda self: lambda n: (batch(n)[0] * np.nan, batch(n)[1])
    )
    with pytest.raises(UnmaskError, match="the loss became nan near step 30"):
        run(tmp_path, 40)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_minutes_count_over_all_calls(tmp_path: Path):
    changes = {"steps": 0, "minutes": 0.01, "history_steps": 2}
    kept = train(Adding(recipe(**changes), Places([], tmp_path)), workers=0)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    rows: list[str] = []
    assert kept == train(
        Adding(recipe(**changes), Places([], tmp_path)), workers=0, report=rows.append
    )
    assert rows == []
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


KILLED = """
import sys
from pathlib import Path
from tests.training.test_runner import Adding, recipe
from unmask.training.runner import train
from unmask.training.task import Places
Adding.pause = 0.02
train(Adding(recipe(60), Places([], Path(sys.argv[1]))), workers=0, checkpoint_minutes=0.0)
"""


def test_a_kill_costs_nothing_but_time(tmp_path: Path):
    whole = run(tmp_path / "whole", 60)
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)],
        cwd=Path(__file__).parent.parent.parent, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (folder / "checkpoint-previous.safetensors").is_file():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = run(folder, 60)
    a, b = load_arrays(whole)[0], load_arrays(killed)[0]
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        p.name for p in whole.parent.iterdir()
    )


def dense() -> keras.layers.Layer:
    # Drawn ones would differ between the backends.
    return keras.layers.Dense(1, kernel_initializer="ones", name="out")


class Competing(Task):
    """A generator of sums against a critic."""

    stage = "competing"

    def build(self) -> keras.Model:
        inputs, values = keras.Input((4,)), keras.Input((1,))
        self.network = keras.Model(inputs, dense()(inputs))
        critic = keras.Model(values, dense()(values))
        ops = keras.ops

        def generator_loss(data: Any, training: bool) -> Any:
            made = self.network(data["x"], training=training)
            terms = {
                "pixel": ops.mean((made - data["y"]) ** 2),
                "adversarial": -ops.mean(critic(made)),
            }
            return terms["pixel"] + 0.01 * terms["adversarial"], terms, made

        def critic_loss(data: Any, made: Any) -> Any:
            loss = ops.mean(critic(ops.stop_gradient(made))) - ops.mean(critic(data["y"]))
            return loss, {"critic": loss}

        terms = ("pixel", "adversarial", "critic")
        return AdversarialModel(self.network, critic, generator_loss, critic_loss, terms)

    def make_optimizer(self, model: keras.Model) -> keras.optimizers.Optimizer:
        return PairAdam(self.recipe.optimizer, len(self.network.trainable_variables), 0.5)

    def sampler(self) -> Any:
        return lambda number: (dict(zip("xy", batch(number), strict=True)),)


def compete(out: Path) -> dict[str, list[float]]:
    settings = OptimizerSettings(
        name="adam", learning_rate=0.02, schedule="constant", ema_momentum=0.9
    )
    keras.utils.set_random_seed(0)
    changes = {"optimizer": settings, "dtype_policy": "float32", "steps_per_execution": 2}
    train(Competing(recipe(20, **changes), Places([], out)), workers=0)
    state, _ = load_arrays(out / "checkpoint.safetensors")
    return {name: np.ravel(value).astype(float).tolist() for name, value in state.items()}


def test_adversaries_learn_alike_on_both_backends(tmp_path: Path):
    pytest.importorskip("jax")
    program = (
        "import json, sys; from pathlib import Path;"
        "from tests.training.test_runner import compete;"
        "print(json.dumps(compete(Path(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "jax")],
        capture_output=True, text=True, check=False, timeout=240,
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = compete(tmp_path / "tensorflow"), json.loads(done.stdout.splitlines()[-1])
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=2e-3, atol=2e-4, err_msg=name)

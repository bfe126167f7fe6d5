"""The callbacks in short trainings of one weight."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from unmask.errors import DataError
from unmask.training.callbacks import (
    CosineByTime,
    CsvHistory,
    SaveBest,
    StopAfterMinutes,
    cosine_rate,
)
from unmask.weights import load_arrays

X = np.ones((8, 1), np.float32)


def one_weight(rate: float = 0.1) -> keras.Model:
    """Learns y = 3 x; its only weight starts at 0."""
    inputs = keras.Input((1,))
    outputs = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="w")(inputs)
    model = keras.Model(inputs, outputs)
    # Eagerly: compiling a graph takes longer than all of these trainings.
    model.compile(keras.optimizers.SGD(rate), loss="mse", run_eagerly=True)
    return model


def fit(model: keras.Model, *callbacks: keras.callbacks.Callback, epochs: int = 3, **options):
    return model.fit(
        X, 3 * X, batch_size=8, epochs=epochs, verbose=0, callbacks=list(callbacks), **options
    )


class Clock:
    """Time that passes a second with every look at it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("unmask.training.callbacks.time.monotonic", clock)
    return clock


# === Time ===


def test_stops_when_the_time_is_up(clock):
    history = fit(one_weight(), StopAfterMinutes(10 / 60), epochs=1000)
    # A look at each batch and at each epoch's end: two seconds an epoch.
    assert 4 <= len(history.history["loss"]) <= 6


def test_a_resumed_training_gets_only_the_rest(clock, tmp_path: Path):
    path = tmp_path / "run" / "clock.json"
    first = StopAfterMinutes(20 / 60, path)
    fit(one_weight(), first, epochs=4)
    kept = json.loads(path.read_text())
    assert kept == {"seconds": first.spent, "epochs": 4}
    clock.now += 10_000  # the computer was off
    second = StopAfterMinutes(20 / 60, path)
    assert (second.spent, second.epochs) == (first.spent, 4)
    history = fit(one_weight(), second, epochs=1000, initial_epoch=4)
    assert len(history.history["loss"]) == pytest.approx((20 - first.spent) / 2, abs=2)
    assert second.spent > 17


def test_a_used_up_budget_ends_at_once(tmp_path: Path):
    path = tmp_path / "clock.json"
    path.write_text('{"seconds": 3600, "epochs": 7}')
    history = fit(one_weight(), StopAfterMinutes(5, path), epochs=1000)
    assert len(history.history["loss"]) == 1


@pytest.mark.parametrize("content", ["", "[]", '{"seconds": "x", "epochs": 1}', "{}"])
def test_broken_clock_is_named(tmp_path: Path, content: str):
    path = tmp_path / "clock.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"clock\.json"):
        StopAfterMinutes(1, path)


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_budget_must_be_positive(minutes):
    with pytest.raises(ValueError, match="minutes="):
        StopAfterMinutes(minutes)


def test_cosine_by_hand():
    assert cosine_rate(0.0, 1.0) == 0.0
    assert cosine_rate(0.01, 1.0) == pytest.approx(0.5)
    assert cosine_rate(0.02, 1.0) == 1.0
    assert cosine_rate(0.51, 1.0) == pytest.approx(0.5)
    assert cosine_rate(1.0, 1.0, floor=0.1) == pytest.approx(0.1)
    falling = [cosine_rate(s, 1.0, 0.1) for s in np.linspace(0.02, 1, 50)]
    assert falling == sorted(falling, reverse=True)


def test_learning_rate_follows_the_clock(clock):
    budget = StopAfterMinutes(40 / 60)
    model = one_weight()
    rates = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.append(float(model.optimizer.learning_rate))
    )
    fit(model, budget, CosineByTime(budget, peak=0.2, warmup=0.2), note, epochs=1000)
    top = int(np.argmax(rates))
    assert 0.1 < rates[top] <= 0.2
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 0.02


# === Files ===


def test_keeps_the_best_epoch(tmp_path: Path):
    path = tmp_path / "best.safetensors"
    model = one_weight(rate=1.2)  # overshoots: every epoch is worse than the one before
    weights = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: weights.append(float(model.get_weights()[0][0, 0]))
    )
    keeper = SaveBest(path, "loss", "min", {"stage": "test"})
    history = fit(model, keeper, note, epochs=4)
    best = int(np.argmin(history.history["loss"]))
    arrays, metadata = load_arrays(path)
    assert arrays["w/kernel"][0, 0] == pytest.approx(weights[best], rel=1e-3)
    assert metadata["stage"] == "test"
    assert metadata["epoch"] == str(best + 1)
    assert float(metadata["loss"]) == pytest.approx(keeper.best, rel=1e-4)


def test_mode_max(tmp_path: Path):
    keeper = SaveBest(tmp_path / "best.safetensors", "loss", "max")
    history = fit(one_weight(), keeper)
    assert keeper.best == pytest.approx(max(history.history["loss"]))
    with pytest.raises(ValueError, match="mode='largest'"):
        SaveBest(tmp_path / "x", "loss", "largest")


def test_resuming_does_not_overwrite_a_better_file(tmp_path: Path):
    path = tmp_path / "best.safetensors"
    good = one_weight()
    fit(good, SaveBest(path, "loss", "min"), epochs=10)
    kept = path.read_bytes()
    fit(one_weight(), SaveBest(path, "loss", "min"), epochs=12, initial_epoch=10)
    assert path.read_bytes() == kept
    fit(one_weight(), SaveBest(path, "loss", "min"), epochs=1)  # a new training starts anew
    assert path.read_bytes() != kept


def test_history_goes_on(tmp_path: Path):
    path = tmp_path / "history.csv"
    fit(one_weight(), CsvHistory(path), epochs=2)
    fit(one_weight(), CsvHistory(path), epochs=4, initial_epoch=2, validation_data=(X, X))
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[0]["loss"]) == pytest.approx(9.0)
    assert rows[0]["val_loss"] == ""
    assert float(rows[3]["val_loss"]) >= 0

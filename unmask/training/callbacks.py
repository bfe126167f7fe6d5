"""Keras callbacks that every single-network trainer uses."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from unmask.errors import DataError
from unmask.io import atomic_path, write_text_atomic
from unmask.weights import load_arrays, save_weights


class StopAfterMinutes(keras.callbacks.Callback):
    """End the training cleanly when a time budget is used up.

    Args:
        minutes: Wall-clock budget, greater than 0.
        path: JSON file that keeps the time at the end of each epoch, so that a training that goes
            on after an interruption does not get the whole budget again; not kept when None.

    Attributes:
        spent: Seconds used until the end of the last epoch, those of earlier processes included.
        epochs: Number of epochs until then.

    Raises:
        DataError: `path` exists and is not such a file.
    """

    def __init__(self, minutes: float, path: str | Path | None = None) -> None:
        super().__init__()
        if not minutes > 0:
            raise ValueError(f"minutes must be positive. Received: minutes={minutes}")
        self._seconds = 60 * minutes
        self._path = None if path is None else Path(path)
        self.spent, self.epochs = _read_clock(self._path)
        self._start = 0.0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Start the clock where it stood."""
        self._start = time.monotonic() - self.spent

    def elapsed_share(self) -> float:
        """Return the share of the budget that is used, 0 to 1."""
        return min(1.0, (time.monotonic() - self._start) / self._seconds)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop when the time is up."""
        if self.elapsed_share() >= 1.0:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keep the time."""
        self.spent, self.epochs = time.monotonic() - self._start, epoch + 1
        if self._path is not None:
            kept = {"seconds": self.spent, "epochs": self.epochs}
            write_text_atomic(self._path, json.dumps(kept))


def _read_clock(path: Path | None) -> tuple[float, int]:
    if path is None or not path.is_file():
        return 0.0, 0
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return float(kept["seconds"]), int(kept["epochs"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the clock of a training ({error!r})") from error


class CosineByTime(keras.callbacks.Callback):
    """Let the learning rate follow a half cosine over a time budget instead of over steps.

    On an unknown machine the number of steps that fit into a budget is unknown too; time is not.

    Args:
        budget: The callback that keeps the time; it must come first in the list of callbacks.
        peak: Learning rate after the warm-up.
        floor: Learning rate at the end.
        warmup: Share of the budget with a linear rise.
    """

    def __init__(
        self, budget: StopAfterMinutes, peak: float, floor: float = 0.0, warmup: float = 0.02
    ) -> None:
        super().__init__()
        self._budget, self._peak, self._floor, self._warmup = budget, peak, floor, warmup

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Set the rate of the coming step."""
        self.model.optimizer.learning_rate = cosine_rate(
            self._budget.elapsed_share(), self._peak, self._floor, self._warmup
        )


def cosine_rate(share: float, peak: float, floor: float = 0.0, warmup: float = 0.02) -> float:
    """Return the learning rate after a share (0 to 1) of the budget: linear rise, half cosine.

    Example:
        >>> cosine_rate(1.0, peak=1e-3, floor=1e-5)
        1e-05
    """
    if share < warmup:
        return floor + (peak - floor) * share / warmup
    progress = (share - warmup) / (1.0 - warmup)
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))


class SaveBest(keras.callbacks.Callback):
    """Keep the weights with the best value of a logged quantity.

    Use it after `keras.callbacks.SwapEMAWeights` in the list of callbacks when the optimiser
    averages the weights, so that the averaged weights are the ones that are kept.

    Args:
        path: The safetensors file, replaced atomically.
        monitor: Key of the epoch's logs.
        mode: "min" or "max".
        metadata: Strings to store in the file; the epoch and the value are added.
        part: The part of the trained model to keep; all of it when None.

    Attributes:
        best: The best value so far. A training that goes on after an interruption (its first epoch
            is not epoch 0) takes it from the file, so that the file never gets worse.
    """

    def __init__(
        self,
        path: str | Path,
        monitor: str,
        mode: str,
        metadata: Mapping[str, str] | None = None,
        part: keras.Model | None = None,
    ) -> None:
        super().__init__()
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max'. Received: mode={mode!r}")
        self._path, self._monitor = Path(path), monitor
        self._sign = 1.0 if mode == "max" else -1.0
        self._metadata = dict(metadata or {})
        self._part = part
        self.best: float | None = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the file when the epoch was the best so far."""
        value = float((logs or {})[self._monitor])
        if self.best is None and epoch > 0 and self._path.is_file():
            _, metadata = load_arrays(self._path)
            self.best = float(metadata[self._monitor]) if self._monitor in metadata else None
        if self.best is None or self._sign * value > self._sign * self.best:
            self.best = value
            noted = {"epoch": str(epoch + 1), self._monitor: f"{value:.6g}"}
            kept = self.model if self._part is None else self._part
            save_weights(kept, self._path, {**self._metadata, **noted})


class CsvHistory(keras.callbacks.Callback):
    """Append each epoch's logs and the seconds since the start to a CSV file.

    Unlike Keras' own CSV logger it rewrites the file atomically and takes up an earlier one.

    Args:
        path: The CSV file.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._path = Path(path)
        self._rows: list[dict[str, str]] = []
        self._start = 0.0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Read what an interrupted training has written."""
        self._start = time.monotonic()
        if self._path.is_file():
            with self._path.open(newline="", encoding="utf-8") as handle:
                self._rows = list(csv.DictReader(handle))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Add a row."""
        row = {"epoch": str(epoch + 1), "seconds": f"{time.monotonic() - self._start:.0f}"}
        row |= {key: f"{float(value):.6g}" for key, value in (logs or {}).items()}
        self._rows.append(row)
        columns = list(dict.fromkeys(key for r in self._rows for key in r))
        with (
            atomic_path(self._path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as handle,
        ):
            writer = csv.DictWriter(handle, columns)
            writer.writeheader()
            writer.writerows(self._rows)

"""Everything that a training needs to go on, in one file that survives a kill at any moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from unmask.errors import DataError, WeightsError
from unmask.weights import load_arrays, load_metadata, save_arrays


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        step: Steps taken.
        seconds: Time spent on them, that of earlier processes included.
        best: The best validated value so far; None before the first validation.
        history: The rows of the history.
        settings: The recipe's values, by which another recipe in the same folder is noticed.
    """

    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


class Checkpoint:
    """A training's file and, beside it, the one before, which serves if the last is damaged.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._last = folder / "checkpoint.safetensors"
        self._previous = folder / "checkpoint-previous.safetensors"

    def progress(self) -> Progress:
        """Return how far the training is, without reading any weights.

        Raises:
            DataError: There are checkpoints, and none can be read.
        """
        path = self._readable()
        return (
            Progress() if path is None else Progress(**json.loads(load_metadata(path)["progress"]))
        )

    def save(self, variables: Sequence[Any], progress: Progress) -> None:
        """Write the state; the file that was the last becomes the previous one."""
        arrays = {f"{i:04d}": np.asarray(v.numpy()) for i, v in enumerate(variables)}
        new = self._last.with_name("checkpoint-new.safetensors")
        save_arrays(new, arrays, {"progress": json.dumps(vars(progress))})
        if self._last.is_file():
            self._last.replace(self._previous)
        new.replace(self._last)

    def restore(self, variables: Sequence[Any]) -> None:
        """Assign the stored state, if there is one.

        Raises:
            WeightsError: It is that of other networks.
        """
        path = self._readable()
        if path is None:
            return
        arrays, _ = load_arrays(path)
        wanted = {f"{i:04d}": v for i, v in enumerate(variables)}
        shapes = {name: tuple(v.shape) for name, v in wanted.items()}
        if shapes != {name: array.shape for name, array in arrays.items()}:
            raise WeightsError(f"{path}: a checkpoint of other networks or another optimiser")
        for name, variable in wanted.items():
            variable.assign(keras.ops.convert_to_tensor(arrays[name], variable.dtype))

    def _readable(self) -> Path | None:
        found = [path for path in (self._last, self._previous) if path.is_file()]
        for path in found:
            try:
                json.loads(load_metadata(path)["progress"])
                return path
            except (WeightsError, KeyError, ValueError):
                continue
        if found:
            raise DataError(f"{found[0]}: no readable checkpoint; remove it to start anew")
        return None

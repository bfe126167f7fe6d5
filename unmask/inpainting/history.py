"""The course of a training: means of the loss terms, in a file and for TensorBoard."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.io import write_text_atomic


class History:
    """Means of loss terms over groups of steps, one JSON line each.

    Args:
        path: The file; what it holds of steps after `step` is dropped, because a training that
            goes on from an earlier checkpoint repeats them.
        every: Steps a row.
        step: The step at which the training goes on.
        recent: Terms of the steps since the last row, as `recent` had them at that step.

    Attributes:
        rows: The rows so far.
        recent: Terms of the steps since the last row; they belong into a checkpoint.
    """

    def __init__(
        self,
        path: Path,
        *,
        every: int = 50,
        step: int = 0,
        recent: list[dict[str, float]] | None = None,
    ) -> None:
        self._path, self._every = path, every
        self.recent = list(recent or [])
        self.rows: list[dict[str, float]] = []
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            self.rows = [row for row in map(json.loads, lines) if row["step"] <= step]

    def add(self, step: int, seconds: float, terms: dict[str, float]) -> dict[str, float] | None:
        """Add a step; return the row that it completes, if it does."""
        self.recent.append(terms)
        if len(self.recent) < self._every:
            return None
        means = {key: round(float(np.mean([row[key] for row in self.recent])), 5) for key in terms}
        self.rows.append({"step": step, "seconds": round(seconds), **means})
        self.recent = []
        return self.rows[-1]

    def write(self) -> None:
        """Write the file, atomically."""
        write_text_atomic(self._path, "".join(json.dumps(row) + "\n" for row in self.rows))


class Board:
    """Writes rows and sample sheets for TensorBoard.

    Args:
        folder: Folder of the event files.

    Raises:
        ImportError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError("event files need TensorBoard: pip install tensorboard")
        import tensorflow as tf

        self._summary: Any = tf.summary
        self._writer = tf.summary.create_file_writer(str(folder))

    def add_row(self, row: dict[str, float]) -> None:
        """Write the terms of one row."""
        with self._writer.as_default(step=int(row["step"])):
            for name, value in row.items():
                if name != "step":
                    self._summary.scalar(name, value)
        self._writer.flush()

    def add_sheet(self, sheet: NDArray[np.uint8], step: int) -> None:
        """Write a picture (H, W, 3) uint8."""
        with self._writer.as_default(step=step):
            self._summary.image("samples", sheet[None])
        self._writer.flush()

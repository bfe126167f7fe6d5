"""The course of a training: a CSV file, and event files for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.errors import require
from unmask.io import write_text_atomic
from unmask.tables import csv_text


def write_history(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write the rows, atomically; a column for every name that occurs in one."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[f"{row[key]:.6g}" if key in row else "" for key in columns] for row in rows]
    write_text_atomic(path, csv_text([columns, *cells]))


class Board:
    """Writes rows and sample sheets for TensorBoard.

    Args:
        folder: Folder of the event files.

    Raises:
        MissingPackageError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        require("an event file", "'unmask[train]'", "tensorboard")
        import tensorflow as tf

        self._summary: Any = tf.summary
        self._writer = tf.summary.create_file_writer(str(folder))

    def add_row(self, row: dict[str, float]) -> None:
        """Write the values of one row."""
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

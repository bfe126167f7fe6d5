"""What happens between the epochs of a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from unmask.errors import UnmaskError
from unmask.mrcnn.h5 import save_h5


class SaveCheckpoint(keras.callbacks.Callback):
    """Write the weights after each epoch, in the layout that matterport's programs read.

    Args:
        path: From the number of an epoch, starting with 1, to the file.
    """

    def __init__(self, path: Callable[[int], Path]) -> None:
        super().__init__()
        self._path = path

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the file."""
        save_h5(self.model, self._path(epoch + 1))


class StopOnNaN(keras.callbacks.Callback):
    """Stop the training when a loss is not a number, and say which and what helps."""

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Look at the losses."""
        bad = [name for name, value in (logs or {}).items() if not math.isfinite(float(value))]
        if bad:
            raise UnmaskError(
                f"batch {batch}: {', '.join(bad)} not finite. The learning rate is too high for "
                "these weights (0.001 suits weights from COCO), or an image holds NaN"
            )

"""What `MaskRCNN.train` has the package's runner train."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras

from unmask.data.stream import Sampler
from unmask.mrcnn.data import BatchLoader
from unmask.training.recipe import Recipe
from unmask.training.task import Places, Task


class DatasetTask(Task):
    """Trains a network that is there already on any data set.

    Args:
        network: The network for training.
        batches: What it learns from.
        validation: What it is validated on after each epoch; None for nothing.
        recipe: How.
        out: Folder of the history.
    """

    def __init__(
        self,
        network: keras.Model,
        batches: BatchLoader,
        validation: BatchLoader | None,
        recipe: Recipe,
        out: Path,
    ) -> None:
        super().__init__(recipe, Places([], out))
        self.network, self._batches, self._validation = network, batches, validation

    def build(self) -> keras.Model:
        """Return the network."""
        return self.network

    def sampler(self) -> Sampler:
        """Return what makes batches."""
        return self._batches.__getitem__

    def validate(self) -> dict[str, float]:
        """Return the losses on some of the validation images, `val_loss` and so on."""
        if self._validation is None:
            return {}
        losses = self.network.evaluate(self._validation, verbose=0, return_dict=True)
        return {f"val_{name}": float(value) for name, value in losses.items()}

    def keep(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write nothing: a callback writes a file for each epoch."""

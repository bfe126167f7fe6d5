"""What `MaskRCNN.train` has the package's runner train, and what happens between its epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras

from unmask.data.stream import Sampler
from unmask.errors import UnmaskError
from unmask.mrcnn.data import BatchLoader
from unmask.mrcnn.h5 import save_h5
from unmask.mrcnn.model import MaskRCNN, log
from unmask.training.recipe import OptimizerSettings, Recipe
from unmask.training.runner import train
from unmask.training.task import Places, Task


class DatasetTask(Task):
    """Trains a network that is there already on any data set; validates it on another or none."""

    def __init__(
        self, network: keras.Model, batches: BatchLoader, validation: BatchLoader | None,
        recipe: Recipe, out: Path,
    ) -> None:  # fmt: skip
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


def train_epochs(
    model: MaskRCNN, batches: BatchLoader, validation: BatchLoader | None, learning_rate: float,
    epochs: int, callbacks: Iterable[keras.callbacks.Callback],
) -> None:  # fmt: skip
    """Train a model up to an epoch, with a checkpoint and a row of the history after each."""
    config = model.config
    recipe = Recipe(
        task="mask-rcnn",
        seed=model.seed,
        steps=(epochs - model.epoch) * config.STEPS_PER_EPOCH,
        history_steps=config.STEPS_PER_EPOCH,
        validation_rows=1,
        optimizer=OptimizerSettings(
            name="sgd", learning_rate=learning_rate, schedule="constant",
            momentum=config.LEARNING_MOMENTUM, clip_norm=config.GRADIENT_CLIP_NORM,
        ),
    )  # fmt: skip
    task = DatasetTask(model.keras_model, batches, validation, recipe, Path(model.log_dir))
    own = [
        StopOnNaN(),
        keras.callbacks.TensorBoard(model.log_dir, write_graph=False),
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, _: save_h5(
                model.keras_model, model.checkpoint_path.format(epoch=epoch + 1)
            )
        ),
    ]
    train(
        task, workers=0, checkpoint_minutes=math.inf, report=log, callbacks=[*own, *callbacks],
        first_row=model.epoch,
    )  # fmt: skip

"""Training of the landmark network within a time budget."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from unmask.errors import WeightsError
from unmask.landmarks.augment import Augmentation
from unmask.landmarks.data import Faces, LandmarkDataset, read_groups, validation_faces
from unmask.landmarks.losses import coordinate_loss, weighted_adaptive_wing
from unmask.landmarks.model import LITE, build_fan
from unmask.landmarks.predict import predict_landmarks
from unmask.metrics import nme
from unmask.training.callbacks import CosineByTime, CsvHistory, StopAfterMinutes
from unmask.training.precision import precision
from unmask.weights import load_arrays, load_weights, save_weights


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training of the landmark network depends on.

    Attributes:
        data: Folder with ``faces_male``, ``faces_female``, ``faces_wide`` and ``landmarks_300w``;
            those that exist are used.
        out: Folder for the weights, the history and what an interrupted training needs.
        minutes: Wall-clock budget, interruptions excluded; the learning rate falls to zero over it.
        seed: Seed of the faces' variations and of the first weights.
        batch_size: Faces a step.
        steps: Steps between two validations.
        rate: Highest learning rate (Adam).
        weight_decay: Decoupled weight decay.
        average: Momentum of the running average of the weights, which is what is kept.
        coordinates: Weight of the coordinate loss beside the Adaptive Wing loss.
        policy: Keras dtype policy; "mixed_bfloat16" is 1.7 times faster on recent CPUs.
        network: Arguments of :func:`unmask.landmarks.model.build_fan`.
        init: Weight file of the same network to start from; random weights when None.
        augmentation: How strongly training faces vary.
        turned: How often a turned head is shown for each time a frontal one is.
        validation: Validation faces, each measured with and without a mask.
    """

    data: Path
    out: Path
    minutes: float = 24.0
    seed: int = 0
    batch_size: int = 8
    steps: int = 500
    rate: float = 1.2e-3
    weight_decay: float = 1e-4
    average: float = 0.995
    coordinates: float = 1.0
    policy: str = "mixed_bfloat16"
    network: dict[str, Any] = field(default_factory=lambda: dict(LITE))
    init: Path | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    turned: int = 1
    validation: int = 120


@keras.saving.register_keras_serializable(package="unmask")
class LandmarkLoss(keras.losses.Loss):
    """Weighted Adaptive Wing loss plus the coordinate loss.

    Args:
        coordinates: Weight of the coordinate loss.
        name: Name of the loss.
    """

    def __init__(self, coordinates: float = 0.1, name: str = "landmark_loss") -> None:
        super().__init__(name=name)
        self.coordinates = coordinates

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One loss an image."""
        loss = weighted_adaptive_wing(y_true, y_pred)
        return loss + self.coordinates * coordinate_loss(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"coordinates": self.coordinates, "name": self.name}


class ValidateLandmarks(keras.callbacks.Callback):
    """Log the mean inter-ocular errors in percent: ``val_nme``, ``val_nme_masked``, and their mean.

    The mean, ``val_error``, is what the best weights are chosen by.

    Args:
        unmasked: Faces without masks.
        masked: The same faces with masks.
    """

    def __init__(self, unmasked: Faces, masked: Faces) -> None:
        super().__init__()
        self._unmasked, self._masked = unmasked, masked

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, and add the values to the logs for the callbacks that follow."""
        if logs is not None:
            logs["val_nme"] = self._error(self._unmasked)
            logs["val_nme_masked"] = self._error(self._masked)
            logs["val_error"] = (logs["val_nme"] + logs["val_nme_masked"]) / 2

    def _error(self, faces: Faces) -> float:
        found = predict_landmarks(self.model, faces.images).points
        return 100 * float(nme(found, faces.points).mean())


class KeepBest(keras.callbacks.Callback):
    """Write the weights with the lowest ``val_error`` so far, in float32.

    Statistics of the residual sums can exceed what float16 holds while the training goes on.

    Args:
        path: The safetensors file, replaced atomically.
        metadata: Strings to keep in the file; epoch and errors are added.
    """

    def __init__(self, path: Path, metadata: dict[str, str]) -> None:
        super().__init__()
        self._path, self._metadata = path, metadata
        self._best: float | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the file when the epoch was the best so far."""
        values = {key: float(value) for key, value in (logs or {}).items()}
        if self._best is None and epoch > 0 and self._path.is_file():  # an earlier process's
            self._best = float(load_arrays(self._path)[1]["val_error"])
        if self._best is None or values["val_error"] < self._best:
            self._best = values["val_error"]
            noted = {key: f"{value:.4g}" for key, value in values.items()}
            noted["epoch"] = str(epoch + 1)
            save_weights(self.model, self._path, self._metadata | noted, dtype="float32")


def train(config: TrainConfig) -> Path:
    """Train, or continue an interrupted training in the same folder.

    Args:
        config: The settings.

    Returns:
        The safetensors file with the best averaged weights by NME on the validation faces.

    Raises:
        DataError: The data folder has no faces.
        WeightsError: ``config.init`` is missing or of another network.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    best = config.out / "landmarks.safetensors"
    keras.utils.set_random_seed(config.seed)
    with precision(config.policy):
        model = build_fan(**config.network)
    if config.init is not None:
        load_weights(model, config.init)
    model.compile(
        optimizer=keras.optimizers.AdamW(
            config.rate, weight_decay=config.weight_decay, global_clipnorm=1.0,
            use_ema=True, ema_momentum=config.average,
        ),
        loss=[LandmarkLoss(config.coordinates) for _ in model.outputs],
        jit_compile=False,
    )  # fmt: skip
    budget = StopAfterMinutes(config.minutes, config.out / "clock.json")
    dataset = LandmarkDataset(
        read_groups(config.data, "train"),
        batch_size=config.batch_size, steps=config.steps, stacks=len(model.outputs),
        augmentation=config.augmentation, turned=config.turned, seed=config.seed,
        first_epoch=budget.epochs, workers=1, use_multiprocessing=False, max_queue_size=8,
    )  # fmt: skip
    records = [r for group in read_groups(config.data, "val") for r in group.records]
    faces = [
        validation_faces(records, masked=masked, count=config.validation, seed=config.seed)
        for masked in (False, True)
    ]
    callbacks = [
        budget,
        CosineByTime(budget, peak=config.rate),
        # Before the averages are swapped in, so that the training goes on with its own weights.
        keras.callbacks.BackupAndRestore(str(config.out / "backup"), delete_checkpoint=False),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        ValidateLandmarks(*faces),
        KeepBest(best, _metadata(config)),
        CsvHistory(config.out / "history.csv"),
    ]
    model.fit(dataset, epochs=10_000, callbacks=callbacks, shuffle=False, verbose=2)
    store_compactly(best, config.network)
    return best


def store_compactly(path: Path, network: dict[str, Any]) -> None:
    """Rewrite a weight file in float16 without changing what the network computes.

    The convolution before the last batch normalisation has no scale of its own, and training lets
    it grow until the variance does not fit; dividing both by the same power of two is exact.

    Args:
        path: The safetensors file; it stays as it is if float16 cannot hold another value.
        network: Arguments of :func:`unmask.landmarks.model.build_fan`.
    """
    model = build_fan(**network)
    metadata = load_weights(model, path)
    for i in range(len(model.outputs)):
        convolution, norm = model.get_layer(f"conv_last{i}"), model.get_layer(f"bn_end{i}")
        largest = float(keras.ops.max(norm.moving_variance))
        scale = 2.0 ** -max(0, math.ceil(math.log2(largest) / 2))
        for variable in (convolution.kernel, convolution.bias, norm.moving_mean):
            variable.assign(variable * scale)
        norm.moving_variance.assign(norm.moving_variance * scale**2)
    with contextlib.suppress(WeightsError):
        save_weights(model, path, metadata)


def _metadata(config: TrainConfig) -> dict[str, str]:
    network = ", ".join(f"{key}={value!r}" for key, value in config.network.items())
    return {
        "stage": "landmarks",
        "network": network,
        "seed": str(config.seed),
        "minutes": str(config.minutes),
        "init": "random" if config.init is None else config.init.name,
    }

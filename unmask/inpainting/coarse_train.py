"""Training of the coarse network within a time budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from unmask.data.faces import read_face_folder
from unmask.errors import DataError
from unmask.gender.files import load_gender
from unmask.gender.naming import name_genders
from unmask.inpainting.coarse import COARSE, build_coarse
from unmask.inpainting.coarse_data import CoarseBatches, draw_samples, read_samples
from unmask.inpainting.data import Variety
from unmask.inpainting.prior import LinearPrior
from unmask.training.callbacks import CosineByTime, CsvHistory, SaveBest, StopAfterMinutes
from unmask.training.precision import precision
from unmask.weights import load_weights


@dataclass(frozen=True)
class CoarseTraining:
    """Everything that decides a training of the coarse network.

    Attributes:
        folders: Face folders as `read_face_folder` takes them, with the splits train and val.
        prior: File of the linear prior.
        out: Folder for the samples, the weights, the history and what going on needs.
        minutes: Wall-clock budget of the steps, interrupted calls included; the learning rate
            falls over it. Drawing the samples comes before and is not counted.
        epochs: Validations after which the training ends if time is left.
        samples: Training samples to draw; more than there are faces gives a face several masks.
        validation: Validation samples to draw.
        batch_size: Samples a step.
        steps: Steps between two validations.
        rate: Highest learning rate (AdamW).
        weight_decay: Decoupled weight decay.
        average: Momentum of the running average of the weights, which is what is kept.
        init: Weights to start from; random ones when None.
        variety: Holes other than masks, and predicted landmarks.
        gender_weights: File of a gender network that names the faces of unknown gender; None to
            leave them so.
        policy: Keras dtype policy.
        seed: Seed of the first weights and of the samples.
        network: Arguments of `build_coarse`.
    """

    folders: Sequence[Path]
    prior: Path
    out: Path
    minutes: float = 20.0
    epochs: int = 10_000
    samples: int = 30_000
    validation: int = 600
    batch_size: int = 32
    steps: int = 100
    rate: float = 5e-4
    weight_decay: float = 1e-4
    average: float = 0.99
    init: Path | None = None
    variety: Variety = field(default_factory=Variety)
    gender_weights: Path | None = None
    policy: str = "mixed_bfloat16"
    seed: int = 0
    network: dict[str, Any] = field(default_factory=lambda: dict(COARSE))


@keras.saving.register_keras_serializable(package="unmask")
class HoleError(keras.losses.Loss):
    """Root of the mean squared error inside each hole.

    The last channel of the truth is the weight of a pixel. The root lets hard faces count less
    than the squared error would, nearer to how the mean PSNR counts them.

    Args:
        name: Name of the loss.
    """

    def __init__(self, name: str = "hole_error") -> None:
        super().__init__(name=name)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One loss a face."""
        return ops.sqrt(_squared_error(y_true, y_pred) + 1e-6)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"name": self.name}


def hole_psnr(y_true: Any, y_pred: Any) -> Any:
    """PSNR in dB inside each hole; the last channel of the truth is the weight of a pixel."""
    return -10.0 / math.log(10.0) * ops.log(_squared_error(y_true, y_pred) + 1e-6)


def _squared_error(y_true: Any, y_pred: Any) -> Any:
    truth, weight = y_true[..., :3], y_true[..., 3:]
    squares = ops.sum(weight * ops.square(y_pred - truth), axis=(1, 2, 3))
    return squares / (3.0 * ops.sum(weight, axis=(1, 2, 3)) + 1e-3)


def train(config: CoarseTraining) -> Path:
    """Draw the samples and train, or go on with either in the same folder.

    Args:
        config: The settings.

    Returns:
        The safetensors file with the best averaged weights by PSNR on the validation samples.

    Raises:
        DataError: There are no faces of one of the two splits.
        WeightsError: `init` or `prior` is missing or does not fit.
    """
    keras.utils.set_random_seed(config.seed)
    with precision(config.policy):
        model = build_coarse(**config.network)
    if config.init is not None:
        load_weights(model, config.init)
    training = _samples(config, "train", config.samples)
    validation = _samples(config, "val", config.validation)
    model.compile(
        optimizer=keras.optimizers.AdamW(
            config.rate, weight_decay=config.weight_decay, global_clipnorm=1.0,
            use_ema=True, ema_momentum=config.average,
        ),
        loss=HoleError(), metrics=[hole_psnr], jit_compile=False,
    )  # fmt: skip
    budget = StopAfterMinutes(config.minutes, config.out / "clock.json")
    best = config.out / "coarse.safetensors"
    callbacks = [
        budget,
        CosineByTime(budget, peak=config.rate),
        # Before the averages are swapped in, so that the training goes on with its own weights.
        keras.callbacks.BackupAndRestore(str(config.out / "backup"), delete_checkpoint=False),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        SaveBest(best, "val_hole_psnr", "max", {"stage": "coarse"}),
        CsvHistory(config.out / "history.csv"),
    ]
    batches = CoarseBatches(
        training, config.batch_size, steps=config.steps, seed=config.seed, first_epoch=budget.epochs
    )
    model.fit(
        batches, epochs=config.epochs, validation_data=CoarseBatches(validation, 50),
        callbacks=callbacks, shuffle=False, verbose=2,
    )  # fmt: skip
    return best


def _samples(config: CoarseTraining, split: str, count: int) -> dict[str, NDArray[np.uint8]]:
    from rich.console import Console
    from rich.progress import track

    records = [r for folder in config.folders for r in read_face_folder(folder, split=split)]
    if not records:
        raise DataError(f"no faces in the {split} split of {list(map(str, config.folders))}")
    if config.gender_weights is not None:
        records = name_genders(records, load_gender(config.gender_weights))
    files = draw_samples(
        records, LinearPrior.load(config.prior), config.out / split, count,
        seed=config.seed, variety=config.variety,
    )  # fmt: skip
    return read_samples(list(track(files, f"{split} samples", console=Console(stderr=True))))

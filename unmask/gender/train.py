"""Training on augmented images: the compact gender network, or the paper's from end to end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.gender.data import (
    AugmentedViews,
    Views,
    fair_weights,
    split_off_calibration,
    stored_views,
)
from unmask.gender.evaluate import (
    GenderReport,
    fit_calibration,
    fold_calibration,
    probabilities,
    quality,
    report,
)
from unmask.gender.files import load_classifier
from unmask.gender.model import LITE, build_compact
from unmask.gender.sources import read_faces
from unmask.inception import train_after
from unmask.io import write_text_atomic
from unmask.training.callbacks import CosineByTime, CsvHistory, StopAfterMinutes
from unmask.training.precision import precision
from unmask.weights import load_arrays, load_weights, save_weights

_UNTIL_THE_CLOCK_ENDS_IT = 1_000_000
_PLACES = ("data", "out", "init", "classifier", "names")
# Settings that concern one kind of network alone.
_COMPACT_ONLY, _CLASSIFIER_ONLY = ("network",), ("frozen_until",)
# What `load_classifier` must know of a classifier.
_FORM = ("scaling", "activation", "size")


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained on augmented images.

    Attributes:
        data: Folder that holds the face folders.
        out: Folder for the weights, the history and what is needed to go on after a stop.
        network: Arguments of `build_compact`; the shipped ones by default.
        init: Weight file of the compact network to start from; random weights when None.
        classifier: File of the paper's classifier, as `unmask.gender.train_head` writes it, which
            is trained on in place of the compact network.
        frozen_until: Layer of its InceptionV3 after which all convolutions are trained.
        names: Weight file of a gender network that gives names to training faces without a label,
            see `unmask.gender.sources.read_faces`; they are then shown under masks too. None to
            leave such faces out.
        folders: Face folders inside `data`.
        folder_weights: How often a face of each folder is shown, relative to the others, before
            genders are balanced within age groups.
        minutes: Time for the training steps; reading the faces and evaluating come on top.
        batch_size: Faces a step.
        steps_per_epoch: Steps between two evaluations.
        learning_rate: Peak of the cosine schedule.
        weight_decay: AdamW's decay of all weights.
        ema: Momentum of the averaged weights, which are the ones that are kept.
        masked_views: Masks drawn on each face.
        masked_share: Share of training images that wear one.
        label_smoothing: Labels become `s / 2` and `1 - s / 2`.
        dtype_policy: Keras policy; "mixed_bfloat16" is nearly twice as fast as "float32" on
            processors that know bfloat16.
        seed: Seed of the weights, the masks, the order and the augmentation.
    """

    data: Path
    out: Path
    network: Mapping[str, Any] = field(default_factory=lambda: dict(LITE))
    init: Path | None = None
    classifier: Path | None = None
    frozen_until: str = "mixed2"
    names: Path | None = None
    folders: tuple[str, ...] = ("faces_male", "faces_female", "faces_wide")
    folder_weights: tuple[float, ...] = (1.0, 1.0, 3.0)
    minutes: float = 12.0
    batch_size: int = 64
    steps_per_epoch: int = 200
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    ema: float = 0.995
    masked_views: int = 4
    masked_share: float = 0.65
    label_smoothing: float = 0.05
    dtype_policy: str = "mixed_bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what could not be understood later."""
        if len(self.folders) != len(self.folder_weights):
            raise ValueError(
                "folders and folder_weights must have the same length. Received: "
                f"folders={self.folders}, folder_weights={self.folder_weights}"
            )
        if self.init is not None and self.classifier is not None:
            raise ValueError(
                "only one of init and classifier can be given. Received: "
                f"init={self.init}, classifier={self.classifier}"
            )


def train(config: TrainConfig) -> GenderReport:
    """Train, calibrate and save a network; go on where an earlier call was stopped.

    Writes to `config.out`: `gender.safetensors` (calibrated), `report.json`, `history.csv`, the
    stored views (0.13 MB each) and, while it runs, a backup.

    Args:
        config: All settings.

    Returns:
        The scores on the validation split.

    Raises:
        DataError: A face folder is missing or has no faces with a known gender.
        WeightsError: `config.init` or `config.classifier` is not a weight file of that network.
    """
    keras.utils.set_random_seed(config.seed)
    records, held_back = split_off_calibration(
        read_faces([config.data / name for name in config.folders], "train", names=config.names)
    )
    config.out.mkdir(parents=True, exist_ok=True)
    views, calibration = (
        stored_views(
            faces, config.out / f"{name}.npy", masked=config.masked_views, seed=config.seed
        )
        for name, faces in (("train", records), ("calibration", held_back))
    )
    validation = validation_views(config)
    model = _compiled(config)
    clock = StopAfterMinutes(config.minutes, config.out / "clock.json")
    batches = AugmentedViews(
        views,
        batch_size=config.batch_size,
        masked_share=config.masked_share,
        weights=fair_weights(records, _folder_weights(config)),
        steps=config.steps_per_epoch,
        seed=config.seed,
        first_epoch=clock.epochs,
    )
    # After the end of the budget this restores the last backup and makes one step at rate zero.
    model.fit(
        batches,
        epochs=_UNTIL_THE_CLOCK_ENDS_IT,
        validation_data=_validation_arrays(validation),
        validation_batch_size=config.batch_size,
        callbacks=[
            keras.callbacks.BackupAndRestore(str(config.out / "backup"), delete_checkpoint=False),
            clock,
            CosineByTime(clock, config.learning_rate),
            # `fit` itself puts the averaged weights into the network when it ends.
            keras.callbacks.SwapEMAWeights(),
            CsvHistory(config.out / "history.csv"),
        ],
        verbose=2,
    )
    return _finish(config, model, calibration, validation, clock)


def validation_views(config: TrainConfig) -> Views:
    """Return the stored views of the validation split; its masks are not those of the training."""
    records = read_faces([config.data / name for name in config.folders], "val")
    return stored_views(
        records,
        config.out / "val.npy",
        masked=config.masked_views,
        # Another seed draws another bank of masks.
        seed=config.seed + 1,
    )


def _network(config: TrainConfig) -> keras.Model:
    """Build what is trained; it looks at stored views."""
    if config.classifier is None:
        return build_compact(**config.network, cropped=True)
    model = load_classifier(config.classifier, cropped=True)
    train_after(model.get_layer("inception_v3"), config.frozen_until)
    return model


def _compiled(config: TrainConfig) -> keras.Model:
    with precision(config.dtype_policy):
        model = _network(config)
    if config.init is not None:
        load_weights(model, config.init)
    model.compile(
        optimizer=keras.optimizers.AdamW(
            config.learning_rate,
            weight_decay=config.weight_decay,
            use_ema=True,
            ema_momentum=config.ema,
        ),
        loss=keras.losses.BinaryCrossentropy(label_smoothing=config.label_smoothing),
        metrics=["accuracy"],
        # XLA compiles such networks for minutes, and its convolutions are no faster on a CPU.
        jit_compile=False,
    )
    return model


def _folder_weights(config: TrainConfig) -> dict[str, float]:
    return dict(zip(config.folders, config.folder_weights, strict=True))


def _validation_arrays(views: Views) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    # Bare and once masked: enough to watch a training; the report uses every mask.
    variants = range(min(2, views.pixels.shape[1]))
    images = [batch for variant in variants for batch in views.batches(variant)]
    return np.concatenate(images), np.tile(views.labels, len(variants))[:, None]


def _finish(
    config: TrainConfig,
    trained: keras.Model,
    held_back: Views,
    validation: Views,
    clock: StopAfterMinutes,
) -> GenderReport:
    model = _network(config)  # float32, as it will run
    model.set_weights(trained.get_weights())
    labels = np.repeat(held_back.labels[:, None], held_back.pixels.shape[1], axis=1)
    calibration = fit_calibration(probabilities(model, held_back), labels)
    fold_calibration(
        model if config.classifier is None else model.get_layer("gender_head"), calibration
    )
    figures = report(probabilities(model, validation), validation.labels)
    idle = _CLASSIFIER_ONLY if config.classifier is None else _COMPACT_ONLY
    settings = {
        key: str(value) for key, value in asdict(config).items() if key not in (*_PLACES, *idle)
    }
    metadata = {
        "stage": "gender",
        "steps": str(int(trained.optimizer.iterations)),
        "seconds": f"{clock.spent:.0f}",
        "temperature": f"{calibration.temperature:.4f}",
        "bias": f"{calibration.bias:.4f}",
        **quality(figures),
        **settings,
        **_form(config),
    }
    save_weights(model, config.out / "gender.safetensors", metadata)
    write_text_atomic(config.out / "report.json", json.dumps(asdict(figures), indent=2) + "\n")
    return figures


def _form(config: TrainConfig) -> dict[str, str]:
    if config.classifier is None:
        return {}
    metadata = load_arrays(config.classifier)[1]
    return {key: metadata[key] for key in _FORM if key in metadata}

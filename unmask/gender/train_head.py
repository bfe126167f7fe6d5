"""Training of the paper's head on cached features of InceptionV3."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord
from unmask.face import CROP_SIZE
from unmask.gender.data import Views, fair_weights, split_off_calibration, stored_views
from unmask.gender.evaluate import (
    Calibration,
    GenderReport,
    fit_calibration,
    fold_calibration,
    quality,
    report,
)
from unmask.gender.features import Copies, Features, cached_features
from unmask.gender.model import VIEW, Scaling, build_classifier, build_head
from unmask.gender.sources import read_faces
from unmask.inception import build_inception, empty_convolutions, split_top
from unmask.io import write_text_atomic
from unmask.training.callbacks import CsvHistory, SaveBest, StopAfterMinutes
from unmask.training.precision import precision
from unmask.weights import load_weights, save_weights

_PLACES = ("data", "out", "backbone")


@dataclass(frozen=True)
class HeadConfig:
    """How the paper's classifier is trained.

    Attributes:
        data: Folder that holds the face folders.
        out: Folder for views, features, weights and the history.
        backbone: Weights of InceptionV3, see `unmask.inception.build_inception`.
        scaling: What the backbone sees: "paper" as in the authors' notebook, "inception" as
            ImageNet weights were trained.
        folders: Face folders inside `data`.
        folder_weights: Weight of a face of each folder, before genders are balanced.
        faces: Number of training faces, evenly chosen; all when None.
        bare: Cached copies of each training face without a mask, each augmented.
        masked: Cached copies with a mask, each augmented.
        units: See `build_head`.
        hidden: See `build_head`.
        activation: See `build_head`.
        dropout: See `build_head`.
        learning_rate: Adam's.
        batch_size: Images a step.
        epochs: At most so many.
        patience: Epochs without a better validation loss after which the training ends.
        minutes: Time after which it ends in any case.
        fine_tune: Train the top two blocks of the backbone too.
        size: Side of the backbone's input in pixels.
        dtype_policy: Keras policy of the backbone.
        seed: Seed of everything random.
    """

    data: Path
    out: Path
    backbone: str | Path = "imagenet"
    scaling: Scaling = "inception"
    folders: tuple[str, ...] = ("faces_male", "faces_female", "faces_wide")
    folder_weights: tuple[float, ...] = (1.0, 1.0, 3.0)
    faces: int | None = None
    bare: int = 1
    masked: int = 2
    units: int = 1536
    hidden: int = 2048
    activation: str = "relu"
    dropout: float = 0.05
    learning_rate: float = 1e-4
    batch_size: int = 256
    epochs: int = 150
    patience: int = 10
    minutes: float = 60.0
    fine_tune: bool = False
    size: int = CROP_SIZE
    dtype_policy: str = "mixed_bfloat16"
    seed: int = 0


def train_head(config: HeadConfig) -> GenderReport:
    """Cache the features, train the head, calibrate and save it; go on after a stop.

    When the backbone lacks kernels (`empty_convolutions`) or `config.fine_tune` is set, the maps
    below its top two blocks are cached instead, and those kernels or blocks are trained as well.

    Writes to `config.out`: `gender.safetensors` (the whole classifier, calibrated; see
    `unmask.gender.model.PAPER`), `report.json`, `history.csv`, the cached views and features.

    Args:
        config: All settings.

    Returns:
        The scores on the validation split.

    Raises:
        DataError: A face folder is missing or has no faces with a known gender.
        WeightsError: The backbone's file cannot be used.
    """
    keras.utils.set_random_seed(config.seed)
    records = _records(config)  # what is missing is told before the backbone is loaded
    trunk = _trunk(config)
    gaps = empty_convolutions(trunk)
    lower, top = split_top(trunk) if gaps or config.fine_tune else (trunk, None)
    sets = _cached(config, lower, records, "features" if top is None else "maps")
    head = build_head(config.units, config.hidden, config.activation, config.dropout)
    model = head if top is None else _with_top(head, top, gaps, fine_tune=config.fine_tune)
    weights = fair_weights(
        records["train"], dict(zip(config.folders, config.folder_weights, strict=True))
    )
    _fit(config, model, sets, weights)
    calibration = fit_calibration(
        _predict(model, sets["calibration"]), _labels(sets["calibration"])
    )
    fold_calibration(head, calibration)
    figures = report(_predict(model, sets["val"]), sets["val"].labels)
    _save(config, trunk, head, calibration, figures)
    return figures


def pooled_features(config: HeadConfig) -> dict[str, Features]:
    """Compute (or open) the pooled features of the faces, for `unmask.gender.tune`.

    Kernels that the backbone lacks stay zero.

    Args:
        config: What to cache, and where.

    Returns:
        The features, (N, C, 2048), of "train", "calibration" and "val".

    Raises:
        DataError: A face folder is missing or has no faces with a known gender.
        WeightsError: The backbone's file cannot be used.
    """
    records = _records(config)  # what is missing is told before the backbone is loaded
    return _cached(config, _trunk(config), records, "features")


def _trunk(config: HeadConfig) -> keras.Model:
    with precision(config.dtype_policy):
        return build_inception(config.size, config.backbone)


def _cached(
    config: HeadConfig, network: keras.Model, records: Mapping[str, list[FaceRecord]], kind: str
) -> dict[str, Features]:
    config.out.mkdir(parents=True, exist_ok=True)
    return {
        name: cached_features(
            network,
            _views(config, name, faces),
            Copies(config.bare, config.masked, augmented=name == "train", seed=config.seed),
            config.out / f"{name}_{kind}.npy",
            scaling=config.scaling,
        )
        for name, faces in records.items()
    }


def _records(config: HeadConfig) -> dict[str, list[FaceRecord]]:
    folders = [config.data / name for name in config.folders]
    training, held_back = split_off_calibration(read_faces(folders, "train"))
    if config.faces is not None and config.faces < len(training):
        chosen = np.linspace(0, len(training) - 1, config.faces).round().astype(int)
        training = [training[i] for i in chosen]
    return {"train": training, "calibration": held_back, "val": read_faces(folders, "val")}


def _views(config: HeadConfig, name: str, records: list[FaceRecord]) -> Views:
    return stored_views(
        records,
        config.out / f"{name}.npy",
        masked=config.masked,
        # The validation's masks are from a bank that was not trained on.
        seed=config.seed + (name == "val"),
    )


def _with_top(
    head: keras.Model, top: keras.Model, gaps: list[str], *, fine_tune: bool
) -> keras.Model:
    """Put the trainable part of the backbone under the head."""
    initialise = keras.initializers.HeNormal(seed=0)
    for layer in top.layers:
        is_convolution = isinstance(layer, keras.layers.Conv2D)
        # Batch statistics stay frozen: in a folded backbone they are not those of the data.
        layer.trainable = is_convolution and (fine_tune or layer.name in gaps)
        if layer.name in gaps:
            layer.set_weights([initialise(layer.kernel.shape)])
    maps = keras.Input(top.input_shape[1:], name="maps")
    return keras.Model(maps, head(top(maps)), name="gender_top")


class _Batches(keras.utils.PyDataset):
    """Every copy of every face once an epoch, in random order, with the face's weight."""

    def __init__(
        self, features: Features, weights: NDArray[np.floating], batch_size: int, seed: int
    ) -> None:
        super().__init__()
        self._features, self._batch_size, self._seed = features, batch_size, seed
        self._weights = (weights / weights.mean()).astype(np.float32)
        self._epoch = -1
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], ...]:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        faces, copies = np.divmod(chosen, self._features.values.shape[1])
        values = self._features.values[faces, copies].astype(np.float32)
        return values, self._features.labels[faces, None], self._weights[faces]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        rng = np.random.default_rng([self._seed, self._epoch])
        self._order = rng.permutation(math.prod(self._features.values.shape[:2]))


def _fit(
    config: HeadConfig,
    model: keras.Model,
    sets: Mapping[str, Features],
    weights: NDArray[np.floating],
) -> None:
    model.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate),
        loss="binary_crossentropy",
        weighted_metrics=["accuracy"],
    )
    held_back = sets["calibration"]
    best = config.out / "best.safetensors"
    model.fit(
        _Batches(sets["train"], weights, config.batch_size, config.seed),
        epochs=config.epochs,
        validation_data=_Batches(
            held_back, np.ones(len(held_back.labels)), config.batch_size, config.seed
        ),
        callbacks=[
            keras.callbacks.BackupAndRestore(str(config.out / "backup"), delete_checkpoint=False),
            StopAfterMinutes(config.minutes, config.out / "clock.json"),
            SaveBest(best, "val_loss", "min"),
            keras.callbacks.EarlyStopping("val_loss", patience=config.patience),
            CsvHistory(config.out / "history.csv"),
        ],
        verbose=2,
    )
    load_weights(model, best)


def _predict(model: keras.Model, features: Features, step: int = 64) -> NDArray[np.float32]:
    """Return the probability of "male" of every copy, (N, C)."""
    parts = []
    for start in range(0, len(features.labels), step):
        values = features.values[start : start + step]
        flat = values.reshape(-1, *values.shape[2:]).astype(np.float32)
        parts.append(model.predict_on_batch(flat).reshape(values.shape[:2]))
    return np.concatenate(parts)


def _labels(features: Features) -> NDArray[np.float32]:
    return np.repeat(features.labels[:, None], features.values.shape[1], axis=1)


def _save(
    config: HeadConfig,
    trunk: keras.Model,
    head: keras.Model,
    calibration: Calibration,
    figures: GenderReport,
) -> None:
    """Write the whole classifier, so that it runs without the backbone's own file."""
    classifier = build_classifier(
        units=config.units,
        hidden=config.hidden,
        activation=config.activation,
        dropout=config.dropout,
        scaling=config.scaling,
        size=config.size,
        view=VIEW,
    )
    classifier.get_layer(trunk.name).set_weights(trunk.get_weights())
    classifier.get_layer(head.name).set_weights(head.get_weights())
    settings = {key: str(value) for key, value in asdict(config).items() if key not in _PLACES}
    metadata = {
        "stage": "gender",
        "temperature": f"{calibration.temperature:.4f}",
        "bias": f"{calibration.bias:.4f}",
        **quality(figures),
        **settings,
    }
    save_weights(classifier, config.out / "gender.safetensors", metadata)
    write_text_atomic(config.out / "report.json", json.dumps(asdict(figures), indent=2) + "\n")

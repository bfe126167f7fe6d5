"""The notebook's hyper-parameter search, on cached features.

The backbone is frozen, so its features do not depend on the head's hyper-parameters: computing
them once turns a search of days into one of minutes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import keras_tuner
import numpy as np

from unmask.data.cache import digest
from unmask.errors import DataError
from unmask.gender.features import Features
from unmask.gender.paper import build_head
from unmask.io import check_origin, write_json_atomic, write_text_atomic
from unmask.tables import csv_text
from unmask.training.task import precision

ACTIVATIONS = ("relu", "tanh", "sigmoid")

AUTHORS: dict[str, Any] = {
    "unit_step": 2,
    "images": 512,
    "validation_split": 0.2,
    "executions": 10,
    "epochs": 50,
    "patience": 50,
    "learning_rate": 1e-3,
    "dtype_policy": "float32",
}
"""Values of `TuneConfig` for the search of the authors' notebook: on one batch of images."""

_STEPS_A_CALL = 8
_MEMORY = "finished.json"
_SEEDS_A_TRIAL = 1000


@dataclass(frozen=True)
class TuneConfig:
    """How the head's hyper-parameters are searched; the notebook's own values are in `AUTHORS`.

    Attributes:
        out: Folder of the search; a search in the same folder goes on where it was stopped.
        search: "random" or "bayesian".
        trials: Number of settings to try.
        executions: Trainings of each setting, whose results are averaged.
        epochs: At most so many epochs a training.
        patience: Epochs without a better validation accuracy after which a training ends.
        batch_size: Features a step.
        learning_rate: Adam's.
        hidden: Width of the first layer, which is not tuned; 0 for none.
        min_units: Smallest width of the two tuned layers.
        max_units: Largest width.
        unit_step: Distance of two widths.
        images: Number of training features that are used; 0 for all.
        validation_split: Share of these that validates; 0 to validate with other faces.
        dtype_policy: Keras policy of the heads, "auto" as in a recipe.
        seed: Seed of the search.
    """

    out: Path
    search: Literal["random", "bayesian"] = "random"
    trials: int = 20
    executions: int = 2
    epochs: int = 8
    patience: int = 2
    batch_size: int = 256
    learning_rate: float = 1e-4
    hidden: int = 2048
    min_units: int = 32
    max_units: int = 2048
    unit_step: int = 32
    images: int = 0
    validation_split: float = 0.0
    dtype_policy: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what keras-tuner would not."""
        if self.search not in _TUNERS:
            raise ValueError(f"search must be one of {tuple(_TUNERS)}. Received: {self.search!r}")
        if min(self.trials, self.executions, self.epochs) < 1:
            raise ValueError(
                "trials, executions and epochs must be at least 1. Received: "
                f"trials={self.trials}, executions={self.executions}, epochs={self.epochs}"
            )
        if not 0 <= self.validation_split < 1:
            raise ValueError(
                f"validation_split must be in [0, 1). Received: {self.validation_split}"
            )


@dataclass(frozen=True)
class HeadParameters:
    """A setting of the search."""

    units: int  # width of the two tuned layers
    activation: str
    dropout: float  # dropped share before the last layer


@dataclass(frozen=True)
class TrialResult:
    """What a setting reached."""

    parameters: HeadParameters
    val_accuracy: float  # best validation accuracy of an epoch, averaged over the executions


def tune(training: Features, validation: Features, config: TuneConfig) -> list[TrialResult]:
    """Search the head's hyper-parameters.

    Writes to `config.out`, after every trial: `leaderboard.csv`, `best.json`, and `finished.json`,
    from which a later call with more trials goes on. `search.json` notes the settings.

    Args:
        training: Cached features to train on, pooled: (N, C, features).
        validation: Cached features of other faces.
        config: All settings.

    Returns:
        The finished trials, best first.

    Raises:
        DataError: The features are not pooled, or the folder holds another search.
    """
    if training.values.ndim != 3 or training.values.shape[2:] != validation.values.shape[2:]:
        raise DataError(
            "features must be (N, C, F) with one F. Received: "
            f"{training.values.shape} and {validation.values.shape}"
        )
    width = training.values.shape[2]
    memory = config.out / _MEMORY
    origin = _origin(training, validation, config)
    check_origin(config.out / "search.json", origin, memory.is_file())
    finished = _read_finished(memory)

    def build(space: Any) -> keras.Model:
        with precision(config.dtype_policy):
            head = build_head(
                units=space.Int("units", config.min_units, config.max_units, step=config.unit_step),
                hidden=config.hidden,
                activation=space.Choice("activation", list(ACTIVATIONS)),
                dropout=space.Float("dropout", 0.0, 0.1, step=0.01),
                features=width,
            )
        head.compile(
            optimizer=keras.optimizers.Adam(config.learning_rate),
            loss="binary_crossentropy",
            metrics=["accuracy"],
            # Each head is another graph, which XLA would compile anew, and its code is no faster
            # here; a step is so short that calling it one by one is a third of its time.
            jit_compile=False,
            steps_per_execution=_STEPS_A_CALL,
        )
        return head

    tuner = _TUNERS[config.search](
        build,
        objective="val_accuracy",
        max_trials=config.trials,
        executions_per_trial=config.executions,
        seed=config.seed + 1,  # keras-tuner takes 0 for none
        directory=str(config.out),
        project_name="trials",
        # Its own memory breaks where a folder's name has brackets, or a file was half written.
        overwrite=True,
    )
    tuner.folder = config.out
    _remember(tuner.oracle, finished)
    tuner.seed_next()
    x, y = training.flat()
    if config.images:
        chosen = np.random.default_rng(config.seed).permutation(len(x))[: config.images]
        x, y = x[chosen], y[chosen]
    held_out = round(config.validation_split * len(x))
    tuner.search(
        x[held_out:],
        y[held_out:],
        validation_data=(x[:held_out], y[:held_out]) if held_out else validation.flat(),
        epochs=config.epochs,
        batch_size=config.batch_size,
        callbacks=[keras.callbacks.EarlyStopping("val_accuracy", patience=config.patience)],
        verbose=0,
    )
    results: list[TrialResult] = tuner.write()
    return results


def _result(trial: Any) -> TrialResult:
    return TrialResult(HeadParameters(**trial.hyperparameters.values), float(trial.score))


def _origin(training: Features, validation: Features, config: TuneConfig) -> dict[str, Any]:
    """Return what a search is, but for how long it goes on."""
    settings = {k: v for k, v in asdict(config).items() if k not in ("out", "trials")}
    for name, features in (("training", training), ("validation", validation)):
        parts = (np.ascontiguousarray(a).tobytes() for a in (features.values, features.labels))
        settings[name] = digest(parts)
    return settings


def _read_finished(path: Path) -> list[TrialResult]:
    if not path.is_file():
        return []
    try:
        return [
            TrialResult(HeadParameters(**entry["parameters"]), float(entry["val_accuracy"]))
            for entry in json.loads(path.read_text(encoding="utf-8"))
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the trials of a search ({error!r})") from error


def _remember(oracle: keras_tuner.Oracle, finished: Sequence[TrialResult]) -> None:
    """Let a search know the trials of earlier calls."""
    for number, result in enumerate(finished):
        # The name that keras-tuner gives to its trial of this number.
        name = f"{number:0{len(str(oracle.max_trials))}d}"
        values = oracle.get_space()
        values.values = asdict(result.parameters)
        trial = keras_tuner.engine.trial.Trial(values, name, "COMPLETED")
        trial.score = result.val_accuracy
        oracle.trials[name] = trial
        oracle.start_order.append(name)
        oracle.end_order.append(name)
        oracle._record_values(trial)


class _Reporting:
    """Lets a tuner write its leaderboard after every trial, and go on as if never stopped."""

    folder: Path  # where to
    hypermodel: Any
    oracle: keras_tuner.Oracle

    def on_trial_begin(self, trial: Any) -> None:
        keras.utils.set_random_seed(self._seed(int(trial.trial_id)))
        super().on_trial_begin(trial)  # type: ignore[misc]

    def on_trial_end(self, trial: Any) -> None:
        super().on_trial_end(trial)  # type: ignore[misc]
        self.write()
        self.seed_next()

    def seed_next(self) -> None:
        """Let the next setting depend on its number, and not on what this process has done."""
        self.oracle._seed_state = seed = self._seed(len(self.oracle.trials))
        if hasattr(self.oracle, "_random_state"):  # of the Bayesian search
            self.oracle._random_state.seed(seed)

    def write(self) -> list[TrialResult]:
        """Write `leaderboard.csv` and `best.json`, and return the finished trials, best first."""
        finished = [t for t in self.oracle.trials.values() if t.status == "COMPLETED"]
        if not finished:
            return []
        rows: list[Sequence[object]] = [
            ("rank", "val_accuracy", "units", "activation", "dropout", "parameters")
        ]
        results = []
        for rank, trial in enumerate(sorted(finished, key=lambda t: -t.score), start=1):
            result, head = _result(trial), self.hypermodel.build(trial.hyperparameters)
            setting, trained = result.parameters, head.trainable_variables
            results.append(result)
            rows.append(
                (
                    rank, f"{result.val_accuracy:.4f}", setting.units, setting.activation,
                    f"{setting.dropout:.2f}", sum(math.prod(v.shape) for v in trained),
                )
            )  # fmt: skip
        best = {**asdict(results[0].parameters), "val_accuracy": results[0].val_accuracy}
        write_json_atomic(self.folder / "best.json", best)
        write_text_atomic(self.folder / "leaderboard.csv", csv_text(rows))
        # Last, and in the order of the search, which goes on from it.
        memory = [asdict(_result(trial)) for trial in finished]
        write_text_atomic(self.folder / _MEMORY, json.dumps(memory) + "\n")
        return results

    def _seed(self, number: int) -> int:
        return int((self.oracle.seed + _SEEDS_A_TRIAL * number) % 2**32)


class _RandomSearch(_Reporting, keras_tuner.RandomSearch):
    pass


class _BayesianOptimization(_Reporting, keras_tuner.BayesianOptimization):
    pass


_TUNERS: dict[str, Any] = {"random": _RandomSearch, "bayesian": _BayesianOptimization}

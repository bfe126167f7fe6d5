"""The one runner: every training of the package goes through `train`.

seed -> precision -> build -> first weights -> optimiser with averaged weights -> clock (minutes or
steps, over all calls) -> schedule -> validation -> best file -> history -> sample sheet ->
checkpoint. Keras' `fit` takes the steps; one callback does the rest, row by row of the history.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from unmask.data.stream import Stream, default_workers
from unmask.errors import UnmaskError
from unmask.image import save_image
from unmask.io import check_same, prepare_folder
from unmask.training.checkpoint import Checkpoint, Progress
from unmask.training.history import Board, write_history
from unmask.training.recipe import Recipe
from unmask.training.task import Task, precision
from unmask.weights import load_metadata

Report = Callable[[str], None]
_LOG = logging.getLogger(__name__)
# Not part of what a training is, only of how long and how fast it goes.
_FREE = ("about", "minutes", "steps", "steps_per_execution", "jit_compile")
_EPOCHS = 1_000_000  # the clock ends it
_AHEAD = 8  # steps that may be ordered before the device has done them


def train(
    task: Task,
    *,
    init: Path | None = None,
    workers: int | None = None,
    tensorboard: bool = False,
    checkpoint_minutes: float = 3.0,
    deadline: float | None = None,
    metadata: dict[str, str] | None = None,
    report: Report = _LOG.info,
) -> Path:
    """Train until the recipe's budget is used up, or go on where an earlier call was stopped.

    A process that is killed loses the time since its last checkpoint. Calling it again never makes
    the kept file worse, and changes nothing once the budget is used up. The folder then holds
    `STAGE.safetensors`, `history.csv`, `samples/` and the checkpoint.

    Args:
        task: What to train, with its recipe and its places.
        init: A kept file of the same network to start from.
        workers: Processes that make samples, see `Stream`; as many as there are spare cores when
            None.
        tensorboard: Whether to write event files too.
        checkpoint_minutes: How often to write a checkpoint, and the weights where no figure chooses
            among them.
        deadline: Value of `time.monotonic` at which to stop, whatever is left of the budget.
        metadata: Strings to note in the kept file.
        report: Called with a line for each row of the history.

    Returns:
        The kept file: the best averaged weights by `task.monitor`, or the last ones.

    Raises:
        DataError: The folder holds a training with other settings, or the data cannot be used.
        UnmaskError: The loss became NaN, or the folder cannot be written to.
        WeightsError: A file of weights does not fit.
    """
    recipe: Recipe = task.recipe
    out = task.places.out
    kept = out / f"{task.stage}.safetensors"
    checkpoint = Checkpoint(out)
    progress = checkpoint.progress()
    settings = _settings(recipe) | {"init": None if init is None else init.name}
    if progress.settings:
        check_same(out, progress.settings, settings)
    progress.settings = settings
    done = progress.step > 0 if task.closed_form else _share(recipe, progress) >= 1.0
    if done and kept.is_file():
        return kept
    prepare_folder(out)
    keras.utils.set_random_seed(recipe.seed)
    task.init = init
    task.prepare()
    if task.closed_form:
        task.keep(kept, {**(metadata or {}), "settings": json.dumps(settings)})
        progress.step = max(1, recipe.steps)
        checkpoint.save([], progress)
        return kept
    # Anew, because what prepares may have been done before, and then takes no chance.
    keras.utils.set_random_seed(recipe.seed)
    model = compiled(task, init)
    state = _state(task, model)
    checkpoint.restore(state)
    run = _Run(task, kept, checkpoint, state, progress, report, checkpoint_minutes)
    run.note = {"dtype_policy": model.dtype_policy.name, **(metadata or {})}
    run.deadline = math.inf if deadline is None else deadline
    run.board = Board(out / "tensorboard") if tensorboard else None
    workers = default_workers() if workers is None else workers
    with Stream(task.sampler(), first=progress.step, workers=workers) as stream, _told() as failed:
        model.fit(
            _tuples(stream, failed),
            steps_per_epoch=recipe.history_steps,
            initial_epoch=len(progress.history),
            epochs=_EPOCHS,
            callbacks=_Callbacks([run], add_history=True, model=model),
            shuffle=False,
            verbose=0,
        )
    # TensorFlow's iterator is in a circle of references and waits for its thread when it goes. Left
    # to the end of Python, when other threads have stopped, it would wait for ever.
    gc.collect()
    return kept


def compiled(task: Task, init: Path | None = None) -> keras.Model:
    """Return what `fit` trains: built in the recipe's precision, with first weights and optimiser.

    `init` is a kept file of the same network to start from.

    Raises:
        WeightsError: `init` does not fit.
    """
    recipe: Recipe = task.recipe
    with precision(recipe.dtype_policy):
        model = task.build()
    if init is not None:
        task.start_from(init)
    model.compile(
        optimizer=task.make_optimizer(model),
        loss=task.loss,
        metrics=task.metrics,
        steps_per_execution=recipe.steps_per_execution,
        jit_compile=keras.backend.backend() == "jax" or recipe.jit_compile,
    )
    model.optimizer.build(model.trainable_variables)
    return model


class _Run(keras.callbacks.Callback):
    """What happens between two rows of the history."""

    def __init__(
        self,
        task: Task,
        kept: Path,
        checkpoint: Checkpoint,
        state: Sequence[Any],
        progress: Progress,
        report: Report,
        checkpoint_minutes: float,
    ) -> None:
        super().__init__()
        self._task, self._kept, self._checkpoint, self._state = task, kept, checkpoint, state
        self._progress, self._report = progress, report
        self._recipe: Recipe = task.recipe
        self._every = 60.0 * checkpoint_minutes
        self._rate: float | None = None
        self._before, self._row_start = progress.seconds, progress.step
        self._start = self._saved = 0.0
        self.note: dict[str, str] = {}
        self.deadline = math.inf
        self.board: Board | None = None
        if task.monitor is not None and kept.is_file():
            # The file may be newer than the checkpoint, or be all that is left of the training.
            value = load_metadata(kept).get(task.monitor)
            if value is not None and self._is_better(float(value)):
                progress.best = float(value)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the learning rate of the coming row; the clock starts with the first step."""
        if not self._start:
            self._start = self._saved = time.monotonic()
        rate = self._recipe.optimizer.rate(_share(self._recipe, self._progress))
        if rate != self._rate:  # else another callback may have changed it
            self.model.optimizer.learning_rate = self._rate = rate

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count, and stop when the budget is used up."""
        if logs and batch % _AHEAD == _AHEAD - 1:
            float(next(iter(logs.values())))  # waits for the device, so that the clock is right
        self._progress.step = self._row_start + batch + 1
        self._progress.seconds = self._before + time.monotonic() - self._start
        if self._is_over():
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add a row, and validate, keep, draw and save where it is time to."""
        progress, recipe = self._progress, self._recipe
        over = self._is_over()
        row = {"step": float(progress.step), "seconds": round(progress.seconds, 1)}
        row |= {key: float(value) for key, value in (logs or {}).items()}
        if not math.isfinite(row.get("loss", 0.0)):
            raise UnmaskError(
                f"{self._task.places.out}: the loss became {row['loss']} near step "
                f"{progress.step}; the last checkpoint is from before"
            )
        number = len(progress.history) + 1
        due = time.monotonic() - self._saved >= self._every
        validated = over or number % recipe.validation_rows == 0
        validated |= due and self._task.monitor is None
        drawn = recipe.sheet_rows > 0 and number % recipe.sheet_rows == 0
        if validated or drawn:
            with _averaged(self.model):
                figures = self._validate(row) if validated else {}
                if drawn:
                    self._draw()
            row |= figures
        progress.history.append(row)
        self._row_start = progress.step
        self._report("  ".join(f"{key} {value:.6g}" for key, value in row.items()))
        if self.board is not None:
            self.board.add_row(row)
        if over:
            self._task.finish(self._kept)
        if validated or due:
            self._save()

    def _is_over(self) -> bool:
        used_up = _share(self._recipe, self._progress) >= 1.0
        return used_up or time.monotonic() >= self.deadline

    def _is_better(self, value: float) -> bool:
        best, sign = self._progress.best, 1.0 if self._task.mode == "max" else -1.0
        return best is None or sign * value > sign * best

    def _validate(self, row: dict[str, float]) -> dict[str, float]:
        figures = self._task.validate()
        monitor = self._task.monitor
        if monitor is not None:
            if not self._is_better(figures[monitor]) and self._kept.is_file():
                return figures
            self._progress.best = figures[monitor]
        noted = {key: f"{value:.8g}" for key, value in {**row, **figures}.items()}
        settings = json.dumps(self._progress.settings)
        self._task.keep(self._kept, {**self.note, **noted, "settings": settings})
        return figures

    def _draw(self) -> None:
        picture = self._task.sheet()
        if picture is not None:
            step = self._progress.step
            save_image(self._task.places.out / "samples" / f"step-{step:07d}.png", picture)
            if self.board is not None:
                self.board.add_sheet(picture, step)

    def _save(self) -> None:
        out = self._task.places.out
        write_history(out / "history.csv", self._progress.history)
        # Last, because going on relies on the rest.
        self._checkpoint.save(self._state, self._progress)
        self._saved = time.monotonic()


class _Callbacks(keras.callbacks.CallbackList):
    """Callbacks that are told of a step before the device has done it.

    Keras fetches the losses after each step, for which the device waits.
    """

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Pass the losses on as they are, tensors."""
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


@contextlib.contextmanager
def _averaged(model: keras.Model) -> Iterator[None]:
    """Put the running averages into the network, and its own weights back afterwards."""
    optimizer = model.optimizer
    if not optimizer.use_ema:
        yield
        return
    averages = optimizer._model_variables_moving_average
    own = [variable.numpy() for variable in model.trainable_variables]
    for variable, average in zip(model.trainable_variables, averages, strict=True):
        # A copy: JAX may reuse a variable's memory, which the average must not lose.
        variable.assign(average.numpy().copy())
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, own, strict=True):
            variable.assign(value)


def _state(task: Task, model: keras.Model) -> list[Any]:
    frozen = {id(variable) for variable in task.frozen()}
    own = [variable for variable in model.variables if id(variable) not in frozen]
    return [*own, *model.optimizer.variables]


def _tuples(stream: Iterator[Any], failed: list[Exception]) -> Iterator[Any]:
    """Pass the batches on, as the generator that `fit` wants, and note what fails there."""
    try:
        yield from stream
    except Exception as error:
        failed.append(error)
        raise


@contextlib.contextmanager
def _told() -> Iterator[list[Exception]]:
    """Raise a sampler's own error, which TensorFlow passes on as text."""
    failed: list[Exception] = []
    try:
        yield failed
    except Exception as error:
        if failed and failed[0] is not error:
            raise failed[0] from error
        raise


def _share(recipe: Recipe, progress: Progress) -> float:
    """Return the share of the budget that is used up."""
    if recipe.steps:
        return progress.step / recipe.steps
    return progress.seconds / (60.0 * recipe.minutes)


def _settings(recipe: Recipe) -> dict[str, Any]:
    values = {k: v for k, v in dataclasses.asdict(recipe).items() if k not in _FREE}
    settings: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return settings

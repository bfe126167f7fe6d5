"""How fast each recipe trains here: images a second, waiting for samples, and arithmetic.

    python benchmarks/training.py --data DATA lite/landmarks paper/inpainting ...

For each recipe the same training runs twice side by side: on its own samples, and on one batch that
is repeated, which is what it would be without waiting. The arithmetic of a step is counted by the
backend's compiler and compared with a large product of matrices in the recipe's precision, timed in
the same run. Only ratios carry over to other machines.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from unmask.data.stream import Stream, default_workers
from unmask.errors import UnmaskError
from unmask.training.recipe import parse_overrides, read_recipe, recipe_names
from unmask.training.runner import compiled
from unmask.training.task import Places, Task, find_task, precision

_MATRIX = 2048


def main() -> None:
    """Print a row a recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=None, help="names (all)")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (20)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workers", type=int, default=default_workers())
    args = parser.parse_args()
    print(f"backend {keras.backend.backend()}, {args.workers} worker processes")
    print("| recipe | batch | images a second | waiting | GFLOP/s | of the matrix product |")
    print("|---|---|---|---|---|---|")
    for name in args.recipes or recipe_names():
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(_row(name, args, Path(folder)), flush=True)
            except UnmaskError as error:  # what it is trained on is not here
                print(f"| {name} | {error} | | | | |", flush=True)


def _row(name: str, args: argparse.Namespace, out: Path) -> str:
    source = read_recipe(name, parse_overrides(args.set))
    kind = find_task(source.task)
    if kind.closed_form:
        return f"| {name} | closed form | | | | |"
    recipe = dataclasses.replace(
        source.phase(len(source.phases) - 1, kind.recipe_type), steps=1, minutes=0.0
    )
    task = kind(recipe, Places(args.data, out))
    task.prepare()
    model = compiled(task)
    fed, cached, flops = _rates(task, model, args.seconds, args.workers)
    arithmetic = flops * cached / 1e9
    share = arithmetic / _matrix_rate(recipe.dtype_policy)
    waiting = max(0.0, 1.0 - fed / cached)
    return (
        f"| {name} | {recipe.batch_size} | {fed * recipe.batch_size:.1f} | {100 * waiting:.1f} % "
        f"| {arithmetic:.0f} | {100 * share:.0f} % |"
    )


def _rates(
    task: Task, model: keras.Model, seconds: float, workers: int
) -> tuple[float, float, float]:
    """Return steps a second with samples and without waiting for them, and FLOP a step."""
    with Stream(task.sampler(), workers=workers) as stream:
        # Two, because Keras infers from them which sizes vary.
        batches = [next(stream), next(stream)]
        cached = _steps_a_second(model, itertools.cycle(batches), seconds)
        fed = _steps_a_second(model, iter(stream), seconds)
    return fed, cached, _flops(model, batches[0])


class _Timer(keras.callbacks.Callback):
    """Counts the steps of some seconds, the first ones, which compile, left out."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds, self.rate = seconds, 0.0
        self._start: tuple[int, float] | None = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now = time.perf_counter()
        if self._start is None:
            self._start = (batch, now) if batch >= 4 else None
        elif now - self._start[1] >= self._seconds:
            self.rate = (batch - self._start[0]) / (now - self._start[1])
            self.model.stop_training = True


def _steps_a_second(model: keras.Model, batches: Iterator[Any], seconds: float) -> float:
    timer = _Timer(seconds)
    generator = (batch for batch in batches)
    model.fit(generator, steps_per_epoch=1_000_000, callbacks=[timer], shuffle=False, verbose=0)
    return timer.rate


def _flops(model: keras.Model, batch: Any) -> float:
    """Return the floating-point operations of one training step, as the compiler counts them."""
    if keras.backend.backend() == "jax":
        import jax

        state = model._get_jax_state(
            trainable_variables=True, non_trainable_variables=True, optimizer_variables=True,
            metrics_variables=True,
        )  # fmt: skip
        analysis = jax.jit(model.train_step).lower(state, batch).compile().cost_analysis()
        first = analysis[0] if isinstance(analysis, list) else analysis
        return float(first["flops"])
    import tensorflow as tf
    from tensorflow.python.profiler import model_analyzer, option_builder

    step = tf.function(model.train_step)
    tensors = tf.nest.map_structure(tf.convert_to_tensor, batch)
    graph = step.get_concrete_function(tensors).graph
    options = option_builder.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return float(model_analyzer.profile(graph, options=options).total_float_ops)


def _matrix_rate(policy: str) -> float:
    """Return GFLOP/s of a product of large matrices in a policy's compute type."""
    with precision(policy):
        dtype = keras.config.dtype_policy().compute_dtype
    values = keras.ops.convert_to_tensor(np.ones((_MATRIX, _MATRIX), np.float32))
    matrix = keras.ops.cast(values, dtype)
    best = 0.0
    for _ in range(6):
        start = time.perf_counter()
        np.asarray(keras.ops.cast(keras.ops.matmul(matrix, matrix)[0, 0], "float32"))
        best = max(best, 2 * _MATRIX**3 / (time.perf_counter() - start) / 1e9)
    return best


if __name__ == "__main__":
    main()

"""What every recipe promises, tried at toy size."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest

from tests.training.toys import TOYS, Toy
from unmask.training.recipe import read_recipe, recipe_names
from unmask.training.runner import train
from unmask.training.task import Places, Task, find_task, precision
from unmask.weights import load_arrays, load_metadata

SMALL = {"history_steps": 1, "steps_per_execution": 1, "sheet_rows": 0}
ITERATIVE = [n for n in recipe_names() if not find_task(read_recipe(n).task).closed_form]


pytestmark = pytest.mark.usefixtures("untraced")

# One recipe of each kind of task: what goes on is the task's, whatever its network.
KINDS = (
    "lite/coarse", "lite/gender", "paper/gender", "lite/inpainting", "lite/landmarks", "lite/loops",
    "lite/mask-rcnn", "lite/parsing", "lite/segmentation", "lite/verifier",
    "rivals/edgeconnect",
)  # fmt: skip

# At toy size these are another recipe's network and losses: of paper/gender, paper/mask-rcnn,
# paper/aot-gan, paper/inpainting and, but for its samples, lite/inpainting; all of InceptionV3 is
# trained in tests/gender.
TWINS = (
    "paper/gender-notebook", "lite/mask-rcnn", "paper/gender-end-to-end", "rivals/aot-gan",
    "rivals/lafin", "lite/refiner",
)  # fmt: skip

# Compiling for JAX takes long. What it does otherwise is the step: with a list of losses, with one;
# that of two networks is in the lease's test.
FOR_JAX = ("lite/landmarks", "lite/gender")


class StoppedError(Exception):
    """A training's process dies."""


def stop_at(row: int):
    """Return a report function that dies at this row."""
    seen = []

    def report(_: str) -> None:
        seen.append(None)
        if len(seen) == row:
            raise StoppedError

    return report


def make_task(name: str, toy: Toy, out: Path, steps: int, phase: int = -1, **changes: Any) -> Task:
    recipe = read_recipe(name, {**toy.overrides, **SMALL, **changes})
    kind = find_task(recipe.task)
    phase %= len(recipe.phases)
    settings = replace(recipe.phase(phase, kind.recipe_type), steps=steps, minutes=0.0)
    return kind(settings, Places(toy.data, out))


def test_every_recipe_has_a_toy():
    assert set(TOYS) == set(recipe_names())
    assert {read_recipe(n).task for n in KINDS} == {read_recipe(n).task for n in ITERATIVE}


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Toy]:
    """From a recipe's name to its toy; those that one function draws are drawn once."""

    @functools.cache
    def draw(make: Callable[[Path], Toy]) -> Toy:
        return make(tmp_path_factory.mktemp("toy") / "data")

    return lambda name: draw(TOYS[name])


@pytest.mark.parametrize("name", KINDS)
def test_goes_on_as_if_nothing_had_happened(name: str, toys: Callable[[str], Toy], tmp_path: Path):
    def task(folder: str) -> Task:
        return make_task(name, toys(name), tmp_path / folder, 2, validation_rows=1)

    whole = train(task("whole"), workers=0)
    with pytest.raises(StoppedError):
        train(task("halved"), workers=0, report=stop_at(2))
    halved = train(task("halved"), workers=0)
    # The weights and the optimiser, to the last digit.
    states = [load_arrays(path.parent / "checkpoint.safetensors")[0] for path in (whole, halved)]
    for key, value in states[0].items():
        assert value.tobytes() == states[1][key].tobytes(), key
    # What is known of the kept file survives the end, so that nothing worse replaces it.
    monitor = task("whole").monitor
    assert monitor is None or monitor in load_metadata(whole)


@pytest.mark.parametrize("name", [name for name in ITERATIVE if name not in TWINS])
def test_learns_a_batch_by_heart(name: str, toys: Callable[[str], Toy], tmp_path: Path):
    toy = toys(name)
    # Without momentum, two networks against each other overshoot at ten times their own rate.
    rate = 3e-4 if name == "paper/inpainting-aot" else 1e-3
    changes = {"optimizer.schedule": "constant", "optimizer.learning_rate": rate}
    with precision(read_recipe(name).table.get("dtype_policy", "auto")):
        usual = keras.config.dtype_policy().name
    other = "float32" if "mixed" in usual else "mixed_bfloat16"
    task = make_task(name, toy, tmp_path, 8, dtype_policy=other, validation_rows=8, **changes)
    make = task.sampler

    def one_batch():
        batch = make()(0)
        return lambda number: batch

    task.sampler = one_batch  # type: ignore[method-assign]
    rows: list[str] = []
    train(task, workers=0, report=rows.append)
    losses = [float(row.split("loss ")[1].split()[0]) for row in rows]
    assert min(losses[-3:]) < losses[0]


JAX = """
import json, sys
from pathlib import Path
from tests.training.test_contract import FOR_JAX, TOYS, make_task
from unmask.training.runner import train
found = {}
for name in FOR_JAX:
    folder = Path(sys.argv[1]) / name.replace("/", "-")
    toy = TOYS[name](folder / "data")
    rows = []
    train(make_task(name, toy, folder / "run", 2), workers=0, report=rows.append)
    found[name] = [float(row.split("loss ")[1].split()[0]) for row in rows]
print(json.dumps(found))
"""


def test_steps_of_each_kind_train_with_jax(tmp_path: Path):
    pytest.importorskip("jax")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", JAX, str(tmp_path)],
        capture_output=True, text=True, env=environment, check=False, timeout=600,
        cwd=Path(__file__).parent.parent.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    losses = json.loads(done.stdout.splitlines()[-1])
    assert set(losses) == set(FOR_JAX)
    assert all(value == value for values in losses.values() for value in values)

"""Training a recipe, phase after phase: what `unmask train` does."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unmask.io import atomic_path
from unmask.training.recipe import Recipe, RecipeFile, read_recipe, recipe_names
from unmask.training.runner import train
from unmask.training.task import Places, find_task
from unmask.weights import read_manifest

_LOG = logging.getLogger(__name__)


def train_recipe(
    recipe: str | Path,
    data: Sequence[Path],
    out: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    init: Path | None = None,
    workers: int | None = None,
    tensorboard: bool = False,
    checkpoint_minutes: float = 3.0,
    deadline: float | None = None,
    report: Callable[[str], None] = _LOG.info,
) -> Path:
    """Train all phases of a recipe; called again, go on where it was stopped.

    Each phase starts from what the one before has kept.

    Args:
        recipe: "lite/landmarks" or another recipe of the package, or a TOML file.
        data: As for `unmask.data.faces.gather_faces`.
        out: The run's folder; of several phases each has a folder in it.
        minutes: Budget of all phases together, shared as in the recipe; the recipe's when None.
        steps: The same in steps.
        overrides: Values that replace those of the recipe, by dotted key.
        init: A kept file of the same network from which the first phase starts.
        workers: As for `unmask.training.runner.train`.
        tensorboard: Whether to write event files too.
        checkpoint_minutes: As for `unmask.training.runner.train`.
        deadline: As for `unmask.training.runner.train`.
        report: Called with each line that tells how it goes.

    Returns:
        The kept file of the last phase, `out/STAGE.safetensors`.

    Raises:
        DataError: The recipe, the data or the folder cannot be used.
        WeightsError: A file of weights does not fit.
    """
    source = read_recipe(recipe, overrides)
    kind = find_task(source.task)
    phases = [source.phase(i, kind.recipe_type) for i in range(len(source.phases))]
    note = {"recipe": source.name, "overrides": json.dumps(dict(source.overrides), default=str)}
    kept = init
    for (name, _), settings in zip(source.phases, _budgeted(phases, minutes, steps), strict=True):
        folder = out / name if len(phases) > 1 else out
        task = kind(settings, Places(list(data), folder))
        if len(phases) > 1:
            report(f"phase {name}")
        kept = train(
            task,
            init=kept,
            workers=workers,
            tensorboard=tensorboard,
            checkpoint_minutes=checkpoint_minutes,
            deadline=deadline,
            metadata=note,
            report=report,
        )
    assert kept is not None
    return kept if len(phases) == 1 else _copied(kept, out / kept.name)


@dataclass(frozen=True)
class Listed:
    """One line of `unmask train --list`."""

    name: str
    about: str  # what comes out
    parameters: int  # numbers in the network that is kept; 0 where it is no network
    weights: str  # the shipped file that it made, if there is one


def list_recipes() -> Iterator[Listed]:
    """Yield what is known of each recipe of the package, building its network to count."""
    made: dict[str, str] = {}
    for entry in read_manifest():
        if entry.is_onnx:
            continue
        name = f"{entry.preset}/{entry.stage}"
        made[entry.recipe] = ", ".join(filter(None, (made.get(entry.recipe), name)))
    for name in recipe_names():
        source = read_recipe(name)
        yield Listed(name, str(source.table.get("about", "")), _count(source), made.get(name, "-"))


def _count(source: RecipeFile) -> int:
    kind = find_task(source.task)
    return kind.parameters(source.phase(0, kind.recipe_type))


def _budgeted(phases: Sequence[Recipe], minutes: float | None, steps: int | None) -> list[Recipe]:
    """Share another budget among the phases as theirs is shared."""
    if minutes is None and steps is None:
        return list(phases)
    shares = [phase.steps or phase.minutes for phase in phases]
    total = sum(shares)
    if steps is not None:
        return [
            replace(p, steps=max(1, round(steps * share / total)), minutes=0.0)
            for p, share in zip(phases, shares, strict=True)
        ]
    assert minutes is not None
    return [
        replace(p, minutes=minutes * share / total, steps=0)
        for p, share in zip(phases, shares, strict=True)
    ]


def _copied(source: Path, target: Path) -> Path:
    if not target.is_file() or target.read_bytes() != source.read_bytes():
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    return target

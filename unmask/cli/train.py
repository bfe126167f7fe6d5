"""`unmask train RECIPE`: train what a recipe describes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import mutually_exclusive

from unmask.cli.arguments import ExistingFile, ExistingPath, OutFolder, PositiveFloat, PositiveInt

_BUDGET = Parameter(group=Group(validator=mutually_exclusive, show=False))


def train(
    recipe: str | None = None,
    /,
    *,
    data: list[ExistingPath] | None = None,
    out: OutFolder | None = None,
    minutes: Annotated[PositiveFloat | None, _BUDGET] = None,
    steps: Annotated[PositiveInt | None, _BUDGET] = None,
    overrides: Annotated[list[str] | None, Parameter(name="--set")] = None,
    init: ExistingFile | None = None,
    files: Annotated[list[str] | None, Parameter(name="--file")] = None,
    workers: PositiveInt | None = None,
    tensorboard: bool = False,
    listing: Annotated[bool, Parameter(name="--list")] = False,
) -> None:
    """Train what a recipe describes.

    Can be stopped at any moment, and goes on when it is called again with the same folder.

    Args:
        recipe: Name of a shipped recipe, such as lite/landmarks, or a TOML file.
        data: Data folders, folders that hold such folders, or packed faces; what is named twice
            counts twice.
        out: Folder for weights, history and checkpoint.
        minutes: Budget of all calls together. Default: the recipe's.
        steps: Budget in steps instead: repeatable exactly.
        overrides: KEY=VALUE: change settings of the recipe, e.g. optimizer.learning_rate=3e-4.
        init: Weights of the same network to start from.
        files: NAME=PATH: further files that the task needs, e.g. features=VGG.npz.
        workers: Processes that make samples. Default: all processors.
        tensorboard: Write event files too.
        listing: List the recipes: name, parameters, the shipped file it made, what comes out.
    """
    from unmask.errors import SettingError
    from unmask.training.recipe import parse_overrides, read_recipe

    if listing:
        _list()
        return
    if recipe is None or not data or out is None:
        raise SettingError("train needs RECIPE, --data and --out, or --list")
    changes, named = parse_overrides(overrides or []), _named(files or [])
    read_recipe(recipe, changes)  # what is wrong with it is told before Keras is loaded

    from unmask.training.command import train_recipe

    best = train_recipe(
        recipe,
        data,
        out,
        minutes=minutes,
        steps=steps,
        overrides=changes,
        init=init,
        files=named,
        workers=workers,
        tensorboard=tensorboard,
        report=lambda line: print(line, flush=True),
    )
    print(f"weights: {best}")


def _list() -> None:
    from unmask.training.command import list_recipes

    for line in list_recipes():
        print(f"{line.name:24}{line.parameters:12,}  {line.weights:32}  {line.about}")


def _named(assignments: list[str]) -> dict[str, Path]:
    from unmask.errors import SettingError

    files = {}
    for assignment in assignments:
        name, _, path = assignment.partition("=")
        if not name or not path or not (path == "imagenet" or Path(path).exists()):
            raise SettingError(f"--file needs NAME=PATH, which exists. Received: {assignment!r}")
        files[name] = Path(path)
    return files

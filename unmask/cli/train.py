"""`unmask train RECIPE`: train what a recipe describes."""

from __future__ import annotations

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
        workers: Processes that make samples. Default: a thread on one or two cores, else one
            process fewer than there are cores.
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
    changes = parse_overrides(overrides or [])
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
        workers=workers,
        tensorboard=tensorboard,
        report=lambda line: print(line, flush=True),
    )
    print(f"weights: {best}")


def _list() -> None:
    from unmask.training.command import list_recipes

    for line in list_recipes():
        print(f"{line.name:24}{line.parameters:12,}  {line.weights:32}  {line.about}")

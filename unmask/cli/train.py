"""`unmask train RECIPE`: train what a recipe describes."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import mutually_exclusive

from unmask.cli.arguments import ExistingPath, OutFolder, PositiveFloat, PositiveInt

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
    init: ExistingPath | None = None,
    show: Annotated[bool, Parameter(name="--list")] = False,
) -> None:
    """Train what a recipe describes.

    Can be stopped at any moment, and goes on when it is called again with the same folder.

    Args:
        recipe: Name of a shipped recipe, such as lite/landmarks, or a TOML file.
        data: Folders of faces or photos, or packed faces; one that is named twice counts twice.
        out: Folder for weights, history and checkpoint.
        minutes: Time budget, over all calls. Default: the recipe's.
        steps: Budget in steps instead: repeatable exactly.
        overrides: KEY=VALUE: change settings of the recipe, e.g. optimizer.learning_rate=3e-4.
        init: Weights to start from.
        show: List the recipes: name, network, parameters, what each was last trained for.
    """
    from unmask.errors import SettingError
    from unmask.training import command  # type: ignore[attr-defined]

    if show:
        print(command.list_recipes())
        return
    if recipe is None or not data or out is None:
        raise SettingError("give RECIPE, --data and --out, or --list")
    best = command.train(
        recipe, data, out, minutes=minutes, steps=steps, overrides=overrides or [], init=init
    )
    print(f"weights: {best}")

"""Recipes are checked down to the last key, and every one of the package can be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from unmask.errors import DataError
from unmask.training.recipe import (
    OptimizerSettings,
    Recipe,
    parse,
    parse_overrides,
    read_recipe,
    recipe_names,
)
from unmask.training.task import find_task


@dataclass(frozen=True, kw_only=True)
class Wall(Recipe):
    height: float = 2.0
    bond: Literal["stretcher", "header"] = "stretcher"
    courses: tuple[int, ...] = (1, 2)
    plan: Path | None = None
    mortar: OptimizerSettings = field(default_factory=OptimizerSettings)


def write(folder: Path, text: str) -> Path:
    path = folder / "wall.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_types_are_converted_and_nested():
    wall = parse(
        Wall,
        {"task": "w", "steps": 3, "height": 3, "courses": [4, 5, 6], "plan": "a/b.png",
         "faces": {"x": 2}, "mortar": {"name": "sgd", "learning_rate": 1}},
        "wall.toml",
    )  # fmt: skip
    assert wall.height == 3.0
    assert wall.courses == (4, 5, 6)
    assert wall.plan == Path("a/b.png")
    assert wall.faces == {"x": 2.0}
    assert (wall.mortar.name, wall.mortar.learning_rate) == ("sgd", 1.0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"heigt": 1}, "unknown key 'heigt'; did you mean 'height'"),
        ({"mortar": {"learning_rat": 1}}, "mortar: unknown key 'learning_rat'; did you mean"),
        ({"height": "tall"}, "height: must be float. Received: 'tall'"),
        ({"height": True}, "height: must be float. Received: True"),
        ({"bond": "flemish"}, "bond: must be 'stretcher', 'header'. Received: 'flemish'"),
        ({"courses": [1, "b"]}, r"courses\[1\]: must be int. Received: 'b'"),
        ({"batch_size": 0}, "batch_size must be at least 1. Received: 0"),
        ({"minutes": 1.0}, "either minutes or steps"),
        ({"minutes": float("nan"), "steps": 0}, "either minutes or steps"),
    ],
)
def test_errors_name_file_key_and_value(table: dict, message: str):
    with pytest.raises(DataError, match=f"^wall.toml: .*{message}"):
        parse(Wall, {"task": "w", "steps": 3, **table}, "wall.toml")


def test_phases_change_what_they_name(tmp_path: Path):
    path = write(
        tmp_path,
        'task = "w"\nsteps = 5\n[mortar]\nname = "adam"\nlearning_rate = 0.5\n'
        '[[phases]]\nname = "first"\n[[phases]]\nname = "second"\nmortar.learning_rate = 0.1\n',
    )
    recipe = read_recipe(path, parse_overrides(["height=7", "mortar.beta_1=0.0"]))
    first, second = (recipe.phase(i, Wall) for i in range(2))
    assert [name for name, _ in recipe.phases] == ["first", "second"]
    assert (first.mortar.learning_rate, second.mortar.learning_rate) == (0.5, 0.1)
    assert second.mortar.name == "adam"
    assert (first.height, second.mortar.beta_1) == (7.0, 0.0)


def test_unknown_recipe_names_the_nearest():
    known = recipe_names()[0]
    with pytest.raises(DataError, match=f"did you mean '{known}'"):
        read_recipe(known + "x")


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_of_the_package_are_valid(name: str):
    recipe = read_recipe(name)
    kind = find_task(recipe.task).recipe_type
    for index in range(len(recipe.phases)):
        settings = recipe.phase(index, kind)
        assert settings.about
        # A preset's folder says where a recipe belongs.
        assert name.split("/")[0] in ("lite", "paper", "rivals")


def test_schedule():
    settings = OptimizerSettings(learning_rate=1.0, warmup=0.1, floor=0.2)
    # Not from nothing: a short training may have but one row of history.
    assert settings.rate(0.0) == pytest.approx(0.1)
    assert settings.rate(0.05) == pytest.approx(0.55)
    assert settings.rate(0.1) == pytest.approx(1.0)
    assert settings.rate(0.55) == pytest.approx(0.6)
    assert settings.rate(2.0) == pytest.approx(0.2)
    assert OptimizerSettings(learning_rate=1.0, schedule="constant").rate(0.99) == 1.0

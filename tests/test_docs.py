"""The commands that README and docs show are commands, and the values they set are settings."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from unmask.cli import build_app
from unmask.training.recipe import parse_overrides, read_recipe
from unmask.training.task import find_task

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
MISSING = re.compile(r'"([^"()]+)"(?: for --\S+\. Neither "imagenet" nor a file| does not exist)')
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
VARIABLES = {"$data": "ffhq", "$gender": "male"}


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&| \| |[<>] ?\S+|#.*", line):
                    # "..." and A|B stand for what is said elsewhere.
                    if re.match(r"\s*unmask [^|]*$", part) and "..." not in part:
                        yield page.name, part.strip()


SHOWN = list(dict.fromkeys(commands()))


@pytest.mark.parametrize("name", re.findall(r"^::: (\S+)$", API, re.MULTILINE))
def test_the_reference_names_what_there_is(name: str):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        assert attribute in importlib.import_module(module).__dict__


def test_commands_are_found():
    assert len(SHOWN) > 40


@pytest.mark.parametrize(("page", "line"), SHOWN, ids=lambda value: value[:60])
def test_a_shown_command_is_understood(
    page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name, value in VARIABLES.items():
        line = line.replace(name, value)
    words = ["./-" if word == "-" else word for word in shlex.split(line)[1:]]
    command, given = understand(words)
    if command.__name__ == "train" and "recipe" in given:
        check_settings(given["recipe"], given.get("overrides", []))


def understand(words: list[str]):
    """Parse a command, making the files and folders that it takes for granted."""
    for _ in range(len(words) + 1):
        try:
            command, bound, _ = build_app().parse_args(
                words, print_error=False, exit_on_error=False
            )
        except CycloptsError as error:
            if not (missing := MISSING.search(str(error))):
                raise
            path = Path(missing.group(1))
            if path.suffix:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            else:
                path.mkdir(parents=True)
        else:
            return command, bound.arguments
    raise AssertionError(f"what is missing? {words}")


def check_settings(name: str, changes: list[str]) -> None:
    if name.endswith(".toml"):
        return  # the reader's own
    recipe = read_recipe(name, parse_overrides(changes))
    for phase in range(len(recipe.phases)):
        recipe.phase(phase, find_task(recipe.task).recipe_type)

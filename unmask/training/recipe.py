"""Recipes: everything that decides a training, in a short TOML file of visible values.

A recipe names its task; the task's dataclass says which keys there are, of which type, and what
they default to. `phases` are tables of what changes, trained one after the other.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from unmask.errors import DataError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

T = TypeVar("T")

RECIPES = Path(__file__).parent.parent / "recipes"
"""Where the recipes of the package are, PRESET/NAME.toml."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How the weights move.

    Attributes:
        name: Keras' optimiser.
        learning_rate: The highest rate.
        schedule: "cosine": a linear rise from a tenth over `warmup`, then half a cosine down to
            `floor`, over the budget, be it steps or minutes; "constant": `learning_rate`
            throughout; "steps": a tenth of the rate before from each of `drops` on.
        warmup: Share of the budget with a linear rise.
        floor: Share of the learning rate that is left at the end of the cosine.
        drops: Shares of the budget at which the schedule "steps" lowers the rate.
        beta_1: Adam's decay of the first moment.
        beta_2: Decay of the second moment, Adam's and RMSprop's.
        momentum: SGD's and RMSprop's.
        weight_decay: Decoupled weight decay of AdamW.
        clip_norm: Bound of each gradient's norm; 0 for none.
        global_clip_norm: Bound of all gradients' common norm; 0 for none.
        ema_momentum: Momentum of the running average of the weights, which is what is validated
            and kept; 0 for no average.
    """

    name: Literal["adam", "adamw", "rmsprop", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant", "steps"] = "cosine"
    warmup: float = 0.02
    floor: float = 0.0
    drops: tuple[float, ...] = ()
    beta_1: float = 0.9
    beta_2: float = 0.999
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    global_clip_norm: float = 0.0
    ema_momentum: float = 0.0

    def rate(self, share: float) -> float:
        """Return the learning rate after a share (0 to 1) of the budget.

        Example:
            >>> OptimizerSettings(learning_rate=0.5, warmup=0.0, floor=0.1).rate(1.0)
            0.05
            >>> OptimizerSettings(learning_rate=0.5, schedule="steps", drops=(0.3, 0.6)).rate(0.4)
            0.05
        """
        if self.schedule == "constant":
            return self.learning_rate
        if self.schedule == "steps":
            return self.learning_rate / 10 ** sum(share >= drop for drop in self.drops)
        if share < self.warmup:
            # From a tenth: the rate stays within a row, and the first row shall not be wasted.
            return self.learning_rate * (0.1 + 0.9 * share / self.warmup)
        progress = min(1.0, (share - self.warmup) / max(1.0 - self.warmup, 1e-9))
        factor = self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.learning_rate * factor


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all trainings have in common; each task adds its own keys.

    Attributes:
        task: Which task trains it, a key of `unmask.training.task.TASKS`.
        about: One line on what comes out.
        seed: Seed of the first weights and of the samples.
        dtype_policy: Keras dtype policy of the networks that are trained; "auto" is mixed_bfloat16
            on machines that multiply in it, and float32 on others.
        minutes: Wall-clock budget of the steps, interrupted calls included; 0 if `steps` says it.
        steps: Budget in steps; 0 if `minutes` says it. Only steps are repeatable to the digit.
        batch_size: Samples a step.
        history_steps: Steps a row of the history, between which the learning rate stays.
        validation_rows: Rows between two validations, after which the best weights are kept.
        sheet_rows: Rows between two sample sheets; 0 for none.
        steps_per_execution: Steps in one call of the compiled function.
        jit_compile: Whether XLA compiles the step. JAX always does.
        faces: Face folders by name, and how often a face of each is shown relative to the others.
        optimizer: How the weights move.
    """

    task: str
    about: str = ""
    seed: int = 0
    dtype_policy: Literal["auto", "float32", "mixed_bfloat16"] = "auto"
    minutes: float = 0.0
    steps: int = 0
    batch_size: int = 8
    history_steps: int = 50
    validation_rows: int = 10
    sheet_rows: int = 0
    steps_per_execution: int = 1
    jit_compile: bool = False
    faces: Mapping[str, float] = field(default_factory=dict)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)

    def __post_init__(self) -> None:
        """Refuse what no training could use."""
        for name in ("batch_size", "history_steps", "validation_rows", "steps_per_execution"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1. Received: {getattr(self, name)}")
        if not (self.minutes >= 0 and self.steps >= 0 and (self.minutes > 0) != (self.steps > 0)):
            raise ValueError(
                "either minutes or steps must be positive, and the other 0. "
                f"Received: minutes={self.minutes}, steps={self.steps}"
            )
        for name in ("history_steps", "steps"):
            if getattr(self, name) % self.steps_per_execution:
                raise ValueError(
                    f"{name} must be a multiple of steps_per_execution. Received: "
                    f"{name}={getattr(self, name)}, steps_per_execution={self.steps_per_execution}"
                )


@dataclass(frozen=True)
class RecipeFile:
    """A recipe as it was written, before its task has checked it.

    Attributes:
        name: "lite/landmarks" for a recipe of the package, else the file's path.
        table: The whole file without its phases.
        phases: For each phase its name and what it changes; one without changes if there is none.
        overrides: What the caller changed, "optimizer.learning_rate" -> value.
    """

    name: str
    table: Mapping[str, Any]
    phases: Sequence[tuple[str, Mapping[str, Any]]]
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.table.get("task", ""))

    def phase(self, index: int, kind: type[T]) -> T:
        """Return one phase as the task's dataclass.

        Raises:
            DataError: A key is unknown, or a value has the wrong type or no meaning.
        """
        name, changes = self.phases[index]
        table = merge(self.table, changes)
        for dotted, value in self.overrides.items():
            table = merge(table, _nested(dotted, value))
        return parse(kind, table, f"{self.name}{f' ({name})' if name else ''}")


def read_recipe(name: str | Path, overrides: Mapping[str, Any] | None = None) -> RecipeFile:
    """Read a recipe of the package ("lite/landmarks") or a TOML file of one's own.

    Overrides, by dotted key, replace the values of the file in every phase.

    Raises:
        DataError: There is no such recipe, the message names the nearest; or it is no TOML file.
    """
    path = RECIPES / f"{name}.toml"
    if not path.is_file():
        path = Path(name)
    if path.suffix != ".toml" or not path.is_file():
        raise DataError(f"no recipe {str(name)!r}{_nearest(str(name), recipe_names())}")
    table = read_toml(path)
    phases = table.pop("phases", [{}])
    if not isinstance(phases, list) or not phases or not all(isinstance(p, dict) for p in phases):
        raise DataError(f"{path}: phases: must be an array of tables ([[phases]])")
    named = [
        (str(phase.pop("name", "" if len(phases) == 1 else number)), phase)
        for number, phase in enumerate(phases, start=1)
    ]
    return RecipeFile(str(name), table, named, dict(overrides or {}))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        DataError: It is missing or no TOML file.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: not a TOML file ({error})") from error


def recipe_names() -> list[str]:
    """Return the names of the package's recipes, sorted."""
    return sorted(
        p.relative_to(RECIPES).with_suffix("").as_posix() for p in RECIPES.glob("*/*.toml")
    )


def parse_overrides(assignments: Sequence[str]) -> dict[str, Any]:
    """Read assignments such as "optimizer.learning_rate=3e-4"; values are TOML, or else text.

    Raises:
        DataError: One has no "=".

    Example:
        >>> parse_overrides(["seed=3", "network=wide", "faces.wide=2.5"])
        {'seed': 3, 'network': 'wide', 'faces.wide': 2.5}
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise DataError(f"--set needs KEY=VALUE. Received: {assignment!r}")
        try:
            values[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key.strip()] = text
    return values


def merge(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `table` with the values of `changes`, tables inside them merged likewise.

    Example:
        >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
        {'a': {'b': 1, 'c': 3}}
    """
    merged = dict(table)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def parse(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """Make a dataclass of a TOML table, which errors call `where`.

    Fields may be dataclasses, mappings, tuples and Literals too.

    Raises:
        DataError: A key is unknown (the message names the nearest), missing, or has a value of
            the wrong type or without meaning.

    Example:
        >>> parse(OptimizerSettings, {"learning_rat": 1}, "x.toml")
        Traceback (most recent call last):
        unmask.errors.DataError: x.toml: unknown key 'learning_rat'; did you mean 'learning_rate'?
    """
    hints = typing.get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise DataError(f"{where}: unknown key {key!r}{_nearest(key, sorted(known))}")
    values = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in table.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return parse(typing.cast(type, hint), value, where)
    if origin is Literal and value in arguments:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if isinstance(value, Mapping) and isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _convert(arguments[1], v, f"{where}.{key}") for key, v in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) == len(value):
            pairs = zip(kinds, value, strict=True)
            return tuple(_convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(pairs))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    wanted = (
        ", ".join(map(repr, arguments)) if origin is Literal else getattr(hint, "__name__", hint)
    )
    raise DataError(f"{where}: must be {wanted}. Received: {value!r}")


def _nested(dotted: str, value: Any) -> dict[str, Any]:
    *tables, key = dotted.split(".")
    nested: dict[str, Any] = {key: value}
    for table in reversed(tables):
        nested = {table: nested}
    return nested


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.4)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"

"""A short lease: a list of recipes on a rented accelerator, with shares of the time.

    python -m unmask.training.lease PLAN.toml --minutes 9 --out DIR

The machine needs Python, JAX with CUDA, Keras, NumPy, OpenCV (headless), scikit-image, pandas, h5py
and safetensors; no TensorFlow and no network. The plan names packed faces (`unmask pack`), further
files, and what to train:

    data = ["faces-000.zip", "faces-001.zip"]

    [[train]]
    name = "both"
    recipe = "paper/inpainting"
    share = 2                                  # of the time
    set = ["features='vgg.npz'"]

    [[train]]
    name = "male"
    recipe = "paper/inpainting"
    init = "both"                              # starts from what an earlier entry has kept
    share = 1
    set = ["gender='male'", "features='vgg.npz'"]

Every two minutes, and at the end, DIR holds each entry's averaged weights in float16 in parts of at
most 16 MB, its history and its newest sample sheet. Calling it again goes on.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unmask.io import write_bytes_atomic

PART_BYTES = 16_000_000
_CHECKPOINT_MINUTES = 2.0
# Validation, the last weights and the checkpoint of an entry.
_WRITING_SECONDS = 15.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One recipe of a plan.

    Attributes:
        name: Name of its folder and of its files.
        recipe: As for `unmask train`.
        share: Its part of the time, relative to the others.
        init: Name of an earlier entry, or a file, to start from; "" for none.
        set: Values that replace those of the recipe, KEY=VALUE.
    """

    name: str
    recipe: str
    share: float = 1.0
    init: str = ""
    set: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a lease trains.

    Attributes:
        data: Packed files or folders of faces.
        train: The recipes, in order.
    """

    data: tuple[Path, ...]
    train: tuple[Entry, ...]


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        DataError: It is no TOML file, or a key is unknown or has no meaning.
    """
    from unmask.errors import DataError
    from unmask.training.recipe import parse, read_toml

    table = read_toml(path)
    entries = table.pop("train", None)
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path}: train: must be an array of tables ([[train]])")
    checked = tuple(parse(Entry, row, f"{path}: train[{i}]") for i, row in enumerate(entries))
    plan = parse(Plan, {**table, "train": ()}, str(path))
    return Plan(data=plan.data, train=checked)


def run_plan(plan: Plan, out: Path, minutes: float, *, workers: int | None = None) -> None:
    """Train the entries one after the other, so that all is written when the time is up.

    The minutes are for everything, start-up and compiling included. `out` is the folder of what
    comes back; the runs themselves, with their checkpoints, are in `work` inside it, from which
    another call goes on.
    """
    from unmask.training.command import train_recipe
    from unmask.training.recipe import parse_overrides

    end = time.monotonic() + 60.0 * minutes
    kept: dict[str, Path] = {}
    for number, entry in enumerate(plan.train):
        share = entry.share / sum(e.share for e in plan.train[number:])
        # What starting takes from one entry is taken from those after it too.
        seconds = (end - time.monotonic()) * share
        run = out / "work" / entry.name

        def report(line: str, entry: Entry = entry, run: Path = run) -> None:
            _LOG.info("%s: %s", entry.name, line)
            copy_results(run, out, entry.name)

        kept[entry.name] = train_recipe(
            entry.recipe,
            plan.data,
            run,
            # The learning rate reaches its end a little before the hard one.
            minutes=max(seconds - _WRITING_SECONDS, 1.0) / 60.0,
            overrides=parse_overrides(entry.set),
            init=kept.get(entry.init) or (Path(entry.init) if entry.init else None),
            workers=workers,
            checkpoint_minutes=_CHECKPOINT_MINUTES,
            deadline=time.monotonic() + seconds - _WRITING_SECONDS,
            report=report,
        )
        copy_results(run, out, entry.name)


def copy_results(run: Path, out: Path, name: str) -> None:
    """Copy a run's weights in parts, its history and its newest sheet, those that changed.

    Of a recipe with phases they are those of the phase that is trained, until all are done.
    """
    phases = [p for p in run.glob("*/history.csv") if _is_newer(p, run / "history.csv")]
    run = max(phases, key=lambda p: p.stat().st_mtime).parent if phases else run
    for weights in run.glob("*.safetensors"):
        if not weights.name.startswith("checkpoint"):
            _copy_in_parts(weights, out / f"{name}.safetensors")
    for source, target in (
        (run / "history.csv", out / f"{name}.csv"),
        (max(run.glob("samples/*.png"), default=None), out / f"{name}.png"),
    ):
        if source is not None and source.is_file() and _is_newer(source, target):
            write_bytes_atomic(target, source.read_bytes())


def _copy_in_parts(source: Path, target: Path) -> None:
    """Write NAME.000, NAME.001, ...; `cat NAME.0*` joins them."""
    first = target.with_name(f"{target.name}.000")
    if not _is_newer(source, first):
        return
    content = source.read_bytes()
    for number in reversed(range(-(-len(content) // PART_BYTES))):
        piece = content[number * PART_BYTES : (number + 1) * PART_BYTES]
        write_bytes_atomic(target.with_name(f"{target.name}.{number:03d}"), piece)
    for part in sorted(target.parent.glob(f"{target.name}.[0-9]*")):
        if int(part.suffix[1:]) * PART_BYTES >= len(content):
            part.unlink()  # of a larger file: float32 while a training lasts, float16 after it


def _is_newer(source: Path, target: Path) -> bool:
    return not target.is_file() or source.stat().st_mtime > target.stat().st_mtime


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, and train."""
    parser = argparse.ArgumentParser(prog="python -m unmask.training.lease")
    parser.add_argument("plan", type=Path, help="TOML file, see the module's text")
    parser.add_argument("--minutes", type=float, required=True, help="time for everything")
    parser.add_argument("--out", type=Path, required=True, help="folder of what comes back")
    parser.add_argument("--workers", type=int, help="processes that make samples")
    args = parser.parse_args(arguments)
    # The phases of a plan, and another call, find what has been compiled.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(args.out / "work" / "cache"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    run_plan(read_plan(args.plan), args.out, args.minutes, workers=args.workers)
    return 0


if __name__ == "__main__":
    # Before anything imports Keras: no TensorFlow is there.
    os.environ.setdefault("KERAS_BACKEND", "jax")
    raise SystemExit(main())

"""`unmask evaluate WHAT`: measure a stage or the whole pipeline on held-out faces."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from typing import Any

_PREFIX = "evaluate_"


def add_parser(subparsers: Any) -> None:
    """Register the command; every module `evaluate_WHAT` of this package is one of its parts."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "evaluate", help="measure a stage or the whole pipeline"
    )
    parts = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    package = importlib.import_module("unmask.cli")
    names = sorted(found.name for found in pkgutil.iter_modules(package.__path__))
    for name in (name for name in names if name.startswith(_PREFIX)):
        module = importlib.import_module(f"unmask.cli.{name}")
        # "`unmask evaluate gender`: figures on ..." -> "figures on ..."
        text = (module.__doc__ or "").strip().splitlines()[0].partition(": ")[2]
        part = parts.add_parser(
            name.removeprefix(_PREFIX), help=text.rstrip("."), description=module.__doc__
        )
        module.add_arguments(part)
        part.set_defaults(main=module.main)

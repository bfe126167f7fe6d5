"""`unmask tune STAGE`: search hyper-parameters."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

_STAGES = {"gender": "the head of the paper's gender classifier"}


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "tune", help="search the hyper-parameters of a stage"
    )
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for stage, text in _STAGES.items():
        module = importlib.import_module(f"unmask.cli.tune_{stage}")
        stage_parser = stages.add_parser(stage, help=f"tune {text}", description=module.__doc__)
        module.add_arguments(stage_parser)
        stage_parser.set_defaults(main=module.main)

"""`unmask evaluate STAGE`: measure a stage on held-out faces."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

_STAGES = {"inpainting": "the generators, beside simple methods"}


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser("evaluate", help="measure a stage")
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for stage, text in _STAGES.items():
        module = importlib.import_module(f"unmask.cli.evaluate_{stage}")
        stage_parser = stages.add_parser(stage, help=f"measure {text}", description=module.__doc__)
        module.add_arguments(stage_parser)
        stage_parser.set_defaults(main=module.main)

"""`unmask train STAGE`: one trainer a stage."""

from __future__ import annotations

import importlib
from typing import Any

_STAGES = {
    "gender": "the gender classifier",
    "landmarks": "the landmark network",
    "segmentation": "the mask segmentation network",
    "coarse": "the network that corrects the linear first guess",
    "inpainting": "the landmark-guided generator",
}


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser("train", help="train a stage")
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for stage, text in _STAGES.items():
        module = importlib.import_module(f"unmask.cli.train_{stage}")
        stage_parser = stages.add_parser(stage, help=f"train {text}", description=module.__doc__)
        module.add_arguments(stage_parser)
        stage_parser.set_defaults(main=module.main)

"""`unmask labelme`: a folder of Labelme annotations to images and masks, and to COCO."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unmask.labelme import Conversion


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "labelme",
        help="convert Labelme annotations to masks and COCO",
        description="Convert every Labelme JSON file of SRC to DST/images and DST/masks "
        "(PNG, 255 = object). A broken file is reported, the others are converted all the same.",
    )
    parser.add_argument("src", type=Path, metavar="SRC", help="folder of JSON files, or one file")
    parser.add_argument("dst", type=Path, metavar="DST", help="folder to write to")
    parser.add_argument(
        "--labels", nargs="+", metavar="LABEL", help="labels to draw (default: all of them)"
    )
    parser.add_argument(
        "--coco", type=Path, metavar="FILE", help="also write a COCO JSON (masks as run lengths)"
    )
    parser.add_argument(
        "--line-width",
        type=_positive,
        default=10.0,
        metavar="PIXELS",
        help="width of lines and line strips (default: %(default)g)",
    )
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """Convert, report, and return 1 if a file or a label was of no use."""
    from unmask.errors import LabelmeError
    from unmask.labelme import convert

    try:
        report = convert(
            args.src,
            args.dst,
            labels=args.labels,
            coco=args.coco,
            line_width=args.line_width,
            progress=_progress,
        )
    except OSError as error:
        raise LabelmeError(f"{args.dst}: cannot be written ({error})") from error
    problems = [*map(str, report.errors), *_unused_labels(args.labels, report)]
    for problem in problems:
        print(f"unmask: {problem}", file=sys.stderr)
    total = len(report.converted) + len(report.errors)
    print(f"{len(report.converted)} of {total} annotations converted to {args.dst}")
    return 1 if problems else 0


def _progress(files: list[Path]) -> Iterable[Path]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(
        files, "converting", console=console, transient=True, disable=not console.is_terminal
    )


def _unused_labels(wanted: list[str] | None, report: Conversion) -> list[str]:
    """Most likely a label that no shape has is a slip of the pen, and all masks are empty."""
    found = ", ".join(f"{label!r} ({n})" for label, n in sorted(report.labels.items())) or "none"
    return [
        f"no shape has the label {label!r}; labels found: {found}"
        for label in wanted or ()
        if label not in report.labels and report.converted
    ]


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"must be positive. Received: {text}")
    return value

"""`unmask weights`: what the weight files are, where they are, and whether they are intact."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unmask.weights import WeightFile


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "weights",
        help="list or verify the weight files",
        description="list: what the manifest names; verify: compare sizes and SHA-256 sums;"
        " path: print the folder.",
    )
    parser.add_argument("action", choices=("list", "verify", "path"))
    parser.add_argument(
        "--dir", type=Path, default=None, help="folder with manifest.toml (default: the shipped)"
    )
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """Print, and return 1 if a file is missing or altered."""
    from unmask.weights import default_weights_dir, read_manifest

    if args.action == "path":
        print(args.dir or default_weights_dir())
        return 0
    entries = read_manifest(args.dir)
    if args.action == "verify":
        return _verify(entries)
    for entry in entries:
        print(f"{_name(entry):28} {entry.size / 1e6:6.1f} MB  {entry.licence}")
    total = sum(entry.size for entry in entries)
    print(f"{len(entries)} files, {total / 1e6:.1f} MB")
    return 0


def _verify(entries: list[WeightFile]) -> int:
    from unmask.errors import WeightsError
    from unmask.weights import verify

    failed = 0
    for entry in entries:
        try:
            verify(entry)
        except WeightsError as error:
            failed += 1
            print(f"unmask: {error}", file=sys.stderr)
        else:
            print(f"{_name(entry):28} ok")
    return 1 if failed else 0


def _name(entry: WeightFile) -> str:
    return f"{entry.preset}/{entry.stage}"

"""`unmask synthesize`: put masks onto a folder of faces."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "synthesize",
        help="put drawn masks onto faces: images, masks, landmarks",
        description="Put drawn masks onto faces. DST gets images/, masks/ (white: mask),"
        " landmarks.csv and synthesis.json. Started again, it goes on where it stopped.",
    )
    parser.add_argument(
        "source",
        metavar="SRC",
        type=Path,
        help="images with landmarks.csv (file, x0, y0, ...), or a folder with landmarks98.npz",
    )
    parser.add_argument("destination", metavar="DST", type=Path, help="folder to fill")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other masks (0)")
    parser.add_argument(
        "--kinds",
        default=None,
        help="families of masks, separated by commas (all): surgical, cloth, respirator, ...",
    )
    parser.add_argument(
        "--bank", type=int, default=160, help="number of different drawn masks (160)"
    )
    parser.add_argument(
        "--templates", type=Path, default=None, help="MaskTheFace folder (masks.cfg) to add"
    )
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """Write the pairs; 1 where a face failed, 2 where nothing could begin."""
    from rich.console import Console
    from rich.progress import track

    from unmask.errors import UnmaskError
    from unmask.synthesis.drawing import ALL_KINDS
    from unmask.synthesis.pairs import SynthesisSettings, read_source, write_pairs

    kinds = tuple(args.kinds.split(",")) if args.kinds else ALL_KINDS
    settings = SynthesisSettings(
        args.seed, args.bank, kinds, str(args.templates) if args.templates else None
    )
    console = Console(stderr=True)
    failed = 0
    try:
        faces = read_source(args.source)
        results = write_pairs(faces, args.destination, settings)
        for result in track(results, "masks", total=len(faces), console=console):
            if result.error:
                failed += 1
                console.print(f"skipped: {result.error}", style="red", markup=False)
    except (UnmaskError, ValueError) as error:
        print(f"unmask synthesize: {error}", file=sys.stderr)
        return 2
    print(f"{len(faces) - failed} of {len(faces)} faces: {args.destination}")
    return 1 if failed else 0

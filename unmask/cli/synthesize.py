"""`unmask synthesize`: put masks onto a folder of faces."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unmask.synthesis.pairs import SynthesisSettings

_DESCRIPTION = """Put drawn masks onto the faces of a folder. The face is found where no table
says where it is, brought into the canonical crop, and masked. DST gets images/ (bare), masked/,
masks/ (white: mask), labels.csv (the manifest), landmarks98.npz and synthesis.json; the trainers
take it as it is. Started again, it goes on where it stopped. Pictures without a face are reported
and left out; the exit status is 1 then."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "synthesize",
        help="put drawn masks onto faces: images, masks, landmarks",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "source",
        metavar="SRC",
        type=Path,
        help="FFHQ, CelebA (aligned, with list_attr_celeba.txt), UTKFace, images with landmarks.csv"
        " or landmarks98.npz, or any folder of portraits",
    )
    parser.add_argument("destination", metavar="DST", type=Path, help="folder to fill")
    parser.add_argument(
        "--layout",
        default="auto",
        help="what SRC is: ffhq, celeba, utkface, table, faces or images (auto: by its files)",
    )
    _add_look(parser)
    parser.add_argument("--workers", type=int, default=1, help="processes or Ray actors (1)")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="(local)")
    parser.add_argument("--ray-address", help="of a Ray cluster (one is started here)")
    parser.set_defaults(main=main)


def _add_look(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument(
        "--frame",
        choices=("canonical", "source"),
        default="canonical",
        help="write the canonical crop, or the whole picture (canonical)",
    )
    parser.add_argument("--size", type=int, default=256, help="side of the crop, pixels (256)")
    parser.add_argument(
        "--format",
        choices=("png", "jpg"),
        default="png",
        help="of the images; masks are always png (png)",
    )
    parser.add_argument(
        "--gender",
        choices=("auto", "labels"),
        default="auto",
        help="ask the classifier where there is no label, or leave it unknown (auto)",
    )
    parser.add_argument(
        "--val-share",
        type=float,
        default=0.05,
        help="share of faces without a split of their own that validate, by their names (0.05)",
    )
    parser.add_argument("--preset", default="lite", help="whose networks find faces (lite)")


def main(args: argparse.Namespace) -> int:
    """Write the pairs; 1 where a face failed, 2 where nothing could begin."""
    from unmask.engines import one_thread_each

    one_thread_each()
    from rich.console import Console
    from rich.progress import track

    from unmask.errors import UnmaskError
    from unmask.synthesis.pairs import write_pairs
    from unmask.synthesis.sources import read_source

    console = Console(stderr=True)
    failed = 0
    try:
        settings = _settings(args)
        faces = read_source(args.source, args.layout)
        results = write_pairs(
            faces,
            args.destination,
            settings,
            workers=args.workers,
            engine=args.engine,
            ray_address=args.ray_address,
        )
        for result in track(results, "masks", total=len(faces), console=console):
            if result.error:
                failed += 1
                console.print(f"skipped: {result.error}", style="red", markup=False, soft_wrap=True)
    except (UnmaskError, ValueError) as error:
        print(f"unmask: {error}", file=sys.stderr)
        return 2
    print(f"{len(faces) - failed} of {len(faces)} faces: {args.destination}")
    return 1 if failed else 0


def _settings(args: argparse.Namespace) -> SynthesisSettings:
    from unmask.synthesis.drawing import ALL_KINDS
    from unmask.synthesis.pairs import SynthesisSettings

    return SynthesisSettings(
        seed=args.seed,
        bank_size=args.bank,
        kinds=tuple(args.kinds.split(",")) if args.kinds else ALL_KINDS,
        templates=str(args.templates) if args.templates else None,
        frame=args.frame,
        size=args.size,
        image_format=args.format,
        gender=args.gender,
        val_share=args.val_share,
        preset=args.preset,
    )

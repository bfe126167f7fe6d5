"""`unmask label`: masks for photos that nobody has labelled, where a teacher is sure."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

_DESCRIPTION = """Label the masks in the photos of SRC with the network of `unmask train
segmentation --network teacher`. Photos that it is sure of go to DST, NAME.jpg with NAME.png (2
where a mask is), which `unmask train segmentation --further DST` takes; DST/decisions.csv says
what became of every photo. A photo that cannot be read is reported, the others are labelled all
the same; the exit status is 1 then."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "label", help="label photos with a trained teacher", description=_DESCRIPTION
    )
    parser.add_argument("source", metavar="SRC", type=Path, help="folder of photos, or one photo")
    parser.add_argument("destination", metavar="DST", type=Path, help="new folder to fill")
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        help="the decoder: segmentation.safetensors of the teacher's training",
    )
    parser.add_argument(
        "--backbone",
        required=True,
        metavar="PATH|imagenet",
        help='the weights of InceptionV3 that its training had; "imagenet": Keras downloads them',
    )
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """Label, report, and return 1 if a photo failed."""
    from rich.console import Console
    from rich.progress import track

    from unmask.errors import ImageError
    from unmask.image import find_images
    from unmask.segmentation.labelling import DECISIONS, label_photos
    from unmask.segmentation.teacher import load_teacher

    photos = find_images(args.source)
    if not photos:
        raise ImageError(f"no photos in {args.source}")
    teacher = load_teacher(args.weights, args.backbone)
    kept = failed = 0
    results = label_photos(teacher, photos, args.destination)
    console = Console(stderr=True)
    for result in track(results, "labelling", total=len(photos), console=console, transient=True):
        kept += result.label is not None
        if result.error:
            failed += 1
            print(f"unmask: {result.error}", file=sys.stderr)
    print(f"{kept} of {len(photos)} photos kept: {args.destination / DECISIONS}")
    return 1 if failed else 0

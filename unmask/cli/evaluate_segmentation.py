"""`unmask evaluate segmentation`: mask segmenters side by side, on held-out photos.

Measures each weight file, of a small U-Net or of a Mask R-CNN, on the validation split of
masks_labelme, and, where they exist, on mask_segmentation and faces_wide. Writes evaluation.json
and evaluation.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("--data", type=Path, required=True, help="folder with masks_labelme")
    parser.add_argument(
        "--weights", type=Path, nargs="+", metavar="FILE",
        help="weights of U-Nets and Mask R-CNNs; a row each, in this order (default: the shipped"
        " U-Net with the shipped verifier)",
    )  # fmt: skip
    parser.add_argument(
        "--verifier", type=Path, metavar="FILE",
        help="network that judges what the U-Nets find (default with --weights: none)",
    )  # fmt: skip
    parser.add_argument(
        "--faces", type=int, default=120, help="faces without masks, and with drawn ones (120)"
    )
    parser.add_argument(
        "--once", action="store_true",
        help="U-Nets look once at a photo, as Mask R-CNNs do, instead of taking a mean over looks",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")


def main(args: argparse.Namespace) -> int:
    """Write evaluation.json and evaluation.md, print the table."""
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.progress import track

    from unmask.io import write_text_atomic
    from unmask.segmentation.comparison import (
        count_cores,
        load_segmenter,
        markdown_table,
        measure,
        read_photos,
    )
    from unmask.weights import file_sha256, find

    files, verifier = args.weights, args.verifier
    if files is None:
        files = [find("lite", "segmentation").path]
        verifier = verifier or find("lite", "verifier").path
    segmenters = [load_segmenter(path, verifier, thorough=not args.once) for path in files]
    photos = read_photos(args.data, args.faces)
    steps = track(segmenters, "networks", console=Console(stderr=True))
    scores = [measure(segmenter, photos) for segmenter in steps]
    cores = count_cores()
    rows = [
        {"file": str(path), "sha256": file_sha256(path), **asdict(row)}
        for path, row in zip(files, scores, strict=True)
    ]
    table = markdown_table(scores, cores)
    content = json.dumps({"cores": cores, "networks": rows}, indent=2)
    write_text_atomic(args.out / "evaluation.json", content + "\n")
    write_text_atomic(args.out / "evaluation.md", table)
    print(table)
    return 0

"""`unmask demo`: two public-domain portraits, masked and unmasked again."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "demo",
        help="mask and unmask two portraits",
        description="Put a drawn mask on the portraits that come with scikit-image and"
        " matplotlib, run the pipeline on them, and compare with the truth.",
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawn masks (0)")
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """Print the figures and write the panel."""
    from unmask.demo import run_demo

    path = args.out / "demo.png"
    scores = run_demo(path, seed=args.seed)
    print(f"{'':28}{'PSNR in hole':>14}{'SSIM in hole':>14}{'PSNR outside':>14}")
    for score in scores:
        print(
            f"{score.portrait + ', ' + score.method:28}{score.psnr_hole:11.2f} dB"
            f"{score.ssim_hole:14.3f}{score.psnr_outside:11.2f} dB"
        )
    print(f"panel: {path}")
    return 0

"""`unmask train segmentation`: train the mask segmenter."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--data", type=Path, required=True,
        help="folder with masks_labelme, mask_segmentation, faces_wide, faces_male, faces_female",
    )  # fmt: skip
    parser.add_argument(
        "--further", type=Path, nargs="+", default=[], metavar="FOLDER",
        help="more real photos: NAME.jpg with NAME.png, 2 where a mask is",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and history")
    parser.add_argument("--minutes", type=float, default=25.0, help="time budget (default: 25)")
    parser.add_argument("--init", type=Path, help="weights to start from (default: none)")
    parser.add_argument(
        "--rate", type=float, default=2.5e-3, help="highest learning rate (default: 0.0025)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed (default: 0)")
    parser.add_argument(
        "--policy", default="mixed_bfloat16", choices=("mixed_bfloat16", "float32"),
        help="numeric precision of the training (default: mixed_bfloat16)",
    )  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Train; run it again with the same folder to continue after an interruption."""
    import cv2

    from unmask.segmentation.train import TrainConfig, train

    # The scenes are made in one thread beside the training, which needs the other cores.
    cv2.setNumThreads(1)
    path = train(
        TrainConfig(
            data=args.data,
            out=args.out,
            further=args.further,
            minutes=args.minutes,
            seed=args.seed,
            init=args.init,
            rate=args.rate,
            policy=args.policy,
        )
    )
    print(f"best weights: {path}")
    return 0


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(_parser)
    raise SystemExit(main(_parser.parse_args()))

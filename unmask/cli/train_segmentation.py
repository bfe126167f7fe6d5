"""`unmask train segmentation`: train the mask segmenter."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--network", default="lite", choices=("lite", "teacher", "mrcnn"),
        help="the small U-Net that ships; a decoder on a frozen ImageNet InceptionV3, whose labels"
        " `unmask label` gives to the small one; or a small Mask R-CNN (default: lite)",
    )  # fmt: skip
    parser.add_argument(
        "--backbone", metavar="PATH|imagenet",
        help='weights of InceptionV3, the teacher\'s encoder; lite learns to imitate its features'
        ' beside its task (default: it does not); "imagenet": Keras downloads them',
    )  # fmt: skip
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
    parser.add_argument(
        "--init", type=Path,
        help="weights to start from (default: none); for mrcnn a U-Net's, whose encoder it takes",
    )  # fmt: skip
    parser.add_argument(
        "--rate", type=float,
        help="highest learning rate (default: 0.0025; teacher: 0.0015; mrcnn: 0.001)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed (default: 0)")
    parser.add_argument(
        "--policy", default="mixed_bfloat16", choices=("mixed_bfloat16", "float32"),
        help="numeric precision of the training (default: mixed_bfloat16)",
    )  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Train; run it again with the same folder to continue after an interruption."""
    import cv2

    from unmask.errors import UnmaskError

    if args.network == "teacher" and args.backbone is None:
        raise UnmaskError("--network teacher needs --backbone")
    if args.network == "mrcnn" and args.backbone is not None:
        raise UnmaskError(f"--network mrcnn has no --backbone. Received: {args.backbone}")
    # The scenes are made in one thread beside the training, which needs the other cores.
    cv2.setNumThreads(1)
    settings: dict[str, Any] = {
        "data": args.data,
        "out": args.out,
        "further": args.further,
        "minutes": args.minutes,
        "seed": args.seed,
        "policy": args.policy,
    }
    if args.rate is not None:
        settings["rate"] = args.rate
    path = (
        _train_detector(settings, args.init)
        if args.network == "mrcnn"
        else _train_unet(settings, args)
    )
    print(f"best weights: {path}")
    return 0


def _train_unet(settings: dict[str, Any], args: argparse.Namespace) -> Path:
    from unmask.segmentation.train import IMITATION, TEACHER, TrainConfig, train

    preset: dict[str, Any] = {}
    if args.backbone is not None:
        preset = TEACHER if args.network == "teacher" else IMITATION
    settings = {**preset, **settings, "init": args.init, "backbone": args.backbone}
    return train(TrainConfig(**settings))


def _train_detector(settings: dict[str, Any], encoder: Path | None) -> Path:
    from unmask.segmentation.detector import DetectorTraining, train

    return train(DetectorTraining(**settings, encoder=encoder))

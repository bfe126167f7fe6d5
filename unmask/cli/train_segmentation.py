"""`unmask train segmentation`: train the mask segmenter."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--network", default="lite", choices=("lite", "teacher", "verifier", "mrcnn", "paper"),
        help="the small U-Net that ships; a decoder on a frozen ImageNet InceptionV3, whose labels"
        " `unmask label` gives to the small one; what judges the small one's findings; a small Mask"
        " R-CNN; or the paper's, of published size, for 10,000 steps on real photos alone (default:"
        " lite)",
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
    parser.add_argument(
        "--minutes", type=float,
        help="time budget (default: 25; verifier: 10; paper: as long as it takes)",
    )  # fmt: skip
    parser.add_argument(
        "--init", type=Path,
        help="weights to start from (default: none); for mrcnn a U-Net's, whose encoder it takes;"
        " for paper an .h5 file such as mask_rcnn_coco.h5",
    )  # fmt: skip
    parser.add_argument(
        "--rate", type=float,
        help="highest learning rate (default: 0.0025; teacher: 0.0015; verifier: 0.002;"
        " mrcnn: 0.001; paper: 0.00025)",
    )  # fmt: skip
    parser.add_argument(
        "--segmenter", type=Path,
        help="the U-Net that a verifier is to judge (default: the shipped one)",
    )  # fmt: skip
    parser.add_argument(
        "--scenes", type=int, help="composed scenes that a verifier learns from (default: 5000)"
    )
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
    if args.network in _OTHERS and args.backbone is not None:
        raise UnmaskError(f"--network {args.network} has no --backbone. Received: {args.backbone}")
    # The scenes are made in one thread beside the training, which needs the other cores.
    cv2.setNumThreads(1)
    settings: dict[str, Any] = {
        "data": args.data,
        "out": args.out,
        "further": args.further,
        "seed": args.seed,
        "policy": args.policy,
    }
    chosen = {"minutes": args.minutes, "rate": args.rate}
    settings |= {name: value for name, value in chosen.items() if value is not None}
    for name in ("scenes", "segmenter"):
        value = getattr(args, name)
        if value is not None:
            if args.network != "verifier":
                raise UnmaskError(f"--network {args.network} has no --{name}. Received: {value}")
            settings[name] = value
    trainer = _OTHERS.get(args.network)
    path = trainer(settings, args.init) if trainer else _train_unet(settings, args)
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


def _train_paper(settings: dict[str, Any], init: Path | None) -> Path:
    from unmask.segmentation.paper import PaperTraining, train

    return train(PaperTraining(**settings, init=init))


def _train_verifier(settings: dict[str, Any], init: Path | None) -> Path:
    from unmask.segmentation.verifier_train import VerifierTraining, train
    from unmask.weights import find

    if "segmenter" not in settings:
        settings = {**settings, "segmenter": find("lite", "segmentation").path}
    return train(VerifierTraining(**settings, init=init))


_OTHERS = {"verifier": _train_verifier, "mrcnn": _train_detector, "paper": _train_paper}

"""`unmask train inpainting`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="face folders")
    parser.add_argument("--prior", type=Path, help="linear prior (default: the shipped one)")
    parser.add_argument("--features", type=Path, required=True, help=".npz of a compressed VGG-19")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--gender", choices=("male", "female"), help="faces to train on")
    parser.add_argument("--minutes", type=float, default=30.0, help="wall-clock budget")
    parser.add_argument("--side", type=int, default=192, help="side of the images, at most 192")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-4, help="peak learning rate")
    parser.add_argument(
        "--init",
        type=Path,
        metavar="FOLDER",
        help="start from its generator.safetensors, and discriminator.safetensors if there is one",
    )
    parser.add_argument("--style", type=float, default=250.0, help="weight of the style loss")
    parser.add_argument("--adversarial", type=float, default=0.01, help="its weight; 0: none")
    parser.add_argument("--tv", type=float, default=0.1, help="weight of the total variation")
    parser.add_argument("--average", type=float, default=0.999, help="decay of averaged weights")
    parser.add_argument("--seed", type=int, default=0)


def main(args: argparse.Namespace) -> int:
    """Train, resuming an interrupted training in the same folder."""
    from unmask.inpainting.losses import LossWeights
    from unmask.inpainting.train import TrainConfig, train
    from unmask.weights import find

    discriminator = args.init and args.init / "discriminator.safetensors"
    config = TrainConfig(
        folders=args.data,
        prior=args.prior or find("lite", "prior").path,
        features=args.features,
        out=args.out,
        gender=args.gender,
        minutes=args.minutes,
        side=args.side,
        batch_size=args.batch_size,
        rate=args.rate,
        discriminator_rate=args.rate,
        init=args.init and args.init / "generator.safetensors",
        # Shipped generators come without one; it then starts anew.
        init_discriminator=discriminator if discriminator and discriminator.is_file() else None,
        average=args.average,
        weights=LossWeights(style=args.style, adversarial=args.adversarial, tv=args.tv),
        seed=args.seed,
    )
    print(train(config, lambda line: print(line, flush=True)))
    return 0

"""`unmask train gender`: train a gender network on folders of faces.

The compact network is trained from scratch, end to end. The paper's is a dense head on cached
features of InceptionV3.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unmask.gender.evaluate import GenderReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("data", type=Path, help="folder that holds the face folders")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/gender"), help="run folder")
    parser.add_argument(
        "--network", choices=("compact", "paper"), default="compact", help="what is trained"
    )
    parser.add_argument("--minutes", type=float, default=12.0, help="time for the training steps")
    parser.add_argument("--batch-size", type=int, help="faces a step (compact 64, paper 256)")
    parser.add_argument(
        "--learning-rate", type=float, help="compact: peak rate (2e-3); paper: Adam's rate (1e-4)"
    )
    parser.add_argument(
        "--precision", default="mixed_bfloat16", help='Keras dtype policy, e.g. "float32"'
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    paper = parser.add_argument_group("for --network paper")
    paper.add_argument(
        "--backbone", default="imagenet", help='"imagenet" (Keras downloads it) or a weight file'
    )
    paper.add_argument(
        "--scaling", choices=("inception", "paper"), default="inception", help="[-1, 1] or [0, 1]"
    )
    paper.add_argument("--units", type=int, default=1536, help="width of the two tuned layers")
    paper.add_argument("--epochs", type=int, default=150, help="at most so many")
    paper.add_argument("--faces", type=int, help="number of training faces (default: all)")
    paper.add_argument("--masked", type=int, default=2, help="cached masked copies of each face")
    paper.add_argument(
        "--fine-tune", action="store_true", help="train the top two blocks of the backbone too"
    )


def main(args: argparse.Namespace) -> int:
    """Train, print the figures, return the exit status."""
    from unmask.gender.evaluate import describe

    figures = _train_paper(args) if args.network == "paper" else _train_compact(args)
    print(describe(figures))
    print(f"weights: {args.out / 'gender.safetensors'}")
    return 0


def _train_compact(args: argparse.Namespace) -> GenderReport:
    from unmask.gender.train import TrainConfig, train

    return train(
        TrainConfig(
            data=args.data,
            out=args.out,
            minutes=args.minutes,
            batch_size=args.batch_size or 64,
            learning_rate=args.learning_rate or 2e-3,
            dtype_policy=args.precision,
            seed=args.seed,
        )
    )


def _train_paper(args: argparse.Namespace) -> GenderReport:
    from unmask.gender.train_head import HeadConfig, train_head

    return train_head(
        HeadConfig(
            data=args.data,
            out=args.out,
            backbone=args.backbone,
            scaling=args.scaling,
            units=args.units,
            faces=args.faces,
            masked=args.masked,
            minutes=args.minutes,
            epochs=args.epochs,
            batch_size=args.batch_size or 256,
            learning_rate=args.learning_rate or 1e-4,
            fine_tune=args.fine_tune,
            dtype_policy=args.precision,
            seed=args.seed,
        )
    )

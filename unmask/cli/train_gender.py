"""`unmask train gender`: train a gender network on folders of faces.

The folders have landmarks, on which masks are drawn, or are laid out as the authors' are.

The compact network is trained from scratch, end to end. The paper's is a dense head on cached
features of InceptionV3; `--end-to-end` then trains most of InceptionV3 with it, on images.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unmask.gender.evaluate import GenderReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument(
        "data",
        type=Path,
        help="folder that holds the face folders, or Training/{female,male} and Validation/..., or"
        " a table.csv with the columns file, gender and split (train or val)",
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("runs/gender"), help="run folder (%(default)s)"
    )
    parser.add_argument(
        "--network",
        choices=("compact", "paper"),
        default="compact",
        help="what is trained (%(default)s)",
    )
    parser.add_argument(
        "--minutes", type=float, default=12.0, help="time for the training steps (12)"
    )
    parser.add_argument("--batch-size", type=int, help="faces a step (compact 64, paper 256)")
    parser.add_argument(
        "--learning-rate", type=float, help="compact: peak rate (2e-3); paper: Adam's rate (1e-4)"
    )
    parser.add_argument("--init", type=Path, help="compact: weight file to start from")
    parser.add_argument(
        "--names",
        type=Path,
        metavar="FILE",
        help="compact: weights of a gender network whose answers, where it is 90 %% sure of the"
        " bare face, are the labels of faces that have none",
    )
    parser.add_argument(
        "--precision",
        default="mixed_bfloat16",
        help='Keras dtype policy, e.g. "float32" (%(default)s)',
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (0)")
    paper = parser.add_argument_group("for --network paper")
    paper.add_argument(
        "--backbone", default="imagenet", help='"imagenet" (Keras downloads it) or a weight file'
    )
    paper.add_argument(
        "--scaling",
        choices=("inception", "paper"),
        default="inception",
        help="what InceptionV3 sees: [-1, 1] or [0, 1] (%(default)s)",
    )
    paper.add_argument(
        "--units", type=int, default=1536, help="width of the two tuned layers (1536)"
    )
    paper.add_argument(
        "--tuned", type=Path, help="best.json of `unmask tune gender`, instead of --units"
    )
    paper.add_argument("--epochs", type=int, default=150, help="at most so many (150)")
    paper.add_argument("--faces", type=int, help="number of training faces (default: all)")
    paper.add_argument(
        "--masked",
        type=int,
        default=2,
        help="cached masked copies of each face, each augmented differently (2)",
    )
    paper.add_argument(
        "--fine-tune", action="store_true", help="train the top two blocks of the backbone too"
    )
    paper.add_argument(
        "--end-to-end",
        type=Path,
        metavar="FILE",
        help="train on the classifier of an earlier run, on images: the head and InceptionV3 after"
        " --frozen-until (batch size 32, rate 1e-4)",
    )
    paper.add_argument(
        "--frozen-until", default="mixed2", help="last frozen layer then (%(default)s)"
    )


def main(args: argparse.Namespace) -> int:
    """Train, print the figures, return the exit status."""
    from unmask.gender.evaluate import describe

    on_features = args.network == "paper" and args.end_to_end is None
    figures = _train_head(args) if on_features else _train_on_images(args)
    print(describe(figures))
    print(f"weights: {args.out / 'gender.safetensors'}")
    return 0


def _train_on_images(args: argparse.Namespace) -> GenderReport:
    from unmask.gender.sources import lacks_landmarks
    from unmask.gender.train import TrainConfig, train

    places: dict[str, Any] = {}
    if lacks_landmarks(args.data):
        places = {"folders": (".",), "folder_weights": (1.0,), "masked_views": 0}
    compact = args.network == "compact"
    return train(
        TrainConfig(
            **places,
            data=args.data,
            out=args.out,
            init=args.init,
            names=args.names,
            classifier=None if compact else args.end_to_end,
            frozen_until=args.frozen_until,
            minutes=args.minutes,
            batch_size=args.batch_size or (64 if compact else 32),
            learning_rate=args.learning_rate or (2e-3 if compact else 1e-4),
            dtype_policy=args.precision,
            seed=args.seed,
        )
    )


def _train_head(args: argparse.Namespace) -> GenderReport:
    from unmask.gender.sources import lacks_landmarks
    from unmask.gender.train_head import HeadConfig, train_head
    from unmask.gender.tune import read_best

    tuned = asdict(read_best(args.tuned)) if args.tuned else {"units": args.units}
    bare = lacks_landmarks(args.data)
    places: dict[str, Any] = {"folders": (".",), "folder_weights": (1.0,)} if bare else {}
    return train_head(
        HeadConfig(
            **places,
            bare=1 + args.masked if bare else 1,
            data=args.data,
            out=args.out,
            backbone=args.backbone,
            scaling=args.scaling,
            **tuned,
            faces=args.faces,
            masked=0 if bare else args.masked,
            minutes=args.minutes,
            epochs=args.epochs,
            batch_size=args.batch_size or 256,
            learning_rate=args.learning_rate or 1e-4,
            fine_tune=args.fine_tune,
            dtype_policy=args.precision,
            seed=args.seed,
        )
    )

"""`unmask train gender`: train the compact gender network on folders of faces."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("data", type=Path, help="folder that holds the face folders")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/gender"), help="run folder")
    parser.add_argument("--minutes", type=float, default=12.0, help="time for the training steps")
    parser.add_argument("--batch-size", type=int, default=64, help="faces a step")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="peak rate")
    parser.add_argument(
        "--precision", default="mixed_bfloat16", help='Keras dtype policy, e.g. "float32"'
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")


def main(args: argparse.Namespace) -> int:
    """Train, print the figures, return the exit status."""
    from unmask.gender.train import TrainConfig, train

    figures = train(
        TrainConfig(
            data=args.data,
            out=args.out,
            minutes=args.minutes,
            batch_size=args.batch_size,
            learning_rate=args.learning_rate,
            dtype_policy=args.precision,
            seed=args.seed,
        )
    )
    for name in ("unmasked", "masked"):
        scores = getattr(figures, name)
        print(
            f"{name} ({scores.count}): accuracy {scores.accuracy:.2%}, "
            f"recall female {scores.recall_female:.2%}, male {scores.recall_male:.2%}, "
            f"AUC {scores.auc:.4f}, ECE {scores.ece:.4f}"
        )
    print(f"weights: {args.out / 'gender.safetensors'}")
    return 0

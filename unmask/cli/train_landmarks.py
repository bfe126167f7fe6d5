"""`unmask train landmarks`: train the landmark network."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--data", type=Path, required=True,
        help="folder with faces_male, faces_female, faces_wide, landmarks_300w",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and history")
    parser.add_argument("--minutes", type=float, default=24.0, help="time budget (default: 24)")
    parser.add_argument("--batch-size", type=int, default=8, help="faces a step (default: 8)")
    parser.add_argument(
        "--steps", type=int, default=500, help="steps between two validations (default: 500)"
    )
    parser.add_argument("--rate", type=float, default=1.2e-3, help="highest learning rate (1.2e-3)")
    parser.add_argument("--init", type=Path, help="weights to start from (default: random ones)")
    parser.add_argument(
        "--turned", type=int, default=1,
        help="how often a turned head is shown to a frontal one (default: 1)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed (default: 0)")
    parser.add_argument(
        "--policy", default="mixed_bfloat16", choices=("mixed_bfloat16", "float32"),
        help="numeric precision of the training (default: mixed_bfloat16)",
    )  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Train and say where the weights are."""
    from unmask.landmarks.train import TrainConfig, train

    best = train(
        TrainConfig(
            data=args.data, out=args.out, minutes=args.minutes, batch_size=args.batch_size,
            steps=args.steps, rate=args.rate, init=args.init, turned=args.turned, seed=args.seed,
            policy=args.policy,
        )
    )  # fmt: skip
    print(f"weights: {best}")
    return 0

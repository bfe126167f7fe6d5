"""`unmask train coarse`: train the network that corrects the linear first guess."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from unmask.cli.arguments import FOLDERS, add_name_genders, gender_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--data", type=Path, nargs="+", required=True, help=FOLDERS)
    parser.add_argument("--out", type=Path, required=True, help="folder for samples and weights")
    parser.add_argument("--minutes", type=float, default=20.0, help="time budget of steps (20)")
    parser.add_argument("--samples", type=int, default=30_000, help="samples to draw (30000)")
    parser.add_argument("--batch-size", type=int, default=32, help="samples a step (32)")
    parser.add_argument("--rate", type=float, default=5e-4, help="highest learning rate (5e-4)")
    parser.add_argument("--init", type=Path, help="weights to start from (default: random ones)")
    parser.add_argument("--prior", type=Path, help="linear prior (default: the shipped one)")
    parser.add_argument(
        "--predicted",
        type=float,
        default=0.45,
        help="share of samples whose landmarks are predicted as in `unmask run` (0.45)",
    )
    parser.add_argument(
        "--landmarks", type=Path, help="weights for --predicted (default: the shipped ones)"
    )
    parser.add_argument(
        "--loose",
        type=float,
        default=0.4,
        help="share of samples whose hole reaches past the jaw, as masks that stand off do (0.4)",
    )
    parser.add_argument(
        "--turned", type=int, default=3, help="turned heads for each frontal one's showing (3)"
    )
    add_name_genders(parser, default=True)
    parser.add_argument("--seed", type=int, default=0, help="seed (0)")
    parser.add_argument(
        "--policy", default="mixed_bfloat16", help="Keras dtype policy (mixed_bfloat16)"
    )


def main(args: argparse.Namespace) -> int:
    """Train, going on with an interrupted training in the same folder."""
    from unmask.cli.evaluate_inpainting import landmark_predictor
    from unmask.errors import UnmaskError
    from unmask.inpainting.coarse_train import CoarseTraining, train
    from unmask.inpainting.data import Variety
    from unmask.weights import find

    try:
        predictor = None
        if args.predicted > 0:
            predictor = landmark_predictor(args.landmarks or find("lite", "landmarks").path)
        config = CoarseTraining(
            folders=args.data,
            prior=args.prior or find("lite", "prior").path,
            out=args.out,
            minutes=args.minutes,
            samples=args.samples,
            batch_size=args.batch_size,
            rate=args.rate,
            init=args.init,
            variety=Variety(
                predicted=args.predicted,
                predictor=predictor,
                loose=args.loose,
                turned=args.turned,
            ),
            gender_weights=gender_weights(args),
            policy=args.policy,
            seed=args.seed,
        )
        print(f"weights: {train(config)}")
    except (UnmaskError, ValueError) as error:
        print(f"unmask train coarse: {error}", file=sys.stderr)
        return 2
    return 0

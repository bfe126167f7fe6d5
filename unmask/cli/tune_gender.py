"""`unmask tune gender`: search units, activation and dropout of the paper's gender head.

The features of InceptionV3 are computed once and kept in the run folder, so a trial takes seconds.
A search that was stopped goes on; `unmask train gender --network paper --tuned RUN/best.json`
trains the winner.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("data", type=Path, help="folder that holds the face folders")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/tune"), help="run folder")
    parser.add_argument("--search", choices=("random", "bayesian"), default="random")
    parser.add_argument("--trials", type=int, default=20, help="settings to try (20)")
    parser.add_argument("--executions", type=int, default=2, help="trainings of each setting (2)")
    parser.add_argument("--epochs", type=int, default=10, help="at most so many a training (10)")
    parser.add_argument(
        "--backbone", default="imagenet", help='"imagenet" (Keras downloads it) or a weight file'
    )
    parser.add_argument(
        "--scaling", choices=("inception", "paper"), default="inception", help="[-1, 1] or [0, 1]"
    )
    parser.add_argument("--faces", type=int, default=4000, help="training faces (4000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")


def main(args: argparse.Namespace) -> int:
    """Search, print the best settings, return the exit status."""
    from unmask.gender.train_head import HeadConfig, pooled_features
    from unmask.gender.tune import TuneConfig, tune

    sets = pooled_features(
        HeadConfig(
            data=args.data,
            out=args.out,
            backbone=args.backbone,
            scaling=args.scaling,
            faces=args.faces,
            masked=1,
            seed=args.seed,
        )
    )
    results = tune(
        sets["train"],
        sets["val"],
        TuneConfig(
            out=args.out,
            search=args.search,
            trials=args.trials,
            executions=args.executions,
            epochs=args.epochs,
            seed=args.seed,
        ),
    )
    for result in results[:5]:
        setting = result.parameters
        print(
            f"{result.val_accuracy:.2%}  units {setting.units:4}  "
            f"{setting.activation:7}  dropout {setting.dropout:.2f}"
        )
    print(f"{len(results)} trials: {args.out / 'leaderboard.csv'}, {args.out / 'best.json'}")
    return 0

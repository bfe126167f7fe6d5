"""`unmask tune gender`: search units, activation and dropout of the paper's gender head.

The features of InceptionV3 are computed once and kept in the run folder, so a trial takes seconds.
Each training face is kept twice, augmented differently: bare and under a drawn mask, or twice bare
where there are no landmarks to draw masks by.
A search that was stopped goes on; `unmask train gender --network paper --tuned RUN/best.json`
trains the winner.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("data", type=Path, help="see `unmask train gender`")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("runs/tune"), help="run folder (%(default)s)"
    )
    parser.add_argument(
        "--search", choices=("random", "bayesian"), default="random", help="(%(default)s)"
    )
    parser.add_argument("--trials", type=int, default=20, help="settings to try (20)")
    parser.add_argument("--executions", type=int, default=2, help="trainings of each setting (2)")
    parser.add_argument("--epochs", type=int, default=8, help="at most so many a training (8)")
    parser.add_argument(
        "--backbone", default="imagenet", help='"imagenet" (Keras downloads it) or a weight file'
    )
    parser.add_argument(
        "--scaling",
        choices=("inception", "paper"),
        default="inception",
        help="what InceptionV3 sees: [-1, 1] or [0, 1] (%(default)s)",
    )
    parser.add_argument(
        "--precision",
        default="mixed_bfloat16",
        help='Keras dtype policy of the heads, e.g. "float32" (%(default)s)',
    )
    parser.add_argument("--faces", type=int, default=4000, help="training faces (4000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (0)")


def main(args: argparse.Namespace) -> int:
    """Search, print the best settings, return the exit status."""
    from unmask.gender.sources import lacks_landmarks
    from unmask.gender.train_head import HeadConfig, pooled_features
    from unmask.gender.tune import TuneConfig, tune

    bare = lacks_landmarks(args.data)
    places: dict[str, Any] = {"folders": (".",), "folder_weights": (1.0,)} if bare else {}
    sets = pooled_features(
        HeadConfig(
            **places,
            data=args.data,
            out=args.out,
            backbone=args.backbone,
            scaling=args.scaling,
            faces=args.faces,
            bare=2 if bare else 1,
            masked=0 if bare else 1,
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
            dtype_policy=args.precision,
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

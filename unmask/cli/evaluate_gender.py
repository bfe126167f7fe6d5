"""`unmask evaluate gender`: figures of a gender network on held-out faces.

Accuracy, recalls, ROC AUC and calibration, bare and masked, by age and ethnicity where the faces
have such labels. Writes evaluation.json, evaluation.md and reliability.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="as for `unmask train gender`"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        help="weight file of either network, or the authors' .hdf5 (default: the preset's)",
    )
    parser.add_argument(
        "--network",
        choices=("compact", "paper"),
        default="compact",
        help="whose weights to take without --weights: the shipped compact ones, or those of the"
        " preset paper (%(default)s)",
    )
    parser.add_argument("--split", default="val", help="split of the faces (val)")
    parser.add_argument(
        "--masks", type=int, default=3, help="drawn masks for each face that has landmarks (3)"
    )
    parser.add_argument(
        "--mirror", action="store_true", help="the mean over two mirror images, as in `unmask run`"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--seed", type=int, default=1, help="seed of the masks (1)")


def main(args: argparse.Namespace) -> int:
    """Write evaluation.json, evaluation.md and reliability.png, print the tables."""
    import json
    from dataclasses import asdict

    import numpy as np

    from unmask.gender import UNCERTAIN_BELOW
    from unmask.gender.breakdown import evaluate_groups, markdown, reliability_figure
    from unmask.gender.data import stored_views
    from unmask.gender.evaluate import probabilities
    from unmask.gender.sources import has_landmarks, labels_of, read_faces
    from unmask.io import atomic_path, write_text_atomic

    model = _network(args)
    records = read_faces(args.data, args.split)
    masks = args.masks if has_landmarks(records) else 0
    views = stored_views(records, args.out / "views.npy", masked=masks, seed=args.seed)
    predicted = probabilities(model, views, mirror=args.mirror)
    evaluation = evaluate_groups(predicted, records, UNCERTAIN_BELOW)
    write_text_atomic(args.out / "evaluation.json", json.dumps(asdict(evaluation), indent=2) + "\n")
    write_text_atomic(args.out / "evaluation.md", markdown(evaluation))
    labels = labels_of(records)
    curves = {"bare": (predicted[:, 0], labels)}
    if masks:
        curves["masked"] = (predicted[:, 1:].ravel(), np.repeat(labels, masks))
    with atomic_path(args.out / "reliability.png") as temporary:
        reliability_figure(curves).savefig(temporary, dpi=100, format="png")
    print(markdown(evaluation))
    return 0


def _network(args: argparse.Namespace) -> keras.Model:
    from unmask.gender.files import load_gender
    from unmask.weights import find

    preset = "paper" if args.network == "paper" else "lite"
    return load_gender(args.weights or find(preset, "gender").path, cropped=True)

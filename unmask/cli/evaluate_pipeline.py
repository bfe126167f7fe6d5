"""`unmask evaluate pipeline`: the whole, and what each stage costs it.

Faces get a drawn mask each (or keep the one that `unmask synthesize` gave them), and the pipeline
completes them with predicted and with true gender, landmarks and mask in every combination. Writes
evaluation.json, faces.csv, evaluation.md and table.tex; started again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        help="face folders with genders, or folders that `unmask synthesize` filled",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--preset", default="lite", help="which networks (lite)")
    parser.add_argument("--weights-dir", type=Path, help="folder of a manifest of your own")
    parser.add_argument("--split", default="val", help="split of the faces (val)")
    parser.add_argument(
        "--count",
        type=int,
        default=120,
        help="number of faces, 0 for all; a few seconds each (120)",
    )
    parser.add_argument("--seed", type=int, default=1234, help="of faces and masks (1234)")


def main(args: argparse.Namespace) -> int:
    """Evaluate; 1 where a face failed, 2 where nothing could be measured."""
    from rich.console import Console
    from rich.progress import track

    from unmask.errors import UnmaskError
    from unmask.evaluation.run import EvaluationConfig, PipelineEvaluation

    config = EvaluationConfig(
        data=tuple(str(folder) for folder in args.data),
        preset=args.preset,
        weights_dir=str(args.weights_dir) if args.weights_dir else None,
        split=args.split,
        count=args.count or None,
        seed=args.seed,
    )
    console = Console(stderr=True)
    failed = 0
    try:
        evaluation = PipelineEvaluation(config, args.out)
        for outcome in track(evaluation, "faces", total=len(evaluation), console=console):
            if outcome.error:
                failed += 1
                console.print(
                    f"skipped: {outcome.error}", style="red", markup=False, soft_wrap=True
                )
        evaluation.write()
    except UnmaskError as error:
        print(f"unmask evaluate pipeline: {error}", file=sys.stderr)
        return 2
    print((args.out / "evaluation.md").read_text(encoding="utf-8"))
    return 1 if failed else 0

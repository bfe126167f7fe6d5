"""`unmask evaluate inpainting`: figures and pictures of the generators on held-out faces."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unmask.inpainting.evaluate import Cases, LandmarkPredictor, Method
    from unmask.inpainting.prior import LinearPrior


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="face folders")
    parser.add_argument("--male", type=Path, help="generator's weights (default: the shipped)")
    parser.add_argument("--female", type=Path, help="generator's weights (default: the shipped)")
    parser.add_argument("--prior", type=Path, help="linear prior (default: the shipped one)")
    parser.add_argument("--features", type=Path, help=".npz of a compressed VGG-19")
    parser.add_argument(
        "--landmarks", type=Path, help="landmark weights: also complete with predicted landmarks"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--split", default="val", help="split of the faces (val)")
    parser.add_argument("--count", type=int, default=240, help="number of faces (240)")


def main(args: argparse.Namespace) -> int:
    """Write evaluation.json, evaluation.md and sheet.png."""
    import json
    from dataclasses import asdict

    from unmask.errors import UnmaskError
    from unmask.inpainting.evaluate import contact_sheet, evaluate, markdown_table
    from unmask.inpainting.features import CompressedVgg
    from unmask.io import write_text_atomic

    try:
        features = CompressedVgg(args.features) if args.features else None
        cases, results = _complete(args)
    except UnmaskError as error:
        print(f"unmask evaluate inpainting: {error}", file=sys.stderr)
        return 2
    evaluation = evaluate(cases, results, features)
    write_text_atomic(args.out / "evaluation.json", json.dumps(asdict(evaluation), indent=2))
    write_text_atomic(args.out / "evaluation.md", markdown_table(evaluation))
    shown = {name: results[name] for name in ("linear prior", "Telea", "generator")}
    contact_sheet(args.out / "sheet.png", cases, shown, rank_by="generator")
    print(markdown_table(evaluation))
    return 0


def _complete(args: argparse.Namespace) -> tuple[Cases, dict[str, NDArray[np.uint8]]]:
    """Run every method; those with predicted landmarks are named so."""
    from rich.console import Console
    from rich.progress import track

    from unmask.inpainting.evaluate import choose_faces, make_cases
    from unmask.inpainting.prior import LinearPrior
    from unmask.training.faces import read_face_folder
    from unmask.weights import find

    prior = LinearPrior.load(args.prior or find("lite", "prior").path)
    methods = _methods(args, prior)
    records = [r for folder in args.data for r in read_face_folder(folder, split=args.split)]
    cases = make_cases(choose_faces(records, args.count), prior)
    work = [(name, method, cases) for name, method in methods.items()]
    if args.landmarks:
        guided = cases.guided_by(_predictor(args.landmarks), prior)
        work += [
            (f"{name}, predicted landmarks", methods[name], guided)
            for name in ("linear prior", "generator")
        ]
    steps = track(work, "methods", console=Console(stderr=True))
    return cases, {name: method(faces) for name, method, faces in steps}


def _methods(args: argparse.Namespace, prior: LinearPrior) -> dict[str, Method]:
    from unmask.inpainting.evaluate import baselines, generator_method
    from unmask.inpainting.generator import LITE, build_generator
    from unmask.weights import find, load_weights

    models = {}
    for gender in ("male", "female"):
        path = getattr(args, gender) or find("lite", f"inpainting_{gender}").path
        models[gender] = build_generator(**LITE)
        load_weights(models[gender], path)
    methods = baselines(prior) | {"generator": generator_method(models, prior)}
    if args.male != args.female or args.male is None:
        methods["other gender's generator"] = generator_method(models, prior, swapped=True)
    return methods


def _predictor(path: Path) -> LandmarkPredictor:
    from unmask.landmarks.model import LITE, build_fan
    from unmask.landmarks.predict import predict_landmarks
    from unmask.weights import load_weights

    model = build_fan(**LITE)
    load_weights(model, path)
    return lambda crops: predict_landmarks(model, crops).points

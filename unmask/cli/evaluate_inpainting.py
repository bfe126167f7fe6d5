"""`unmask evaluate inpainting`: figures and pictures of the generators on held-out faces."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from unmask.cli.arguments import add_name_genders, gender_weights

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from unmask.inpainting.data import LandmarkPredictor
    from unmask.inpainting.evaluate import Cases, Method
    from unmask.inpainting.prior import FirstGuess

# The methods that landmarks make a difference to.
_GUIDED = ("linear prior", "coarse network", "generator")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="face folders")
    parser.add_argument("--male", type=Path, help="generator's weights (default: the shipped)")
    parser.add_argument("--female", type=Path, help="generator's weights (default: the shipped)")
    parser.add_argument("--prior", type=Path, help="linear prior (default: the shipped one)")
    parser.add_argument(
        "--coarse",
        type=Path,
        help="weights of the network that corrects the linear prior's guess (default: the shipped)",
    )
    parser.add_argument(
        "--linear", action="store_true", help="paint on the linear prior's guess as it is"
    )
    parser.add_argument(
        "--network",
        default="lite",
        choices=("lite", "lite-aot", "lite-plain", "paper", "paper-aot"),
        help="what --male and --female hold the weights of (lite)",
    )
    parser.add_argument(
        "--aot",
        type=Path,
        help="weights of a plain AOT-GAN, which knows no landmarks: G*.pt or a training's",
    )
    parser.add_argument("--features", help="as for `unmask train inpainting`")
    parser.add_argument(
        "--landmarks", type=Path, help="landmark weights: also complete with predicted landmarks"
    )
    parser.add_argument(
        "--without-landmarks",
        action="store_true",
        help="also complete with an empty landmark map: what the landmarks are worth",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--split", default="val", help="split of the faces (val)")
    add_name_genders(parser, default=False)
    parser.add_argument("--count", type=int, default=240, help="number of faces (240)")


def main(args: argparse.Namespace) -> int:
    """Write evaluation.json, evaluation.md and sheet.png."""
    import json
    from dataclasses import asdict

    from unmask.errors import UnmaskError
    from unmask.inpainting.evaluate import contact_sheet, evaluate, markdown_table
    from unmask.inpainting.features import load_features
    from unmask.io import write_text_atomic

    try:
        features = load_features(args.features) if args.features else None
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

    from unmask.data.faces import read_face_folder
    from unmask.gender.files import load_gender
    from unmask.gender.naming import name_genders
    from unmask.inpainting.coarse import load_first_guess
    from unmask.inpainting.evaluate import choose_faces, make_cases
    from unmask.weights import find

    coarse = None if args.linear else args.coarse or find("lite", "coarse").path
    prior = load_first_guess(args.prior or find("lite", "prior").path, coarse)
    methods = _methods(args, prior)
    records = [r for folder in args.data for r in read_face_folder(folder, split=args.split)]
    if (named := gender_weights(args)) is not None:
        records = name_genders(records, load_gender(named))
    cases = make_cases(choose_faces(records, args.count), prior)
    work = [(name, method, cases) for name, method in methods.items()]
    guidable = [name for name in _GUIDED if name in methods]
    if args.landmarks:
        guided = cases.guided_by(landmark_predictor(args.landmarks), prior)
        work += [(f"{n}, predicted landmarks", methods[n], guided) for n in guidable]
    if args.without_landmarks:
        unguided = cases.without_landmarks(prior)
        work += [(f"{n}, no landmarks", methods[n], unguided) for n in guidable]
    steps = track(work, "methods", console=Console(stderr=True))
    return cases, {name: method(faces) for name, method, faces in steps}


def _methods(args: argparse.Namespace, prior: FirstGuess) -> dict[str, Method]:
    from unmask.inpainting.coarse import CoarsePrior
    from unmask.inpainting.evaluate import baselines, first_guess_method, generator_method
    from unmask.inpainting.prior import LinearPrior
    from unmask.weights import find

    models = {}
    for gender in ("male", "female"):
        path = getattr(args, gender) or find("lite", f"inpainting_{gender}").path
        models[gender] = _load(path, args.network)
    methods = baselines(LinearPrior.load(args.prior or find("lite", "prior").path))
    if isinstance(prior, CoarsePrior):
        methods["coarse network"] = first_guess_method(prior)
    if args.aot:
        aot = _load(args.aot, "aot-gan")
        methods["AOT-GAN without landmarks"] = generator_method({"male": aot, "female": aot}, prior)
    methods["generator"] = generator_method(models, prior)
    if args.male != args.female or args.male is None:
        methods["other gender's generator"] = generator_method(models, prior, swapped=True)
    return methods


def _load(path: Path, network: str) -> keras.Model:
    from unmask.inpainting.convert import load_published
    from unmask.inpainting.networks import NETWORKS
    from unmask.weights import load_weights

    if path.suffix in (".pt", ".pth"):
        return load_published(path)[0]
    model = NETWORKS[network].generator()
    load_weights(model, path)
    return model


def landmark_predictor(path: Path) -> LandmarkPredictor:
    """Return the lite landmark network with the weights of a file as a function of crops."""
    from unmask.landmarks.model import LITE, build_fan
    from unmask.landmarks.predict import predict_landmarks
    from unmask.weights import load_weights

    model = build_fan(**LITE)
    load_weights(model, path)
    return lambda crops: predict_landmarks(model, crops).points

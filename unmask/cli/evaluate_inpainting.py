"""`unmask evaluate inpainting`: figures and pictures of the generators on held-out faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from unmask.cli.arguments import (
    ExistingDirectory,
    ExistingFile,
    OutFolder,
    PositiveInt,
    Pretrained,
)
from unmask.cli.progress import track

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from unmask.data.record import FaceRecord
    from unmask.evaluation.regions import RegionScores
    from unmask.inpainting.coarse import CoarseCompletion
    from unmask.inpainting.evaluate import Cases, Method
    from unmask.inpainting.losses import FeatureNetwork

# The methods that landmarks make a difference to.
_GUIDED = ("linear prior", "coarse network", "generator")
_SWAPPED = "other gender's generator"


def evaluate_inpainting(
    *,
    data: list[ExistingDirectory],
    male: ExistingFile | None = None,
    female: ExistingFile | None = None,
    prior: ExistingFile | None = None,
    coarse: ExistingFile | None = None,
    linear: bool = False,
    network: Literal["lite", "paper", "paper-aot"] = "lite",
    aot: ExistingFile | None = None,
    features: Pretrained | None = None,
    landmarks: ExistingFile | None = None,
    without_landmarks: bool = False,
    out: OutFolder,
    split: str = "val",
    name_genders: Annotated[bool, Parameter(negative="--no-name-genders")] = False,
    count: PositiveInt = 240,
) -> None:
    """Measure generators on held-out faces, and show what they paint.

    Writes evaluation.json, evaluation.md and sheet.png: figures of the whole hole, by gender and
    kind of mask, and region by region (mouth, nose, rest of the face, ring outside the jaw).

    Args:
        data: Face folders.
        male: Generator's weights. Default: the shipped ones.
        female: Generator's weights. Default: the shipped ones.
        prior: Linear prior. Default: the shipped one.
        coarse: Weights of the network that corrects the linear prior. Default: the
            shipped ones.
        linear: Paint on the linear prior's completion as it is.
        network: What --male and --female hold the weights of.
        aot: Weights of a plain AOT-GAN, which knows no landmarks: G*.pt or a training's.
        features: Also measure perceptual distances, by an .npz of a compressed VGG-19, a file of
            VGG-19's weights (torchvision's .pth, Keras' .h5), or "imagenet": Keras downloads it.
        landmarks: Landmark weights: also complete with predicted landmarks.
        without_landmarks: Also complete with an empty landmark map: what the landmarks are worth.
        out: Folder for the results.
        split: Split of the faces.
        name_genders: Let the shipped gender network name the faces of unknown gender.
        count: Number of faces.
    """
    import json
    from dataclasses import asdict

    from unmask.data.faces import read_face_folder
    from unmask.evaluation.regions import region_table
    from unmask.inpainting.coarse import load_coarse
    from unmask.inpainting.evaluate import contact_sheet, evaluate, markdown_table
    from unmask.inpainting.features import load_features
    from unmask.io import write_text_atomic
    from unmask.landmarks.predict import landmark_predictor
    from unmask.paths import check_outputs
    from unmask.weights import find

    vgg = load_features(features) if features else None
    records = [record for folder in data for record in read_face_folder(folder, split=split)]
    files = (out / name for name in ("evaluation.json", "evaluation.md", "sheet.png"))
    check_outputs(files, (record.path for record in records))
    prior = prior or find("lite", "prior").path
    completion = load_coarse(prior, None if linear else coarse or find("lite", "coarse").path)
    methods = _methods(_generators(male, female, network), completion, aot)
    if male is not None and male == female:
        del methods[_SWAPPED]
    cases = _cases(records, count, name_genders=name_genders)
    work = [(name, method, cases) for name, method in methods.items()]
    guidable = [name for name in _GUIDED if name in methods]
    if landmarks:
        guided = cases.guided_by(landmark_predictor(landmarks))
        work += [(f"{n}, predicted landmarks", methods[n], guided) for n in guidable]
    if without_landmarks:
        unguided = cases.without_landmarks()
        work += [(f"{n}, no landmarks", methods[n], unguided) for n in guidable]
    results = {name: method(faces) for name, method, faces in track(work, "methods")}
    evaluation = evaluate(cases, results, vgg)
    scores = [s for name, images in results.items() for s in _regions(name, cases, images, vgg)]
    table = f"{markdown_table(evaluation)}\nBy region of the hole:\n\n{region_table(scores)}"
    figures = {**asdict(evaluation), "regions": [asdict(s) for s in scores]}
    write_text_atomic(out / "evaluation.json", json.dumps(figures, indent=2))
    write_text_atomic(out / "evaluation.md", table)
    shown = {name: results[name] for name in ("linear prior", "Telea", "generator")}
    contact_sheet(out / "sheet.png", cases, shown, rank_by="generator")
    print(table)


def _regions(
    name: str, cases: Cases, completed: NDArray[np.uint8], vgg: FeatureNetwork | None
) -> list[RegionScores]:
    from unmask.evaluation.regions import score_regions
    from unmask.inpainting.evaluate import perceptual_distance

    def distance(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        assert vgg is not None
        return perceptual_distance(vgg, cases, images)

    return score_regions(
        name, completed, cases.truth, cases.scored, cases.landmarks, distance if vgg else None
    )


def _cases(records: list[FaceRecord], count: int, *, name_genders: bool) -> Cases:
    from unmask.gender.data import name_genders as named
    from unmask.gender.load import load_gender
    from unmask.inpainting.evaluate import choose_faces, make_cases
    from unmask.weights import find

    if name_genders:
        records = named(records, load_gender(find("lite", "gender").path))
    return make_cases(choose_faces(records, count))


def _generators(male: Path | None, female: Path | None, network: str) -> dict[str, keras.Model]:
    from unmask.inpainting.evaluate import load_generator
    from unmask.weights import find

    return {
        gender: load_generator(path or find("lite", f"inpainting_{gender}").path, network)
        for gender, path in (("male", male), ("female", female))
    }


def _methods(
    models: dict[str, keras.Model], coarse: CoarseCompletion, aot: Path | None
) -> dict[str, Method]:
    from dataclasses import replace

    from unmask.inpainting.evaluate import (
        baselines,
        coarse_method,
        generator_method,
        load_generator,
    )

    methods = baselines(replace(coarse, network=None))
    if coarse.network is not None:
        methods["coarse network"] = coarse_method(coarse)
    if aot:
        plain = load_generator(aot, "aot-gan")
        both = {"male": plain, "female": plain}
        methods["AOT-GAN without landmarks"] = generator_method(both, coarse)
    methods["generator"] = generator_method(models, coarse)
    methods[_SWAPPED] = generator_method(models, coarse, swapped=True)
    return methods

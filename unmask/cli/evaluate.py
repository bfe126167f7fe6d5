"""`unmask evaluate STAGE`: figures of each stage, and of the whole pipeline, on held-out faces."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from unmask.cli.arguments import (
    Count,
    ExistingDirectory,
    ExistingFile,
    File,
    OutFolder,
    PositiveInt,
    Pretrained,
    Seed,
)
from unmask.cli.progress import report, track

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from unmask.data.record import FaceRecord
    from unmask.evaluation.regions import RegionScores
    from unmask.inpainting.coarse import CoarseCompletion
    from unmask.inpainting.evaluate import Cases, Method
    from unmask.inpainting.features import FeatureNetwork
    from unmask.landmarks.evaluate import LandmarkScores, Locator


# === Pipeline ===


def pipeline(
    *,
    data: list[ExistingDirectory],
    out: OutFolder,
    preset: str = "lite",
    weights_dir: ExistingDirectory | None = None,
    split: str = "val",
    count: Count = 120,
    seed: Seed = 1234,
    name_genders: bool = False,
) -> int:
    """Measure the whole pipeline, and what each stage costs it.

    Faces get a drawn mask each (or keep the one that `unmask synthesize` gave them), and the
    pipeline completes them with predicted and with true gender, landmarks and mask in every
    combination. Writes evaluation.json, faces.csv, evaluation.md and table.tex; started again, it
    goes on where it stopped. The exit status is 1 where a face failed.

    Args:
        data: Face folders, or folders that `unmask synthesize` filled.
        out: Folder for the results.
        preset: Which networks.
        weights_dir: Folder of a manifest of your own.
        split: Split of the faces.
        count: Number of faces, 0 for all; a few seconds each.
        seed: Of faces and masks.
        name_genders: Let the shipped gender network name the faces of unknown gender, by the bare
            face, where it is sure.
    """
    from unmask.presets import get_preset

    get_preset(preset)

    from unmask.evaluation.run import EvaluationConfig, PipelineEvaluation

    config = EvaluationConfig(
        data=tuple(map(str, data)),
        preset=preset,
        weights_dir=str(weights_dir) if weights_dir else None,
        split=split,
        count=count or None,
        seed=seed,
        name_genders=name_genders,
    )
    evaluation = PipelineEvaluation(config, out)
    failed = 0
    for outcome in track(evaluation, "faces", len(evaluation)):
        if outcome.error:
            failed += 1
            report(outcome.error)
    evaluation.write()
    print((out / "evaluation.md").read_text(encoding="utf-8"))
    return 1 if failed else 0


# === Segmentation ===


def segmentation(
    *,
    data: ExistingDirectory,
    weights: list[ExistingFile] | None = None,
    verifier: ExistingFile | None = None,
    faces: Count = 120,
    once: bool = False,
    out: OutFolder,
) -> None:
    """Measure mask segmenters side by side, on held-out photos.

    Measures each weight file, of a small U-Net or of a Mask R-CNN, on the validation split of
    masks_labelme, and, where they exist, on mask_segmentation and faces_wide. Writes
    evaluation.json and evaluation.md.

    Args:
        data: Folder with masks_labelme.
        weights: Weights of U-Nets and Mask R-CNNs; a row each, in this order. Default: the shipped
            U-Net with the shipped verifier.
        verifier: Network that judges what the U-Nets find. Default with --weights: none.
        faces: Faces without masks, and with drawn ones; 0 for none.
        once: U-Nets look once at a photo, as Mask R-CNNs do, instead of taking a mean over looks.
        out: Folder for the results.
    """
    from dataclasses import asdict

    from unmask.data.stream import count_cores
    from unmask.paths import check_outputs
    from unmask.segmentation.evaluate import (
        load_segmenter,
        markdown_table,
        measure,
        read_photos,
    )
    from unmask.weights import file_sha256, find

    # A JSON file among Labelme's would be taken for one of them.
    check_outputs([out], [data / "masks_labelme", data / "mask_segmentation", data / "faces_wide"])
    if weights is None:
        weights = [find("lite", "segmentation").path]
        verifier = verifier or find("lite", "verifier").path
    segmenters = [load_segmenter(path, verifier, thorough=not once) for path in weights]
    photos = read_photos(data, faces)
    scores = [measure(segmenter, photos) for segmenter in track(segmenters, "networks")]
    cores = count_cores()
    rows = [
        {"file": str(path), "sha256": file_sha256(path), **asdict(row)}
        for path, row in zip(weights, scores, strict=True)
    ]
    _write(out, {"cores": cores, "networks": rows}, markdown_table(scores, cores))


# === Landmarks ===


def landmarks(
    *,
    data: ExistingDirectory | None = None,
    split: str = "test",
    count: PositiveInt | None = None,
    wflw_list: ExistingFile | None = None,
    wflw_images: ExistingDirectory | None = None,
    weights: ExistingFile | None = None,
    published: ExistingFile | None = None,
    pfld: ExistingFile | None = None,
    passes: PositiveInt = 2,
    mirror: bool = False,
    thorough: bool = False,
    seed: Seed = 0,
    out: File | None = None,
) -> None:
    """Measure landmark networks on held-out faces, bare and masked, by part of the face.

    Args:
        data: Folder of faces with landmarks98.npz or landmarks68.npz, e.g. landmarks_300w.
        split: Split of the faces.
        count: Number of faces, evenly spread. Default: all.
        wflw_list: list_98pt_rect_attr_test.txt of WFLW.
        wflw_images: Folder WFLW_images. Default: beside the list's folder.
        weights: Lite weights. Default: the shipped ones.
        published: The paper's network too: WFLW_4HG.pth, or what `unmask train paper/landmarks`
            keeps.
        pfld: ONNX file of a PFLD with 98 points: measure it too.
        passes: Passes through a network.
        mirror: Our networks also look at the mirrored crops.
        thorough: And at two more, as `unmask run` does.
        seed: Seed of masks and first crops.
        out: Also write the table to this file.
    """
    from unmask.errors import SettingError

    if data is None and wflw_list is None:
        raise SettingError("give --data or --wflw-list")

    from unmask.data.faces import face_folder_files
    from unmask.io import write_text_atomic
    from unmask.landmarks.data import read_wflw
    from unmask.landmarks.evaluate import evaluate, evaluate_wflw, markdown_table
    from unmask.paths import check_outputs

    if out:
        inputs = [path for path in (weights, published, pfld, wflw_list) if path]
        check_outputs([out], inputs if data is None else [*inputs, *face_folder_files(data)])
    locators = _locators(weights, published, pfld, passes, mirror=mirror, thorough=thorough)
    scores: dict[str, LandmarkScores] = {}
    for name, locator in track(locators.items(), "networks"):
        if data is not None:
            found = evaluate(locator, _spread(data, split, count), seed=seed)
            scores |= {f"{name}, bare": found.unmasked, f"{name}, masked": found.masked}
        if wflw_list is not None:
            images = wflw_images or wflw_list.parents[2] / "WFLW_images"
            subsets = evaluate_wflw(locator, read_wflw(wflw_list, images))
            scores |= {f"{name}, WFLW {row}": s for row, s in subsets.items()}
    table = markdown_table(scores)
    print(table)
    if out:
        write_text_atomic(out, table + "\n")


def _locators(
    weights: Path | None,
    published: Path | None,
    pfld: Path | None,
    passes: int,
    *,
    mirror: bool,
    thorough: bool,
) -> dict[str, Locator]:
    from unmask.landmarks.convert import load_published
    from unmask.landmarks.evaluate import PfldLocator, network_locator
    from unmask.presets import build_stage
    from unmask.weights import find, load_weights

    networks = {"lite": build_stage("lite", "landmarks")}
    load_weights(networks["lite"], weights or find("lite", "landmarks").path)
    if published and published.suffix in (".pt", ".pth"):
        networks["published"] = load_published(published)[0]
    elif published:
        networks["paper"] = build_stage("paper", "landmarks")
        load_weights(networks["paper"], published)
    locators: dict[str, Locator] = {
        name: network_locator(network, passes=passes, mirror=mirror, thorough=thorough)
        for name, network in networks.items()
    }
    if pfld:
        locators["PFLD"] = PfldLocator(pfld, passes=passes)
    return locators


def _spread(folder: Path, split: str, count: int | None) -> list[FaceRecord]:
    import numpy as np

    from unmask.data.faces import read_face_folder
    from unmask.errors import DataError

    records = read_face_folder(folder, split=split)
    if not records:
        raise DataError(f"{folder}: no faces of the split {split!r}")
    if count is None or count >= len(records):
        return records
    return [records[i] for i in np.linspace(0, len(records) - 1, count).astype(int)]


# === Gender ===

_RESULTS = ("views.npy", "views.json", "evaluation.json", "evaluation.md", "reliability.png")


def gender(
    *,
    data: list[ExistingDirectory],
    weights: ExistingFile | None = None,
    network: Literal["compact", "paper"] = "compact",
    split: str = "val",
    masks: Count = 3,
    mirror: bool = False,
    out: OutFolder,
    seed: Seed = 1,
) -> None:
    """Measure a gender network on held-out faces.

    Accuracy, recalls, ROC AUC and calibration, bare and masked, by age and ethnicity where the
    faces have such labels. Writes evaluation.json, evaluation.md and reliability.png.

    Args:
        data: Face folders, or folders laid out as the authors' are, or with a table.csv.
        weights: Weight file of either network, or the authors' .hdf5. Default: the preset's.
        network: Whose weights to take without --weights: the shipped compact ones, or those of the
            preset paper.
        split: Split of the faces.
        masks: Drawn masks for each face that has landmarks.
        mirror: The mean over two mirror images, as in `unmask run`.
        out: Folder for the results.
        seed: Seed of the masks.
    """
    from dataclasses import asdict

    import numpy as np

    from unmask.gender import UNCERTAIN_BELOW
    from unmask.gender.data import has_landmarks, labels_of, read_faces, stored_views
    from unmask.gender.evaluate import (
        evaluate_groups,
        markdown,
        probabilities,
        reliability_figure,
    )
    from unmask.gender.load import framing_of, load_gender
    from unmask.io import atomic_path
    from unmask.paths import check_outputs
    from unmask.weights import find

    records = read_faces(data, {}, split).records
    check_outputs((out / name for name in _RESULTS), (record.path for record in records))
    preset = "paper" if network == "paper" else "lite"
    model = load_gender(weights or find(preset, "gender").path, cropped=True)
    masks = masks if has_landmarks(records) else 0
    views = stored_views(records, out / "views.npy", framing_of(model), masked=masks, seed=seed)
    predicted = probabilities(model, views, mirror=mirror)
    evaluation = evaluate_groups(predicted, records, UNCERTAIN_BELOW)
    labels = labels_of(records)
    curves = {"bare": (predicted[:, 0], labels)}
    if masks:
        curves["masked"] = (predicted[:, 1:].ravel(), np.repeat(labels, masks))
    with atomic_path(out / "reliability.png") as temporary:
        reliability_figure(curves).savefig(temporary, dpi=100, format="png")
    _write(out, asdict(evaluation), markdown(evaluation))


# === Inpainting ===

# The methods that landmarks make a difference to.
_GUIDED = ("linear prior", "coarse network", "generator")
_SWAPPED = "other gender's generator"


def inpainting(
    *,
    data: list[ExistingDirectory],
    male: ExistingFile | None = None,
    female: ExistingFile | None = None,
    prior: ExistingFile | None = None,
    coarse: ExistingFile | None = None,
    linear: bool = False,
    network: Literal["lite", "paper", "paper-aot"] = "lite",
    aot: ExistingFile | None = None,
    refiner: ExistingFile | None = None,
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
        refiner: Weights of a refine network: also correct with it what the generators complete.
        features: Also measure perceptual distances, by an .npz of a compressed VGG-19, a file of
            VGG-19's weights (torchvision's .pth, Keras' .h5), or "imagenet": Keras downloads it.
        landmarks: Landmark weights: also complete with predicted landmarks.
        without_landmarks: Also complete with an empty landmark map: what the landmarks are worth.
        out: Folder for the results.
        split: Split of the faces.
        name_genders: Let the shipped gender network name the faces of unknown gender.
        count: Number of faces.
    """
    from dataclasses import asdict

    from unmask.data.faces import face_folder_files
    from unmask.evaluation.regions import region_table
    from unmask.evaluation.scenes import choose_records
    from unmask.inpainting.coarse import load_coarse
    from unmask.inpainting.evaluate import (
        EVALUATION_SEED,
        contact_sheet,
        evaluate,
        make_cases,
        markdown_table,
    )
    from unmask.inpainting.features import load_features
    from unmask.landmarks.predict import predict_by_file
    from unmask.paths import check_outputs
    from unmask.weights import find

    vgg = load_features(features) if features else None
    files = (out / name for name in ("evaluation.json", "evaluation.md", "sheet.png"))
    check_outputs(files, (file for folder in data for file in face_folder_files(folder)))
    prior = prior or find("lite", "prior").path
    completion = load_coarse(prior, None if linear else coarse or find("lite", "coarse").path)
    methods = _methods(_generators(male, female, network), completion, aot, refiner)
    if male is not None and male == female:
        del methods[_SWAPPED]
    records = choose_records(
        data, split=split, count=count, seed=EVALUATION_SEED, name_genders=name_genders
    )
    cases = make_cases(records)
    work = [(name, method, cases) for name, method in methods.items()]
    guidable = [name for name in _GUIDED if name in methods]
    if landmarks:
        guided = cases.guided_by(partial(predict_by_file, landmarks))
        work += [(f"{n}, predicted landmarks", methods[n], guided) for n in guidable]
    if without_landmarks:
        unguided = cases.without_landmarks()
        work += [(f"{n}, no landmarks", methods[n], unguided) for n in guidable]
    results = {name: method(faces) for name, method, faces in track(work, "methods")}
    evaluation = evaluate(cases, results, vgg)
    scores = [s for name, images in results.items() for s in _regions(name, cases, images, vgg)]
    table = f"{markdown_table(evaluation)}\nBy region of the hole:\n\n{region_table(scores)}"
    figures = {**asdict(evaluation), "regions": [asdict(s) for s in scores]}
    shown = {name: results[name] for name in ("linear prior", "Telea", "generator")}
    contact_sheet(out / "sheet.png", cases, shown, rank_by="generator")
    _write(out, figures, table)


def _regions(
    name: str, cases: Cases, completed: NDArray[np.uint8], vgg: FeatureNetwork | None
) -> list[RegionScores]:
    from unmask.evaluation.regions import score_regions
    from unmask.inpainting.evaluate import perceptual_distance

    def distance(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        assert vgg is not None
        return perceptual_distance(vgg, cases.truth, images, cases.scored)

    return score_regions(
        name, completed, cases.truth, cases.scored, cases.landmarks, distance if vgg else None
    )


def _generators(male: Path | None, female: Path | None, network: str) -> dict[str, keras.Model]:
    from unmask.inpainting.evaluate import load_generator
    from unmask.weights import find

    return {
        gender: load_generator(path or find("lite", f"inpainting_{gender}").path, network)
        for gender, path in (("male", male), ("female", female))
    }


def _methods(
    models: dict[str, keras.Model],
    coarse: CoarseCompletion,
    aot: Path | None,
    refiner: Path | None,
) -> dict[str, Method]:
    from dataclasses import replace

    from unmask.inpainting.evaluate import (
        baselines,
        coarse_method,
        generator_method,
        load_generator,
        refiner_method,
    )

    methods = baselines(replace(coarse, network=None))
    if coarse.network is not None:
        methods["coarse network"] = coarse_method(coarse)
    if aot:
        plain = load_generator(aot, "aot-gan")
        both = {"male": plain, "female": plain}
        methods["AOT-GAN without landmarks"] = generator_method(both, coarse)
    methods["generator"] = generator_method(models, coarse)
    if refiner:
        methods["generator, refined"] = refiner_method(
            load_generator(refiner, "refiner"), methods["generator"]
        )
    methods[_SWAPPED] = generator_method(models, coarse, swapped=True)
    return methods


# === Parsing ===


def parsing(
    *,
    data: list[ExistingDirectory],
    weights: ExistingFile | None = None,
    split: str = "val",
    out: OutFolder,
) -> None:
    """Measure a face parser on held-out faces, class by class.

    The faces are those of faces_celebahq, or of other face folders with a PNG of CelebAMask-HQ's
    class numbers beside each image. Writes evaluation.json and evaluation.md.

    Args:
        data: Face folders, or folders with faces_celebahq.
        weights: Weights of a parser. Default: the shipped ones.
        split: Split of the faces.
        out: Folder for the results.
    """
    from dataclasses import asdict

    from unmask.parsing.data import gather_labelled
    from unmask.parsing.evaluate import markdown_table, measure_records
    from unmask.paths import check_outputs
    from unmask.training.helpers import load_parser

    records = gather_labelled(data, {"faces_celebahq": 1.0}, split).records
    results = (out / name for name in ("evaluation.json", "evaluation.md"))
    check_outputs(results, (record.path for record in records))
    scores = measure_records(load_parser(weights), records)
    _write(out, asdict(scores), markdown_table(scores))


def _write(out: Path, figures: dict[str, Any], table: str) -> None:
    """Write evaluation.json and evaluation.md, and print the table."""
    from unmask.io import write_json_atomic, write_text_atomic

    write_json_atomic(out / "evaluation.json", figures)
    write_text_atomic(out / "evaluation.md", table)
    print(table)

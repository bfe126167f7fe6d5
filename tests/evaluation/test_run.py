"""The evaluation from end to end, with the shipped weights, on the astronaut and her mirror."""

import csv
import json
import shutil

import numpy as np
import pytest
from skimage.data import astronaut

from unmask import Unmasker
from unmask.cli import main
from unmask.errors import DataError
from unmask.evaluation.conditions import MEASURES
from unmask.evaluation.run import EvaluationConfig, PipelineEvaluation
from unmask.evaluation.scenes import choose_records, load_scene
from unmask.image import load_image, save_image
from unmask.landmark_layout import flip_landmarks
from unmask.synthesis import MaskSynthesizer
from unmask.synthesis.locate import FaceLocator
from unmask.synthesis.pairs import SynthesisSettings, write_pairs
from unmask.synthesis.sources import read_source


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    image = np.ascontiguousarray(astronaut()[:256, 96:352])
    points = FaceLocator(Unmasker().landmarks)(image).points[0]
    save_image(folder / "a.png", image)
    save_image(folder / "b.png", np.ascontiguousarray(image[:, ::-1]))
    both = np.stack([points, flip_landmarks(points, 256)])
    np.savez(folder / "landmarks98.npz", files=np.array(["a.png", "b.png"]), landmarks98=both)
    # The mirror image poses as the other gender, so that there are two.
    (folder / "labels.csv").write_text("file,gender,split\na.png,female,val\nb.png,male,val\n")
    return folder


@pytest.fixture(scope="module")
def finished(faces, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    status = main(["evaluate", "pipeline", "--data", str(faces), "--out", str(out), "--seed", "5"])
    assert status == 0
    return out


def test_the_truth_helps(finished):
    content = json.loads((finished / "evaluation.json").read_text())
    assert content["count"] == 2
    assert set(content["about"]["weights"]) >= {"gender", "landmarks", "segmentation"}
    hole = {name: s["all"]["psnr_hole"]["mean"] for name, s in content["scores"].items()}
    assert hole["all true"] > hole["Telea, true mask"] > hole["masked photo"]
    assert hole["all predicted"] > hole["masked photo"]
    assert content["stages"]["all"]["found"]["mean"] == 1
    assert content["stages"]["all"]["nme"]["mean"] < 0.1
    assert content["stages"]["all"]["iou"]["mean"] > 0.6


def test_all_files_are_there(finished):
    assert "paper (quoted)" in (finished / "evaluation.md").read_text()
    assert "28.82" in (finished / "table.tex").read_text()
    with (finished / "faces.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["face"].split("/")[1] for row in rows} == {"a.png", "b.png"}
    assert set(MEASURES) <= set(rows[0])


def test_it_goes_on_where_it_stopped(finished, faces, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    before = (out / "evaluation.json").read_bytes()
    journal = out / "faces.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines) + '{"torn')
    config = EvaluationConfig(data=(str(faces),), seed=5)
    evaluation = PipelineEvaluation(config, out)
    assert [outcome.error for outcome in evaluation] == [None, None]
    evaluation.write()
    assert (out / "evaluation.json").read_bytes() == before
    with pytest.raises(DataError, match="another folder"):
        PipelineEvaluation(EvaluationConfig(data=(str(faces),), seed=6), out)


def test_a_bad_picture_is_reported(faces, tmp_path, capsys):
    # Longer than a line of a terminal: names must not be broken.
    folder = tmp_path / ("faces" + 100 * "s")
    shutil.copytree(faces, folder)
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"broken")
    out = tmp_path / "out"
    assert main(["evaluate", "pipeline", "--data", str(folder), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "a.png" in error
    assert "no face could be evaluated" in error


def test_masks_belong_to_names(faces):
    records = choose_records([faces], split="val", count=2, seed=0)
    scenes = [load_scene(record, MaskSynthesizer(3, bank_size=4)) for record in records]
    again = load_scene(records[1], MaskSynthesizer(3, bank_size=4))
    np.testing.assert_array_equal(again.photo, scenes[1].photo)
    changed = (again.photo != again.truth).any(-1)
    assert changed[again.mask].mean() > 0.9
    assert again.hole.sum() > again.crop_mask(again.mask).sum()


def test_a_folder_of_pairs_keeps_its_masks(faces, tmp_path):
    settings = SynthesisSettings(bank_size=2)
    assert all(r.error is None for r in write_pairs(read_source(faces), tmp_path, settings))
    (first, second) = choose_records([tmp_path], split="val", count=None, seed=0)
    for record in (first, second):
        scene = load_scene(record, MaskSynthesizer(99, bank_size=1))
        np.testing.assert_array_equal(
            scene.photo, load_image(tmp_path / "masked" / record.path.name)
        )
        assert scene.mask.any()


def test_unknown_genders_are_refused(faces, tmp_path):
    shutil.copytree(faces, tmp_path / "faces")
    (tmp_path / "faces" / "labels.csv").write_text("file,split\na.png,val\nb.png,val\n")
    with pytest.raises(DataError, match="known gender"):
        choose_records([tmp_path / "faces"], split="val", count=None, seed=0)

"""Summaries and tables from made-up measures: no network is needed here."""

import csv
import io
import re

import pytest

from unmask.errors import DataError
from unmask.evaluation.conditions import BASELINES, CONDITIONS, MEASURES, FaceMeasures
from unmask.evaluation.summary import summarise
from unmask.evaluation.tables import faces_csv, latex_table, markdown_report


def face(number: int, gender: str, *, found: bool = True) -> FaceMeasures:
    """A face on which each true input is worth 1, 2 and 4 dB, whatever the others are."""
    worth = {"gender": 1.0, "landmarks": 2.0, "mask": 4.0}
    levels = dict.fromkeys(BASELINES, 10.0)
    levels |= {c.name: 20.0 + number + sum(worth[s] for s in c.true) for c in CONDITIONS}
    stages = (True, 0.05, 0.8) if found else (None, None, None)
    scores = {name: dict.fromkeys(MEASURES, level) for name, level in levels.items()}
    return FaceMeasures(f"f/{number}_.png", gender, found, *stages, scores)


FACES = [face(0, "male"), face(1, "female"), face(2, "female", found=False)]


def test_every_combination_of_true_inputs_is_a_condition():
    names = [condition.name for condition in CONDITIONS]
    assert len(set(names)) == 8
    assert names[0] == "all predicted"
    assert names[-1] == "all true"
    assert "true gender + mask" in names


def test_groups_and_their_means():
    scores = summarise(FACES).scores["all predicted"]
    means = {group: measures["psnr_hole"].mean for group, measures in scores.items()}
    assert means == {"all": 21.0, "male": 20.0, "female": 21.5, "found": 20.5}


def test_the_loss_of_each_stage_is_found():
    losses = {(x.stage, x.measure): x for x in summarise(FACES).losses}
    for stage, worth in (("gender", 1), ("landmarks", 2), ("mask", 4)):
        loss = losses[stage, "psnr_rgb"]
        assert (loss.replaced.mean, loss.alone.mean) == (worth, worth)
        # Differences of the same faces: what differs between faces is no uncertainty here.
        assert loss.replaced.low == loss.replaced.high == worth


def test_faces_that_are_not_found_count_as_missed_only():
    stages = summarise(FACES).stages
    assert stages["all"]["found"].mean == pytest.approx(2 / 3)
    assert stages["female"]["found"].mean == 0.5
    assert stages["female"]["iou"].count == 1
    assert stages["all"]["nme"].mean == pytest.approx(0.05)


def test_nobody_found_and_one_gender_only():
    summary = summarise([face(0, "male", found=False)])
    assert "female" not in summary.scores["all true"]
    assert "found" not in summary.scores["all true"]
    text = markdown_report(summary, "x")
    assert "| - |" in text
    assert "nan" not in text
    with pytest.raises(DataError, match="no face"):
        summarise([])


def test_quoted_figures_are_the_papers_and_marked():
    for text in (markdown_report(summarise(FACES), "x"), latex_table(summarise(FACES), "d")):
        rows = [re.split(r" *[|&] *", line.strip("|\\ ")) for line in text.splitlines()]
        assert [row for row in rows if "paper (quoted)" in row] == [
            ["FFHQ", "paper (quoted)", "PSNR", "28.82", "30.00"],
            ["FFHQ", "paper (quoted)", "SSIM", "0.93", "0.95"],
            ["CelebA", "paper (quoted)", "PSNR", "31.40", "33.32"],
            ["CelebA", "paper (quoted)", "SSIM", "0.97", "0.98"],
        ]


def test_tables_are_well_formed():
    text = markdown_report(summarise(FACES), "Heading.")
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
    latex = latex_table(summarise(FACES), "faces_male & co")
    rows = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert {row.replace(r"\&", "").count("&") for row in rows} == {4}
    assert r"faces\_male \& co" in latex


def test_one_row_a_face_and_method():
    rows = list(csv.DictReader(io.StringIO(faces_csv(FACES))))
    assert len(rows) == 3 * (len(BASELINES) + len(CONDITIONS))
    assert {row["iou"] for row in rows if row["face"] == "f/2_.png"} == {""}
    assert float(rows[0]["psnr_hole"]) == 10.0

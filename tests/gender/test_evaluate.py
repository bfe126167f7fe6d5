"""Scores and figures by group against values worked out by hand, and calibration."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import expit

from unmask.data.record import FaceRecord
from unmask.gender.evaluate import (
    Calibration,
    calibrated,
    evaluate_groups,
    fit_calibration,
    fold_calibration,
    markdown,
    reliability_figure,
    report,
    score,
)
from unmask.gender.lite import build_lite


def test_scores_by_hand():
    predicted = np.array([0.1, 0.6, 0.8, 0.4, 0.9])
    labels = np.array([0, 0, 1, 1, 1])
    scores = score(predicted, labels)
    assert scores.count == 5
    assert scores.accuracy == pytest.approx(3 / 5)
    assert scores.recall_female == pytest.approx(1 / 2)
    assert scores.recall_male == pytest.approx(2 / 3)
    # Pairs (male, female) in the right order: 0.8 and 0.9 beat both, 0.4 beats 0.1 only.
    assert scores.auc == pytest.approx(5 / 6)


def test_auc_counts_ties_half():
    assert score(np.array([0.5, 0.5]), np.array([0, 1])).auc == pytest.approx(0.5)


def test_one_gender_alone_is_refused():
    with pytest.raises(ValueError, match="0 False"):
        score(np.array([0.2, 0.9]), np.array([1, 1]))


def test_report_separates_bare_and_masked():
    predicted = np.array([[0.1, 0.9, 0.2], [0.9, 0.9, 0.9]])
    figures = report(predicted, np.array([0.0, 1.0]))
    assert figures.unmasked.accuracy == 1.0
    assert figures.masked.count == 4
    assert figures.masked.accuracy == pytest.approx(3 / 4)


@pytest.mark.parametrize(("temperature", "bias"), [(0.5, 0.0), (1.0, 0.4), (2.5, -0.3)])
def test_calibration_is_recovered(temperature, bias):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 40_000)
    labels = rng.random(40_000) < expit(logits)
    distorted = expit((logits - bias) * temperature)
    found = fit_calibration(distorted, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.bias == pytest.approx(bias, abs=0.06)
    assert score(calibrated(distorted, found), labels).ece < 0.01


def test_calibration_does_not_learn_how_many_of_each_gender_there_are():
    rng = np.random.default_rng(0)
    logits = np.concatenate([rng.normal(1, 1, 30_000), rng.normal(-1, 1, 3_000)])
    labels = np.repeat([1, 0], [30_000, 3_000])
    assert abs(fit_calibration(expit(logits), labels).bias) < 0.06


def test_calibration_needs_both_genders():
    with pytest.raises(ValueError, match="2 of them male"):
        fit_calibration(np.array([0.2, 0.9]), np.array([1, 1]))


def test_folded_calibration_is_the_calibrated_output():
    keras.utils.set_random_seed(0)
    model = build_lite(widths=(8, 8), blocks=(1, 1))
    image = np.random.default_rng(0).uniform(0, 1, (3, 256, 256, 3)).astype(np.float32)
    before = model.predict_on_batch(image)
    fold_calibration(model.get_layer("male"), Calibration(2.0, 0.3))
    np.testing.assert_allclose(
        model.predict_on_batch(image), calibrated(before, Calibration(2.0, 0.3)), atol=1e-5
    )


def face(gender: str, age: int | None, race: int | None) -> FaceRecord:
    return FaceRecord(Path("x.jpg"), np.zeros((98, 2), np.float32), "val", gender, age, race)


@pytest.fixture
def evaluation():
    records = [face("male", 70, 0), face("female", 70, 2), face("female", 8, 2)]
    records += [face("male", None, None)]
    predicted = np.array([[0.9, 0.9, 0.4], [0.2, 0.1, 0.7], [0.6, 0.1, 0.3], [0.8, 0.9, 0.9]])
    return evaluate_groups(predicted, records, uncertain_below=0.75)


def test_groups_by_hand(evaluation):
    assert [(g.name, g.count) for g in evaluation.ages] == [("4-12", 1), ("60 and older", 2)]
    child, old = evaluation.ages
    assert (child.unmasked, child.masked) == (0.0, 1.0)
    assert (old.unmasked, old.masked) == (1.0, 0.5)
    assert old.uncertainty == pytest.approx(np.sqrt(0.5 * 0.5 / 2))
    assert [(g.name, g.masked) for g in evaluation.ethnicities] == [("White", 0.5), ("Asian", 0.75)]


def test_uncertain_answers_are_counted(evaluation):
    # Masked confidences: 0.9 0.6 | 0.9 0.7 | 0.9 0.7 | 0.9 0.9; of the three unsure one is right.
    assert evaluation.uncertain_share == pytest.approx(3 / 8)
    assert evaluation.uncertain_accuracy == pytest.approx(1 / 3)
    assert evaluation.report.masked.accuracy == pytest.approx(6 / 8)


def test_tables_name_every_group(evaluation):
    text = markdown(evaluation)
    assert "| masked | 8 | 75.0% |" in text
    assert "| 60 and older | 2 | 100.0% | 50.0% |" in text
    assert "37.5% of the masked answers are uncertain; 33.3% of these are right" in text


def test_without_labels_there_is_no_table_of_groups():
    records = [face("male", None, None), face("female", None, None)]
    result = evaluate_groups(np.array([[0.9, 0.9], [0.1, 0.1]]), records, 0.75)
    assert result.ages == result.ethnicities == ()
    assert result.uncertain_accuracy is None
    assert "ethnicity" not in markdown(result)


def test_without_masks_the_bare_answers_count():
    records = [face("male", 70, None), face("female", 70, None)]
    result = evaluate_groups(np.array([[0.9], [0.6]]), records, 0.75)
    (old,) = result.ages
    assert (old.unmasked, old.masked) == (0.5, None)
    assert old.uncertainty == pytest.approx(np.sqrt(0.5 * 0.5 / 2))
    text = markdown(result)
    assert "| 60 and older | 2 | 50.0% | |" in text
    assert "50.0% of the bare answers are uncertain; 0.0% of these are right" in text


def test_a_calibrated_curve_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    predicted = rng.uniform(0, 1, 20_000)
    labels = (rng.random(20_000) < predicted).astype(float)
    figure = reliability_figure({"honest": (predicted, labels), "turned": (predicted, 1 - labels)})
    _, honest, turned = figure.axes[0].get_lines()
    np.testing.assert_allclose(honest.get_xdata(), honest.get_ydata(), atol=0.04)
    np.testing.assert_allclose(1 - turned.get_xdata(), turned.get_ydata(), atol=0.04)

"""Scores against values worked out by hand, and calibration."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.special import expit

from unmask.gender.evaluate import (
    Calibration,
    calibrated,
    fit_calibration,
    fold_calibration,
    report,
    score,
)
from unmask.gender.model import build_compact


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
    model = build_compact(widths=(8, 8), blocks=(1, 1))
    image = np.random.default_rng(0).uniform(0, 1, (3, 256, 256, 3)).astype(np.float32)
    before = model.predict_on_batch(image)
    fold_calibration(model.get_layer("male"), Calibration(2.0, 0.3))
    np.testing.assert_allclose(
        model.predict_on_batch(image), calibrated(before, Calibration(2.0, 0.3)), atol=1e-5
    )

"""Figures by group against counts by hand, and the reliability plot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unmask.data.faces import FaceRecord
from unmask.gender.breakdown import evaluate_groups, markdown, reliability_figure


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
    assert "| 60 and older | 2 | 50.0% |  |" in text
    assert "50.0% of the bare answers are uncertain; 0.0% of these are right" in text


def test_a_calibrated_curve_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    predicted = rng.uniform(0, 1, 20_000)
    labels = (rng.random(20_000) < predicted).astype(float)
    figure = reliability_figure({"honest": (predicted, labels), "turned": (predicted, 1 - labels)})
    _, honest, turned = figure.axes[0].get_lines()
    np.testing.assert_allclose(honest.get_xdata(), honest.get_ydata(), atol=0.04)
    np.testing.assert_allclose(1 - turned.get_xdata(), turned.get_ydata(), atol=0.04)

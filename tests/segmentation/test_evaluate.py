import numpy as np
import pytest

from unmask.metrics import iou
from unmask.segmentation.evaluate import boundary_f, precision_recall, score_masks


def square(x0, y0, x1, y1, size=100):
    out = np.zeros((size, size), bool)
    out[y0:y1, x0:x1] = True
    return out


def test_half_overlap_by_hand():
    truth, found = square(0, 0, 20, 20), square(10, 0, 30, 20)
    scores = score_masks([(found, truth)])
    assert scores.iou == pytest.approx(200 / 600)
    assert (scores.precision, scores.recall) == (0.5, 0.5)
    assert scores.f1 == pytest.approx(0.5)


def test_empty_masks():
    nothing, something = square(0, 0, 0, 0), square(0, 0, 5, 5)
    assert precision_recall(nothing, something) == (1, 0)
    assert precision_recall(something, nothing) == (0, 1)
    assert boundary_f(nothing, something) == 0


def test_boundary_score_tolerates_one_pixel_and_not_ten():
    truth = square(20, 20, 70, 70)
    assert boundary_f(square(21, 21, 71, 71), truth) == pytest.approx(1, abs=0.01)
    # The same area scores well in IoU, its outline does not.
    ragged = truth.copy()
    ragged[20:70:2, 60:70] = False
    assert iou(ragged, truth) > 0.85
    assert boundary_f(ragged, truth) < 0.9


def test_means_are_over_pictures():
    truth = square(0, 0, 10, 10)
    scores = score_masks([(truth, truth), (square(50, 50, 60, 60), truth)])
    assert scores.pictures == 2
    assert scores.iou == pytest.approx(0.5)


def test_nothing_to_compare():
    with pytest.raises(ValueError, match="nothing to compare"):
        score_masks([])

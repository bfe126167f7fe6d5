import numpy as np
import pytest

from unmask.metrics import iou
from unmask.segmentation.evaluate import (
    boundary_f,
    evaluate_photos,
    false_alarms,
    instance_precision,
    precision_recall,
    score_masks,
)
from unmask.segmentation.regions import MaskRegion
from unmask.segmentation.sources import Example


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


def region(x0, y0, x1, y1, score):
    box = (float(x0), float(y0), float(x1), float(y1))
    return MaskRegion(box, score, np.ones((y1 - y0, x1 - x0), bool), (100, 100))


# IoU with a truth of 20 x 20 pixels at (0, 0): exact, 0.6, 0.
EXACT, CLOSE, ELSEWHERE = (0, 0, 20, 20), (0, 0, 12, 20), (50, 50, 70, 70)


def test_average_precision_ranks_the_masks_of_all_photos_together():
    truth = square(*EXACT)
    found = [
        [region(*EXACT, 0.9), region(*ELSEWHERE, 0.8)],
        [region(*EXACT, 0.7)],
        [],
    ]
    # Ranked: hit, miss, hit; three true masks. Precision 1 up to recall 1/3, 2/3 up to 2/3.
    expected = 1 / 3 * 1 + 1 / 3 * 2 / 3
    assert instance_precision(found, [truth] * 3, 0.5) == pytest.approx(expected)
    # Photo by photo, the mean would be (1 + 1 + 0) / 3.
    assert expected < 2 / 3


def test_average_precision_by_overlap():
    truth, close = square(*EXACT), [region(*CLOSE, 0.9)]
    assert instance_precision([close], [truth], 0.5) == 1
    assert instance_precision([close], [truth], 0.75) == 0


def test_a_second_mask_on_the_same_face_is_wrong():
    truth = square(*EXACT)
    double = [region(*EXACT, 0.9), region(*CLOSE, 0.8)]
    # The second one lies before the other photo's hit: precision 1, 1/2, 2/3.
    found = [double, [region(*EXACT, 0.7)]]
    assert instance_precision(found, [truth] * 2, 0.5) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_average_precision_without_masks():
    nothing = square(0, 0, 0, 0)
    assert instance_precision([[]], [nothing], 0.5) == 1
    assert instance_precision([[region(*EXACT, 0.9)]], [nothing], 0.5) == 0
    assert instance_precision([[]], [square(*EXACT)], 0.5) == 0


def test_photos_by_hand():
    truth = square(*EXACT).astype(np.uint8)
    photos = [
        Example(np.full((100, 100, 3), number, np.uint8), truth, (10.0, 10.0, 30.0))
        for number in range(3)
    ]
    answers = [[region(*EXACT, 0.9)], [region(*CLOSE, 0.8), region(*ELSEWHERE, 0.85)], []]
    scores = evaluate_photos(lambda photo: answers[photo[0, 0, 0]], photos)
    # The second photo: 240 common pixels, 640 found, 400 true.
    assert scores.pixels.iou == pytest.approx((1 + 240 / 800 + 0) / 3)
    assert (scores.missed, scores.false_alarms) == (1, 1)
    assert scores.ap50 == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert scores.ap75 == pytest.approx(1 / 3)


def test_false_alarms_are_listed_by_photo():
    photos = [np.full((100, 100, 3), number, np.uint8) for number in range(2)]
    found = false_alarms(lambda photo: [region(*EXACT, 0.9)] * int(photo[0, 0, 0]), photos)
    assert [len(regions) for regions in found] == [0, 1]

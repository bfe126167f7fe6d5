from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from unmask.mrcnn import targets as losses
from unmask.mrcnn.config import Config
from unmask.mrcnn.targets import DetectionTargetLayer, build_rpn_targets, match_anchors


class Small(Config):
    NAME = "small"
    RPN_TRAIN_ANCHORS_PER_IMAGE = 8
    TRAIN_ROIS_PER_IMAGE = 12
    ROI_POSITIVE_RATIO = 0.5
    MASK_SHAPE = (4, 4)
    MASK_POOL_SIZE = 2


def array(value: object) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(value))


ANCHORS = np.array(
    [[0, 0, 10, 10], [0, 0, 10, 12], [0, 0, 10, 30], [50, 50, 60, 60], [80, 80, 99, 99]], float
)


def test_anchor_labels_by_hand() -> None:
    match, owner, _ = match_anchors(ANCHORS, np.array([1]), np.array([[0, 0, 10, 10]]))
    assert match.tolist() == [1, 1, 0, -1, -1]
    assert owner.tolist() == [0] * 5


def test_every_object_gets_its_best_anchors_however_poor() -> None:
    boxes = np.array([[55, 55, 75, 75]])
    assert match_anchors(ANCHORS, np.array([1]), boxes)[0].tolist() == [-1, -1, -1, 1, -1]


def test_crowds_are_neither_object_nor_background() -> None:
    boxes = np.array([[0, 0, 10, 10], [45, 45, 70, 70]])
    match, _, kept = match_anchors(ANCHORS, np.array([1, -1]), boxes)
    assert match.tolist() == [1, 1, 0, 0, -1]
    assert len(kept) == 1
    assert match_anchors(ANCHORS, np.array([-1, -1]), boxes)[0].tolist() == [0, 0, 0, 0, -1]


def test_corrections_and_sub_sampling() -> None:
    many = np.concatenate([np.tile(ANCHORS[:1], (20, 1)), np.tile(ANCHORS[3:4], (20, 1))])
    match, deltas = build_rpn_targets(
        (99, 99), many, np.array([1]), np.array([[0, 0, 10, 11]]), Small(), np.random.default_rng(0)
    )
    assert ((match == 1).sum(), (match == -1).sum()) == (4, 4)
    expected = np.array([0, 0.05, 0, np.log(1.1)]) / Small.RPN_BBOX_STD_DEV
    np.testing.assert_allclose(deltas[:4], np.tile(expected, (4, 1)))
    assert not deltas[4:].any()


@pytest.mark.parametrize("boxes", [np.zeros((0, 4)), np.array([[3, 3, 3, 9]])])
def test_no_object_or_one_without_area(boxes: np.ndarray) -> None:
    ids = np.ones(len(boxes), int)
    match, deltas = build_rpn_targets((99, 99), ANCHORS, ids, boxes, Small())
    assert (match <= 0).all()
    assert np.isfinite(deltas).all()


def targets(
    rois: list[list[float]], ids: list[int], boxes: list[list[float]], config: Config | None = None
) -> list[np.ndarray]:
    masks = np.zeros((1, 8, 8, len(ids)), bool)
    masks[:, :4] = True  # the upper half of each box
    inputs = [
        np.array([rois], np.float32), np.array([ids], np.int32),
        np.array([boxes], np.float32), masks,
    ]  # fmt: skip
    layer = DetectionTargetLayer(config or Small(), seed=3)
    return [array(part)[0] for part in layer([ops.convert_to_tensor(i) for i in inputs])]


OBJECT, ELSEWHERE = [0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]


def test_proposals_get_class_correction_and_mask() -> None:
    shifted = [0.1, 0.2, 0.5, 0.6]
    rois, classes, deltas, masks = targets(
        [ELSEWHERE, shifted, [0.0] * 4], [2, 0], [OBJECT, [0.0] * 4]
    )
    np.testing.assert_allclose(rois[:2], [shifted, ELSEWHERE])
    assert classes.tolist() == [2] + [0] * 11
    np.testing.assert_allclose(deltas[0], [0, -0.25 / 0.1, 0, 0], atol=1e-4)
    assert not deltas[1:].any()
    # Upper half inside the object; the last column of points lies outside of it.
    np.testing.assert_array_equal(masks[0], [[1, 1, 1, 0], [1, 1, 1, 0], [0] * 4, [0] * 4])
    assert masks.shape == (6, 4, 4)


def test_background_in_proportion_to_the_objects() -> None:
    rois, classes, _, _ = targets([OBJECT] * 20 + [ELSEWHERE] * 20, [1], [OBJECT])
    assert (classes > 0).sum() == 6
    assert (rois == np.float32(ELSEWHERE)).all(axis=1).sum() == 6
    rois, classes, _, _ = targets([OBJECT] + [ELSEWHERE] * 20, [1], [OBJECT])
    assert ((classes > 0).sum(), (rois.any(axis=1)).sum()) == (1, 2)


def test_without_objects_nothing_is_chosen_unless_asked_for() -> None:
    class Empty(Small):
        TRAIN_EMPTY_IMAGES = True

    zero = [[0.0] * 4]
    rois, classes, deltas, masks = targets([ELSEWHERE] * 20, [0], zero)
    assert [part.any() for part in (rois, classes, deltas, masks)] == [False] * 4
    rois, classes, _, _ = targets([ELSEWHERE] * 20, [0], zero, Empty())
    assert (rois.any(axis=1).sum(), classes.any()) == (6, False)


def test_true_boxes_join_the_proposals_when_asked_for() -> None:
    class Joined(Small):
        TRAIN_GT_ROIS = True

    rois, classes, deltas, _ = targets([ELSEWHERE], [1], [OBJECT], Joined())
    np.testing.assert_allclose(rois[:2], [OBJECT, ELSEWHERE])
    assert classes[0] == 1
    np.testing.assert_allclose(deltas[0], 0, atol=1e-5)


def test_what_lies_in_a_crowd_is_not_background() -> None:
    rois, _, _, _ = targets([OBJECT, ELSEWHERE], [1, -1], [OBJECT, ELSEWHERE])
    assert rois.any(axis=1).sum() == 1


def test_losses_by_hand() -> None:
    match = np.array([[[1], [0], [-1], [1]]])
    logits = np.zeros((1, 4, 2), np.float32)
    assert float(losses.rpn_class_loss_graph(match, logits)) == pytest.approx(np.log(2))
    packed = np.array([[[1, 0, 0, 0], [0, 3, 0, 0], [9, 9, 9, 9]]], np.float32)
    expected = (0.5 * 1 + (3 - 0.5)) / 8
    loss = losses.rpn_bbox_loss_graph(None, packed, match, np.zeros((1, 4, 4), np.float32))
    assert float(loss) == pytest.approx(expected)

    truth = np.array([[1, 0, 2]])
    scores = np.array([[[0, 5, 0], [0, 0, 9], [0, 0, 0]]], np.float32)
    active = np.array([[1, 1, 0]])  # the second answer, class 2, is none that the source knows
    first, last = np.log(2 + np.exp(5)) - 5, np.log(3)
    assert float(losses.mrcnn_class_loss_graph(truth, scores, active)) == pytest.approx(
        (first + last) / 2
    )

    deltas = np.zeros((1, 3, 3, 4), np.float32)
    deltas[0, 0, 2] = 100  # of another class: ignored
    wanted = np.full((1, 3, 4), 0.5, np.float32)
    assert float(losses.mrcnn_bbox_loss_graph(wanted, truth, deltas)) == pytest.approx(0.125)

    maps = np.full((1, 2, 2, 2, 3), 0.25, np.float32)
    ones = np.ones((1, 2, 2, 2), np.float32)
    assert float(losses.mrcnn_mask_loss_graph(ones, truth, maps)) == pytest.approx(-np.log(0.25))


def test_losses_of_nothing_are_zero() -> None:
    none = np.zeros((1, 3), np.int32)
    rois = np.zeros((1, 3, 4), np.float32)
    active = np.array([[1, 0]])
    silent = np.array([[[0, 9], [0, 9], [0, 9]]], np.float32)
    values = [
        losses.rpn_class_loss_graph(none[..., None], np.zeros((1, 3, 2), np.float32)),
        losses.rpn_bbox_loss_graph(None, rois, none[..., None], rois),
        losses.mrcnn_class_loss_graph(none, silent, active),
        losses.mrcnn_bbox_loss_graph(rois, none, np.zeros((1, 3, 2, 4), np.float32)),
        losses.mrcnn_mask_loss_graph(
            np.zeros((1, 2, 4, 4), np.float32), none, np.zeros((1, 2, 4, 4, 2), np.float32)
        ),
    ]
    assert [float(v) for v in values] == [0.0] * 5

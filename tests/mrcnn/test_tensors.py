from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from unmask.mrcnn import boxes as numpy_boxes
from unmask.mrcnn import utils
from unmask.mrcnn.boxes import (
    apply_box_deltas_graph,
    box_refinement_graph,
    overlaps_graph,
    sample_boxes,
    suppress,
    suppress_sorted,
)
from unmask.mrcnn.images import compose_image_meta, parse_image_meta
from unmask.mrcnn.network import DetectionLayer, ProposalLayer, PyramidROIAlign


def array(value: object) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(value))


def random_boxes(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 0.7, (count, 2)), rng.uniform(0.02, 0.3, (count, 2))
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def meta(size: int, window: tuple[int, ...]) -> np.ndarray:
    vector = compose_image_meta(1, (9, 9, 3), (size, size, 3), window, 1.0, [1, 1, 1])
    return vector[None].astype(np.float32)


def test_tensor_and_array_functions_agree() -> None:
    first, second = random_boxes(7), random_boxes(7, seed=1)
    overlaps = array(overlaps_graph(ops.convert_to_tensor(first[None]), second[None]))[0]
    np.testing.assert_allclose(overlaps, numpy_boxes.compute_overlaps(first, second), atol=1e-6)
    deltas = array(
        box_refinement_graph(ops.convert_to_tensor(first), ops.convert_to_tensor(second))
    )
    np.testing.assert_allclose(deltas, utils.box_refinement(first, second), atol=1e-4)
    back = array(
        apply_box_deltas_graph(ops.convert_to_tensor(first), ops.convert_to_tensor(deltas))
    )
    np.testing.assert_allclose(back, second, atol=1e-5)


def test_degenerate_boxes_give_numbers() -> None:
    empty = ops.zeros((1, 4))
    assert np.isfinite(array(box_refinement_graph(empty, empty))).all()
    wild = ops.convert_to_tensor([[0.0, 0.0, 500.0, 500.0]])
    assert np.isfinite(array(apply_box_deltas_graph(ops.ones((1, 4)), wild))).all()


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_suppression_agrees_with_the_plain_one(threshold: float) -> None:
    boxes, scores = random_boxes(60), np.linspace(1, 0.1, 60, dtype=np.float32)
    expected = utils.non_max_suppression(boxes, scores, threshold)[:20]
    groups = np.zeros((1, 60), np.int32)
    given = [ops.convert_to_tensor(v[None]) for v in (boxes, scores)]
    for kept, real in (
        suppress(*given, ops.convert_to_tensor(groups), threshold, 20),
        suppress_sorted(*given, threshold, 20),
    ):
        assert array(kept)[0][array(real)[0]].tolist() == expected.tolist()


def test_groups_do_not_suppress_each_other() -> None:
    boxes = np.tile(np.array([0.1, 0.1, 0.5, 0.5], np.float32), (1, 4, 1))
    scores = np.array([[0.2, 0.9, 0.8, -1.0]], np.float32)
    groups = np.array([[1, 1, 2, 3]], np.int32)
    given = [ops.convert_to_tensor(v) for v in (boxes, scores, groups)]
    kept, real = suppress(*given, 0.3, 3)
    assert array(kept)[0][array(real)[0]].tolist() == [1, 2]


def test_sampling_runs_from_edge_to_edge() -> None:
    """On a map whose value is its own column, what is read is where it was read."""
    table = np.tile(np.arange(9, dtype=np.float32), 5)[:, None]
    ones = np.ones(1, np.int32)
    read = [
        array(
            sample_boxes(
                ops.convert_to_tensor(table), ops.convert_to_tensor(0 * ones),
                ops.convert_to_tensor(5 * ones), ops.convert_to_tensor(9 * ones),
                ops.convert_to_tensor([[0.0, 0.25, 1.0, 1.125]]), 8, clamp=clamp,
            )
        )[0, 3, :, 0]
        for clamp in (True, False)
    ]  # fmt: skip
    np.testing.assert_allclose(read[0], [2, 3, 4, 5, 6, 7, 8, 8])
    np.testing.assert_allclose(read[1], [2, 3, 4, 5, 6, 7, 8, 0])


def test_boxes_are_read_from_the_level_of_their_size() -> None:
    """Levels filled with their number tell which one was read; empty boxes read P2."""
    maps = [np.full((1, 64 >> i, 64 >> i, 1), i + 2, np.float32) for i in range(4)]
    sides = np.array([0.0, 0.1, 112 / 256, 224 / 256, 1.0])
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=1)[None].astype(np.float32)
    layer = PyramidROIAlign(3)
    pooled = array(layer([boxes, meta(256, (0, 0, 256, 256)), *maps]))
    assert pooled.shape == (1, 5, 3, 3, 1)
    assert pooled[0, :, 1, 1, 0].tolist() == [2, 2, 3, 4, 4]


def test_each_image_of_a_batch_is_read_from_its_own_map() -> None:
    maps = [np.stack([np.full((s, s, 2), n, np.float32) for n in (5, 6)]) for s in (16, 8, 4, 2)]
    boxes = np.tile(np.array([0.2, 0.2, 0.6, 0.9], np.float32), (2, 3, 1))
    both = np.repeat(meta(64, (0, 0, 64, 64)), 2, axis=0)
    pooled = array(PyramidROIAlign(2)([boxes, both, *maps]))
    assert [set(pooled[i].ravel().tolist()) for i in (0, 1)] == [{5.0}, {6.0}]


def test_proposals_are_padded_to_a_fixed_number() -> None:
    anchors = random_boxes(5)[None]
    scores = np.array([0.1, 0.9, 0.5, 0.3, 0.2], np.float32)
    both = np.stack([1 - scores, scores], axis=-1)[None]
    layer = ProposalLayer(8, 1.0, 3, [0.1, 0.1, 0.2, 0.2])
    rois = array(layer([both, np.zeros((1, 5, 4), np.float32), anchors]))
    assert rois.shape == (1, 8, 4)
    np.testing.assert_allclose(rois[0, :3], anchors[0, [1, 2, 3]], atol=1e-6)
    assert not rois[0, 3:].any()


def test_detections_by_hand() -> None:
    """Two classes, one unsure box, one double, one background, one across the window's edge."""
    rois = np.array(
        [[0.1, 0.1, 0.4, 0.4], [0.1, 0.1, 0.4, 0.41], [0.5, 0.5, 0.9, 0.9], [0.1, 0.6, 0.3, 0.8],
         [0.0, 0.0, 1.0, 1.0]], np.float32,
    )[None]  # fmt: skip
    probabilities = np.array(
        [[0.0, 0.8, 0.2], [0.0, 0.9, 0.1], [0.3, 0.1, 0.6], [0.9, 0.05, 0.05], [0.4, 0.3, 0.3]],
        np.float32,
    )[None]
    deltas = np.zeros((1, 5, 3, 4), np.float32)
    deltas[0, 2, 2, 0] = 2.5  # a quarter of a height down, of class 2 alone
    layer = DetectionLayer(4, 0.5, 0.3, [0.1, 0.1, 0.2, 0.2])
    found = array(layer([rois, probabilities, deltas, meta(101, (0, 0, 96, 101))]))[0]
    np.testing.assert_allclose(found[0], [0.1, 0.1, 0.4, 0.41, 1, 0.9], atol=1e-6)
    np.testing.assert_allclose(found[1], [0.6, 0.5, 0.95, 0.9, 2, 0.6], atol=1e-6)
    assert not found[2:].any()


def test_image_vector_and_back() -> None:
    parts = parse_image_meta(meta(64, (1, 2, 63, 62)))
    assert parts["image_shape"].tolist() == [[64, 64, 3]]
    assert parts["window"].tolist() == [[1, 2, 63, 62]]
    assert parts["active_class_ids"].tolist() == [[1, 1, 1]]

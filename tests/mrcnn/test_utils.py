from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unmask.errors import DataError
from unmask.mrcnn import utils


def test_boxes_of_masks_of_any_type() -> None:
    mask = np.zeros((10, 12, 3), np.int32)
    mask[2:5, 3:9, 0] = 7
    mask[9, 11, 1] = 1
    assert utils.extract_bboxes(mask).tolist() == [[2, 3, 5, 9], [9, 11, 10, 12], [0, 0, 0, 0]]


def test_overlaps_of_boxes_by_hand() -> None:
    overlaps = utils.compute_overlaps([[0, 0, 4, 4], [0, 0, 0, 0]], [[0, 2, 4, 6], [0, 0, 0, 0]])
    np.testing.assert_allclose(overlaps, [[8 / 24, 0], [0, 0]])


def test_overlaps_of_masks_by_hand() -> None:
    first, second = np.zeros((4, 4, 1), bool), np.zeros((4, 4, 2), bool)
    first[:2] = True
    second[1:3, :, 0] = True
    np.testing.assert_allclose(utils.compute_overlaps_masks(first, second), [[4 / 12, 0]])
    assert utils.compute_overlaps_masks(first[..., :0], second).shape == (0, 2)


def test_suppression_keeps_the_best() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [0, 0, 0, 0]], float)
    kept = utils.non_max_suppression(boxes, np.array([0.5, 0.9, 0.1, 0.3]), 0.3)
    assert kept.tolist() == [1, 3, 2]


def test_box_coding_by_hand_and_back() -> None:
    boxes, targets = np.array([[0.0, 0, 10, 20]]), np.array([[5.0, 10, 25, 20]])
    deltas = utils.box_refinement(boxes, targets)
    np.testing.assert_allclose(deltas, [[1.0, 0.25, np.log(2), np.log(0.5)]], rtol=1e-6)
    np.testing.assert_allclose(utils.apply_box_deltas(boxes, deltas), targets, rtol=1e-5)


def test_normalised_boxes_survive_integers() -> None:
    assert utils.norm_boxes(np.array([0, 0, 480, 640]), (480, 640)).tolist() == [0, 0, 1, 1]
    boxes = np.array([[10, 20, 31, 47], [0, 0, 480, 640]])
    back = utils.denorm_boxes(utils.norm_boxes(boxes, (480, 640)), (480, 640))
    np.testing.assert_array_equal(back, boxes)


def test_anchors_of_the_published_size() -> None:
    shapes = [(256 >> i, 256 >> i) for i in range(5)]
    anchors = utils.generate_pyramid_anchors(
        (32, 64, 128, 256, 512), [0.5, 1, 2], shapes, [4, 8, 16, 32, 64], 1
    )
    assert anchors.shape == (261_888, 4)
    root = np.sqrt(0.5)
    expected = [
        [-16 / root, -16 * root, 16 / root, 16 * root],
        [-16, -16, 16, 16],
        [-16 * root, -16 / root, 16 * root, 16 / root],
    ]
    np.testing.assert_allclose(anchors[:3], expected)
    np.testing.assert_allclose(anchors[3], anchors[0] + [0, 4, 0, 4])


def test_anchors_at_every_other_cell() -> None:
    anchors = utils.generate_anchors(8, [1], (4, 4), 4, 2)
    assert (anchors[:, 0] + 4).tolist() == [0, 0, 8, 8]


@pytest.mark.parametrize(
    ("mode", "shape", "window"),
    [
        ("square", (128, 128, 3), (32, 0, 96, 128)),
        ("pad64", (64, 128, 3), (0, 0, 64, 128)),
        ("crop", (64, 64, 3), (0, 0, 64, 64)),
        ("none", (40, 80, 3), (0, 0, 40, 80)),
    ],
)
def test_resize_modes(mode: str, shape: tuple[int, ...], window: tuple[int, ...]) -> None:
    image = np.full((40, 80, 3), 200, np.uint8)
    mask = np.ones((40, 80, 2), bool)
    resized, found, scale, padding, crop = utils.resize_image(
        image, min_dim=64, max_dim=128, mode=mode, rng=np.random.default_rng(0)
    )
    assert (resized.shape, resized.dtype, found) == (shape, np.uint8, window)
    assert scale == (1.0 if mode == "none" else 1.6)
    masks = utils.resize_mask(mask, scale, padding, crop)
    assert masks.shape[:2] == resized.shape[:2]
    y1, x1, y2, x2 = window
    assert masks[y1:y2, x1:x2].all()
    assert not resized[:y1].any()
    assert utils.resize_mask(mask[..., :0], scale, padding, crop).shape == (*shape[:2], 0)


def test_resizing_is_limited_and_rounds_down() -> None:
    image = np.full((100, 400, 3), 255, np.uint8)
    resized, window, scale, _, _ = utils.resize_image(image, 200, 256, mode="square")
    assert (resized.shape, window, scale) == ((256, 256, 3), (96, 0, 160, 256), 0.64)
    small = np.array([[[0], [1]]], np.uint8)
    assert utils.resize_image(small, min_scale=2, max_dim=4)[0][1:3].max() == 0


@pytest.mark.parametrize(
    ("mode", "sizes"), [("square", {}), ("pad64", {"min_dim": 100}), ("crop", {}), ("wild", {})]
)
def test_resize_mode_without_its_sizes(mode: str, sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="mode"):
        utils.resize_image(np.zeros((8, 8, 3)), mode=mode, **sizes)


def test_resizing_has_the_ranges_of_scikit_image() -> None:
    image = np.full((4, 4, 3), 255, np.uint8)
    assert utils.resize(image, (4, 4)).max() == 1.0
    assert utils.resize(image, (8, 8), preserve_range=True).max() == 255.0
    assert utils.resize(image > 0, (8, 8), order=0).max() == 1.0


def test_a_strip_keeps_a_row_and_its_mask_too() -> None:
    strip = np.full((1, 500, 3), 9, np.uint8)
    image, window, scale, padding, crop = utils.resize_image(strip, max_dim=64)
    assert window == (31, 0, 32, 64)
    mask = utils.resize_mask(np.ones((1, 500, 2), bool), scale, padding, crop)
    assert (image.shape, mask.shape, mask.sum()) == ((64, 64, 3), (64, 64, 2), 128)


def test_mini_masks_and_whole_ones_do_not_meet() -> None:
    with pytest.raises(ValueError, match=r"expand_mask.*\(64, 64, 1\) and \(56, 56, 1\)"):
        utils.compute_overlaps_masks(np.ones((64, 64, 1)), np.ones((56, 56, 1)))


def test_mini_masks_and_back() -> None:
    y, x = np.mgrid[:100, :120]
    mask = (((y - 50) / 30) ** 2 + ((x - 60) / 45) ** 2 <= 1)[..., None]
    boxes = utils.extract_bboxes(mask)
    small = utils.minimize_mask(boxes, mask, (56, 56))
    back = utils.expand_mask(boxes, small, (100, 120))
    assert (small.shape, small.dtype) == ((56, 56, 1), bool)
    assert utils.compute_overlaps_masks(mask, back)[0, 0] > 0.96


def test_a_box_without_area_is_an_error() -> None:
    with pytest.raises(DataError, match="area of zero"):
        utils.minimize_mask([[3, 3, 3, 9]], np.zeros((10, 10, 1), bool), (8, 8))


def test_average_precision_by_hand() -> None:
    masks = np.zeros((10, 10, 3), bool)
    for i in range(3):
        masks[3 * i : 3 * i + 2, :, i] = True
    boxes = utils.extract_bboxes(masks)
    ones = np.ones(2, np.int32)
    # Best first: a hit, a false alarm, the other hit.
    order, scores = [0, 2, 1], np.array([0.9, 0.8, 0.7])
    value, precisions, recalls, overlaps = utils.compute_ap(
        boxes[:2], ones, masks[..., :2],
        boxes[order], np.ones(3, np.int32), scores, masks[..., order],
    )  # fmt: skip
    assert value == pytest.approx(0.5 + 0.5 * 2 / 3)
    np.testing.assert_allclose(recalls, [0, 0.5, 0.5, 1, 1])
    np.testing.assert_allclose(precisions, [1, 1, 2 / 3, 2 / 3, 0])
    assert overlaps.shape == (3, 2)


def test_an_object_is_matched_once() -> None:
    mask = np.ones((4, 4, 1), bool)
    twice = np.repeat(mask, 2, axis=-1)
    boxes = utils.extract_bboxes(twice)
    gt, pred, _ = utils.compute_matches(
        boxes[:1], np.array([1]), mask, boxes, np.array([1, 1]), np.array([0.2, 0.9]), twice
    )
    assert (gt.tolist(), pred.tolist()) == ([0], [0, -1])
    gt, pred, _ = utils.compute_matches(
        boxes[:1], np.array([1]), mask, boxes[:1], np.array([2]), np.array([0.9]), mask
    )
    assert (gt.tolist(), pred.tolist()) == ([-1], [-1])


def test_precision_of_nothing() -> None:
    boxes, ids, masks = np.zeros((0, 4)), np.zeros(0, int), np.zeros((4, 4, 0), bool)
    some = np.array([[0, 0, 4, 4]]), np.array([1]), np.array([0.9]), np.ones((4, 4, 1), bool)
    nothing = utils.compute_ap(boxes, ids, masks, boxes, ids, np.zeros(0), masks)[0]
    alarm = utils.compute_ap(boxes, ids, masks, *some)[0]
    missed = utils.compute_ap(some[0], some[1], some[3], boxes, ids, np.zeros(0), masks)[0]
    assert (nothing, alarm, missed) == (1.0, 0.0, 0.0)


def test_precision_over_a_range_of_overlaps() -> None:
    truth, found = np.zeros((10, 10, 1), bool), np.zeros((10, 10, 1), bool)
    truth[:], found[:7] = True, True  # an overlap of 0.7
    box, one = np.array([[0, 0, 10, 10]]), np.array([1])
    value = utils.compute_ap_range(box, one, truth, box, one, np.array([0.5]), found, verbose=0)
    assert value == pytest.approx(0.4, abs=0.11)


def test_recall() -> None:
    recall, hits = utils.compute_recall(
        np.array([[0, 0, 10, 9], [50, 50, 60, 60]]),
        np.array([[0, 0, 10, 10], [20, 20, 30, 30]]),
        0.5,
    )
    assert (recall, hits.tolist()) == (0.5, [0])
    assert utils.compute_recall(np.zeros((0, 4)), np.zeros((1, 4)), 0.5)[0] == 0.0


class TestDataset:
    def test_numbers_of_several_sources(self) -> None:
        data = utils.Dataset()
        data.add_class("a", 3, "cat,feline")
        data.add_class("b", 3, "dog")
        data.add_class("a", 3, "cat again")
        data.add_image("b", "x1", "x1.png", width=4)
        data.prepare()
        assert data.class_names == ["BG", "cat", "dog"]
        assert data.map_source_class_id("b.3") == 2
        assert data.get_source_class_id(2, "b") == 3
        assert data.source_class_ids == {"": [0], "a": [0, 1], "b": [0, 2]}
        assert data.image_from_source_map == {"b.x1": 0}
        assert data.source_image_link(0) == "x1.png"
        assert data.image_reference(0) == ""

    def test_a_dot_in_a_source(self) -> None:
        with pytest.raises(ValueError, match="dot"):
            utils.Dataset().add_class("a.b", 1, "x")

    def test_forgotten_prepare(self) -> None:
        data = utils.Dataset()
        data.add_image("a", 1, "x.png")
        assert data.image_ids.tolist() == [0]
        with pytest.raises(DataError, match="prepare"):
            data.check_prepared()

    def test_grey_and_transparent_images_become_rgb(self, tmp_path: Path) -> None:
        data = utils.Dataset()
        for mode in ("L", "RGBA"):
            Image.new(mode, (6, 5)).save(tmp_path / f"{mode}.png")
            data.add_image("a", mode, tmp_path / f"{mode}.png")
        data.prepare()
        assert [data.load_image(i).shape for i in data.image_ids] == [(5, 6, 3)] * 2
        masks, classes = data.load_mask(0)
        assert (masks.shape, len(classes)) == ((5, 6, 0), 0)

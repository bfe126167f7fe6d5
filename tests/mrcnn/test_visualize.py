from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest

from unmask.mrcnn import utils, visualize


@pytest.fixture(autouse=True)
def _closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    image = np.full((40, 50, 3), 100, np.uint8)
    masks = np.zeros((40, 50, 2), bool)
    masks[5:15, 5:20, 0] = True
    masks[20:40, 30:50, 1] = True
    return image, utils.extract_bboxes(masks), masks, np.array([1, 2])


NAMES = ["BG", "cat", "dog"]


def test_colours_differ() -> None:
    colours = visualize.random_colors(5, seed=1)
    assert len(set(colours)) == 5
    assert max(max(c) for c in visualize.random_colors(5, bright=False)) == pytest.approx(0.7)


def test_tinting_changes_the_mask_alone() -> None:
    image, mask = np.full((4, 4, 3), 100, np.uint8), np.zeros((4, 4), bool)
    mask[1, 1] = True
    assert visualize.apply_mask(image, mask, (1.0, 0.0, 0.0))[1, 1].tolist() == [177, 50, 50]
    assert (image[~mask] == 100).all()


def test_instances(scene: tuple[np.ndarray, ...]) -> None:
    image, boxes, masks, ids = scene
    _, ax = plt.subplots()
    visualize.display_instances(image, boxes, masks, ids, NAMES, np.array([0.5, 0.25]), ax=ax)
    assert [text.get_text() for text in ax.texts] == ["cat 0.500", "dog 0.250"]
    drawn = ax.images[0].get_array()
    assert (drawn[~masks.any(-1)] == 100).all()
    assert (drawn[masks.any(-1)] != 100).any()
    assert (image == 100).all()
    assert len(ax.patches) == 4  # a box and an outline each
    _, ax = plt.subplots()
    visualize.display_instances(
        image, boxes, masks, ids, NAMES, ax=ax, show_bbox=False, show_mask=False
    )
    assert len(ax.patches) == 2
    assert (ax.images[0].get_array() == 100).all()


def test_no_instances(capsys: pytest.CaptureFixture[str]) -> None:
    empty = np.zeros((0, 4)), np.zeros((8, 8, 0)), np.zeros(0, int)
    visualize.display_instances(np.zeros((8, 8, 3), np.uint8), *empty, NAMES)
    visualize.display_instances(np.zeros((8, 8, 3), np.uint8), empty[0], None, empty[2], NAMES)
    assert "*** No instances to display ***" in capsys.readouterr().out


def test_arrays_that_do_not_belong_together(scene: tuple[np.ndarray, ...]) -> None:
    image, boxes, masks, ids = scene
    with pytest.raises(ValueError, match="2, 2 and 1"):
        visualize.display_instances(image, boxes, masks, ids[:1], NAMES)


def test_differences_name_what_is_wrong(scene: tuple[np.ndarray, ...]) -> None:
    image, boxes, masks, ids = scene
    _, ax = plt.subplots()
    visualize.display_differences(
        image, boxes, ids, masks, boxes[::-1], np.array([2, 2]), np.array([0.6, 0.9]),
        masks[..., ::-1], NAMES, ax=ax,
    )  # fmt: skip
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["", "", "0.90 / 1.00 wrong", "0.60 / 1.00"]


def test_the_rest_draws(scene: tuple[np.ndarray, ...]) -> None:
    image, boxes, masks, ids = scene
    visualize.display_top_masks(image, masks, ids, NAMES)
    titles = [ax.get_title() for ax in plt.gcf().axes]
    assert titles == ["H x W = 40 x 50", "dog", "cat"]
    visualize.draw_rois(image, boxes - 1, boxes, np.ones((2, 28, 28)), ids, NAMES)
    visualize.draw_boxes(image, boxes, boxes + 1, masks, ["a", "b"], [0, 2], title="both")
    assert plt.gca().get_title() == "both"
    overlaps = utils.compute_overlaps_masks(masks, masks)
    visualize.plot_overlaps(ids, ids[::-1], np.array([0.5, 0.4]), overlaps, NAMES)
    notes = [text.get_text() for text in plt.gca().texts]
    assert notes == ["1.000\nwrong", "0.000\n", "0.000\n", "1.000\nwrong"]
    visualize.plot_precision_recall(0.5, np.array([1, 0.5]), np.array([0, 1]))
    assert "0.500" in plt.gca().get_title()


def test_weight_table(capsys: pytest.CaptureFixture[str], detector: object) -> None:
    visualize.display_weight_stats(detector)  # type: ignore[arg-type]
    printed = capsys.readouterr().out
    assert "WEIGHT NAME" in printed or "HTML" in printed


def test_a_box_is_drawn_in_place() -> None:
    image = np.zeros((10, 12, 3), np.uint8)
    assert visualize.draw_box(image, (2, 3, 7, 9), (255, 0, 0)) is image
    drawn = image[..., 0] > 0
    assert drawn[2:4, 3:9].all()
    assert drawn[2:7, 9:11].all()
    assert not drawn[4:7, 5:9].any()


def test_mini_masks_are_refused(
    scene: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    image, boxes, masks, ids = scene
    mini = utils.minimize_mask(boxes, masks, (28, 28))
    with pytest.raises(ValueError, match=r"expand_mask.*\(40, 50, 3\), mask \(28, 28\)"):
        visualize.display_instances(image, boxes, mini, ids, ["BG", "a", "b"])

import numpy as np
import pytest

from unmask.segmentation.regions import find_regions, overlap


def probability(*boxes, size=64, value=0.9):
    out = np.zeros((size, size), np.float32)
    for x0, y0, x1, y1 in boxes:
        out[y0:y1, x0:x1] = value
    return out


def test_a_box_comes_back_at_the_photos_size():
    (region,) = find_regions(probability((8, 16, 24, 40)), (128, 128))
    # 0.9 falls to 0 between two pixels of the map, the threshold lies almost in the middle.
    np.testing.assert_allclose(region.box, (16, 32, 48, 80), atol=1)
    assert region.score == pytest.approx(0.9)
    assert region.mask.shape == (128, 128)
    assert region.mask.sum() == region.area


def test_stretched_photos_keep_their_shape():
    (region,) = find_regions(probability((8, 16, 24, 40)), (64, 640))
    np.testing.assert_allclose(region.box, (80, 16, 240, 40), atol=5)
    assert region.mask.shape == (64, 640)


def test_holes_and_divided_pieces_belong_to_one_mask():
    field = probability((10, 10, 50, 40))
    field[20:25, 20:25] = 0
    field[34, :] = 0  # a gap that cuts a lower strip off
    (region,) = find_regions(field, (64, 64))
    assert region.mask[22, 22]
    assert region.mask[38, 30]


def test_two_masks_of_similar_size_stay_two():
    regions = find_regions(probability((4, 10, 28, 30), (30, 10, 54, 29)), (64, 64))
    assert len(regions) == 2
    assert regions[0].area > regions[1].area


@pytest.mark.parametrize(
    "field", [probability((3, 3, 6, 6)), probability((8, 8, 40, 40), value=0.55), probability()]
)
def test_tiny_unsure_and_absent_masks_are_dropped(field):
    assert find_regions(field, (64, 64)) == []


def test_overlap_of_boxes():
    left, right = find_regions(probability((0, 0, 20, 20), (30, 0, 50, 19)), (64, 64))
    assert overlap(left, left) == 1
    assert overlap(left, right) == 0

import numpy as np
import pytest

from unmask.segmentation.regions import find_regions, overlap, regions_of_mask


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


def ellipse(centre, radii, shape=(80, 160)):
    rows, columns = np.indices(shape)
    return ((columns - centre[0]) / radii[0]) ** 2 + ((rows - centre[1]) / radii[1]) ** 2 <= 1


def found(mask):
    return find_regions(np.where(mask, 0.9, 0.1).astype(np.float32), mask.shape)


def test_masks_that_touch_are_two():
    left, right = ellipse((40, 40), (25, 20)), ellipse((86, 46), (25, 20))
    regions = found(left | right)
    assert len(regions) == 2
    for region, own, other in zip(
        sorted(regions, key=lambda r: r.box[0]), (left, right), (right, left), strict=True
    ):
        assert (region.mask & own).sum() > 0.97 * own.sum()
        assert (region.mask & other & ~own).sum() < 0.03 * other.sum()


def test_three_masks_in_a_row_are_three_whatever_their_necks():
    row = [ellipse((x, 40), (21, 24)) for x in (30, 66, 107)]
    regions = found(row[0] | row[1] | row[2])
    assert [round(np.mean(r.box[::2]) / 10) for r in sorted(regions, key=lambda r: r.box)] == [
        3,
        7,
        11,
    ]


def test_one_mask_with_loops_a_valve_and_a_waist_stays_one():
    mask = ellipse((80, 40), (40, 25))
    mask[38:41, 10:45] = True  # a loop
    mask &= ~ellipse((95, 42), (6, 6))
    assert len(found(mask)) == 1
    # Two thirds of the width is a shape that masks have; the chin below the nose, for one.
    waist = ellipse((60, 40), (30, 28)) | ellipse((92, 40), (30, 28))
    assert len(found(waist)) == 1


@pytest.mark.parametrize(
    "field", [probability((3, 3, 6, 6)), probability((8, 8, 40, 40), value=0.55), probability()]
)
def test_tiny_unsure_and_absent_masks_are_dropped(field):
    assert find_regions(field, (64, 64)) == []


def test_overlap_of_boxes():
    left, right = find_regions(probability((0, 0, 20, 20), (30, 0, 50, 19)), (64, 64))
    assert overlap(left, left) == 1
    assert overlap(left, right) == 0


def test_a_given_mask_comes_back_to_the_pixel():
    mask = np.zeros((80, 300), bool)
    mask[20:60, 30:90] = True
    mask[0:15, 280:300] = True
    mask[30:34, 50:54] = False
    first, second = regions_of_mask(mask)
    assert first.box == (30, 20, 90, 60)
    assert second.box == (280, 0, 300, 15)
    mask[30:34, 50:54] = True  # holes are filled
    np.testing.assert_array_equal(first.mask | second.mask, mask)
    assert first.score == 1


def test_specks_and_noise_are_no_faces():
    specks = np.zeros((200, 200), bool)
    specks[np.ix_(np.arange(200) % 40 < 5, np.arange(200) % 40 < 5)] = True
    assert regions_of_mask(specks) == []
    specks[100:160, 20:100] = True
    assert len(regions_of_mask(specks)) == 1
    blocks = np.zeros((600, 900), bool)
    blocks[np.ix_(np.arange(600) % 30 < 15, np.arange(900) % 30 < 15)] = True
    assert len(regions_of_mask(blocks)) == 64
    noise = np.random.default_rng(0).random((400, 400)) < 0.5
    assert len(regions_of_mask(noise)) <= 64

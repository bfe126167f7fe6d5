import keras
import numpy as np
import pytest

from unmask.segmentation.finder import find_masks, probability_map, segment_crops
from unmask.segmentation.lite import build_unet


def photo_with_blue(height, width, box):
    photo = np.full((height, width, 3), 120, np.uint8)
    x0, y0, x1, y1 = box
    photo[y0:y1, x0:x1] = (0, 0, 255)
    return photo


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (64, 64, (20, 30, 50, 55)),
        (64, 400, (300, 10, 340, 50)),
        (700, 300, (50, 500, 200, 600)),
        (3000, 4000, (1000, 900, 2000, 1800)),
    ],
)
def test_masks_are_found_at_their_place_in_photos_of_any_size(blue_network, height, width, box):
    (region,) = find_masks(blue_network, photo_with_blue(height, width, box))
    tolerance = 1.5 * max(1, max(height, width) / 320)
    np.testing.assert_allclose(region.box, box, atol=tolerance)
    assert region.mask.shape == (height, width)
    assert region.score > 0.9


def test_small_masks_get_a_second_look(blue_network):
    photo = photo_with_blue(1280, 1280, (600, 600, 616, 616))
    assert find_masks(blue_network, photo, twice=False) == []
    (region,) = find_masks(blue_network, photo)
    np.testing.assert_allclose(region.box, (600, 600, 616, 616), atol=3)


def test_nothing_is_found_where_nothing_is(blue_network):
    assert find_masks(blue_network, np.zeros((90, 1000, 3), np.uint8)) == []


def test_one_pixel_high_photo(blue_network):
    assert find_masks(blue_network, np.zeros((1, 900, 3), np.uint8)) == []


def test_largest_mask_comes_first(blue_network):
    photo = photo_with_blue(300, 300, (10, 10, 60, 60))
    photo[100:250, 100:250] = (0, 0, 255)
    boxes = [region.box for region in find_masks(blue_network, photo)]
    assert [box[0] > 90 for box in boxes] == [True, False]


def test_crops_keep_their_order_across_batches(blue_network):
    crops = np.zeros((11, 32, 64, 3), np.uint8)
    crops[9] = (0, 0, 255)
    out = segment_crops(blue_network, crops)
    assert out.dtype == np.float32
    assert np.flatnonzero(out.mean((1, 2)) > 0.5).tolist() == [9]


def test_padding_is_cut_off(blue_network):
    assert probability_map(blue_network, np.zeros((100, 200, 3), np.uint8), 64).shape == (32, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"photo": np.zeros((8, 8), np.uint8)}, "photo must be"),
        ({"photo": np.zeros((8, 8, 3), np.float32)}, "dtype=float32"),
        ({"threshold": 1.0}, "threshold must be"),
    ],
)
def test_wrong_arguments(blue_network, arguments, message):
    given = {"photo": np.zeros((64, 64, 3), np.uint8)} | arguments
    with pytest.raises(ValueError, match=message):
        find_masks(blue_network, **given)


def test_wrong_crops(blue_network):
    with pytest.raises(ValueError, match="multiples of 32"):
        segment_crops(blue_network, np.zeros((1, 250, 250, 3), np.uint8))


def test_the_mean_over_the_mirror_image_is_mirrored_with_the_photo():
    keras.utils.set_random_seed(3)
    model = build_unet((8, 8, 8, 8, 8), (1, 1, 1, 1, 1))
    crops = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
    flipped = np.ascontiguousarray(crops[:, :, ::-1])
    once = segment_crops(model, crops)
    assert np.abs(once - segment_crops(model, flipped)[:, :, ::-1]).max() > 1e-3
    both = segment_crops(model, crops, mirror=True)
    np.testing.assert_allclose(
        both, segment_crops(model, flipped, mirror=True)[:, :, ::-1], atol=1e-6
    )
    np.testing.assert_allclose(
        both, (once + segment_crops(model, flipped)[:, :, ::-1]) / 2, atol=1e-6
    )

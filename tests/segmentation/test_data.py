import numpy as np
import pytest

from unmask.errors import DataError
from unmask.segmentation.augment import photometric
from unmask.segmentation.data import MaskDataset, build_composer, read_faces
from unmask.segmentation.scenes import SceneComposer, SceneMix
from unmask.segmentation.sources import (
    FacePool,
    focus_of_mask,
    labelme_examples,
    png_examples,
)


@pytest.fixture(scope="module")
def composer(data_folder):
    return build_composer(data_folder, seed=3)


def composer_with(data_folder, **mix):
    return SceneComposer(
        labelme_examples(data_folder / "masks_labelme", "train"),
        png_examples(data_folder / "mask_segmentation", "train"),
        FacePool(read_faces(data_folder, "train"), seed=0),
        mix=SceneMix(**mix),
    )


def test_splits_are_kept_apart(data_folder):
    folder = data_folder / "masks_labelme"
    assert [e.name for e in labelme_examples(folder, "train")] == ["b0.json", "b1.json"]
    assert [e.name for e in labelme_examples(folder, "val")] == ["b2.json"]
    pairs = data_folder / "mask_segmentation"
    assert [e.name for e in png_examples(pairs, "val")] == ["0.png"]
    training = [e.name for e in png_examples(pairs, "train")]
    assert [e.name for e in png_examples(pairs, None)] == ["0.png", *training]
    assert len(read_faces(data_folder, "train")) == 3
    assert len(read_faces(data_folder, "train", per_folder=2)) == 2


def test_labels_become_masks(data_folder):
    (photo,) = labelme_examples(data_folder / "masks_labelme", "val")
    (pair,) = png_examples(data_folder / "mask_segmentation", "val")
    for example in (photo, pair):
        assert example.mask.dtype == np.uint8
        # A polygon's outline belongs to it: one row and one column more.
        assert int(example.mask.sum()) in (60 * 90, 61 * 91)
        assert example.mask[150, 150] == 1


def test_further_photos_count_like_the_labelled_ones(data_folder):
    pairs = data_folder / "mask_segmentation"
    more = build_composer(data_folder, seed=3, further=[pairs])
    plain = build_composer(data_folder, seed=3)
    scenes = [[c.scene(i, 64)[0] for i in range(12)] for c in (plain, more)]
    assert any((a != b).any() for a, b in zip(*scenes, strict=True))
    with pytest.raises(DataError, match="has neither images/ and masks/"):
        build_composer(data_folder, seed=3, further=[data_folder])


def test_face_square_from_a_mask():
    mask = np.zeros((100, 100), bool)
    mask[50:70, 30:60] = True
    x, y, side = focus_of_mask(mask)
    assert (x, side) == (45, 45)
    assert 40 < y < 60


def test_synthetic_masks_leave_the_pool_unchanged(data_folder):
    pool = FacePool(read_faces(data_folder, "train"), seed=0)
    before = pool.plain(0)[0].image.copy()
    worn = pool.masked(0, 5)
    np.testing.assert_array_equal(pool.plain(0)[0].image, before)
    assert worn.mask.any()
    changed = (worn.image != before).any(-1)
    assert changed[worn.mask > 0].mean() > 0.9


def test_scenes_depend_on_seed_and_index_alone(composer):
    first = composer.scene(7, 96)
    composer.scene(8, 96)
    again = composer.scene(7, 96)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != composer.scene(9, 96)[0]).any()


def test_scenes_of_every_kind_are_valid(composer):
    for index in range(60):
        image, mask = composer.scene(index, 64)
        assert (image.shape, image.dtype) == ((64, 64, 3), np.uint8)
        assert (mask.shape, mask.dtype) == ((64, 64), np.uint8)
        assert set(np.unique(mask)) <= {0, 1}


def test_scenes_without_masks_have_none(data_folder):
    composer = composer_with(data_folder, real=0, single=1, group=0, masked=0)
    assert not any(composer.scene(i, 64)[1].any() for i in range(30))


def test_labelled_photos_show_their_mask(data_folder):
    composer = composer_with(data_folder, real=1, single=0, group=0)
    areas = [composer.scene(i, 96)[1].mean() for i in range(40)]
    assert np.mean([area > 0.01 for area in areas]) > 0.9


def test_photometric_changes_keep_shape_and_input():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    before = image.copy()
    for _ in range(30):
        changed = photometric(image, rng)
        assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, before)


def test_batches_change_size_and_epochs_continue(composer):
    dataset = MaskDataset(composer, steps=3, shapes=((64, 3), (96, 2)))
    assert [dataset[i][0].shape for i in range(3)] == [
        (3, 64, 64, 3),
        (2, 96, 96, 3),
        (3, 64, 64, 3),
    ]
    dataset.on_epoch_end()
    resumed = MaskDataset(composer, steps=3, shapes=((64, 3), (96, 2)), first_epoch=1)
    np.testing.assert_array_equal(dataset[0][0], resumed[0][0])
    images, masks = dataset[0]
    assert images.max() <= 1
    assert masks.shape == (2, 96, 96, 1)


def test_first_two_shapes_must_differ(composer):
    with pytest.raises(ValueError, match="must differ"):
        MaskDataset(composer, steps=1, shapes=((64, 2), (64, 3)))

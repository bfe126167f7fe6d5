import pickle

import numpy as np
import pytest
from PIL import Image

from unmask.data.faces import gather_faces
from unmask.data.photometric import photometric
from unmask.data.record import FaceSet
from unmask.errors import DataError
from unmask.segmentation.data import (
    FacePool,
    focus_of_mask,
    gather_photos,
    read_examples,
    validation_photos,
)
from unmask.segmentation.scenes import (
    SceneMix,
    SceneRecipe,
    SceneSampler,
    compose_scenes,
)

PHOTOS = {"masks_labelme": 1.0, "mask_segmentation": 0.25}


def recipe(**changes):
    settings = {"photos": PHOTOS, "faces": {"faces_wide": 1.0}, "seed": 3, **changes}
    return SceneRecipe(task="segmentation", steps=1, **settings)


@pytest.fixture(scope="module")
def composer(data_folder):
    return compose_scenes([data_folder], recipe())


def composer_with(data_folder, **mix):
    return compose_scenes([data_folder], recipe(mix=SceneMix(**mix)))


def face_pool(data_folder):
    return FacePool(gather_faces([data_folder], {"faces_wide": 1.0}, split="train"), seed=0)


def test_splits_are_kept_apart(data_folder):
    folder = data_folder / "masks_labelme"
    assert [e.name for e in read_examples(folder, "train")] == ["b0.json", "b1.json"]
    assert [e.name for e in read_examples(folder, "val")] == ["b2.json"]
    pairs = data_folder / "mask_segmentation"
    assert [e.name for e in read_examples(pairs, "val")] == ["0.png"]
    training = [e.name for e in read_examples(pairs, "train")]
    assert [e.name for e in read_examples(pairs, None)] == ["0.png", *training]


def test_photos_come_by_name_or_path_and_the_first_folder_validates(data_folder, tmp_path):
    pairs = str(data_folder / "mask_segmentation")
    photos = gather_photos([tmp_path, data_folder], {"masks_labelme": 1, pairs: 0.5}, "train")
    assert [e.name for e in photos.examples] == ["b0.json", "b1.json", "1.png", "2.png"]
    assert photos.weights.tolist() == [1, 1, 0.5, 0.5]
    assert [e.name for e in validation_photos([data_folder], PHOTOS)] == ["b2.json"]
    without = {"masks_labelme": 0.0, "mask_segmentation": 1.0}
    assert [e.name for e in validation_photos([data_folder], without)] == ["0.png"]
    with pytest.raises(DataError, match=r"no folder 'labelled' in .*photos\.labelled=0"):
        gather_photos([data_folder], {"labelled": 1.0}, "train")
    with pytest.raises(ValueError, match="at least one folder"):
        recipe(photos={"masks_labelme": 0.0})


def test_large_photos_are_shrunk_with_their_masks(tmp_path):
    image = np.zeros((600, 2048, 3), np.uint8)
    label = np.zeros((600, 2048), np.uint8)
    label[200:400, 1000:1600] = 2
    Image.fromarray(image).save(tmp_path / "a.jpg")
    Image.fromarray(label).save(tmp_path / "a.png")
    (photo,) = gather_photos([], {str(tmp_path): 1.0}, "val").examples
    assert photo.image.shape == (300, 1024, 3)
    assert (photo.mask.shape, int(photo.mask.sum())) == ((300, 1024), 100 * 300)
    assert photo.focus == focus_of_mask(photo.mask > 0)


def test_faces_are_drawn_by_their_weights(data_folder):
    faces = gather_faces([data_folder], {"faces_wide": 1.0}, split="train")
    pool = FacePool(FaceSet(faces.records, np.array([1.0, 0.0, 3.0])), seed=0)
    rng = np.random.default_rng(0)
    drawn = np.bincount([pool.draw(rng) for _ in range(2000)], minlength=3) / 2000
    np.testing.assert_allclose(drawn, [0.25, 0.0, 0.75], atol=0.03)


def test_labels_become_masks(data_folder):
    (photo,) = read_examples(data_folder / "masks_labelme", "val")
    (pair,) = read_examples(data_folder / "mask_segmentation", "val")
    for example in (photo, pair):
        assert example.mask.dtype == np.uint8
        # A polygon's outline belongs to it: one row and one column more.
        assert int(example.mask.sum()) in (60 * 90, 61 * 91)
        assert example.mask[150, 150] == 1


def test_face_square_from_a_mask():
    mask = np.zeros((100, 100), bool)
    mask[50:70, 30:60] = True
    x, y, side = focus_of_mask(mask)
    assert (x, side) == (45, 45)
    assert 40 < y < 60


def test_synthetic_masks_leave_the_pool_unchanged(data_folder):
    pool = face_pool(data_folder)
    before = pool.plain(0)[0].image.copy()
    worn = pool.masked(0, 5)
    np.testing.assert_array_equal(pool.plain(0)[0].image, before)
    assert worn.mask.any()
    changed = (worn.image != before).any(-1)
    assert changed[worn.mask > 0].mean() > 0.9


def test_scenes_depend_on_seed_and_index_alone(composer, data_folder):
    first = composer.scene(7, 96)
    composer.scene(8, 96)
    again = pickle.loads(pickle.dumps(compose_scenes([data_folder], recipe()))).scene(7, 96)
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


def test_without_faces_all_scenes_are_photos(data_folder):
    composer = compose_scenes([data_folder], recipe(faces={}))
    areas = [composer.scene(i, 96)[1].mean() for i in range(30)]
    assert np.mean([area > 0.01 for area in areas]) > 0.9


def test_batches_change_size_and_never_repeat_a_scene():
    seen = []

    class Numbers:
        def scene(self, index, size):
            seen.append(index)
            return np.full((size, size, 3), index, np.uint8), np.zeros((size, size), np.uint8)

    sampler = SceneSampler(Numbers(), (32, 64), 2)
    batches = [sampler(number) for number in range(4)]
    assert [images.shape for images, _ in batches] == [(8, 32, 32, 3), (2, 64, 64, 3)] * 2
    assert seen == list(range(20))
    assert batches[0][1].shape == (8, 32, 32, 1)
    assert all(array.dtype == np.uint8 for batch in batches for array in batch)


def test_a_data_folder_of_photos_counts_as_itself(data_folder):
    own = data_folder / "mask_segmentation"
    folders = {"masks_labelme": 1.0, "pseudo_labels": 1.0}
    assert gather_photos([own], folders, "train").weights.tolist()
    assert validation_photos([own], folders)
    # Nothing but photos is needed: there are no faces beside them.
    image, mask = compose_scenes([own], recipe()).scene(0, 64)
    assert (image.shape, mask.shape) == ((64, 64, 3), (64, 64))
    # The named folders go before what lies beside them.
    (data_folder / "notes.json").write_text("{}")
    assert gather_photos([data_folder], {"mask_segmentation": 1.0}, "train").weights.tolist()
    (data_folder / "notes.json").unlink()

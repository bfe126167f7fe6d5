"""The verifier: what it sees of a region, what it learns from, and what a finder does with it."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from unmask.errors import DataError
from unmask.segmentation.data import build_composer, read_faces
from unmask.segmentation.finder import UNetFinder, load_finder
from unmask.segmentation.model import LITE, build_unet
from unmask.segmentation.regions import MaskRegion, find_regions
from unmask.segmentation.sources import FacePool
from unmask.segmentation.verifier import (
    VERIFIER,
    VIEW_SIDE,
    build_verifier,
    region_view,
    verify,
)
from unmask.segmentation.verifier_data import (
    MARGIN,
    STORED_SIDE,
    RegionBatches,
    RegionViews,
    augment_view,
    stored_regions,
)
from unmask.segmentation.verifier_train import VerifierTraining, train
from unmask.weights import load_arrays, load_weights, save_weights

SMALL = {"widths": (8, 16, 16), "blocks": (1, 1, 1)}


def region_at(photo, rows: slice, columns: slice) -> MaskRegion:
    mask = np.zeros(photo.shape[:2], np.float32)
    mask[rows, columns] = 1.0
    return find_regions(mask, mask.shape)[0]


@pytest.fixture
def photo():
    image = np.full((200, 240, 3), (200, 160, 140), np.uint8)
    image[110:150, 90:150] = (30, 60, 220)
    return image


def test_a_view_shows_the_region_below_its_middle_and_marks_it(photo):
    view = region_view(photo, region_at(photo, slice(110, 150), slice(90, 150)))
    assert view.shape == (VIEW_SIDE, VIEW_SIDE, 4)
    inside = view[..., 3] > 127
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    assert columns.mean() == pytest.approx((VIEW_SIDE - 1) / 2, abs=1)
    assert rows.mean() > 0.6 * VIEW_SIDE
    # 60 of 2.13 * sqrt(60 * 40) pixels are as wide as the mask.
    assert len(columns) == pytest.approx(VIEW_SIDE * 60 / (2.13 * np.sqrt(2400)), abs=2)
    assert np.abs(view[inside][:, :3].astype(int) - (30, 60, 220)).mean() < 6


def test_the_inner_part_of_a_view_with_a_margin_is_the_view_without(photo):
    region = region_at(photo, slice(110, 150), slice(90, 150))
    wide = region_view(photo, region, STORED_SIDE, margin=MARGIN)
    spare = (STORED_SIDE - VIEW_SIDE) // 2
    inner = wide[spare:-spare, spare:-spare].astype(int)
    assert np.abs(inner - region_view(photo, region)).mean() < 2.0


def test_beyond_the_photo_a_view_is_black(photo):
    view = region_view(photo, region_at(photo, slice(0, 30), slice(0, 40)))
    assert not view[:20].any()
    assert view[-20:, -20:, :3].any()


def test_verifying_does_not_depend_on_the_side_or_on_the_other_regions(photo):
    keras.utils.set_random_seed(0)
    network = build_verifier(**SMALL)
    first = region_at(photo, slice(110, 150), slice(90, 150))
    second = region_at(photo, slice(20, 60), slice(30, 90))
    both = verify(network, photo, [first, second])
    assert both.shape == (2,)
    assert both.dtype == np.float32
    assert both[0] != both[1]
    np.testing.assert_allclose(verify(network, photo, [second]), both[1:], atol=1e-5)
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    flipped = region_at(mirrored, slice(110, 150), slice(90, 150))
    np.testing.assert_allclose(verify(network, mirrored, [flipped]), both[:1], atol=1e-5)
    assert verify(network, photo, []).shape == (0,)


def test_widths_and_blocks_must_fit():
    with pytest.raises(ValueError, match="same length"):
        build_verifier(widths=(8, 16), blocks=(1,))


@pytest.fixture(scope="module")
def blue_network():
    """A segmenter for which blue is a mask."""
    inputs = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(1, 1, activation="sigmoid")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.array([-20.0, -20.0, 40.0]).reshape(1, 1, 3, 1), np.array([-20.0])])
    return model


def judge(bias: float) -> keras.Model:
    """A verifier that gives every region the same probability."""
    model = build_verifier(**SMALL)
    layer = model.get_layer("worn")
    kernel, _ = layer.get_weights()
    layer.set_weights([np.zeros_like(kernel), np.array([bias])])
    return model


def test_the_finder_drops_what_the_verifier_refuses_and_takes_its_score(blue_network, photo):
    alone = UNetFinder(blue_network).find(photo, min_score=0.5)
    assert len(alone) == 1
    (kept,) = UNetFinder(blue_network, judge(2.0)).find(photo, min_score=0.8)
    assert kept.box == alone[0].box
    assert kept.score == pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-4)
    assert UNetFinder(blue_network, judge(-2.0)).find(photo, min_score=0.5) == []


def test_a_finder_is_loaded_with_its_verifier(tmp_path):
    save_weights(build_unet(**LITE), tmp_path / "unet.safetensors")
    save_weights(build_verifier(**VERIFIER), tmp_path / "verifier.safetensors")
    assert load_finder(tmp_path / "unet.safetensors").verifier is None
    finder = load_finder(tmp_path / "unet.safetensors", tmp_path / "verifier.safetensors")
    expected, _ = load_arrays(tmp_path / "verifier.safetensors")
    found = finder.verifier.get_layer("stage1_conv").kernel
    np.testing.assert_allclose(found, expected["stage1_conv/kernel"], rtol=1e-3)


@pytest.fixture(scope="module")
def regions(data_folder, tmp_path_factory) -> tuple[Path, RegionViews]:
    path = tmp_path_factory.mktemp("regions") / "regions.npz"
    keras.utils.set_random_seed(0)
    faces = FacePool(read_faces(data_folder, "train"), 0)
    composer = build_composer(data_folder, 0)
    return path, stored_regions(build_unet(**LITE), composer, faces, path, scenes=6)


def test_every_masked_face_has_a_bare_twin_with_the_same_region(regions, data_folder):
    _, views = regions
    assert views.pixels.shape[1:] == (STORED_SIDE, STORED_SIDE, 4)
    assert views.pixels.dtype == np.uint8
    count = len(read_faces(data_folder, "train"))
    twins = [
        i
        for i in range(len(views.labels) - 1)
        if views.labels[i]
        and not views.labels[i + 1]
        and np.array_equal(views.pixels[i, ..., 3], views.pixels[i + 1, ..., 3])
    ]
    assert len(twins) >= count
    worn, bare = views.pixels[twins[0]], views.pixels[twins[0] + 1]
    changed = np.abs(worn[..., :3].astype(int) - bare[..., :3]).max(-1) > 20
    inside = worn[..., 3] > 200
    assert changed[inside].mean() > 0.6
    assert changed[~inside].mean() < 0.2


def test_regions_are_gathered_once(regions):
    path, views = regions
    again = stored_regions(None, None, None, path, scenes=0)
    np.testing.assert_array_equal(again.pixels, views.pixels)


def test_a_broken_file_of_regions_is_named(tmp_path):
    path = tmp_path / "regions.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"regions\.npz: cannot be read"):
        stored_regions(None, None, None, path, scenes=0)


def test_batches_are_balanced_and_follow_the_seed(regions):
    _, views = regions
    batches = RegionBatches(views, batch_size=6, steps=2, seed=3)
    images, labels = batches[1]
    assert images.shape == (6, VIEW_SIDE, VIEW_SIDE, 4)
    assert labels[:, 0].tolist() == [0, 1, 0, 1, 0, 1]
    assert 0.0 <= images.min() < images.max() <= 1.0
    again, _ = RegionBatches(views, batch_size=6, steps=2, seed=3)[1]
    np.testing.assert_array_equal(images, again)
    other, _ = RegionBatches(views, batch_size=6, steps=2, seed=4)[1]
    assert not np.array_equal(images, other)


def test_batches_need_both_kinds(regions):
    _, views = regions
    masks = RegionViews(views.pixels[views.labels], views.labels[views.labels])
    with pytest.raises(DataError, match="masks and others"):
        RegionBatches(masks, batch_size=2, steps=1)


def test_augmentation_moves_colours_and_region_together():
    view = np.zeros((STORED_SIDE, STORED_SIDE, 4), np.uint8)
    view[60:90, 40:80] = 255
    for seed in range(8):
        moved = augment_view(view, np.random.default_rng(seed))
        bright, inside = moved[..., :3].mean(-1), moved[..., 3] > 127
        if inside.sum() > 200:
            assert bright[inside].mean() > bright[~inside].mean() + 40


def test_the_loss_falls(regions):
    _, views = regions
    keras.utils.set_random_seed(0)
    model = build_verifier(**SMALL)
    model.compile(optimizer=keras.optimizers.AdamW(3e-3), loss="binary_crossentropy")
    batches = RegionBatches(views, batch_size=16, steps=6)
    losses = model.fit(batches, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.75 * losses[0]


def test_a_training_goes_on_where_it_was_stopped(data_folder, tmp_path):
    segmenter = tmp_path / "unet.safetensors"
    save_weights(build_unet(**LITE), segmenter)
    config = VerifierTraining(
        data=data_folder, out=tmp_path / "run", segmenter=segmenter, minutes=1e-4,
        network=SMALL, scenes=4, batch=8, steps=3, average=0.5, policy="float32",
    )  # fmt: skip
    first = load_weights(build_verifier(**SMALL), train(config))
    assert first["stage"] == "verifier"
    # The budget is used up: the last state is restored, and one step is made at rate zero.
    second = load_weights(build_verifier(**SMALL), train(config))
    assert int(second["steps"]) == int(first["steps"]) + 1


def test_a_training_starts_from_given_weights(data_folder, tmp_path):
    segmenter, init = tmp_path / "unet.safetensors", tmp_path / "first.safetensors"
    save_weights(build_unet(**LITE), segmenter)
    save_weights(build_verifier(**SMALL), init)
    config = VerifierTraining(
        data=data_folder, out=tmp_path / "run", segmenter=segmenter, init=init, minutes=1e-4,
        network=SMALL, scenes=4, batch=8, steps=1, rate=1e-9, policy="float32",
    )  # fmt: skip
    first, second = (load_arrays(path)[0] for path in (init, train(config)))
    np.testing.assert_allclose(first["worn/kernel"], second["worn/kernel"], atol=1e-3)

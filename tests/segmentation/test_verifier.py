"""The verifier: what it sees of a region, what it learns from, and what a finder does with it."""

from __future__ import annotations

import pickle
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training.toys import TOYS
from unmask.data.faces import gather_faces
from unmask.errors import DataError
from unmask.segmentation import VIEW_SIDE
from unmask.segmentation.data import FacePool
from unmask.segmentation.finder import UNetFinder, load_finder, region_view, verify
from unmask.segmentation.lite import build_unet, build_verifier
from unmask.segmentation.regions import MaskRegion, find_regions
from unmask.segmentation.scenes import compose_scenes
from unmask.segmentation.verifier_task import (
    MARGIN,
    STORED_SIDE,
    RegionSampler,
    RegionSettings,
    VerifierRecipe,
    VerifierTask,
    augment_view,
    gather_regions,
)
from unmask.training.recipe import read_recipe
from unmask.training.task import Places
from unmask.weights import load_arrays, save_weights

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
    save_weights(build_unet(), tmp_path / "unet.safetensors")
    save_weights(build_verifier(), tmp_path / "verifier.safetensors")
    assert load_finder(tmp_path / "unet.safetensors").verifier is None
    finder = load_finder(tmp_path / "unet.safetensors", tmp_path / "verifier.safetensors")
    expected, _ = load_arrays(tmp_path / "verifier.safetensors")
    found = finder.verifier.get_layer("stage1_conv").kernel
    np.testing.assert_allclose(found, expected["stage1_conv/kernel"], rtol=1e-3)


# === Training ===


@pytest.fixture(scope="module")
def regions(data_folder, tmp_path_factory) -> tuple[Path, np.ndarray]:
    path = tmp_path_factory.mktemp("regions") / "regions.npy"
    keras.utils.set_random_seed(0)
    recipe = VerifierRecipe(
        task="verifier", steps=1, photos={"masks_labelme": 1.0}, faces={"faces_wide": 1.0},
        regions=RegionSettings(faces=10, scenes=6),
    )  # fmt: skip
    faces = FacePool(gather_faces([data_folder], recipe.faces, split="train"), 0)
    gather_regions(build_unet(), compose_scenes([data_folder], recipe), faces, path, recipe)
    return path, np.load(path)


def test_every_masked_face_has_a_bare_twin_with_the_same_region(regions):
    pixels, worn = regions[1]["view"], regions[1]["worn"]
    assert pixels.shape[1:] == (STORED_SIDE, STORED_SIDE, 4)
    twins = [
        i
        for i in range(len(worn) - 1)
        if worn[i] and not worn[i + 1] and np.array_equal(pixels[i, ..., 3], pixels[i + 1, ..., 3])
    ]
    assert len(twins) >= 3  # as many as there are faces
    masked, bare = pixels[twins[0]], pixels[twins[0] + 1]
    changed = np.abs(masked[..., :3].astype(int) - bare[..., :3]).max(-1) > 20
    inside = masked[..., 3] > 200
    assert changed[inside].mean() > 0.6
    assert changed[~inside].mean() < 0.2


def test_a_broken_file_of_regions_is_named(tmp_path):
    path = tmp_path / "regions.npy"
    path.write_bytes(b"no array")
    with pytest.raises(DataError, match=r"regions\.npy: no file of regions"):
        RegionSampler(path, 2, 0)


def test_batches_are_balanced_and_follow_the_seed(regions):
    path, _ = regions
    sampler = RegionSampler(path, 6, 3)
    images, labels = sampler(1)
    assert (images.shape, images.dtype) == ((6, VIEW_SIDE, VIEW_SIDE, 4), np.uint8)
    assert labels[:, 0].tolist() == [0, 1, 0, 1, 0, 1]
    sent = pickle.dumps(sampler)
    assert len(sent) < 10_000  # the regions stay in their file
    np.testing.assert_array_equal(images, pickle.loads(sent)(1)[0])
    assert not np.array_equal(images, RegionSampler(path, 6, 4)(1)[0])


def test_batches_need_both_kinds(regions, tmp_path):
    _, stored = regions
    np.save(tmp_path / "masks.npy", stored[stored["worn"]])
    with pytest.raises(DataError, match="masks and others"):
        RegionSampler(tmp_path / "masks.npy", 2, 0)


def test_augmentation_moves_colours_and_region_together():
    view = np.zeros((STORED_SIDE, STORED_SIDE, 4), np.uint8)
    view[60:90, 40:80] = 255
    for seed in range(8):
        moved = augment_view(view, np.random.default_rng(seed))
        bright, inside = moved[..., :3].mean(-1), moved[..., 3] > 127
        if inside.sum() > 200:
            assert bright[inside].mean() > bright[~inside].mean() + 40


def test_regions_are_gathered_anew_for_another_segmenter(tmp_path):
    toy = TOYS["lite/verifier"](tmp_path / "data")

    def regions_after(segmenter: str) -> set[str]:
        save_weights(build_unet(), tmp_path / segmenter)
        changes = {"segmenter": str(tmp_path / segmenter), "minutes": 0.0, "steps": 1}
        source = read_recipe("lite/verifier", {**toy.overrides, **changes})
        task = VerifierTask(source.phase(0, VerifierRecipe), Places(toy.data, tmp_path / "run"))
        task.prepare()
        return {p.name for p in (tmp_path / "run").glob("regions-*.npy")}

    first = regions_after("first.safetensors")
    assert len(first) == 1
    assert regions_after("second.safetensors") > first

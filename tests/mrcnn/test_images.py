"""Images as programs return them, and checkpoints as trainings leave them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unmask.errors import ImageError
from unmask.mrcnn.config import Config, check_config
from unmask.mrcnn.h5 import (
    checkpoint_pattern,
    last_checkpoint,
    read_checkpoint_path,
    run_folder,
)
from unmask.mrcnn.images import checked_image, prepare_image

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)


def config(**settings: Any) -> Config:
    return type("Own", (Config,), {"NAME": "own", "NUM_CLASSES": 2, **settings})()


GREY = {"IMAGE_CHANNEL_COUNT": 1, "MEAN_PIXEL": 100.0}


@pytest.mark.parametrize(
    ("image", "settings", "expected"),
    [
        (RGB, {}, RGB),
        (RGB.astype(np.float64), {}, RGB),
        (RGB.astype(np.uint16), {}, RGB),
        (RGB.astype(np.int64).tolist(), {}, RGB),
        (np.dstack([RGB, RGB[..., 0]]), {}, RGB),
        (RGB[..., 0], {}, np.dstack([RGB[..., 0]] * 3)),
        (RGB[..., :1], {}, np.dstack([RGB[..., 0]] * 3)),
        (np.zeros((4, 4, 3)), {}, np.zeros((4, 4, 3), np.uint8)),
        (RGB[..., 0], GREY, RGB[..., :1]),
        # Another mean says that the program has another scale.
        (RGB / 255, {"MEAN_PIXEL": [0.5, 0.5, 0.5]}, RGB / 255),
        (RGB.astype(np.uint16) * 257, {"MEAN_PIXEL": 3e4}, RGB.astype(np.uint16) * 257),
    ],
)
def test_images_of_a_clear_meaning(image: Any, settings: dict[str, Any], expected: Any) -> None:
    checked = checked_image(image, config(**settings), "images[0]")
    np.testing.assert_array_equal(checked, expected)
    assert checked.dtype == expected.dtype


@pytest.mark.parametrize(
    ("image", "settings", "message"),
    [
        (RGB / 255, {}, r"MEAN_PIXEL=\[123.7.*float64 from 0 to 1; multiply by 255"),
        (RGB.astype(np.float32) - 120, {}, r"go from 0 to 255.*from -120"),
        (RGB.astype(np.uint16) * 257, {}, "uint16 from .* to 65.*image >> 8"),
        (RGB > 100, {}, "must be numbers. Received: bool"),
        (np.full((4, 4, 3), np.nan), {}, "finite"),
        (np.full((4, 4, 3), np.inf), {"MEAN_PIXEL": 0.0}, "finite"),
        (RGB, GREY, r"IMAGE_CHANNEL_COUNT=1.*\(6, 8, 3\)"),
        (RGB, {"IMAGE_CHANNEL_COUNT": 4, "MEAN_PIXEL": 100.0}, r"must be \(H, W, 4\)"),
        (RGB[..., :2], {}, r"\(6, 8, 2\)"),
        (RGB[:0], {}, "not empty"),
        (RGB[None], {}, r"\(1, 6, 8, 3\)"),
        (np.array("photo.jpg"), {}, r"shape \(\)"),
    ],
)
def test_images_without_a_clear_meaning(image: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=rf"images\[0\]: .*{message}"):
        checked_image(image, config(**settings), "images[0]")


@pytest.mark.parametrize(
    ("shape", "mode", "message"),
    [
        ((70, 64), "none", "'none'.*divisible by 32.*70 x 64"),
        ((3, 5000), "square", "IMAGE_MAX_DIM=1024.*3 x 5000, which becomes 1 x 1024"),
        ((3, 5000), "pad64", "80000000 pixels.*832 x 1386667"),
        ((3, 5000), "crop", "80000000 pixels"),
    ],
)
def test_sizes_that_the_settings_do_not_allow(
    shape: tuple[int, int], mode: str, message: str
) -> None:
    with pytest.raises(ImageError, match=rf"photo: .*{message}"):
        prepare_image(np.zeros((*shape, 3), np.uint8), config(IMAGE_MIN_DIM=832), mode, "photo")
    assert prepare_image(np.zeros((96, 64, 3), np.uint8), config(), "none", "photo")[3] == 1


def test_a_mean_for_each_channel() -> None:
    with pytest.raises(ValueError, match=r"IMAGE_CHANNEL_COUNT=1.*MEAN_PIXEL=\[123\.7"):
        check_config(config(IMAGE_CHANNEL_COUNT=1))
    with pytest.raises(ValueError, match="NAME='a/b'"):
        check_config(config(NAME="a/b"))


# === Checkpoints ===


def train(folder: Path, name: str, day: int, *epochs: int) -> None:
    run = run_folder(folder, name, datetime.datetime(2024, 1, day))
    run.mkdir(parents=True)
    for epoch in epochs:
        Path(checkpoint_pattern(run, name).format(epoch=epoch)).touch()


@pytest.mark.parametrize("name", ["mask", "face masks", "mask.v2", "m+c", "mask[1]", "m{a}", "*"])
def test_names_are_names_and_keep_their_epoch(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "logs {0}"
    train(folder, name, 1, 1, 7)
    found = last_checkpoint(folder, name)
    assert found.name == f"mask_rcnn_{name}_0007.h5"
    assert read_checkpoint_path(found) == (name, datetime.datetime(2024, 1, 1), 7)


def test_the_last_of_its_own(tmp_path: Path) -> None:
    train(tmp_path, "mask", 1, 9)
    train(tmp_path, "mask", 2, 9998, 10_000)
    train(tmp_path, "mask", 3)
    train(tmp_path, "masklarge", 4, 1)
    train(tmp_path, "mas", 5, 1)
    (tmp_path / "mask20241301T0000").mkdir()
    (tmp_path / "mask20241301T0000" / "mask_rcnn_mask_0001.h5").touch()
    (tmp_path / "mask20250101T0000").touch()
    assert last_checkpoint(tmp_path, "mask").name == "mask_rcnn_mask_10000.h5"
    with pytest.raises(FileNotFoundError, match="'masks'"):
        last_checkpoint(tmp_path, "masks")
    with pytest.raises(FileNotFoundError, match="none"):
        last_checkpoint(tmp_path / "none", "mask")


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    for path in ("mask_rcnn_coco.h5", "run/mask_rcnn_coco_0160.h5", "a20240101T0000/weights.h5"):
        assert read_checkpoint_path(tmp_path / path) is None

"""The small Mask R-CNN for face masks: its data, its start from a U-Net, its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unmask.errors import WeightsError
from unmask.mrcnn.data import load_image_gt
from unmask.mrcnn.model import MaskRCNN
from unmask.segmentation import detector as stage
from unmask.segmentation.model import LITE, build_unet
from unmask.weights import load_weights, save_weights


class TwoMasks:
    """Stands for the composer: a scene with two masks, the larger one in two pieces."""

    made = 0

    def scene(self, index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        self.made += 1
        mask = np.zeros((size, size), np.uint8)
        mask[10:40, 10:40] = 1
        mask[41:46, 15:35] = 1
        mask[90:110, 90:115] = 1
        return np.full((size, size, 3), index, np.uint8), mask


@pytest.fixture(scope="module")
def detector() -> MaskRCNN:
    # The limit is built into the network: random weights are sure of nothing.
    settings = stage.lite_config(128)
    settings.DETECTION_MIN_CONFIDENCE = 0.0
    return MaskRCNN("inference", settings, "logs")


def test_scenes_have_an_instance_for_each_face() -> None:
    composer: Any = TwoMasks()
    data = stage.InstanceDataset()
    data.add_scenes(composer, 3, 128)
    truth = load_image_gt(data, stage.lite_config(128), 2)
    assert truth.boxes.tolist() == [[10, 10, 46, 40], [90, 90, 110, 115]]
    assert (truth.image == 2).all()
    assert composer.made == 1


def test_photos_of_both_kinds_of_folders(data_folder: Path) -> None:
    data = stage.InstanceDataset()
    data.add_labelme(data_folder / "masks_labelme", "train")
    data.add_pairs(data_folder / "mask_segmentation", "train")
    assert data.num_images == 4
    for i in data.image_ids:
        masks, classes = data.load_mask(i)
        assert (masks.shape, classes.tolist()) == ((*data.load_image(i).shape[:2], 1), [1])
        assert 5000 < masks.sum() < 6000


def test_the_encoder_starts_from_a_unet(detector: MaskRCNN, tmp_path: Path) -> None:
    unet = build_unet(**LITE)
    save_weights(unet, tmp_path / "unet.safetensors")
    stage.load_encoder(detector.keras_model, tmp_path / "unet.safetensors")
    encoder = detector.keras_model.get_layer(stage.ENCODER)
    expected = unet.get_layer("down5_block3_b_conv").get_weights()[0].astype(np.float16)
    found = encoder.get_layer("down5_block3_b_conv").get_weights()[0]
    np.testing.assert_array_equal(found, expected.astype(np.float32))
    with pytest.raises(WeightsError):
        load_weights(detector.keras_model, tmp_path / "unet.safetensors")


def test_regions_lie_where_the_masks_are(detector: MaskRCNN) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)
    regions = stage.find_masks(detector, photo)
    assert regions
    for region in regions:
        x0, y0, x1, y1 = (int(v) for v in region.box)
        assert region.patch.shape == (y1 - y0, x1 - x0)
        assert region.mask.shape == (90, 120)
    assert [r.area for r in regions] == sorted((r.area for r in regions), reverse=True)


def test_the_size_fits_the_package(detector: MaskRCNN) -> None:
    # Two bytes a weight; the package has room for 25 MB.
    assert detector.keras_model.count_params() * 2 < 25e6


@pytest.mark.slow
def test_training_leaves_weights_for_detecting(data_folder: Path, tmp_path: Path) -> None:
    config = stage.DetectorTraining(
        data_folder, tmp_path / "run", minutes=0.01, steps=1, side=64, batch=1, policy="float32"
    )
    path = stage.train(config)
    load_weights(stage.build_detector().keras_model, path)
    assert "val_iou" in (tmp_path / "run" / "history.csv").read_text()

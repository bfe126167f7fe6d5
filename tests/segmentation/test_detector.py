"""The small Mask R-CNN for face masks: its start from a U-Net, its answers."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from unmask.errors import WeightsError
from unmask.mrcnn.model import MaskRCNN
from unmask.segmentation import detector as stage
from unmask.segmentation.lite import LITE, build_unet
from unmask.weights import load_weights, save_weights


@pytest.fixture(scope="module")
def detector() -> MaskRCNN:
    # Not all random weights find something.
    keras.utils.set_random_seed(1)
    # The limit is built into the network: random weights are sure of nothing.
    settings = stage.lite_config(128)
    settings.DETECTION_MIN_CONFIDENCE = 0.0
    return MaskRCNN("inference", settings, "logs")


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

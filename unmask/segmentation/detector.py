"""A small Mask R-CNN for face masks: its settings, its start from a U-Net, and its use.

The alternative to the U-Net: boxes first, then a mask inside each, with the U-Net's encoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.mrcnn.config import Config
from unmask.mrcnn.model import MaskRCNN
from unmask.segmentation.lite import build_unet, encoder_maps
from unmask.segmentation.regions import MaskRegion, region_of
from unmask.weights import load_weights

ENCODER = "mask_encoder"
"""Name of the backbone inside the network."""


def unet_encoder(image: Any, stage5: bool = True, train_bn: bool | None = False) -> list[Any]:
    """Apply the encoder of the U-Net to (N, H, W, 3), -127.5 to 127.5; a `Config.BACKBONE`."""
    unet = build_unet()
    encoder = keras.Model(unet.input, encoder_maps(unet), name=ENCODER)
    photo = keras.layers.Rescaling(1 / 255, offset=0.5, name="photo_range")(image)
    return list(encoder(photo))


class LiteConfig(Config):
    """A network of a tenth of the published size's channels for photos of 320 pixels."""

    NAME = "masks"
    BACKBONE = staticmethod(unet_encoder)
    NUM_CLASSES = 2
    MEAN_PIXEL = np.full(3, 127.5)
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 320
    IMAGES_PER_GPU = 8
    TOP_DOWN_PYRAMID_SIZE = 64
    RPN_FILTERS = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 256
    MASK_FILTERS = 64
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    # Face masks from the front are wider than high, from the side about square.
    RPN_ANCHOR_RATIOS = (0.7, 1.1, 1.7)
    PRE_NMS_LIMIT = 1000
    POST_NMS_ROIS_TRAINING = 200
    POST_NMS_ROIS_INFERENCE = 100
    TRAIN_ROIS_PER_IMAGE = 48
    MAX_GT_INSTANCES = 8
    DETECTION_MAX_INSTANCES = 30
    # Photos are small here, so that boxes have to be read from finer maps.
    ROI_CANONICAL_SIZE = 448.0
    # A face without a mask is what false alarms are learnt from.
    TRAIN_EMPTY_IMAGES = True
    # Minutes are short: the heads learn from the first step on.
    TRAIN_GT_ROIS = True


def build_detector(side: int = 320) -> MaskRCNN:
    """Build the small network for detecting, with untrained weights, for this longer side."""
    settings = LiteConfig()
    settings.IMAGE_MIN_DIM = settings.IMAGE_MAX_DIM = side
    return MaskRCNN("inference", settings, "logs")


def load_encoder(model: keras.Model, path: Path) -> None:
    """Start a detector's backbone from a trained U-Net.

    Raises:
        WeightsError: The file is not one of a U-Net of the same size.
    """
    unet = build_unet()
    load_weights(unet, path)
    copy_weights(unet, model.get_layer(ENCODER))


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of all layers of `target`, found by their names, from `source`."""
    for layer in target.layers:
        if layer.weights:
            layer.set_weights(source.get_layer(layer.name).get_weights())


def find_masks(detector: MaskRCNN, photo: NDArray[np.uint8]) -> list[MaskRegion]:
    """Find the masks in a photo (H, W, 3) with any detector of masks, largest first."""
    found = detector.detect([photo])[0]
    masks, shape = np.moveaxis(found["masks"], -1, 0), (photo.shape[0], photo.shape[1])
    regions = (
        region_of(mask, float(score), shape)
        for mask, score in zip(masks, found["scores"], strict=True)
    )
    return sorted(filter(None, regions), key=lambda region: -region.area)

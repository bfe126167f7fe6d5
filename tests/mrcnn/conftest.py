"""A network small enough to train in a test, and pictures of squares to train it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from unmask.mrcnn.config import Config
from unmask.mrcnn.model import MaskRCNN
from unmask.mrcnn.utils import Dataset


def tiny_backbone(image: Any, stage5: bool = True, train_bn: bool | None = False) -> list[Any]:
    maps, x = [], layers.Rescaling(1 / 64, name="scale")(image)
    for i, width in enumerate((16, 16, 24, 24, 24), 1):
        x = layers.Conv2D(
            width, 3, strides=2, padding="same", activation="relu", name=f"tiny{i}"
        )(x)  # fmt: skip
        maps.append(x)
    return maps


class TinyConfig(Config):
    NAME = "Tiny"
    NUM_CLASSES = 2
    BACKBONE = tiny_backbone
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    IMAGES_PER_GPU = 4
    TOP_DOWN_PYRAMID_SIZE = RPN_FILTERS = MASK_FILTERS = 24
    FPN_CLASSIF_FC_LAYERS_SIZE = 64
    RPN_ANCHOR_SCALES = (8, 16, 32, 48, 64)
    ROI_CANONICAL_SIZE = 128.0
    TRAIN_ROIS_PER_IMAGE = 24
    POST_NMS_ROIS_TRAINING = 48
    POST_NMS_ROIS_INFERENCE = 32
    DETECTION_MAX_INSTANCES = 10
    MAX_GT_INSTANCES = 4
    TRAIN_GT_ROIS = True
    STEPS_PER_EPOCH = 20
    VALIDATION_STEPS = 1


class Squares(Dataset):
    """Red squares on grey; every third picture, if asked for, shows none."""

    def __init__(self, count: int, empty: bool = False) -> None:
        super().__init__()
        self.add_class("shapes", 1, "square")
        for i in range(count):
            rng = np.random.default_rng(i)
            side = 0 if empty and i % 3 == 0 else int(rng.integers(18, 34))
            corner = rng.integers(2, 62 - side, 2).tolist()
            self.add_image("shapes", i, f"square{i}", corner=corner, side=side)
        self.prepare()

    def load_image(self, image_id: int) -> np.ndarray:
        rng = np.random.default_rng([7, image_id])
        image = rng.integers(90, 130, (64, 64, 3)).astype(np.uint8)
        image[self._inside(image_id)] = (220, 40, 30)
        return image

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        inside = self._inside(image_id)
        if not inside.any():
            return np.zeros((0, 0, 0)), np.zeros(0)
        # Integers instead of booleans, as many loaders return them.
        return inside[..., None].astype(np.int64) * 255, np.array([1])

    def _inside(self, image_id: int) -> np.ndarray:
        info = self.image_info[image_id]
        (y, x), side = info["corner"], info["side"]
        inside = np.zeros((64, 64), bool)
        inside[y : y + side, x : x + side] = True
        return inside


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> MaskRCNN:
    return MaskRCNN("inference", TinyConfig(), tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="session")
def squares() -> Squares:
    return Squares(64)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[MaskRCNN, dict[str, list[float]]]:
    """A training network after some seconds of training, and its history."""
    logs: Path = tmp_path_factory.mktemp("trained")
    # The first weights too: whichever tests ran before, the training is the same.
    keras.utils.set_random_seed(3)
    model = MaskRCNN("training", TinyConfig(), logs, seed=1)
    history = model.train(Squares(64), Squares(8), 0.02, 4, "all")
    return model, history.history


@pytest.fixture
def make_squares() -> type[Squares]:
    return Squares


@pytest.fixture
def tiny_config() -> type[TinyConfig]:
    return TinyConfig

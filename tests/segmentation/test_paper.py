"""The paper's recipe: where its weights come from, and that it trains."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import layers

from unmask.errors import WeightsError
from unmask.mrcnn.h5 import CLASS_LAYERS, save_h5
from unmask.mrcnn.model import MaskRCNN
from unmask.mrcnn.normalisation import BatchNorm
from unmask.segmentation.comparison import load_segmenter
from unmask.segmentation.paper import (
    PaperConfig,
    PaperTraining,
    build_detector,
    start_training,
    train,
)
from unmask.weights import load_weights, save_weights


def tiny_backbone(image: Any, stage5: bool = True, train_bn: bool | None = False) -> list[Any]:
    maps, x = [], layers.Rescaling(1 / 64, name="scale")(image)
    for i in range(1, 6):
        x = layers.Conv2D(8, 3, strides=2, padding="same", name=f"res{i}_conv")(x)
        x = BatchNorm(train_bn, name=f"bn{i}_conv")(x)
        maps.append(x)
    return maps


class Tiny(PaperConfig):
    BACKBONE = staticmethod(tiny_backbone)
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    TOP_DOWN_PYRAMID_SIZE = RPN_FILTERS = MASK_FILTERS = 8
    FPN_CLASSIF_FC_LAYERS_SIZE = 16
    RPN_ANCHOR_SCALES = (8, 16, 32, 48, 64)
    TRAIN_ROIS_PER_IMAGE = 8
    POST_NMS_ROIS_TRAINING = POST_NMS_ROIS_INFERENCE = 16
    DETECTION_MAX_INSTANCES = MAX_GT_INSTANCES = 4


class TinyCoco(Tiny):
    NUM_CLASSES = 81


@pytest.fixture
def config(data_folder: Path, tmp_path: Path) -> PaperTraining:
    return PaperTraining(
        data_folder, tmp_path / "run", iterations=2, steps=1, policy="float32", network=Tiny
    )


def test_the_recipe():
    settings = PaperConfig()
    assert settings.IMAGE_SHAPE.tolist() == [256, 256, 3]
    assert (settings.BACKBONE, settings.BATCH_SIZE, settings.NUM_CLASSES) == ("resnet50", 2, 2)
    recipe = PaperTraining(Path("data"), Path("run"))
    assert (recipe.rate, recipe.iterations) == (2.5e-4, 10_000)


def test_from_coco_everything_but_the_classes_is_taken(config: PaperTraining, tmp_path: Path):
    coco = MaskRCNN("training", TinyCoco(), tmp_path, seed=5).keras_model
    for variable in coco.get_layer("bn1_conv").variables:
        variable.assign(np.full(8, 0.25))
    save_h5(coco, tmp_path / "coco.h5")
    model = start_training(replace(config, init=tmp_path / "coco.h5"))
    assert model.config.TRAIN_BN is False
    taken = [layer for layer in model.keras_model.layers if layer.weights]
    assert len(taken) > 20
    for layer in taken:
        theirs = coco.get_layer(layer.name).get_weights()
        if layer.name in CLASS_LAYERS:
            assert layer.get_weights()[0].shape != theirs[0].shape
        else:
            for own, stored in zip(layer.get_weights(), theirs, strict=True):
                np.testing.assert_array_equal(own, stored)


def test_from_scratch_the_normalisation_is_trained(config: PaperTraining):
    assert start_training(config).config.TRAIN_BN is None


def test_a_file_without_a_resnet_is_refused(config: PaperTraining, tmp_path: Path):
    save_h5(MaskRCNN("training", Tiny(), tmp_path).keras_model, tmp_path / "tiny.h5")
    published = replace(config, init=tmp_path / "tiny.h5", network=PaperConfig)
    with pytest.raises(WeightsError, match=r"tiny\.h5: holds no ResNet of 50 or 101 layers"):
        start_training(published)


def test_training_leaves_weights_for_detecting(config: PaperTraining):
    path = train(config)
    load_weights(MaskRCNN("inference", Tiny(), "logs").keras_model, path)
    with (config.out / "history.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["rpn_class_loss"]) > 0 for row in rows)


@pytest.mark.slow
def test_trained_weights_are_recognised(tmp_path: Path):
    model = build_detector().keras_model
    save_weights(model, tmp_path / "detector.safetensors")
    found = load_segmenter(tmp_path / "detector.safetensors")
    assert (found.name, found.parameters) == ("Mask R-CNN, resnet50", model.count_params())

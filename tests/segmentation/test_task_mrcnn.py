"""Training of Mask R-CNNs: what they see, where their first weights come from."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.mrcnn.data import load_image_gt
from unmask.mrcnn.h5 import CLASS_LAYERS, save_h5
from unmask.mrcnn.model import MaskRCNN
from unmask.segmentation import detector
from unmask.segmentation.data import gather_photos
from unmask.segmentation.evaluate import load_segmenter
from unmask.segmentation.lite import build_unet
from unmask.segmentation.paper import PaperConfig, build_mask_rcnn
from unmask.segmentation.task import (
    InstanceDataset,
    InstanceSampler,
    MaskRCNNRecipe,
    MaskRCNNTask,
)
from unmask.training.recipe import read_recipe
from unmask.training.task import Places
from unmask.weights import save_weights


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


def test_scenes_have_an_instance_for_each_face() -> None:
    composer: Any = TwoMasks()
    data = InstanceDataset()
    data.add_scenes(composer, 2, 128)
    data.first_scene = 6
    settings = detector.LiteConfig()
    settings.IMAGE_MIN_DIM = settings.IMAGE_MAX_DIM = 128
    truth = load_image_gt(data, settings, 1)
    assert truth.boxes.tolist() == [[10, 10, 46, 40], [90, 90, 110, 115]]
    assert (truth.image == 7).all()
    assert composer.made == 1


def photos_of(data_folder: Path) -> InstanceDataset:
    photos = gather_photos([data_folder], {"masks_labelme": 1.0, "mask_segmentation": 2.0}, "train")
    data = InstanceDataset()
    data.add_photos(photos.examples, photos.weights)
    return data


def test_photos_are_shown_as_often_mirrored(data_folder: Path) -> None:
    data = photos_of(data_folder)
    assert data.num_images == 2 * (2 * 1 + 2 * 2)
    for i in data.image_ids[::2]:
        masks, classes = data.load_mask(i)
        assert (masks.shape, classes.tolist()) == ((*data.load_image(i).shape[:2], 1), [1])
        assert 5000 < masks.sum() < 6000
        np.testing.assert_array_equal(data.load_image(i + 1), data.load_image(i)[:, ::-1])
        np.testing.assert_array_equal(data.load_mask(i + 1)[0], masks[:, ::-1])


def test_a_recipe_changes_settings_of_the_training_alone() -> None:
    values = {"config.TRAIN_ROIS_PER_IMAGE": 24, "config.TRAIN_GT_ROIS": 1}
    recipe = read_recipe("paper/mask-rcnn", values).phase(0, MaskRCNNRecipe)
    trained, used = (recipe.settings(training=training) for training in (True, False))
    assert (trained.TRAIN_ROIS_PER_IMAGE, trained.TRAIN_GT_ROIS) == (24, True)
    assert (used.TRAIN_ROIS_PER_IMAGE, used.TRAIN_GT_ROIS) == (200, False)
    with pytest.raises(DataError, match="config: no whole number of Config"):
        read_recipe("paper/mask-rcnn", {"config.TRAIN_ROI": 24}).phase(0, MaskRCNNRecipe)


def test_batches_depend_on_their_number_alone(data_folder: Path) -> None:
    recipe = MaskRCNNRecipe(
        task="mask-rcnn", steps=1, batch_size=2, side=64, scenes=False, photos={"x": 1.0}
    )
    settings = recipe.settings(training=True)
    sampler = InstanceSampler(photos_of(data_folder), settings, recipe)
    again = pickle.loads(pickle.dumps(sampler))
    sampler(0)
    for name, value in sampler(3)[0].items():
        np.testing.assert_array_equal(value, again(3)[0][name])
    assert value.shape[0] == 2


def test_the_papers_recipe() -> None:
    recipe = read_recipe("paper/mask-rcnn").phase(0, MaskRCNNRecipe)
    settings = recipe.settings(training=True)
    assert isinstance(settings, PaperConfig)
    assert settings.IMAGE_SHAPE.tolist() == [256, 256, 3]
    assert (settings.BACKBONE, settings.BATCH_SIZE, settings.NUM_CLASSES) == ("resnet50", 2, 2)
    assert (recipe.optimizer.learning_rate, recipe.steps) == (2.5e-4, 10_000)
    assert (recipe.optimizer.rate(0.9), recipe.optimizer.name) == (2.5e-4, "sgd")
    assert settings.TRAIN_BN is None
    published = replace(recipe, first_weights=Path("mask_rcnn_coco.h5"))
    assert published.settings(training=True).TRAIN_BN is False


def make_task(tmp_path: Path, **changes: Any) -> MaskRCNNTask:
    recipe = MaskRCNNRecipe(
        task="mask-rcnn", steps=1, batch_size=1, side=64, photos={"x": 1.0}, **changes
    )
    return MaskRCNNTask(recipe, Places([], tmp_path))


def test_the_encoder_comes_from_a_unet_or_everything_from_a_kept_file(tmp_path: Path) -> None:
    unet, path = build_unet(), tmp_path / "unet.safetensors"
    save_weights(unet, path, dtype="float32")
    task = make_task(tmp_path, first_weights=path)
    trained = task.build()
    layer = "down5_block3_b_conv"
    np.testing.assert_array_equal(
        trained.get_layer(detector.ENCODER).get_layer(layer).get_weights()[0],
        unet.get_layer(layer).get_weights()[0],
    )
    kept = tmp_path / "kept.safetensors"
    save_weights(task.network, kept, dtype="float32")
    task.start_from(kept)
    for own in trained.layers:
        if own.weights:
            theirs = task.network.get_layer(own.name).get_weights()
            for a, b in zip(own.get_weights(), theirs, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_resnet101_from_coco_gives_a_resnet50_what_fits(tmp_path: Path, caplog: Any) -> None:
    class Coco(PaperConfig):
        NUM_CLASSES = 81
        BACKBONE = "resnet101"
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64

    coco = MaskRCNN("inference", Coco(), tmp_path).keras_model
    save_h5(coco, tmp_path / "coco.h5")
    task = make_task(tmp_path, network="paper", first_weights=tmp_path / "coco.h5")
    trained = task.build()
    assert "res4w_branch2a" not in {layer.name for layer in trained.layers}
    assert "unused" in caplog.text
    for own in trained.layers:
        theirs = coco.get_layer(own.name).get_weights() if own.weights else []
        for a, b in zip(own.get_weights(), theirs, strict=True):
            if own.name not in CLASS_LAYERS:
                np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_trained_weights_are_recognised(tmp_path: Path) -> None:
    model = build_mask_rcnn()
    save_weights(model, tmp_path / "detector.safetensors")
    found = load_segmenter(tmp_path / "detector.safetensors")
    assert (found.name, found.parameters) == ("Mask R-CNN, resnet50", model.count_params())
    assert found.parameters == 44_662_942

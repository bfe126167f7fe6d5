"""The U-Net that learns features beside its task: what is compared, trained and kept."""

import csv

import keras
import numpy as np
import pytest
from keras import ops

from unmask.segmentation.data import MaskDataset, build_composer
from unmask.segmentation.imitation import (
    DIFFERENCE,
    MASK,
    CosineDistance,
    ImitationDataset,
    build_imitator,
)
from unmask.segmentation.losses import MaskLoss
from unmask.segmentation.model import build_unet
from unmask.segmentation.train import TrainConfig, train
from unmask.weights import load_weights

SIDE = 96
TINY = {"widths": (8, 8, 8, 8, 8), "blocks": (1, 1, 2, 1, 1)}


@pytest.fixture(scope="module")
def unet():
    keras.utils.set_random_seed(1)
    return build_unet(**TINY)


@pytest.fixture(scope="module")
def imitator(unet):
    return build_imitator(unet, None, SIDE)


def test_cosine_distance_by_hand():
    a = np.zeros((2, 1, 2, 2), np.float32)
    a[..., 0] = 3.0
    b = np.zeros_like(a)
    b[0, 0, 0, 0], b[0, 0, 1, 1] = 1.0, 2.0  # same direction, right angle
    b[1, ..., 0] = -1.0  # opposite twice
    np.testing.assert_allclose(CosineDistance()((a, b)), [0.5, 2.0], atol=1e-6)


def test_probability_is_the_unets(unet, imitator):
    images = np.random.default_rng(0).random((2, SIDE, SIDE, 3), np.float32)
    answer = imitator(images)
    np.testing.assert_allclose(answer[MASK], unet(images), atol=1e-6)
    difference = ops.convert_to_numpy(answer[DIFFERENCE])
    assert difference.shape == (2,)
    assert ((difference >= 0) & (difference <= 2)).all()


def test_training_lowers_the_difference_and_leaves_inception_alone(unet, imitator):
    images = np.random.default_rng(0).random((4, SIDE, SIDE, 3), np.float32)
    targets = {MASK: np.zeros((4, SIDE, SIDE, 1), np.float32), DIFFERENCE: np.zeros(4, np.float32)}
    pyramid = imitator.get_layer("inception_pyramid")
    assert not pyramid.trainable_weights
    frozen = [np.array(w) for w in pyramid.get_weights()]
    encoder = np.array(unet.get_layer("down4_conv").get_weights()[0])
    imitator.compile(
        keras.optimizers.Adam(1e-2), {MASK: MaskLoss(), DIFFERENCE: "mae"},
        loss_weights={MASK: 0.0, DIFFERENCE: 1.0}, jit_compile=False,
    )  # fmt: skip
    losses = imitator.fit(images, targets, batch_size=4, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    # With the difference as the only loss, the encoder moves by it alone.
    assert np.abs(unet.get_layer("down4_conv").get_weights()[0] - encoder).max() > 1e-3
    for before, after in zip(frozen, pyramid.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_features_are_compared_where_they_lie(imitator):
    """Cropped, both maps have the same positions at both levels."""
    pyramid = imitator.get_layer("inception_pyramid")
    for level, index in ((3, 2), (4, 3)):
        assert (
            imitator.get_layer(f"cover{level}").output.shape[1:3]
            == (pyramid.outputs[index].shape[1:3])
        )


def test_training_keeps_the_unet_alone(data_folder, tmp_path):
    config = TrainConfig(
        data_folder, tmp_path / "run", minutes=0.02, steps=1, shapes=((SIDE, 2),), network=TINY,
        backbone=_random_inception(tmp_path), policy="float32",
    )  # fmt: skip
    path = train(config)
    load_weights(build_unet(**TINY), path)
    with (tmp_path / "run" / "history.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert 0 <= float(rows[-1]["val_iou"]) <= 1
    assert 0 < float(rows[-1][f"{DIFFERENCE}_loss"]) < 2


def test_a_backbone_has_one_side(data_folder, tmp_path):
    with pytest.raises(ValueError, match="one side"):
        train(TrainConfig(data_folder, tmp_path, backbone="imagenet"))


def test_targets_are_masks_and_zeros(data_folder):
    scenes = MaskDataset(build_composer(data_folder, 0), 1, ((SIDE, 2),))
    images, targets = ImitationDataset(scenes)[0]
    assert images.shape == (2, SIDE, SIDE, 3)
    assert targets[MASK].shape == (2, SIDE, SIDE, 1)
    assert not targets[DIFFERENCE].any()


def _random_inception(folder):
    model = keras.applications.InceptionV3(
        include_top=False, pooling="avg", input_shape=(SIDE, SIDE, 3), weights=None
    )
    path = folder / "inception.weights.h5"
    model.save_weights(path)
    return path

"""What InceptionV3 teaches: its decoder, and its features beside the U-Net's own task."""

import keras
import numpy as np
import pytest
from keras import ops

from unmask.segmentation.lite import build_unet
from unmask.segmentation.teacher import (
    build_distillation,
    build_teacher,
    cosine_distance,
)
from unmask.weights import load_arrays, load_weights, save_weights

SIDE = 96


@pytest.fixture(scope="module")
def teacher():
    keras.utils.set_random_seed(0)
    return build_teacher(None, SIDE)


def probability(teacher):
    photo = np.random.default_rng(0).random((1, SIDE, SIDE, 3)).astype(np.float32)
    return np.asarray(keras.ops.convert_to_numpy(teacher(photo, training=False)))


def test_a_probability_for_every_pixel(teacher):
    found = probability(teacher)
    assert found.shape == (1, SIDE, SIDE, 1)
    assert found.dtype == np.float32
    assert 0 < found.min() < found.max() < 1


def test_only_the_decoder_learns_and_is_stored(teacher, tmp_path):
    decoder = teacher.get_layer("decoder")
    assert [v.path for v in teacher.trainable_variables] == [
        v.path for v in decoder.trainable_variables
    ]
    before = probability(teacher)
    path = tmp_path / "decoder.safetensors"
    save_weights(decoder, path)
    names = set(load_arrays(path)[0])
    assert {"deep_wide_conv/kernel", "up1_1_bn/gamma", "logit/bias"} <= names
    assert not any("conv2d" in name or "mixed" in name for name in names)
    for variable in decoder.trainable_variables:
        variable.assign(variable + 0.1)
    assert np.abs(probability(teacher) - before).max() > 0.01
    load_weights(decoder, path)
    np.testing.assert_allclose(probability(teacher), before, atol=2e-3)


def test_maps_lie_where_the_photo_has_them(teacher):
    """What changes at a place of the photo changes every aligned map around that place."""
    encoder, decoder = (teacher.get_layer(name) for name in ("inception_pyramid", "decoder"))
    align = keras.Model(
        decoder.inputs, [decoder.get_layer(f"align{level}").output for level in (1, 2, 3)]
    )
    photo = np.zeros((2, SIDE, SIDE, 3), np.float32)
    photo[1, 44:52, 44:52] = 1.0
    for found in align(encoder(photo, training=False)):
        change = np.abs(np.diff(keras.ops.convert_to_numpy(found), axis=0))[0].sum(-1)
        positions = np.arange(len(change)) + 0.5
        for axis in (0, 1):
            middle = np.average(positions, weights=change.sum(axis)) * SIDE / len(change)
            assert abs(middle - SIDE / 2) < 0.5 * SIDE / len(change) + 2


@pytest.mark.parametrize("side", [64, 100])
def test_sides_that_do_not_fit(side):
    with pytest.raises(ValueError, match=f"side={side}"):
        build_teacher(None, side)


# === Distillation ===


@pytest.fixture(scope="module")
def unet():
    keras.utils.set_random_seed(1)
    return build_unet((8, 8, 8, 8, 8), (1, 1, 2, 1, 1))


@pytest.fixture(scope="module")
def distillation(unet):
    return build_distillation(unet, None, SIDE, 0.5)


def test_cosine_distance_by_hand():
    a = np.zeros((2, 1, 2, 2), np.float32)
    a[..., 0] = 3.0
    b = np.zeros_like(a)
    b[0, 0, 0, 0], b[0, 0, 1, 1] = 1.0, 2.0  # same direction, right angle
    b[1, ..., 0] = -1.0  # opposite twice
    assert float(cosine_distance(a, b)) == pytest.approx((0.5 + 2.0) / 2, abs=1e-6)


def test_probability_is_the_unets_and_the_difference_a_loss(unet, distillation):
    images = np.random.default_rng(0).random((2, SIDE, SIDE, 3), np.float32)
    np.testing.assert_allclose(distillation(images), unet(images), atol=1e-6)
    (loss,) = distillation.losses
    assert 0 < float(loss) < 0.5 * 2


def test_training_lowers_the_difference_and_leaves_inception_alone(unet, distillation):
    images = np.random.default_rng(0).random((4, SIDE, SIDE, 3), np.float32)
    pyramid = distillation.get_layer("inception_pyramid")
    assert not pyramid.trainable_weights
    frozen = [np.array(w) for w in pyramid.get_weights()]
    encoder = np.array(unet.get_layer("down4_conv").get_weights()[0])
    # With the difference as the only loss, the encoder moves by it alone.
    distillation.compile(
        keras.optimizers.Adam(1e-2), lambda y, p: 0.0 * ops.mean(p), run_eagerly=True
    )
    history = distillation.fit(images, images[..., :1], batch_size=4, epochs=8, verbose=0).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert np.abs(unet.get_layer("down4_conv").get_weights()[0] - encoder).max() > 1e-3
    for before, after in zip(frozen, pyramid.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_features_are_compared_where_they_lie(distillation):
    """Cropped, both maps have the same positions at both levels."""
    pyramid = distillation.get_layer("inception_pyramid")
    for level, index in ((3, 2), (4, 3)):
        assert (
            distillation.get_layer(f"cover{level}").output.shape[1:3]
            == (pyramid.outputs[index].shape[1:3])
        )

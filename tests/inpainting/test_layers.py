"""The building blocks against plain NumPy."""

import cv2
import keras
import numpy as np
import pytest
from keras import ops

from unmask.inference import forward
from unmask.inpainting.layers import (
    InstanceNormalization,
    NarrowConv2D,
    ReflectionPadding2D,
    ShrinkMask,
    SpectralConv2D,
    blur,
    brightness,
    remove_checkers,
)
from unmask.inpainting.lite import FineBrightness
from unmask.rivals.aot import NormalisedGate
from unmask.rivals.layers import AlignedUpSampling2D


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def array(tensor):
    return ops.convert_to_numpy(tensor)


def gradient(function, values):
    if keras.backend.backend() == "jax":
        import jax

        return array(jax.grad(function)(ops.convert_to_tensor(values)))
    import tensorflow as tf

    tensor = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = function(tensor)
    return array(tape.gradient(value, tensor))


def spectral_matrix(layer):
    kernel = array(layer.kernel)
    return kernel.transpose(3, 2, 0, 1).reshape(kernel.shape[-1], -1)


def test_reflection_padding_mirrors_without_repeating_the_border():
    row = np.arange(4, dtype="float32").reshape(1, 1, 4, 1) * np.ones((1, 4, 1, 1), "float32")
    padded = array(ReflectionPadding2D(2)(row))
    assert padded[0, 0, :, 0].tolist() == [2, 1, 0, 1, 2, 3, 2, 1]
    values = numbers(2, 6, 7, 3)
    expected = np.pad(values, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(array(ReflectionPadding2D(3)(values)), expected)


def test_instance_normalisation_standardises_every_channel_of_every_image():
    values = 3 + 5 * numbers(2, 8, 9, 4)
    result = array(InstanceNormalization()(values))
    np.testing.assert_allclose(result.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(result.var((1, 2)), 1, atol=1e-4)
    # A flat channel stays finite and becomes zero.
    assert not array(InstanceNormalization()(np.full((1, 4, 4, 1), 7.0, "float32"))).any()


def test_instance_normalisation_keeps_float32_sums_in_bfloat16():
    values = (200 + numbers(1, 64, 64, 1)).astype("float32")
    layer = InstanceNormalization(dtype="mixed_bfloat16")
    result = array(ops.cast(layer(values), "float32"))
    seen = array(ops.cast(ops.cast(values, "bfloat16"), "float32"))
    expected = (seen - seen.mean()) / np.sqrt(seen.var() + 1e-5)
    np.testing.assert_allclose(result, expected, atol=0.02)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float64"])
def test_instance_normalisation_does_not_care_how_many_images_there_are(dtype):
    values = 2 + 3 * numbers(3, 6, 10, 5)
    layer = InstanceNormalization(dtype=dtype)
    single = [array(ops.cast(layer(image[None]), "float32"))[0] for image in values]
    together = array(ops.cast(layer(values), "float32"))
    np.testing.assert_allclose(together, single, atol=1e-5)
    # The symbolic network knows no batch size.
    symbolic = keras.Input((None, None, 5))
    model = keras.Model(symbolic, layer(symbolic))
    np.testing.assert_allclose(forward(model, values), single, atol=1e-5)


def test_instance_normalisation_has_the_gradient_of_its_formula():
    values, direction, step = 1 + 2 * numbers(2, 4, 5, 3), numbers(2, 4, 5, 3, seed=1), 1e-2
    weights = numbers(2, 4, 5, 3, seed=2)
    layer = InstanceNormalization()

    def total(x):
        return ops.sum(weights * layer(x))

    found = float(np.sum(gradient(total, values) * direction))
    ahead, behind = (float(total(values + sign * step * direction)) for sign in (1, -1))
    assert found == pytest.approx((ahead - behind) / (2 * step), rel=2e-2, abs=1e-3)


@pytest.mark.parametrize("size", [3, 7])
def test_narrow_convolution_is_the_plain_one(size):
    layer = NarrowConv2D(3, size, bias_initializer="normal", activation="relu")
    values = numbers(2, size + 7, size + 11, 5)
    plain = keras.layers.Conv2D(3, size, activation="relu")
    for each in (layer, plain):
        each.build(values.shape)
    plain.set_weights([array(weight) for weight in layer.weights])
    assert layer(values).shape == (2, 8, 12, 3)
    np.testing.assert_allclose(array(layer(values)), array(plain(values)), atol=1e-5)


def test_narrow_convolution_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="same"):
        NarrowConv2D(3, 7, padding="same")
    with pytest.raises(ValueError, match=r"even.*9"):
        NarrowConv2D(3, 3)(numbers(1, 9, 8, 2))


def test_spectral_convolution_divides_by_the_largest_singular_value():
    # Power iteration is slow where chance makes the two largest values nearly equal.
    keras.utils.set_random_seed(0)
    layer = SpectralConv2D(6, 3, padding="same")
    values = numbers(1, 8, 8, 4)
    layer(values)
    for _ in range(200):
        layer(values, training=True)
    matrix = spectral_matrix(layer)
    largest = np.linalg.svd(matrix, compute_uv=False)[0]
    estimate = array(layer.left) @ matrix @ array(layer.right)
    assert estimate == pytest.approx(largest, rel=1e-3)
    plain = keras.layers.Conv2D(6, 3, padding="same")
    plain.build(values.shape)
    plain.set_weights([array(layer.kernel) / largest, array(layer.bias)])
    np.testing.assert_allclose(array(layer(values)), array(plain(values)), atol=1e-3)


def test_spectral_vectors_change_in_training_only():
    layer = SpectralConv2D(5, 3)
    values = numbers(1, 6, 6, 3)
    layer(values)
    before = array(layer.left).copy()
    layer(values, training=False)
    np.testing.assert_array_equal(array(layer.left), before)
    layer(values, training=True)
    assert np.abs(array(layer.left) - before).max() > 1e-4
    assert np.linalg.norm(array(layer.left)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("factor", [2, 4])
def test_masks_shrink_with_aligned_corners(factor):
    mask = np.random.default_rng(0).uniform(size=(2, 16, 24, 1)).astype("float32")

    def interpolate(values, axis):
        source = values.shape[axis]
        positions = np.linspace(0, source - 1, source // factor)
        low = np.minimum(positions.astype(int), source - 2)
        share = (positions - low).reshape([-1 if i == axis else 1 for i in range(4)])
        upper = np.take(values, low + 1, axis)
        return np.take(values, low, axis) * (1 - share) + upper * share

    result = array(ShrinkMask(factor)(mask))
    np.testing.assert_allclose(result, interpolate(interpolate(mask, 1), 2), atol=1e-5)
    np.testing.assert_allclose(result[:, [0, -1], [0, -1]], mask[:, [0, -1], [0, -1]], atol=1e-6)


def test_doubling_keeps_corners_and_ramps():
    ramp = np.broadcast_to(np.linspace(0, 1, 5)[None, None, :, None], (1, 4, 5, 2))
    result = array(AlignedUpSampling2D()(ramp.astype("float32")))
    expected = np.broadcast_to(np.linspace(0, 1, 10)[None, None, :, None], (1, 8, 10, 2))
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_the_gate_equals_its_formula():
    old, new, logits = (numbers(2, 3, 4, 2, seed=i) for i in range(3))
    flat = logits.reshape(2, 12, 2)
    scaled = (flat - flat.mean(1, keepdims=True)) / flat.std(1, ddof=1, keepdims=True)
    gate = (1 / (1 + np.exp(-5 * (2 * scaled - 1)))).reshape(logits.shape)
    expected = old * (1 - gate) + new * gate
    np.testing.assert_allclose(array(NormalisedGate()([old, new, logits])), expected, atol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        ReflectionPadding2D(3),
        InstanceNormalization(1e-3),
        NarrowConv2D(3, 3),
        SpectralConv2D(4, 3, strides=2),
        AlignedUpSampling2D(),
        ShrinkMask(4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_survive_their_configuration(layer):
    copy = type(layer).from_config(layer.get_config())
    values = numbers(1, 8, 8, 4)
    assert copy(values).shape == layer(values).shape
    assert tuple(copy.compute_output_shape((1, 8, 8, 4))) == tuple(layer(values).shape)


# === Filters ===


@pytest.mark.parametrize(("sigma", "channels"), [(1.0, 1), (2.5, 3)])
def test_blur_is_opencvs(sigma, channels):
    image = np.random.default_rng(0).uniform(size=(40, 32, channels)).astype(np.float32)
    side = 2 * int(3 * sigma) + 1
    expected = cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REFLECT_101)
    ours = np.asarray(blur(ops.convert_to_tensor(image[None]), sigma))[0]
    np.testing.assert_allclose(ours, expected.reshape(image.shape), atol=1e-5)


def test_images_and_channels_are_blurred_apart():
    images = np.zeros((2, 24, 24, 2), np.float32)
    images[1, 12, 12, 1] = 1
    ours = np.asarray(blur(ops.convert_to_tensor(images), 1.5))
    assert ours[0].max() == ours[1, ..., 0].max() == 0
    assert ours[1, ..., 1].sum() == pytest.approx(1, abs=1e-5)


def test_checkers_go_and_slopes_stay():
    ramp = np.linspace(0, 1, 32, dtype=np.float32)[None, None, :, None] * np.ones((1, 32, 1, 2))
    stripes = np.where(np.arange(32) % 2, 0.3, -0.3)[None, :, None, None]
    ours = np.asarray(remove_checkers((ramp + stripes).astype(np.float32)))
    np.testing.assert_allclose(ours[:, 1:-1, 1:-1], ramp[:, 1:-1, 1:-1], atol=1e-6)


def test_brightness_is_luma():
    assert np.asarray(brightness(np.float32([[[[1, 0.5, 0]]]]))).item() == pytest.approx(0.5925)


def test_fine_brightness_shows_details_enlarged_and_no_light():
    layer = FineBrightness()
    ramp = np.linspace(0, 1, 48, dtype=np.float32)[None, None, :, None] * np.ones((1, 48, 1, 3))
    assert np.abs(np.asarray(layer(ramp.astype(np.float32)))[:, 8:40, 8:40]).max() < 1e-3
    checks = np.indices((48, 48)).sum(0)[None, ..., None] % 2 * np.ones(3, np.float32)
    found = np.asarray(layer(checks.astype(np.float32)))[:, 8:40, 8:40]
    assert found.max() - found.min() == pytest.approx(4.0, rel=0.01)

"""The paper's networks, lite's and the AOT variant: sizes, and what must not change the output."""

import keras
import numpy as np
import pytest
from keras import ops

from unmask.inpainting import lite
from unmask.inpainting.paper import LongShortAttention, build_discriminator, build_generator
from unmask.rivals.aot import build_aot_discriminator, build_aot_generator, build_aot_variant


def parameters(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_weights)


def inputs(height, width, coarse=False, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.uniform(size=(1, height, width, 3)).astype("float32")
    mask = np.zeros((1, height, width, 1), "float32")
    mask[:, height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 1
    points = (rng.uniform(size=mask.shape) > 0.98).astype("float32")
    extra = [rng.uniform(size=image.shape).astype("float32")] if coarse else []
    return [image, mask, points, *extra]


def call(model, values):
    return ops.convert_to_numpy(model(values, training=False))


@pytest.fixture(scope="module")
def generator():
    return build_generator(width=8, depth=1)


@pytest.fixture(scope="module")
def coarse_generator():
    return lite.build_generator(width=8, depth=1)


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (build_generator, 11_734_981), (build_discriminator, 2_768_930),
        (lite.build_generator, 1_464_547), (lite.build_coarse, 3_102_828),
        (build_aot_variant, 15_865_541), (build_aot_generator, 15_200_835),
        (build_aot_discriminator, 2_763_777),
    ],
)  # fmt: skip
def test_networks_have_the_parameters_that_their_docstrings_tell(build, count):
    assert parameters(build()) == count
    assert f"{count:,} parameters" in build.__doc__


def test_the_guided_aot_generator_differs_from_the_paper_in_its_blocks_only():
    def names(model):
        return {v.path for v in model.weights if not v.path.startswith("middle")}

    aot = build_aot_variant(width=8, depth=2)
    assert names(aot) == names(build_generator(width=8, depth=2))
    blocks = {v.path.split("/")[0] for v in aot.weights if v.path.startswith("middle1")}
    assert blocks == {f"middle1_{p}" for p in ("branch1", "branch2", "branch4", "branch8",
                                               "fuse", "gate")}  # fmt: skip


def test_lite_without_a_coarse_completion_is_the_paper_without_attention():
    """On a white hole, with an unseen mask, they agree: attention's scales start at 0."""
    whole, model = build_generator(width=8, depth=1), lite.build_generator(width=8, depth=1)
    assert not any(v.path.startswith("attention/") for v in model.weights)
    values = {v.path: ops.convert_to_numpy(v) for v in whole.weights}
    for variable in model.weights:
        value = values[variable.path]
        if variable.path == "encoder1/kernel":
            value = np.concatenate([value, np.zeros_like(value[:, :, :1])], axis=2)
        variable.assign(value)
    given = inputs(64, 64)
    painted = given[0] * (1 - given[1]) + given[1]
    correction = call(whole, given) * 2 - 1
    expected = np.clip(painted + correction, 0, 1)
    found = call(model, [*given, np.ones_like(given[0])])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("build", [
    lambda: build_aot_variant(width=8, depth=1),
    lambda: build_aot_generator(width=8, depth=1),
], ids=["guided", "plain"])  # fmt: skip
def test_aot_generators_complete_any_size(build):
    model, values = build(), inputs(72, 48)
    result = call(model, values)
    assert result.shape == (1, 72, 48, 3)
    assert 0 <= result.min() < result.max() <= 1
    other = [value.copy() for value in values]
    other[0] = np.where(values[1] > 0, 0.123, values[0]).astype("float32")
    np.testing.assert_array_equal(call(model, other), result)
    other[2] = 1 - values[2]
    guided = len(model.get_layer("joined").input) == 2 and model.name == "generator"
    assert (np.abs(call(model, other) - result).max() > 1e-5) == guided


@pytest.mark.parametrize(("height", "width"), [(72, 40), (64, 200)])
def test_any_size_divisible_by_eight_works(generator, height, width):
    result = call(generator, inputs(height, width))
    assert result.shape == (1, height, width, 3)
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("coarse", [False, True])
def test_what_the_image_holds_in_the_hole_makes_no_difference(generator, coarse_generator, coarse):
    model = coarse_generator if coarse else generator
    values = inputs(64, 64, coarse)
    other = [value.copy() for value in values]
    other[0] = np.where(values[1] > 0, 0.123, values[0]).astype("float32")
    np.testing.assert_array_equal(call(model, values), call(model, other))


def test_landmarks_and_coarse_completion_make_a_difference(coarse_generator):
    values = inputs(64, 64, coarse=True)
    result = call(coarse_generator, values)
    for place in (2, 3):
        other = list(values)
        other[place] = 1 - values[place]
        assert np.abs(call(coarse_generator, other) - result).max() > 1e-4


def test_lite_starts_near_its_coarse_completion(coarse_generator):
    image, mask, points, coarse = inputs(64, 64, coarse=True)
    result = call(coarse_generator, [image, mask, points, coarse])
    painted = image * (1 - mask) + coarse * mask
    assert np.abs(result - painted).mean() < 0.06


def test_images_of_a_batch_do_not_see_each_other(coarse_generator):
    one, two = inputs(32, 32, True), inputs(32, 32, True, seed=1)
    both = call(coarse_generator, [np.concatenate(pair) for pair in zip(one, two, strict=True)])
    np.testing.assert_allclose(both[:1], call(coarse_generator, one), atol=1e-5)
    np.testing.assert_allclose(both[1:], call(coarse_generator, two), atol=1e-5)


def test_output_is_float32_in_mixed_precision():
    from unmask.training.task import precision

    with precision("mixed_bfloat16"):
        mixed = build_generator(width=8, depth=1)
        discriminator = build_discriminator(8)
    plain = build_generator(width=8, depth=1)
    plain.set_weights(mixed.get_weights())
    values = inputs(64, 64)
    result = call(mixed, values)
    assert result.dtype == np.float32
    assert np.abs(result - call(plain, values)).mean() < 0.02
    assert call(discriminator, [values[0], values[2]]).dtype == np.float32


def test_a_patch_of_the_discriminator_sees_70_pixels():
    model = build_discriminator(8)
    image, _, points = inputs(128, 128)
    scores = call(model, [image, points])
    assert scores.shape == (1, 14, 14, 1)
    assert scores.min() > 0
    assert scores.max() < 1
    # Before the sigmoid and with weights of one sign, no influence can cancel or saturate.
    for index in range(1, 6):
        kernel = model.get_layer(f"conv{index}").kernel
        kernel.assign(ops.abs(kernel))
    raw = keras.Model(model.inputs, model.get_layer("conv5").output)
    before = call(raw, [image, points])
    image[0, 64, 64] += 1e4
    rows = np.flatnonzero((call(raw, [image, points]) != before)[0, ..., 0].any(1))
    # Patch p covers the pixels from 8 p - 23 to 8 p + 46.
    expected = [p for p in range(14) if 8 * p - 23 <= 64 <= 8 * p + 46]
    assert rows.tolist() == expected


# === Long-short attention ===


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def array(tensor):
    return ops.convert_to_numpy(tensor)


def softmax(values):
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.fixture
def attention():
    layer = LongShortAttention(3)
    layer.build([(None, None, None, 4), (None, None, None, 5), (None, None, None, 1)])
    layer.query.kernel.assign(numbers(1, 1, 4, 3, seed=1))
    layer.gamma.assign([0.6])
    layer.alpha.assign([0.4])
    return layer


def test_attention_equals_its_formula(attention):
    features, earlier = numbers(2, 4, 6, 4), numbers(2, 4, 6, 5, seed=2)
    mask = np.random.default_rng(3).uniform(size=(2, 4, 6, 1)).astype("float32")
    x, e, m = features.reshape(2, 24, 4), earlier.reshape(2, 24, 5), mask.reshape(2, 24, 1)
    query = x @ array(attention.query.kernel)[0, 0] + array(attention.query.bias)
    weights = softmax(query @ query.transpose(0, 2, 1))
    short = 0.6 * weights @ x + x
    long = 0.4 * m * (weights @ e) + (1 - m) * e
    expected = np.concatenate([short, long], axis=-1).reshape(2, 4, 6, 9)
    np.testing.assert_allclose(array(attention([features, earlier, mask])), expected, atol=1e-4)
    np.testing.assert_allclose(array(attention(features)), short.reshape(2, 4, 6, 4), atol=1e-4)


def test_attention_starts_as_identity():
    values = numbers(1, 4, 4, 8)
    np.testing.assert_array_equal(array(LongShortAttention(2)(values)), values)


def test_attention_serves_networks_that_do_not_know_their_size():
    features = keras.Input((None, None, 4))
    layer = LongShortAttention(2)
    model = keras.Model(features, layer(features))
    layer.gamma.assign([0.7])
    layer.query.kernel.assign(numbers(1, 1, 4, 2))
    for side in (6, 10):
        values = numbers(2, side, side, 4)
        flat = values.reshape(2, -1, 4)
        query = flat @ array(layer.query.kernel)[0, 0]
        expected = flat + 0.7 * softmax(query @ query.transpose(0, 2, 1)) @ flat
        result = model.predict(values, verbose=0)
        np.testing.assert_allclose(result.reshape(2, -1, 4), expected, atol=1e-4)

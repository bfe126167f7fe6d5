"""Generator, discriminator and feature network: sizes, and what must not change the output."""

import keras
import numpy as np
import pytest
from keras import ops

from unmask.inpainting.discriminator import build_discriminator
from unmask.inpainting.generator import LITE, PAPER, build_generator
from unmask.rivals.aot import AOT, build_aot_discriminator, build_aot_generator
from unmask.weights import load_weights, save_weights


def parameters(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_weights)


def inputs(height, width, coarse=False, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.uniform(size=(1, height, width, 3)).astype("float32")
    mask = np.zeros((1, height, width, 1), "float32")
    mask[:, height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 1
    points = (rng.uniform(size=mask.shape) > 0.98).astype("float32")
    guess = [rng.uniform(size=image.shape).astype("float32")] if coarse else []
    return [image, mask, points, *guess]


def call(model, values):
    return ops.convert_to_numpy(model(values, training=False))


@pytest.fixture(scope="module")
def generator():
    return build_generator(width=8, depth=1)


@pytest.fixture(scope="module")
def coarse_generator():
    return build_generator(width=8, depth=1, coarse=True)


def test_the_paper_generator_has_the_published_parameter_count():
    assert parameters(build_generator(**PAPER)) == 11_734_981


def test_the_aot_networks_have_the_published_parameter_counts():
    assert parameters(build_aot_generator(**AOT)) == 15_200_835
    assert parameters(build_aot_discriminator()) == 2_763_777


def test_the_guided_aot_generator_differs_from_the_paper_in_its_blocks_only():
    def names(model):
        return {v.path for v in model.weights if not v.path.startswith("middle")}

    aot = build_generator(width=8, blocks="aot", depth=2)
    assert names(aot) == names(build_generator(width=8, depth=2))
    blocks = {v.path.split("/")[0] for v in aot.weights if v.path.startswith("middle1")}
    assert blocks == {f"middle1_{p}" for p in ("branch1", "branch2", "branch4", "branch8",
                                               "fuse", "gate")}  # fmt: skip
    with pytest.raises(ValueError, match="blocks='round'"):
        build_generator(blocks="round")


def test_without_attention_the_generator_is_the_one_whose_attention_is_off():
    whole = build_generator(width=8, depth=1)
    model = build_generator(width=8, depth=1, attention=False)
    assert not any(v.path.startswith("attention/") for v in model.weights)
    values = {v.path: v for v in whole.weights}
    for variable in model.weights:
        variable.assign(values[variable.path])
    # The scales of attention are 0 at first.
    given = inputs(64, 64)
    np.testing.assert_allclose(call(model, given), call(whole, given), atol=1e-5)
    whole.get_layer("attention").alpha.assign([1.0])
    assert np.abs(call(model, given) - call(whole, given)).max() > 1e-4


@pytest.mark.parametrize("build", [
    lambda: build_generator(width=8, blocks="aot", depth=1),
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


def test_the_paper_discriminator_has_the_published_parameters_that_it_uses():
    """3,244,450 are published; 475,520 of them never take part in the published forward pass.

    The attention module brings a residual block (`auto_attn.model`: 3x3 256 -> 128, 3x3
    128 -> 128, 1x1 256 -> 128, with biases) which only runs after the long part, and the
    discriminator has no long part. This package does not create it.
    """
    unused = (9 * 256 * 128 + 128) + (9 * 128 * 128 + 128) + (256 * 128 + 128)
    assert parameters(build_discriminator()) + unused == 3_244_450


def test_the_lite_generator_fits_seven_megabytes(tmp_path):
    save_weights(build_generator(**LITE), tmp_path / "lite.safetensors")
    assert (tmp_path / "lite.safetensors").stat().st_size < 7e6


def test_weights_round_trip(tmp_path, generator):
    save_weights(generator, tmp_path / "a.safetensors", dtype="float32")
    other = build_generator(width=8, depth=1)
    load_weights(other, tmp_path / "a.safetensors")
    values = inputs(32, 32)
    np.testing.assert_array_equal(call(generator, values), call(other, values))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (72, 40), (64, 200)])
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


def test_landmarks_and_guess_make_a_difference(coarse_generator):
    values = inputs(64, 64, coarse=True)
    result = call(coarse_generator, values)
    for place in (2, 3):
        other = list(values)
        other[place] = 1 - values[place]
        assert np.abs(call(coarse_generator, other) - result).max() > 1e-4


def test_the_coarse_generator_starts_near_its_guess():
    image, mask, points, guess = inputs(64, 64, coarse=True)
    result = call(build_generator(**LITE), [image, mask, points, guess])
    painted = image * (1 - mask) + guess * mask
    assert np.abs(result - painted).mean() < 0.06


def test_images_of_a_batch_do_not_see_each_other(coarse_generator):
    one, two = inputs(32, 32, True), inputs(32, 32, True, seed=1)
    both = call(coarse_generator, [np.concatenate(pair) for pair in zip(one, two, strict=True)])
    np.testing.assert_allclose(both[:1], call(coarse_generator, one), atol=1e-5)
    np.testing.assert_allclose(both[1:], call(coarse_generator, two), atol=1e-5)


def test_output_is_float32_in_mixed_precision():
    from unmask.training.precision import precision

    with precision("mixed_bfloat16"):
        mixed = build_generator(width=8, depth=1)
        discriminator = build_discriminator(8, attention=False)
    plain = build_generator(width=8, depth=1)
    plain.set_weights(mixed.get_weights())
    values = inputs(64, 64)
    result = call(mixed, values)
    assert result.dtype == np.float32
    assert np.abs(result - call(plain, values)).mean() < 0.02
    assert call(discriminator, [values[0], values[2]]).dtype == np.float32


def test_a_patch_of_the_discriminator_sees_70_pixels():
    model = build_discriminator(8, attention=False)
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

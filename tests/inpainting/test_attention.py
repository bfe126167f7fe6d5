"""Long-short attention: its formula, its two ways of computing it, its memory."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from unmask.inpainting.attention import LongShortAttention, attend

ROOT = Path(__file__).resolve().parents[2]


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


def test_attention_follows_a_permutation_of_positions(attention):
    values = numbers(1, 4, 6, 4)
    order = np.random.default_rng(4).permutation(24)
    moved = values.reshape(1, 24, 4)[:, order].reshape(1, 4, 6, 4)
    expected = array(attention(values)).reshape(1, 24, 4)[:, order].reshape(1, 4, 6, 4)
    np.testing.assert_allclose(array(attention(moved)), expected, atol=1e-4)


def test_attention_starts_as_identity():
    values = numbers(1, 4, 4, 8)
    np.testing.assert_array_equal(array(LongShortAttention(2)(values)), values)


def gradients(query, values, weights, **sizes):
    """Return the gradients of sum(weights * attend(query, values)) on either backend."""

    def loss(query, values):
        return ops.sum(weights * attend(query, values, **sizes))

    if keras.backend.backend() == "jax":
        import jax

        return [array(g) for g in jax.jit(jax.grad(loss, (0, 1)))(query, values)]
    import tensorflow as tf

    inputs = [tf.constant(query), tf.constant(values)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = tf.function(loss)(*inputs)
    return [array(g) for g in tape.gradient(result, inputs)]


# 50 positions: with rows to fill up, without, and with one block for all.
@pytest.mark.parametrize("block_rows", [16, 25, 64])
def test_blocks_give_the_same_values_and_gradients(block_rows):
    query, values = 0.5 * numbers(2, 50, 3), numbers(2, 50, 6, seed=1)
    weights = numbers(2, 50, 6, seed=2)
    blocks = {"dense_positions": 0, "block_rows": block_rows}
    whole = array(attend(query, values))
    np.testing.assert_allclose(array(attend(query, values, **blocks)), whole, atol=1e-5)
    for ours, theirs in zip(
        gradients(query, values, weights, **blocks), gradients(query, values, weights), strict=True
    ):
        assert np.abs(theirs).max() > 0.1
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_blocks_serve_networks_that_do_not_know_their_size():
    features = keras.Input((None, None, 4))
    layer = LongShortAttention(2)
    model = keras.Model(features, layer(features))
    layer.gamma.assign([0.7])
    layer.query.kernel.assign(numbers(1, 1, 4, 2))
    for side in (6, 34):  # 1,156 positions are computed in blocks
        values = numbers(2, side, side, 4)
        flat = values.reshape(2, -1, 4)
        query = flat @ array(layer.query.kernel)[0, 0]
        expected = flat + 0.7 * softmax(query @ query.transpose(0, 2, 1)) @ flat
        result = model.predict(values, verbose=0)
        np.testing.assert_allclose(result.reshape(2, -1, 4), expected, atol=1e-4)


def test_mixed_precision_stays_near():
    query, values = 0.5 * numbers(1, 40, 3), numbers(1, 40, 6, seed=1)
    half = [ops.cast(x, "bfloat16") for x in (query, values)]
    result = attend(*half, dense_positions=0, block_rows=16)
    assert keras.backend.standardize_dtype(result.dtype) == "bfloat16"
    difference = array(ops.cast(result, "float32")) - array(attend(query, values))
    assert np.abs(difference).max() < 0.05


JAX_MEMORY = """
import jax, numpy as np
from keras import ops
from unmask.inpainting.attention import attend
def loss(query, values):
    return ops.sum(ops.square(attend(query, values, dense_positions=0)))
for positions in (2048, 4096):
    shapes = [jax.ShapeDtypeStruct((1, positions, c), np.float32) for c in (16, 64)]
    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(*shapes).compile()
    print(compiled.memory_analysis().temp_size_in_bytes)
"""


@pytest.mark.slow
def test_memory_is_linear_in_the_positions_also_in_training():
    pytest.importorskip("jax")
    small, large = map(int, on_jax("-c", JAX_MEMORY).split())
    assert large < 2.2 * small
    assert large < 4096 * 4096 * 4 / 2  # the whole matrix once is twice as much


@pytest.mark.slow
def test_attention_is_the_same_on_jax():
    pytest.importorskip("jax")
    on_jax("-m", "pytest", __file__, "-m", "not slow", "-p", "no:cacheprovider")


def on_jax(*arguments):
    done = subprocess.run(
        [sys.executable, *arguments], env=os.environ | {"KERAS_BACKEND": "jax"},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return done.stdout

"""The paper's generator with AOT-GAN's blocks in its trunk; all else is that of `paper.py`.

The blocks look at four distances at once. `unmask.rivals.aot` is AOT-GAN itself.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from unmask.inpainting.layers import convolve
from unmask.inpainting.paper import attend, decode, encode, guided_inputs, on_white, paint

# Dilation of the four branches of a block.
AOT_RATES = (1, 2, 4, 8)


def build_aot_variant(width: int = 64, depth: int = 7) -> keras.Model:
    """Build the generator: 15,865,541 parameters at the paper's width and depth.

    Args:
        width: Channels of the first layer.
        depth: Number of AOT blocks.

    Returns:
        As `unmask.inpainting.paper.build_generator`. H and W are at least 40: the widest branch
        mirrors 8 positions at a quarter of the size.

    Example:
        >>> model = build_aot_variant(width=8, depth=1)
        >>> zeros = ops.zeros
        >>> model([zeros((1, 64, 64, 3)), zeros((1, 64, 64, 1)), zeros((1, 64, 64, 1))]).shape
        TensorShape([1, 64, 64, 3])

    Reference:
        AOT-GAN (Zeng et al., 2021), Section 3.1.
    """
    image, mask, landmark_map = inputs = guided_inputs()
    encoded = encode(on_white(image, mask, landmark_map), width)
    x = encoded[-1]
    for index in range(depth):
        x = aot_block(x, f"middle{index}")
    x = decode(attend(x, encoded[-1], mask), encoded, mask, width)
    return keras.Model(inputs, (paint(x) + 1.0) / 2.0, name="generator")


def aot_block(x: Any, name: str) -> Any:
    """Four dilations side by side, fused, and mixed with the input by a gate (AOT-GAN)."""
    filters = x.shape[-1]
    branches = []
    for rate in AOT_RATES:
        branch = f"{name}_branch{rate}"
        y = convolve(x, filters // len(AOT_RATES), 3, branch, pad=rate, dilation=rate)
        branches.append(layers.ReLU(name=f"{branch}_relu")(y))
    joined = layers.Concatenate(name=f"{name}_join")(branches)
    fused = convolve(joined, filters, 3, f"{name}_fuse", pad=1)
    gate = convolve(x, filters, 3, f"{name}_gate", pad=1)
    return NormalisedGate(name=f"{name}_mix")([x, fused, gate])


@keras.saving.register_keras_serializable(package="unmask")
class NormalisedGate(keras.layers.Layer):
    """Choose between old and new features by a gate that is normalised over each image.

    `gate = sigmoid(5 (2 (g - mean) / std - 1))` with the mean and the unbiased standard deviation
    over all positions of a channel; the result is `old * (1 - gate) + new * gate`.

    Reference:
        AOT-GAN (Zeng et al., 2021), Section 3.1; the normalisation is that of the published code.
    """

    def call(self, inputs: Any) -> Any:
        """Mix `[old, new, g]`, each (B, h, w, C)."""
        old, new, logits = inputs
        values = ops.cast(logits, "float32")
        mean, variance = ops.moments(values, axes=[1, 2], keepdims=True)
        count = ops.cast(ops.shape(values)[1] * ops.shape(values)[2], "float32")
        # A constant channel has no deviation, and the root no finite slope there.
        scale = ops.rsqrt(variance * count / ops.maximum(count - 1.0, 1.0) + 1e-12)
        gate = ops.sigmoid(5.0 * (2.0 * (values - mean) * scale - 1.0))
        gate = ops.cast(gate, old.dtype)
        return old * (1.0 - gate) + new * gate

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the old features' shape."""
        return tuple(input_shape[0])

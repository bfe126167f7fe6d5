"""What the generators are put together from: functions from one symbolic tensor to the next.

The names given here are the weights' names in every stored file.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from unmask.inpainting.attention import LongShortAttention
from unmask.inpainting.layers import (
    NarrowConv2D,
    NormalisedGate,
    ReflectionPadding2D,
    SpectralConv2D,
)
from unmask.inpainting.normalisation import InstanceNormalization

# Dilation of the four branches of an AOT block.
AOT_RATES = (1, 2, 4, 8)


def convolve(x: Any, filters: int, size: int, name: str, *, pad: int, dilation: int = 1) -> Any:
    """Pad by reflection, then convolve.

    Args:
        x: (B, H, W, C).
        filters: Output channels.
        size: Side of the kernel.
        name: The convolution's name.
        pad: Pixels to add on every side.
        dilation: Dilation of the kernel.
    """
    x = ReflectionPadding2D(pad, name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters, size, dilation_rate=dilation, kernel_initializer=_initializer(), name=name
    )(x)


def shrink(x: Any, filters: int, name: str) -> Any:
    """Halve the even size by a 4x4 convolution of stride 2."""
    # With even sides "same" is one zero on every side, without a padded copy.
    return layers.Conv2D(
        filters, 4, strides=2, padding="same", kernel_initializer=_initializer(), name=name
    )(x)


def enlarge(x: Any, filters: int, name: str) -> Any:
    """Double the size by a 4x4 transposed convolution of stride 2."""
    # PyTorch's k=4, s=2, p=1: the full result less one pixel on each side, which is "same" here.
    return layers.Conv2DTranspose(
        filters, 4, strides=2, padding="same", kernel_initializer=_initializer(), name=name
    )(x)


def normalise(x: Any, name: str) -> Any:
    """Instance normalisation and ReLU."""
    x = InstanceNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def dilated_block(x: Any, name: str) -> Any:
    """The paper's residual block: a dilated and a plain 3x3 convolution, normalised."""
    filters = x.shape[-1]
    y = convolve(x, filters, 3, f"{name}_conv1", pad=2, dilation=2)
    y = convolve(normalise(y, f"{name}_conv1"), filters, 3, f"{name}_conv2", pad=1)
    y = InstanceNormalization(name=f"{name}_conv2_norm")(y)
    return layers.Add(name=f"{name}_add")([x, y])


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


def paint(x: Any, name: str, *, spread: float = 0.02) -> Any:
    """Pad by reflection and convolve, 7x7, to the three colours."""
    x = ReflectionPadding2D(3, name=f"{name}_pad")(x)
    return NarrowConv2D(3, 7, kernel_initializer=_initializer(spread), name=name)(x)


def attention_block(x: Any, encoded: Any, mask: Any, *, attention: bool = True) -> Any:
    """Join trunk and encoder, then a residual block with spectral norm to the trunk's width.

    With attention both borrow from other positions before; without it the encoder's features are
    only closed inside the hole.
    """
    filters = x.shape[-1]
    if attention:
        joined = LongShortAttention(filters // 4, name="attention")([x, encoded, mask])
    else:
        known = layers.Multiply(name="attention_mask")([encoded, 1.0 - mask])
        joined = layers.Concatenate(name="attention_join")([x, known])
    y = layers.LeakyReLU(0.01, name="attention_leaky1")(joined)
    y = _spectral(filters, 3, "attention_conv1")(y)
    y = layers.LeakyReLU(0.01, name="attention_leaky2")(y)
    y = _spectral(filters, 3, "attention_conv2")(y)
    shortcut = _spectral(filters, 1, "attention_shortcut")(joined)
    return layers.Add(name="attention_add")([y, shortcut])


def fuse(x: Any, skip: Any, mask: Any, name: str) -> Any:
    """Join the decoder with the encoder's features outside the hole."""
    open_skip = layers.Multiply(name=f"{name}_mask")([skip, 1.0 - mask])
    joined = layers.Concatenate(name=f"{name}_join")([open_skip, x])
    y = layers.Conv2D(joined.shape[-1], 1, kernel_initializer=_initializer(), name=name)(joined)
    return normalise(y, name)


def _spectral(filters: int, size: int, name: str) -> layers.Layer:
    return SpectralConv2D(
        filters, size, padding="same", kernel_initializer=_initializer(), name=name
    )


def _initializer(spread: float = 0.02) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=spread)

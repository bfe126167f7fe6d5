"""Residual blocks, of which our networks that classify are made, and the U-Net of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

Tensor = Any


def unet_trunk(x: Tensor, widths: Sequence[int], blocks: Sequence[int]) -> Tensor:
    """Apply a U-Net with residual blocks and five levels, all but its last layer.

    The deepest level, at 1/32 of the resolution, is dilated, so that one position there sees about
    500 pixels.

    Args:
        x: (B, H, W, C), H and W multiples of 32.
        widths: Channels of the five levels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution.
        blocks: Residual blocks of each of these levels, at least 1.

    Returns:
        (B, H / 2, W / 2, widths[0]).

    Raises:
        ValueError: `widths` or `blocks` do not have five positive entries.

    Reference:
        Ronneberger et al., "U-Net", MICCAI 2015; the residual blocks follow He et al., CVPR 2016.
    """
    for label, values in (("widths", widths), ("blocks", blocks)):
        if len(values) != 5 or min(values) < 1:
            raise ValueError(f"{label} must have five positive entries. Received: {label}={values}")
    skips = []
    for level, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        x = conv_block(x, width, f"down{level}", stride=2)
        for block in range(1, count + 1):
            dilation = 2 if level == 5 and block > 1 else 1
            x = residual_block(x, width, f"down{level}_block{block}", dilation=dilation)
        skips.append(x)
    for level in range(4, 0, -1):
        x = keras.layers.UpSampling2D(name=f"up{level}_resize")(x)
        x = keras.layers.Concatenate(name=f"up{level}_join")([x, skips[level - 1]])
        x = conv_block(x, widths[level - 1], f"up{level}")
    return x


def conv_block(
    x: Tensor, width: int, name: str, *, kernel: int = 3, stride: int = 1, dilation: int = 1,
    momentum: float = 0.97,
) -> Tensor:  # fmt: skip
    """Convolution, batch normalisation and ReLU."""
    return keras.layers.ReLU(name=f"{name}_relu")(
        _normalised(x, width, name, kernel, stride, dilation, momentum, "ones")
    )


def residual_block(
    x: Tensor, width: int, name: str, *, dilation: int = 1, momentum: float = 0.97
) -> Tensor:
    """Two convolutions whose result is added to what they see."""
    y = conv_block(x, width, f"{name}_a", dilation=dilation, momentum=momentum)
    # Starting from zero, a block is the identity at first: deep networks start calmly.
    y = _normalised(y, width, f"{name}_b", 3, 1, dilation, momentum, "zeros")
    y = keras.layers.Add(name=f"{name}_add")([x, y])
    return keras.layers.ReLU(name=f"{name}_relu")(y)


def _normalised(
    x: Tensor, width: int, name: str, kernel: int, stride: int, dilation: int, momentum: float,
    gamma: str,
) -> Tensor:  # fmt: skip
    x = keras.layers.Conv2D(
        width, kernel, strides=stride, dilation_rate=dilation, padding="same", use_bias=False,
        kernel_initializer="he_normal", name=f"{name}_conv",
    )(x)  # fmt: skip
    # A momentum of 0.99 would still remember the first steps after a short training.
    return keras.layers.BatchNormalization(
        momentum=momentum, gamma_initializer=gamma, name=f"{name}_bn"
    )(x)

"""The paper's landmark-guided generator, at any width, on a plain or a coarse input.

Its module is LaFIn's: an encoder, dilated residual blocks, long-short attention, and a decoder
whose skip connections are closed inside the hole.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from unmask.inpainting.layers import (
    InstanceNormalization,
    LongShortAttention,
    ReflectionPadding2D,
    ShrinkMask,
    SpectralConv2D,
)

# Arguments of `build_generator` for the shipped weights: half the paper's width, painting on the
# linear first guess.
LITE: dict[str, Any] = {"width": 32, "blocks": 7, "coarse": True}
# As published: 11,734,981 parameters.
PAPER: dict[str, Any] = {"width": 64, "blocks": 7, "coarse": False}


def build_generator(width: int = 64, blocks: int = 7, coarse: bool = False) -> keras.Model:
    """Build the generator.

    Args:
        width: Channels of the first layer; 64 in the paper (11,734,981 parameters).
        blocks: Number of dilated residual blocks.
        coarse: Whether a fourth input gives a first guess: the hole is then painted with it
            instead of white, the mask becomes a fifth input channel (the hole cannot be seen
            otherwise), and the network's output is added to the guess.

    Returns:
        A model from `[image (B, H, W, 3) in [0, 1], mask (B, H, W, 1) with 1 in the hole,
        landmark_map (B, H, W, 1)]`, then `coarse (B, H, W, 3)` if asked for, to the completed
        image (B, H, W, 3) in [0, 1], float32. H and W are multiples of 8. What the image holds
        inside the hole does not matter.

    Example:
        >>> model = build_generator(width=8, blocks=1)
        >>> zeros = ops.zeros
        >>> model([zeros((1, 64, 64, 3)), zeros((1, 64, 64, 1)), zeros((1, 64, 64, 1))]).shape
        TensorShape([1, 64, 64, 3])

    Reference:
        The paper's Section "Inpainting"; LaFIn (Yang et al., 2019), generator as published.
    """
    image = keras.Input((None, None, 3), name="image")
    mask = keras.Input((None, None, 1), name="mask")
    landmark_map = keras.Input((None, None, 1), name="landmark_map")
    inputs = [image, mask, landmark_map]
    if coarse:
        guess = keras.Input((None, None, 3), name="coarse")
        inputs.append(guess)
        painted = image * (1.0 - mask) + guess * mask
        joined = layers.Concatenate(name="joined")([painted, landmark_map, mask])
    else:
        painted = image * (1.0 - mask) + mask
        joined = layers.Concatenate(name="joined")([painted, landmark_map])
    half, quarter = ShrinkMask(2, name="mask_half")(mask), ShrinkMask(4, name="mask_quarter")(mask)

    encoded1 = _normalised(_conv(width, 7, "encoder1", pad=3)(joined), "encoder1")
    encoded2 = _normalised(_down(2 * width, "encoder2")(encoded1), "encoder2")
    encoded3 = _normalised(_down(4 * width, "encoder3")(encoded2), "encoder3")
    x = encoded3
    for index in range(blocks):
        x = _dilated_block(x, f"middle{index}")
    x = _attention_block(x, encoded3, quarter)
    x = _up(2 * width, "decoder1")(x)
    x = layers.ReLU(name="decoder1_relu")(InstanceNormalization(name="decoder1_norm")(x))
    x = _fuse(x, encoded2, half, "fusion1")
    x = _up(width, "decoder2")(x)
    x = layers.ReLU(name="decoder2_relu")(InstanceNormalization(name="decoder2_norm")(x))
    x = _fuse(x, encoded1, mask, "fusion2")
    # A correction starts at nothing, so that the first completions are the guess itself.
    x = _conv(3, 7, "decoder3", pad=3, spread=1e-3 if coarse else 0.02)(x)
    # The last steps in float32 also in mixed precision: bfloat16 has 8 bits, as have the pixels.
    x = layers.Activation("tanh", dtype="float32", name="decoder3_tanh")(x)
    completed = ops.clip(painted + x, 0.0, 1.0) if coarse else (x + 1.0) / 2.0
    return keras.Model(inputs, completed, name="generator")


def _initializer(spread: float = 0.02) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=spread)


def _conv(
    filters: int, size: int, name: str, *, pad: int, dilation: int = 1, spread: float = 0.02
) -> Any:
    """Reflection padding, then a convolution."""

    def apply(x: Any) -> Any:
        x = ReflectionPadding2D(pad, name=f"{name}_pad")(x)
        return layers.Conv2D(
            filters,
            size,
            dilation_rate=dilation,
            kernel_initializer=_initializer(spread),
            name=name,
        )(x)

    return apply


def _down(filters: int, name: str) -> Any:
    """A 4x4 convolution of stride 2 with one zero on every side (explicit: "same" is uneven)."""

    def apply(x: Any) -> Any:
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        return layers.Conv2D(filters, 4, strides=2, kernel_initializer=_initializer(), name=name)(x)

    return apply


def _up(filters: int, name: str) -> layers.Layer:
    # PyTorch's k=4, s=2, p=1: the full result less one pixel on each side, which is "same" here.
    return layers.Conv2DTranspose(
        filters, 4, strides=2, padding="same", kernel_initializer=_initializer(), name=name
    )


def _normalised(x: Any, name: str) -> Any:
    x = InstanceNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _dilated_block(x: Any, name: str) -> Any:
    filters = x.shape[-1]
    y = _normalised(_conv(filters, 3, f"{name}_conv1", pad=2, dilation=2)(x), f"{name}_conv1")
    y = _conv(filters, 3, f"{name}_conv2", pad=1)(y)
    y = InstanceNormalization(name=f"{name}_conv2_norm")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def _attention_block(x: Any, encoded: Any, mask: Any) -> Any:
    """Long-short attention, then a residual block with spectral norm back to the trunk's width."""
    filters = x.shape[-1]
    joined = LongShortAttention(filters // 4, name="attention")([x, encoded, mask])
    y = layers.LeakyReLU(0.01, name="attention_leaky1")(joined)
    y = _spectral(filters, 3, "attention_conv1")(y)
    y = layers.LeakyReLU(0.01, name="attention_leaky2")(y)
    y = _spectral(filters, 3, "attention_conv2")(y)
    shortcut = _spectral(filters, 1, "attention_shortcut")(joined)
    return layers.Add(name="attention_add")([y, shortcut])


def _spectral(filters: int, size: int, name: str) -> layers.Layer:
    return SpectralConv2D(
        filters, size, padding="same", kernel_initializer=_initializer(), name=name
    )


def _fuse(x: Any, skip: Any, mask: Any, name: str) -> Any:
    """Join the decoder with the encoder's features outside the hole."""
    open_skip = layers.Multiply(name=f"{name}_mask")([skip, 1.0 - mask])
    joined = layers.Concatenate(name=f"{name}_join")([open_skip, x])
    y = layers.Conv2D(joined.shape[-1], 1, kernel_initializer=_initializer(), name=name)(joined)
    return _normalised(y, name)

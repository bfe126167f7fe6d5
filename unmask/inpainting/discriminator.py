"""The 70x70 patch discriminator that sees an image together with its landmarks."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from unmask.inpainting.attention import LongShortAttention
from unmask.inpainting.layers import SpectralConv2D


def build_discriminator(width: int = 64, attention: bool = True) -> keras.Model:
    """Build the discriminator.

    Args:
        width: Channels of the first layer; 64 in the paper.
        attention: Whether self-attention follows the second layer, as in the paper.

    Returns:
        A model from `[image (B, H, W, 3) in [0, 1], landmark_map (B, H, W, 1)]` to one
        probability of "real" a patch, (B, H / 8 - 2, W / 8 - 2, 1), float32.

    Example:
        >>> model = build_discriminator(width=8)
        >>> model.output_shape
        (None, None, None, 1)

    Reference:
        Isola et al., 2017 (PatchGAN); LaFIn (Yang et al., 2019), discriminator as published.
    """
    image = keras.Input((None, None, 3), name="image")
    landmark_map = keras.Input((None, None, 1), name="landmark_map")
    x = layers.Concatenate(name="joined")([image, landmark_map])
    x = patch_layer(x, width, 2, "conv1")
    x = patch_layer(x, 2 * width, 2, "conv2")
    if attention:
        x = LongShortAttention(width // 2, name="attention")(x)
    x = patch_layer(x, 4 * width, 2, "conv3")
    x = patch_layer(x, 8 * width, 1, "conv4")
    x = patch_layer(x, 1, 1, "conv5", last=True)
    scores = layers.Activation("sigmoid", dtype="float32", name="scores")(x)
    return keras.Model([image, landmark_map], scores, name="discriminator")


def patch_layer(x: Any, filters: int, stride: int, name: str, *, last: bool = False) -> Any:
    """One 4x4 convolution with spectral norm, then LeakyReLU.

    Args:
        x: (B, H, W, C).
        filters: Output channels.
        stride: Stride of the convolution.
        name: The convolution's name.
        last: Whether to leave the LeakyReLU out.
    """
    x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    x = SpectralConv2D(
        filters,
        4,
        strides=stride,
        use_bias=False,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.02),
        name=name,
    )(x)
    return x if last else layers.LeakyReLU(0.2, name=f"{name}_leaky")(x)

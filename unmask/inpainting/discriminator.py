"""The 70x70 patch discriminators: the published one, and that of the detail phase."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from unmask.inpainting.attention import LongShortAttention
from unmask.inpainting.filters import FineBrightness
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


def build_detail_discriminator(width: int = 48) -> keras.Model:
    """Build the discriminator of the detail phase.

    Without spectral normalisation it learns within a hundred steps; what is fine in the brightness
    is shown to it enlarged, and where the hole is.

    Args:
        width: Channels of the first layer.

    Returns:
        A model from `[image (B, H, W, 3) in [0, 1], mask (B, H, W, 1)]` to a list: scores without
        bound, (B, H / 8 - 2, W / 8 - 2, 1) float32, positive for "real", then the features of its
        four layers. It does not see the landmarks: told of them, it asks for bright dots there.

    Example:
        >>> model = build_detail_discriminator(width=8)
        >>> len(model.outputs)
        5

    Reference:
        Isola et al., 2017, for the patches; Wang et al., 2018 (pix2pixHD), for the features.
    """
    image = keras.Input((None, None, 3), name="image")
    mask = keras.Input((None, None, 1), name="mask")
    fine = FineBrightness(dtype="float32", name="fine")(image)
    x = layers.Concatenate(name="joined")([image, fine, mask])
    features = []
    for index, (times, stride) in enumerate(((1, 2), (2, 2), (4, 2), (6, 1)), start=1):
        x = layers.ZeroPadding2D(1, name=f"conv{index}_pad")(x)
        x = layers.Conv2D(
            times * width, 4, strides=stride, kernel_initializer="he_normal", name=f"conv{index}"
        )(x)
        x = layers.LeakyReLU(0.2, name=f"conv{index}_leaky")(x)
        features.append(x)
    x = layers.ZeroPadding2D(1, name="scores_pad")(x)
    small = keras.initializers.RandomNormal(stddev=0.02)
    scores = layers.Conv2D(1, 4, kernel_initializer=small, dtype="float32", name="scores")(x)
    return keras.Model([image, mask], [scores, *features], name="discriminator")


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

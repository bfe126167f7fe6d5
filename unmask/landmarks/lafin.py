"""LaFIn's own landmark predictor: MobileNetV2, three pooled features and one dense layer.

Source: Yang, Guo, Ma, Ling, "Generative Landmark Guided Face Inpainting" (LaFIn), 2020, and its
published code; trunk: Sandler et al., "MobileNetV2", CVPR 2018. It predicts iBUG's 68 points of
faces whose hole is painted white; the paper takes 98 of AdaptiveWingLoss instead. Layers are named
after the published tensors, dots become underscores.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from unmask.face import CROP_SIZE

_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""MobileNetV2's table 2: expansion, channels, blocks, stride of the first block."""


def build_mobilenet(points: int = 68) -> keras.Model:
    """Builds LaFIn's landmark predictor, 2,554,569 parameters for 68 points.

    Args:
        points: Number of landmarks.

    Returns:
        A model from images (B, 256, 256, 3), RGB in [0, 1], the hole white, to
        (B, points, 2): x and y as fractions of the side.

    Raises:
        ValueError: There are no points.

    Example:
        >>> build_mobilenet().output_shape
        (None, 68, 2)
    """
    if points < 1:
        raise ValueError(f"points must be positive. Received: points={points}")
    image = keras.Input((CROP_SIZE, CROP_SIZE, 3), name="image")
    x = _convolve(image, 32, 3, "features_0_0", strides=2)
    x = _clip(_normalise(x, "features_0_1"), "features_0_1")
    index = 1
    for expansion, channels, blocks, stride in _STAGES:
        for i in range(blocks):
            block = f"features_{index}_conv"
            x = _inverted_residual(x, channels, expansion, stride if i == 0 else 1, block)
            index += 1
    last = _convolve(x, 1280, 1, "last_block_0")
    last = _clip(_normalise(last, "last_block_1"), "last_block_1")
    bent = _pool(last, 64, "conv1_after_mbnet")
    pooled = [
        _pool(x, 128, "conv_node1"),
        _pool(last, 128, "conv_node2"),
        layers.PReLU(shared_axes=[1], name="prelu")(bent),  # the only one of the three
    ]
    joined = layers.Concatenate(name="concat")(pooled)
    places = layers.Dense(2 * points, name="fc_landmark")(joined)
    located = layers.Reshape((points, 2), name="points")(places)
    return keras.Model(image, located, name="mobilenet_landmarks")


def _normalise(x: Any, name: str) -> Any:
    """Batch normalisation with PyTorch's constants."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _clip(x: Any, name: str) -> Any:
    return layers.ReLU(max_value=6.0, name=f"{name}_relu6")(x)


def _convolve(x: Any, filters: int, kernel: int, name: str, *, strides: int = 1) -> Any:
    if kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    return layers.Conv2D(filters, kernel, strides=strides, use_bias=False, name=name)(x)


def _inverted_residual(x: Any, filters: int, expansion: int, stride: int, name: str) -> Any:
    """Widen, filter each channel, narrow; the sum with the input where their shapes agree."""
    y, index = x, 0
    if expansion > 1:
        y = _convolve(y, x.shape[-1] * expansion, 1, f"{name}_0")
        y = _clip(_normalise(y, f"{name}_1"), f"{name}_1")
        index = 3  # the published names count the activations too
    y = layers.ZeroPadding2D(1, name=f"{name}_{index}_pad")(y)
    y = layers.DepthwiseConv2D(3, strides=stride, use_bias=False, name=f"{name}_{index}")(y)
    y = _clip(_normalise(y, f"{name}_{index + 1}"), f"{name}_{index + 1}")
    y = _normalise(_convolve(y, filters, 1, f"{name}_{index + 3}"), f"{name}_{index + 4}")
    if stride == 1 and x.shape[-1] == filters:
        y = layers.Add(name=f"{name}_add")([x, y])
    return y


def _pool(x: Any, filters: int, name: str) -> Any:
    """A 1x1 convolution and the mean over the image."""
    x = layers.Conv2D(filters, 1, name=name)(x)
    return layers.GlobalAveragePooling2D(name=f"{name}_mean")(x)

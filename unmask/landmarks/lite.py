"""Our landmark network: one of the paper's hourglasses, cheaper above the heatmaps' resolution.

What differs from `unmask.landmarks.paper`, 1.40 M parameters instead of 24.15 M:

- one hourglass of width 128 and depth 3 instead of four of width 256 and depth 4;
- three strided convolutions and one block before it, instead of a 7x7 convolution and three blocks;
- the hourglass works at an eighth of the resolution; a transposed convolution doubles its answer.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from unmask.landmarks.paper import (
    AddCoordinates,
    block,
    check_sizes,
    convolve,
    hourglass_features,
    normalise,
)


def build_lite(
    points: int = 98, width: int = 128, depth: int = 3, size: int = 256, name: str = "fan"
) -> keras.Model:
    """Builds the network that ships with the package; the defaults are its sizes.

    Args:
        points: Number of landmarks.
        width: Channels of the feature maps, a multiple of 16.
        depth: Halvings inside the hourglass.
        size: Side of the input image in pixels, a multiple of 8 * 2**depth.
        name: Name of the model.

    Returns:
        A model as `unmask.landmarks.paper.build_fan` returns it, with one output.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> [tuple(output.shape) for output in build_lite().outputs]
        [(None, 64, 64, 99)]
    """
    check_sizes(8 * 2**depth, points=points, width=width, depth=depth, size=size)
    image = keras.Input((size, size, 3), name="image")
    features = hourglass_features(_stem(image, width), width, depth, 0)
    # float32 also in mixed precision, as in the paper's; each pixel predicts 2x2 heatmap pixels.
    head = layers.Conv2DTranspose(points + 1, 2, strides=2, dtype="float32", name="l0")
    return keras.Model(image, [head(features)], name=name)


def _stem(image: Any, width: int) -> Any:
    """Three strided convolutions and one block, to an eighth of the resolution."""
    x = AddCoordinates(name="conv1_coordinates")(image)
    x = convolve(x, width // 8, 3, "conv1_conv", bias=True, strides=2)
    x = normalise(x, "bn1")
    x = convolve(x, width // 2, 3, "conv2_conv", bias=False, strides=2)
    x = normalise(x, "bn2")
    x = convolve(x, width, 3, "conv3_conv", bias=False, strides=2)
    return block(x, width, "conv4")

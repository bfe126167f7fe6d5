"""The landmark network of the paper's section III.A: AdaptiveWingLoss's FAN, as published.

Source: Wang, Bo, Fuxin, "Adaptive Wing Loss for Robust Face Alignment via Heatmap Regression",
ICCV 2019, section 5 and its published code. Layers are named after the published tensors (dots
become underscores), which is all that `unmask.landmarks.convert` needs to know. What the shipped
network does otherwise is in `unmask.landmarks.lite`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

BOUNDARY_THRESHOLD = 0.05
"""Above this value of the boundary map a pixel counts as boundary (published code)."""


def build_fan(
    stacks: int = 4,
    points: int = 98,
    width: int = 256,
    depth: int = 4,
    size: int = 256,
    name: str = "fan",
) -> keras.Model:
    """Builds the stacked hourglasses of AdaptiveWingLoss, 24,153,036 trainable parameters.

    Its published checkpoints differ in hourglasses, points and width; the defaults are those of
    the one that the paper uses, `WFLW_4HG.pth`.

    Args:
        stacks: Number of hourglasses, 1 or more; each has its own output and loss.
        points: Number of landmarks, 98 in WFLW.
        width: Channels of the feature maps, a multiple of 16.
        depth: Halvings inside an hourglass.
        size: Side of the input image in pixels, a multiple of 4 * 2**depth.
        name: Name of the model.

    Returns:
        A model from images (B, size, size, 3), RGB in [0, 1], to a list with one float32 tensor
        (B, size / 4, size / 4, points + 1) a stack: one heatmap a point, then the boundary map.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> model = build_fan(stacks=1, width=32, depth=2, size=64)
        >>> [tuple(output.shape) for output in model.outputs]
        [(None, 16, 16, 99)]

    Reference:
        Wang, Bo, Fuxin, "Adaptive Wing Loss for Robust Face Alignment via Heatmap Regression",
        ICCV 2019.
    """
    check_sizes(4 * 2**depth, stacks=stacks, points=points, width=width, depth=depth, size=size)
    image = keras.Input((size, size, 3), name="image")
    x = _stem(image, width)
    outputs: list[Any] = []
    located: Any = x
    for i in range(stacks):
        features = hourglass_features(located, width, depth, i)
        # float32 also in mixed precision: a bfloat16 heatmap resolves only 1/256 near its peak.
        head = layers.Conv2D(points + 1, 1, dtype="float32", name=f"l{i}")
        outputs.append(head(features))
        if i < stacks - 1:  # the next hourglass sees what this one has found
            back = convolve(features, width, 1, f"bl{i}", bias=True)
            judged = convolve(outputs[-1], width, 1, f"al{i}", bias=True)
            x = layers.Add(name=f"m{i}_residual")([x, back, judged])
            located = [x, outputs[-1]]
    return keras.Model(image, outputs, name=name)


def check_sizes(
    unit: int, *, stacks: int = 1, points: int, width: int, depth: int, size: int
) -> None:
    """Refuse sizes of which no hourglass can be built; `unit` must divide the image's side."""
    if min(stacks, points, depth) < 1:
        raise ValueError(
            "stacks, points and depth must be positive. "
            f"Received: stacks={stacks}, points={points}, depth={depth}"
        )
    if width < 16 or width % 16:
        raise ValueError(f"width must be a positive multiple of 16. Received: width={width}")
    if size < 1 or size % unit:
        raise ValueError(
            f"size must be a multiple of {unit} for depth={depth}. Received: size={size}"
        )


# === Layers ===


@keras.saving.register_keras_serializable(package="unmask")
class AddCoordinates(layers.Layer):
    """Appends coordinate channels to a feature map (CoordConv).

    Three channels follow the input's: the row and the column, each from -1 to 1, and their radius
    divided by its maximum. With a boundary map, row and column follow once more, set to zero where
    the map does not exceed 0.05. (The published code calls the row "x"; its weights expect it
    first.)

    Args:
        **kwargs: Passed to `keras.layers.Layer`.

    Input: a feature map (B, H, W, C), or a list of one and heatmaps (B, H, W, K) whose last channel
    is the boundary map.

    Output: (B, H, W, C + 3), or (B, H, W, C + 5) with heatmaps.

    Example:
        >>> import numpy as np
        >>> AddCoordinates()(np.zeros((2, 8, 8, 5), "float32")).shape
        TensorShape([2, 8, 8, 8])

    Reference:
        Liu et al., "An intriguing failing of convolutional neural networks and the CoordConv
        solution", 2018; the boundary channels are AdaptiveWingLoss's.
    """

    def call(self, inputs: Any) -> Any:
        features, heatmaps = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)
        _, height, width, _ = features.shape
        rows, columns = ops.meshgrid(
            ops.linspace(-1.0, 1.0, height), ops.linspace(-1.0, 1.0, width), indexing="ij"
        )
        radius = ops.sqrt(rows**2 + columns**2)
        channels = ops.stack([rows, columns, radius / ops.max(radius)], axis=-1)
        # One constant plane a channel, broadcast over the batch by adding to zeros of its size.
        blank = ops.zeros_like(features[..., :1])
        coordinates = ops.cast(channels[None], features.dtype) + blank
        parts = [features, coordinates]
        if heatmaps is not None:
            boundary = ops.cast(heatmaps[..., -1:] > BOUNDARY_THRESHOLD, features.dtype)
            parts.append(coordinates[..., :2] * boundary)
        return ops.concatenate(parts, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        shapes = input_shape if isinstance(input_shape[0], (list, tuple)) else [input_shape]
        *size, channels = shapes[0]
        return (*size, channels + (3 if len(shapes) == 1 else 5))


def normalise(x: Any, name: str) -> Any:
    """Batch normalisation with PyTorch's constants, then ReLU."""
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def convolve(x: Any, filters: int, kernel: int, name: str, *, bias: bool, strides: int = 1) -> Any:
    """A convolution with the symmetric padding of the published network."""
    if kernel > 1 and strides > 1:  # "same" would pad strided convolutions on one side only
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
        padding = "valid"
    else:
        padding = "same"
    return layers.Conv2D(
        filters, kernel, strides=strides, padding=padding, use_bias=bias, name=name
    )(x)


def block(x: Any, filters: int, name: str) -> Any:
    """FAN's hierarchical pre-activation residual block (Bulat and Tzimiropoulos, 2017)."""
    first = convolve(normalise(x, f"{name}_bn1"), filters // 2, 3, f"{name}_conv1", bias=False)
    second = convolve(normalise(first, f"{name}_bn2"), filters // 4, 3, f"{name}_conv2", bias=False)
    third = convolve(normalise(second, f"{name}_bn3"), filters // 4, 3, f"{name}_conv3", bias=False)
    joined = layers.Concatenate(name=f"{name}_concat")([first, second, third])
    if x.shape[-1] != filters:
        x = normalise(x, f"{name}_downsample_0")
        x = convolve(x, filters, 1, f"{name}_downsample_2", bias=False)
    return layers.Add(name=f"{name}_add")([joined, x])


def _hourglass(x: Any, level: int, width: int, name: str) -> Any:
    """One recursion level: the map itself, and its half-size context added to it."""
    upper = block(x, width, f"{name}_b1_{level}")
    lower = layers.AveragePooling2D(2, name=f"{name}_pool_{level}")(x)
    lower = block(lower, width, f"{name}_b2_{level}")
    if level > 1:
        lower = _hourglass(lower, level - 1, width, name)
    else:
        lower = block(lower, width, f"{name}_b2_plus_{level}")
    lower = block(lower, width, f"{name}_b3_{level}")
    lower = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_up_{level}")(lower)
    return layers.Add(name=f"{name}_add_{level}")([upper, lower])


def hourglass_features(located: Any, width: int, depth: int, index: int) -> Any:
    """What one hourglass makes of a map, or of a map and the heatmaps found before."""
    features = AddCoordinates(name=f"m{index}_coordinates")(located)
    features = convolve(features, width, 1, f"m{index}_coordconv_conv", bias=True)
    features = _hourglass(features, depth, width, f"m{index}")
    features = block(features, width, f"top_m_{index}")
    features = convolve(features, width, 1, f"conv_last{index}", bias=True)
    return normalise(features, f"bn_end{index}")


def _stem(image: Any, width: int) -> Any:
    """CoordConv 7x7 and three blocks, to a quarter of the resolution."""
    x = AddCoordinates(name="conv1_coordinates")(image)
    x = convolve(x, width // 4, 7, "conv1_conv", bias=True, strides=2)
    x = normalise(x, "bn1")
    x = block(x, width // 2, "conv2")
    x = layers.AveragePooling2D(2, name="pool")(x)
    x = block(x, width // 2, "conv3")
    return block(x, width, "conv4")

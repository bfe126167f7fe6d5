"""The network that corrects the linear completion, at 64 x 64 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from unmask.inpainting.prior import PRIOR_SIDE
from unmask.inpainting.window import WINDOW_SIDE
from unmask.presets import GENDERS

_LANDMARK_CELL = WINDOW_SIDE // (PRIOR_SIDE // 2)


def build_coarse(width: int = 64, blocks: Sequence[int] = (2, 2, 3)) -> keras.Model:
    """Build the network: a residual U-Net at 1/2, 1/4 and 1/8 of 64 pixels.

    Args:
        width: Channels of the first level; the others have twice and two and a half times as many.
        blocks: Residual blocks of the three levels, in both directions.

    Returns:
        A model from `[linear (B, 64, 64, 3) in [0, 1], hole (B, 64, 64, 1) in [0, 1],
        landmark_map (B, 192, 192, 1), gender (B, 2)]` to the corrected completion (B, 64, 64, 3),
        float32; outside the hole it is the first input. The landmarks come at the window's size:
        at 64 pixels their places would be too rough for a mouth.

    Raises:
        ValueError: `width` or `blocks` is not positive, or `blocks` has not three entries.

    Example:
        >>> model = build_coarse(width=8, blocks=(1, 1, 1))
        >>> zeros = keras.ops.zeros
        >>> tuple(model([zeros((1, 64, 64, 3)), zeros((1, 64, 64, 1)), zeros((1, 192, 192, 1)),
        ...              zeros((1, 2))]).shape)
        (1, 64, 64, 3)
    """
    if len(blocks) != 3 or min(*blocks, width) < 1:
        raise ValueError(
            "width must be positive and blocks three positive numbers. "
            f"Received: width={width}, blocks={blocks}"
        )
    linear = keras.Input((PRIOR_SIDE, PRIOR_SIDE, 3), name="linear")
    hole = keras.Input((PRIOR_SIDE, PRIOR_SIDE, 1), name="hole")
    marks = keras.Input((WINDOW_SIDE, WINDOW_SIDE, 1), name="landmark_map")
    gender = keras.Input((len(GENDERS),), name="gender")

    widths = (width, 2 * width, 5 * width // 2)
    x = _stem(linear, hole, marks, gender, width)
    skips = []
    for level, (channels, count) in enumerate(zip(widths, blocks, strict=True)):
        if level:
            x = layers.Conv2D(channels, 2, strides=2, name=f"down{level}")(x)
        x = _blocks(x, count, f"encoder{level}")
        skips.append(x)
    for level in (1, 0):
        x = layers.Conv2DTranspose(widths[level], 2, strides=2, name=f"up{level}")(x)
        x = layers.Add(name=f"join{level}")([x, skips[level]])
        x = _blocks(x, blocks[level], f"decoder{level}")
    x = layers.Activation("silu", name="correction_silu")(x)
    # Almost nothing at first, so that the training starts from the linear completion itself.
    x = layers.Conv2D(
        12, 3, padding="same", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3),
        name="correction",
    )(x)  # fmt: skip
    # In float32 also in mixed precision: bfloat16 has 8 bits, as have the pixels.
    x = layers.Activation("linear", dtype="float32", name="correction_float32")(x)
    half = PRIOR_SIDE // 2
    x = ops.reshape(x, (-1, half, half, 2, 2, 3))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, PRIOR_SIDE, PRIOR_SIDE, 3))
    return keras.Model([linear, hole, marks, gender], linear + x * hole, name="coarse")


def _stem(linear: Any, hole: Any, marks: Any, gender: Any, width: int) -> Any:
    """Bring the four inputs to half of their resolution, in one sum."""
    pixels = layers.Rescaling(4.0, offset=-2.0, name="rescale")(linear)
    pixels = layers.Concatenate(name="pixels")([pixels, hole])
    cell = _LANDMARK_CELL
    return layers.Add(name="stem")(
        [
            layers.Conv2D(width, 4, strides=2, padding="same", name="stem_pixels")(pixels),
            layers.Conv2D(width, cell, strides=cell, use_bias=False, name="stem_landmarks")(marks),
            layers.Reshape((1, 1, width), name="stem_gender_everywhere")(
                layers.Dense(width, use_bias=False, name="stem_gender")(gender)
            ),
        ]
    )


def _blocks(x: Any, count: int, name: str) -> Any:
    width = x.shape[-1]
    for index in range(count):
        y = layers.Activation("silu", name=f"{name}_block{index}_silu1")(x)
        y = layers.Conv2D(
            width, 3, padding="same", kernel_initializer="he_normal",
            name=f"{name}_block{index}_conv1",
        )(y)  # fmt: skip
        y = layers.Activation("silu", name=f"{name}_block{index}_silu2")(y)
        # Starting from zero, a block is the identity at first: no normalisation is needed.
        y = layers.Conv2D(
            width, 3, padding="same", kernel_initializer="zeros", name=f"{name}_block{index}_conv2"
        )(y)
        x = layers.Add(name=f"{name}_block{index}_sum")([x, y])
    return x

"""Our segmenter, a residual U-Net of 2,911,281 parameters, in place of the paper's Mask R-CNN.

What differs from `paper.py`: one stage instead of two, a probability for each pixel instead of a
mask in each box (`regions.py` splits them into masks); photos of any size, and face crops, instead
of 256 pixels squared; a fifteenth of the parameters; no weights from COCO. What looks like a mask
and is none, a detector's second stage would refuse; here `verifier.py` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

# Arguments of `build_unet` for the shipped weights; multiples of 16 are fastest on CPUs.
LITE: dict[str, Any] = {"widths": (16, 32, 64, 128, 160), "blocks": (1, 1, 2, 2, 3)}


def build_unet(
    widths: Sequence[int] = (32, 64, 128, 256, 256),
    blocks: Sequence[int] = (1, 2, 2, 2, 3),
    *,
    name: str = "mask_unet",
) -> keras.Model:
    """Builds a U-Net with residual blocks and five levels, the deepest at 1/32 of the photo.

    The deepest level is dilated, so that one position there sees about 500 pixels: a whole face
    that fills a photo of 320 pixels. The last layer, a transposed convolution, places the edge at
    full resolution; convolutions there would take a third of the time for little.

    Args:
        widths: Channels of the five levels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution.
        blocks: Residual blocks of each of these levels, at least 1.
        name: Name of the model.

    Returns:
        A fully convolutional model from (B, H, W, 3) in [0, 1], H and W multiples of 32, to
        (B, H, W, 1) float32: the probability that the pixel belongs to a face mask.

    Raises:
        ValueError: `widths` or `blocks` do not have five positive entries.

    Example:
        >>> model = build_unet(**LITE)
        >>> tuple(model(keras.ops.zeros((1, 64, 96, 3))).shape[1:])
        (64, 96, 1)

    Reference:
        Ronneberger et al., "U-Net", MICCAI 2015; the residual blocks follow He et al., CVPR 2016.
    """
    for label, values in (("widths", widths), ("blocks", blocks)):
        if len(values) != 5 or min(values) < 1:
            raise ValueError(f"{label} must have five positive entries. Received: {label}={values}")
    inputs = keras.Input((None, None, 3), name="photo")
    x = keras.layers.Rescaling(4.0, offset=-2.0, name="rescale")(inputs)
    skips = []
    for level, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        x = conv_block(x, width, f"down{level}", stride=2)
        for block in range(1, count + 1):
            dilation = 2 if level == 5 and block > 1 else 1
            x = residual_block(x, width, f"down{level}_block{block}", dilation)
        skips.append(x)
    for level in range(4, 0, -1):
        x = keras.layers.UpSampling2D(name=f"up{level}_resize")(x)
        x = keras.layers.Concatenate(name=f"up{level}_join")([x, skips[level - 1]])
        x = conv_block(x, widths[level - 1], f"up{level}")
    x = keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same", name="logit")(x)
    outputs = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(x)
    return keras.Model(inputs, outputs, name=name)


def encoder_maps(unet: keras.Model) -> list[keras.KerasTensor]:
    """Return the last map of each of the five levels on the way down, as the way up takes them.

    Args:
        unet: A network of `build_unet`.

    Returns:
        Five symbolic tensors, at 1/2 to 1/32 of the resolution.

    Example:
        >>> [x.shape[-1] for x in encoder_maps(build_unet(**LITE))]
        [16, 32, 64, 128, 160]
    """
    skips = [unet.get_layer(f"up{level}_join").input[1] for level in range(1, 5)]
    return [*skips, unet.get_layer("up4_resize").input]


def conv_block(
    x: keras.KerasTensor,
    width: int,
    name: str,
    *,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(
        width, kernel, strides=stride, dilation_rate=dilation, padding="same", use_bias=False,
        kernel_initializer="he_normal", name=f"{name}_conv",
    )(x)  # fmt: skip
    # A momentum of 0.99 would still remember the first steps after a short training.
    x = keras.layers.BatchNormalization(momentum=0.97, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def residual_block(x: keras.KerasTensor, width: int, name: str, dilation: int) -> keras.KerasTensor:
    y = conv_block(x, width, f"{name}_a", dilation=dilation)
    y = keras.layers.Conv2D(
        width, 3, dilation_rate=dilation, padding="same", use_bias=False,
        kernel_initializer="he_normal", name=f"{name}_b_conv",
    )(y)  # fmt: skip
    # Starting from zero, a block is the identity at first: deep networks start calmly.
    y = keras.layers.BatchNormalization(
        momentum=0.97, gamma_initializer="zeros", name=f"{name}_b_bn"
    )(y)
    y = keras.layers.Add(name=f"{name}_add")([x, y])
    return keras.layers.ReLU(name=f"{name}_relu")(y)

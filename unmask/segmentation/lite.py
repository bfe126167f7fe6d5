"""Our segmenter, a residual U-Net of 2,911,281 parameters, in place of the paper's Mask R-CNN.

What differs from `paper.py`: one stage instead of two, a probability for each pixel instead of a
mask in each box (`regions.py` splits them into masks); photos of any size, and face crops, instead
of 256 pixels squared; a fifteenth of the parameters; no weights from COCO. What looks like a mask
and is none, a detector's second stage would refuse; here a network of its own does, the verifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from unmask.blocks import conv_block, residual_block, unet_trunk
from unmask.segmentation import VIEW_SIDE

Tensor = Any

# Sizes of the shipped networks; multiples of 16 are fastest on CPUs.
WIDTHS, BLOCKS = (16, 32, 64, 128, 160), (1, 1, 2, 2, 3)
LOOP_WIDTHS, LOOP_BLOCKS = (16, 24, 32, 48, 64), (1, 1, 1, 1, 1)
VERIFIER_WIDTHS, VERIFIER_BLOCKS = (16, 32, 64, 128), (0, 1, 2, 2)


def build_unet(
    widths: Sequence[int] = WIDTHS, blocks: Sequence[int] = BLOCKS, channels: int = 3
) -> keras.Model:
    """Builds a U-Net with residual blocks and five levels, the deepest at 1/32 of the photo.

    One position of the deepest level sees about 500 pixels: a whole face that fills a photo of 320.
    The last layer, a transposed convolution, places the edge at full resolution; convolutions there
    would take a third of the time for little.

    Args:
        widths: As for `unmask.blocks.unet_trunk`, and so are `blocks`.
        blocks: Residual blocks of each level.
        channels: Channels of the input.

    Returns:
        A fully convolutional model from (B, H, W, channels) in [0, 1], H and W multiples of 32, to
        (B, H, W, 1) float32: the probability that the pixel belongs to a face mask, or to what else
        it was trained for.

    Example:
        >>> model = build_unet()
        >>> tuple(model(keras.ops.zeros((1, 64, 96, 3))).shape[1:])
        (64, 96, 1)

    Reference:
        Ronneberger et al., "U-Net", MICCAI 2015; the residual blocks follow He et al., CVPR 2016.
    """
    inputs = keras.Input((None, None, channels), name="photo")
    x = keras.layers.Rescaling(4.0, offset=-2.0, name="rescale")(inputs)
    x = unet_trunk(x, widths, blocks)
    x = keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same", name="logit")(x)
    outputs = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(x)
    return keras.Model(inputs, outputs, name="mask_unet")


def build_loops(
    widths: Sequence[int] = LOOP_WIDTHS, blocks: Sequence[int] = LOOP_BLOCKS
) -> keras.Model:
    """Builds the U-Net that finds ear loops in a face's crop, whose fourth channel is the mask."""
    return build_unet(widths, blocks, channels=4)


def build_verifier(
    widths: Sequence[int] = VERIFIER_WIDTHS, blocks: Sequence[int] = VERIFIER_BLOCKS
) -> keras.Model:
    """Builds the verifier, a small residual classifier of regions.

    Args:
        widths: Channels at 1/2, 1/4, ... of the resolution.
        blocks: Residual blocks of each, as many entries as `widths`.

    Returns:
        A model from (B, 96, 96, 4) float32 in [0, 1], the region's surroundings as RGB and the
        region itself, to (B, 1) float32: the probability that it is a face mask on a face.

    Raises:
        ValueError: `widths` and `blocks` differ in length.

    Example:
        >>> build_verifier().output_shape
        (None, 1)
    """
    if len(widths) != len(blocks):
        raise ValueError(
            "widths and blocks must have the same length. "
            f"Received: widths={tuple(widths)}, blocks={tuple(blocks)}"
        )
    inputs = keras.Input((VIEW_SIDE, VIEW_SIDE, 4), name="region")
    x = keras.layers.Rescaling(4.0, offset=-2.0, name="rescale")(inputs)
    for level, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        x = conv_block(x, width, f"stage{level}", stride=2)
        for block in range(1, count + 1):
            x = residual_block(x, width, f"stage{level}_block{block}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    # float32 also under mixed precision: bfloat16 has too few digits for a probability.
    outputs = keras.layers.Dense(1, activation="sigmoid", dtype="float32", name="worn")(x)
    return keras.Model(inputs, outputs, name="mask_verifier")


def encoder_maps(unet: keras.Model) -> list[Tensor]:
    """Return the maps of a U-Net's five levels on the way down, as the way up takes them."""
    skips = [unet.get_layer(f"up{level}_join").input[1] for level in range(1, 5)]
    return [*skips, unet.get_layer("up4_resize").input]

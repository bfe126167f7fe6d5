"""Our parser, a residual U-Net of 1,372,883 parameters; the paper has none.

What differs from Generative Face Completion's, an encoder and decoder with VGG-16's sizes: a
hundredth of the parameters, and skips from the way down.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from unmask.blocks import unet_trunk
from unmask.parsing import CLASSES

WIDTHS, BLOCKS = (24, 48, 64, 96, 96), (1, 1, 2, 2, 2)
"""Sizes of the shipped network."""


def build_parser(widths: Sequence[int] = WIDTHS, blocks: Sequence[int] = BLOCKS) -> keras.Model:
    """Builds the parser.

    Args:
        widths: As for `unmask.blocks.unet_trunk`, and so are `blocks`.
        blocks: Residual blocks of each level.

    Returns:
        A fully convolutional model from (B, H, W, 3) in [0, 1], about in the canonical framing, H
        and W multiples of 32, to (B, H, W, 11) float32: the logits of `unmask.parsing.CLASSES`.

    Example:
        >>> model = build_parser()
        >>> tuple(model(keras.ops.zeros((1, 64, 96, 3))).shape[1:])
        (64, 96, 11)

    Reference:
        Li et al., "Generative Face Completion", CVPR 2017, for what it is for.
    """
    inputs = keras.Input((None, None, 3), name="face")
    x = keras.layers.Rescaling(4.0, offset=-2.0, name="rescale")(inputs)
    x = unet_trunk(x, widths, blocks)
    x = keras.layers.Conv2DTranspose(len(CLASSES), 4, strides=2, padding="same", name="logit")(x)
    outputs = keras.layers.Activation("linear", dtype="float32", name="classes")(x)
    return keras.Model(inputs, outputs, name="face_parser")

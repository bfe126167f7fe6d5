"""A second look at what the segmenter has found: does somebody wear it as a face mask?

A U-Net judges pixel by pixel, so that a beard, a throat or a red wall may pass for cloth. This
network sees each found region with the face around it, and answers once for the whole region, as
the second stage of a detector does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.face import compose, matrix_from_mask_box, warp
from unmask.inference import Network, forward, mean_probability
from unmask.segmentation.regions import MaskRegion

if TYPE_CHECKING:
    import keras

# Arguments of `build_verifier` for the shipped weights.
VERIFIER: dict[str, Any] = {"widths": (16, 32, 64, 128), "blocks": (0, 1, 2, 2)}

VIEW_SIDE = 96
"""Side of what the network sees, in pixels."""

# A verdict is a mean over framings: closer, as trained, and wider. With one framing a mask or two
# of 58 validation photos are refused at the threshold at which the mean accepts all.
_MARGINS = (-0.08, 0.0, 0.1)


def build_verifier(
    widths: Sequence[int] = (16, 32, 64, 128),
    blocks: Sequence[int] = (0, 1, 2, 2),
    dropout: float = 0.2,
    *,
    side: int = VIEW_SIDE,
    name: str = "mask_verifier",
) -> keras.Model:
    """Builds a small residual classifier of regions.

    Args:
        widths: Channels at 1/2, 1/4, ... of the resolution.
        blocks: Residual blocks of each, as many entries as `widths`.
        dropout: Dropped share of the pooled features.
        side: Side of the input in pixels.
        name: Name of the model.

    Returns:
        A model from (B, side, side, 4) float32 in [0, 1], the region's surroundings as RGB and the
        region itself, to (B, 1) float32: the probability that it is a face mask on a face.

    Raises:
        ValueError: `widths` and `blocks` differ in length.

    Example:
        >>> build_verifier(**VERIFIER).output_shape
        (None, 1)
    """
    if len(widths) != len(blocks):
        raise ValueError(
            "widths and blocks must have the same length. "
            f"Received: widths={tuple(widths)}, blocks={tuple(blocks)}"
        )
    # Here, so that ONNX Runtime's users need no Keras.
    import keras

    from unmask.segmentation.lite import conv_block, residual_block

    inputs = keras.Input((side, side, 4), name="region")
    x = keras.layers.Rescaling(4.0, offset=-2.0, name="rescale")(inputs)
    for level, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        x = conv_block(x, width, f"stage{level}", stride=2)
        for block in range(1, count + 1):
            x = residual_block(x, width, f"stage{level}_block{block}", 1)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    # float32 also under mixed precision: bfloat16 has too few digits for a probability.
    outputs = keras.layers.Dense(1, activation="sigmoid", dtype="float32", name="worn")(x)
    return keras.Model(inputs, outputs, name=name)


def region_view(
    photo: NDArray[np.uint8], region: MaskRegion, side: int = VIEW_SIDE, *, margin: float = 0.0
) -> NDArray[np.uint8]:
    """Cut out a region with the face that would wear it.

    Args:
        photo: (H, W, 3) uint8 RGB, in which the region was found.
        region: The region.
        side: Side of the result in pixels.
        margin: Shows this share more on each side; less when negative.

    Returns:
        (side, side, 4) uint8: RGB, black where the photo ends, and 255 where the region is.

    Example:
        >>> region = MaskRegion((8.0, 16.0, 24.0, 28.0), 0.9, np.ones((12, 16), bool), (64, 64))
        >>> region_view(np.zeros((64, 64, 3), np.uint8), region).shape
        (96, 96, 4)
    """
    matrix = matrix_from_mask_box(region.box, side)
    # From the whole view to its inner part.
    inner = 1.0 / (1.0 + 2.0 * margin)
    offset = (1.0 - inner) * (side - 1) / 2
    matrix = compose(np.array([[inner, 0.0, offset], [0.0, inner, offset]]), matrix)
    to_photo = np.array([[1.0, 0.0, region.box[0]], [0.0, 1.0, region.box[1]]])
    patch = np.where(region.patch, np.uint8(255), np.uint8(0))
    colours = warp(photo, matrix, side, border=cv2.BORDER_CONSTANT)
    inside = warp(patch, compose(matrix, to_photo), side, border=cv2.BORDER_CONSTANT)
    return np.dstack([colours, inside])


def verify(
    network: Network, photo: NDArray[np.uint8], regions: Sequence[MaskRegion]
) -> NDArray[np.float32]:
    """Say of each region how likely it is a face mask that somebody wears.

    Args:
        network: A network of `build_verifier`.
        photo: (H, W, 3) uint8 RGB.
        regions: What was found in it.

    Returns:
        (N,) float32, 0 to 1: the mean, of the logits, over three framings and their mirror images.

    Example:
        >>> verify(build_verifier(**VERIFIER), np.zeros((64, 64, 3), np.uint8), []).shape
        (0,)
    """
    if not regions:
        return np.zeros(0, np.float32)
    views = np.stack([region_view(photo, r, margin=m) for m in _MARGINS for r in regions])
    both = np.concatenate([views, views[:, :, ::-1]]).astype(np.float32) / np.float32(255)
    return mean_probability(forward(network, both).reshape(-1, len(regions)))

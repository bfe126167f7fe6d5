"""The paper's landmark-guided generator, at any width, on a plain or a coarse input.

Its module is LaFIn's: an encoder, a trunk of residual blocks, long-short attention, and a decoder
whose skip connections are closed inside the hole. The trunk's blocks are LaFIn's dilated ones or
those of AOT-GAN.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import keras
from keras import layers, ops

from unmask.inpainting.blocks import (
    aot_block,
    attention_block,
    convolve,
    dilated_block,
    enlarge,
    fuse,
    normalise,
    paint,
    shrink,
)
from unmask.inpainting.layers import ShrinkMask

BlockType = Literal["dilated", "aot"]

# Arguments of `build_generator` for the shipped weights: half the paper's width, painting on the
# first guess. In a trained network of seven blocks and attention, attention's two scales were
# -0.04 and -0.004, and without it and four of the blocks it lost 0.2 dB before any retraining: the
# guess already says what goes where. The third block that was left cost 12 ms at 256 pixels and was
# worth 0.03 dB after further training. This one takes two fifths of the time.
LITE: dict[str, Any] = {
    "width": 32,
    "blocks": "dilated",
    "depth": 2,
    "attention": False,
    "coarse": True,
}
# As published: 11,734,981 parameters.
PAPER: dict[str, Any] = {"width": 64, "blocks": "dilated", "depth": 7, "coarse": False}

_BLOCKS = {"dilated": dilated_block, "aot": aot_block}


def build_generator(
    width: int = 64,
    blocks: BlockType = "dilated",
    depth: int = 7,
    *,
    attention: bool = True,
    coarse: bool = False,
) -> keras.Model:
    """Build the generator.

    Args:
        width: Channels of the first layer; 64 in the paper (11,734,981 parameters).
        blocks: "dilated" for the paper's residual blocks, "aot" for AOT-GAN's, which look at four
            distances at once.
        depth: Number of blocks; 7 in the paper.
        attention: Whether long-short attention joins the trunk with the encoder's features, as
            in the paper. Otherwise they are joined as they are, the latter closed in the hole.
        coarse: Whether a fourth input gives a first guess: the hole is then painted with it
            instead of white, the mask becomes a fifth input channel (the hole cannot be seen
            otherwise), and the network's output is added to the guess.

    Returns:
        A model from `[image (B, H, W, 3) in [0, 1], mask (B, H, W, 1) with 1 in the hole,
        landmark_map (B, H, W, 1)]`, then `coarse (B, H, W, 3)` if asked for, to the completed
        image (B, H, W, 3) in [0, 1], float32. H and W are multiples of 8, and at least 40 with
        AOT blocks, whose widest branch mirrors 8 positions at a quarter of the size. What the
        image holds inside the hole does not matter.

    Raises:
        ValueError: `blocks` is neither of the two.

    Example:
        >>> model = build_generator(width=8, depth=1)
        >>> zeros = ops.zeros
        >>> model([zeros((1, 64, 64, 3)), zeros((1, 64, 64, 1)), zeros((1, 64, 64, 1))]).shape
        TensorShape([1, 64, 64, 3])

    Reference:
        The paper's Section "Inpainting"; LaFIn (Yang et al., 2019), generator as published;
        AOT-GAN (Zeng et al., 2021) for the AOT blocks.
    """
    if blocks not in get_args(BlockType):
        raise ValueError(f"blocks must be 'dilated' or 'aot'. Received: blocks={blocks!r}")
    image = keras.Input((None, None, 3), name="image")
    mask = keras.Input((None, None, 1), name="mask")
    landmark_map = keras.Input((None, None, 1), name="landmark_map")
    inputs = [image, mask, landmark_map]
    if coarse:
        guess = keras.Input((None, None, 3), name="coarse")
        inputs.append(guess)
        painted = image * (1.0 - mask) + guess * mask
        joined = layers.Concatenate(name="joined")([painted, landmark_map, mask])
    else:
        painted = image * (1.0 - mask) + mask
        joined = layers.Concatenate(name="joined")([painted, landmark_map])
    half, quarter = ShrinkMask(2, name="mask_half")(mask), ShrinkMask(4, name="mask_quarter")(mask)

    encoded1 = normalise(convolve(joined, width, 7, "encoder1", pad=3), "encoder1")
    encoded2 = normalise(shrink(encoded1, 2 * width, "encoder2"), "encoder2")
    encoded3 = normalise(shrink(encoded2, 4 * width, "encoder3"), "encoder3")
    x = encoded3
    for index in range(depth):
        x = _BLOCKS[blocks](x, f"middle{index}")
    x = attention_block(x, encoded3, quarter, attention=attention)
    x = normalise(enlarge(x, 2 * width, "decoder1"), "decoder1")
    x = fuse(x, encoded2, half, "fusion1")
    x = normalise(enlarge(x, width, "decoder2"), "decoder2")
    x = fuse(x, encoded1, mask, "fusion2")
    # A correction starts at nothing, so that the first completions are the guess itself.
    x = paint(x, "decoder3", spread=1e-3 if coarse else 0.02)
    # The last steps in float32 also in mixed precision: bfloat16 has 8 bits, as have the pixels.
    x = layers.Activation("tanh", dtype="float32", name="decoder3_tanh")(x)
    completed = ops.clip(painted + x, 0.0, 1.0) if coarse else (x + 1.0) / 2.0
    return keras.Model(inputs, completed, name="generator")

"""The networks of lite. What differs from the paper's in `paper.py`:

- half the width, two dilated blocks for seven, no attention: the encoder's features join the trunk
  as they are, closed in the hole;
- the generator paints on the coarse completion, a fourth input, and not on white; its output is a
  correction of that and starts at nothing;
- the mask is a fifth channel, as a hole filled by the coarse completion cannot be seen;
- the discriminator ("detail") sees the hole, not the landmarks, and the fine brightness enlarged;
  it has no spectral normalisation and shows its features;
- the paper has no coarse completion, and so nothing like the network that makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops

from unmask.inpainting.coarse import COARSE_SIDE
from unmask.inpainting.layers import ShrinkMask, blur, brightness, initializer
from unmask.inpainting.paper import (
    decode,
    dilated_block,
    encode,
    guided_inputs,
    paint,
    spectral_block,
)
from unmask.inpainting.window import WINDOW_SIDE
from unmask.presets import GENDERS

# Details are what a Gaussian blur of this many pixels takes away; they are enlarged by this factor.
_FINE, _GAIN = 1.5, 4.0


def build_generator(width: int = 32, depth: int = 2) -> keras.Model:
    """Build the generator on a coarse completion: 1,464,547 parameters as shipped.

    In a trained network of seven blocks and attention, attention's two scales were -0.04 and
    -0.004, and without it and four of the blocks it lost 0.2 dB before any retraining: the coarse
    completion already says what goes where. The third block that was left cost 12 ms at 256 pixels
    and was worth 0.03 dB after further training.

    Args:
        width: Channels of the first layer.
        depth: Number of dilated residual blocks.

    Returns:
        A model from `[image (B, H, W, 3) in [0, 1], mask (B, H, W, 1) with 1 in the hole,
        landmark_map (B, H, W, 1), coarse (B, H, W, 3)]` to the completed image (B, H, W, 3) in
        [0, 1], float32. H and W are multiples of 8. What the image holds inside the hole does not
        matter.

    Example:
        >>> model = build_generator(width=8, depth=1)
        >>> image, mask = ops.zeros((1, 64, 64, 3)), ops.zeros((1, 64, 64, 1))
        >>> model([image, mask, mask, image]).shape
        TensorShape([1, 64, 64, 3])
    """
    return _paint_on_coarse(width, depth, _known)


def build_refiner(width: int = 32, depth: int = 2) -> keras.Model:
    """Build the refine network: it corrects a finished completion, its input `coarse`.

    It is `build_generator`'s, with its 1,464,547 parameters, but for what passes by the blocks: not
    the known features, but contextual attention, which rebuilds the hole's features from the known
    ones that are most like them. It is in no preset.

    Example:
        >>> build_refiner(width=8, depth=1).output_shape
        (None, None, None, 3)

    Reference:
        Yu et al., 2018, for contextual attention; the poster, for the second stage.
    """
    from unmask.rivals.layers import ContextualAttention  # no photo needs it

    attention = ContextualAttention(name="attention")
    return _paint_on_coarse(width, depth, lambda features, mask: attention([features, mask]))


def _paint_on_coarse(width: int, depth: int, join: Callable[[Any, Any], Any]) -> keras.Model:
    """Build either; `join` makes of the encoder's last features and the mask what passes by."""
    image, mask, landmark_map = guided_inputs()
    coarse = keras.Input((None, None, 3), name="coarse")
    painted = image * (1.0 - mask) + coarse * mask
    joined = layers.Concatenate(name="joined")([painted, landmark_map, mask])
    encoded = encode(joined, width)
    x = encoded[-1]
    for index in range(depth):
        x = dilated_block(x, f"middle{index}")
    x = layers.Concatenate(name="attention_join")([x, join(encoded[-1], mask)])
    x = decode(spectral_block(x, 4 * width), encoded, mask, width)
    completed = ops.clip(painted + paint(x, spread=1e-3), 0.0, 1.0)
    return keras.Model([image, mask, landmark_map, coarse], completed, name="generator")


def _known(features: Any, mask: Any) -> Any:
    quarter = ShrinkMask(4, name="mask_quarter")(mask)
    return layers.Multiply(name="attention_mask")([features, 1.0 - quarter])


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
    image, mask, _ = guided_inputs()
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
    scores = layers.Conv2D(1, 4, kernel_initializer=initializer(), dtype="float32", name="scores")(
        x
    )
    return keras.Model([image, mask], [scores, *features], name="discriminator")


@keras.saving.register_keras_serializable(package="unmask")
class FineBrightness(keras.layers.Layer):
    """What is fine in an image's brightness, enlarged.

    Teeth, pores and the edges of lips are a few hundredths of the range beside the light and the
    colour of a face. A discriminator that shall judge them learns sooner what it is shown.

    Example:
        >>> FineBrightness()(ops.ones((1, 8, 8, 3))).shape
        TensorShape([1, 8, 8, 1])
    """

    def call(self, inputs: Any) -> Any:
        """Return the details of (B, H, W, 3) as (B, H, W, 1)."""
        grey = brightness(inputs)
        return _GAIN * (grey - blur(grey, _FINE))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Put one channel in place of the colours."""
        return (*input_shape[:-1], 1)


# === The coarse completion ===


def build_coarse(width: int = 64, blocks: Sequence[int] = (2, 2, 3)) -> keras.Model:
    """Build what corrects the linear completion: 3,102,828 parameters as shipped.

    It is a residual U-Net at 1/2, 1/4 and 1/8 of 64 pixels.

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
    linear = keras.Input((COARSE_SIDE, COARSE_SIDE, 3), name="linear")
    hole = keras.Input((COARSE_SIDE, COARSE_SIDE, 1), name="hole")
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
    half = COARSE_SIDE // 2
    x = ops.reshape(x, (-1, half, half, 2, 2, 3))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, COARSE_SIDE, COARSE_SIDE, 3))
    return keras.Model([linear, hole, marks, gender], linear + x * hole, name="coarse")


def _stem(linear: Any, hole: Any, marks: Any, gender: Any, width: int) -> Any:
    """Bring the four inputs to half of their resolution, in one sum."""
    pixels = layers.Rescaling(4.0, offset=-2.0, name="rescale")(linear)
    pixels = layers.Concatenate(name="pixels")([pixels, hole])
    cell = 2 * WINDOW_SIDE // COARSE_SIDE
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

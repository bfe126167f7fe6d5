"""The generator and the discriminator of lite. What differs from the paper's in `paper.py`:

- half the width, two dilated blocks for seven, no attention: the encoder's features join the trunk
  as they are, closed in the hole;
- the generator paints on the coarse completion, a fourth input, and not on white; its output is a
  correction of that and starts at nothing;
- the mask is a fifth channel, as a hole filled by the coarse completion cannot be seen;
- the discriminator ("detail") sees the hole, not the landmarks, and the fine brightness enlarged;
  it has no spectral normalisation and shows its features.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from unmask.inpainting.layers import ShrinkMask, blur, brightness, initializer
from unmask.inpainting.paper import (
    decode,
    dilated_block,
    encode,
    guided_inputs,
    paint,
    spectral_block,
)


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
    image, mask, landmark_map = guided_inputs()
    coarse = keras.Input((None, None, 3), name="coarse")
    painted = image * (1.0 - mask) + coarse * mask
    joined = layers.Concatenate(name="joined")([painted, landmark_map, mask])
    encoded = encode(joined, width)
    x = encoded[-1]
    for index in range(depth):
        x = dilated_block(x, f"middle{index}")
    quarter = ShrinkMask(4, name="mask_quarter")(mask)
    known = layers.Multiply(name="attention_mask")([encoded[-1], 1.0 - quarter])
    x = layers.Concatenate(name="attention_join")([x, known])
    x = decode(spectral_block(x, 4 * width), encoded, mask, width)
    completed = ops.clip(painted + paint(x, spread=1e-3), 0.0, 1.0)
    return keras.Model([image, mask, landmark_map, coarse], completed, name="generator")


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

    Args:
        sigma: Details are what a Gaussian blur of this many pixels takes away.
        gain: Factor on them.

    Example:
        >>> FineBrightness()(ops.ones((1, 8, 8, 3))).shape
        TensorShape([1, 8, 8, 1])
    """

    def __init__(self, sigma: float = 1.5, gain: float = 4.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sigma, self.gain = sigma, gain

    def call(self, inputs: Any) -> Any:
        """Return the details of (B, H, W, 3) as (B, H, W, 1)."""
        grey = brightness(inputs)
        return self.gain * (grey - blur(grey, self.sigma))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Put one channel in place of the colours."""
        return (*input_shape[:-1], 1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "sigma": self.sigma, "gain": self.gain}

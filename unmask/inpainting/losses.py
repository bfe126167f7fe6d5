"""The paper's losses (section III.D, LaFIn's), as pure functions of images in [0, 1].

The sum of III.D.6 is in `objective.py`; what lite and AOT-GAN judge holes by is in
`lite_losses.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import keras
from keras import ops


class FeatureNetwork(Protocol):
    """Deep features of an image for the perceptual and the style loss.

    Attributes:
        model: The frozen network; a JAX training step needs to know its variables.
    """

    model: keras.Model

    def __call__(self, images: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return the features for the perceptual and those for the style loss.

        Args:
            images: (B, H, W, 3) in [0, 1].
        """
        ...


def composite(output: Any, truth: Any, mask: Any) -> Any:
    """Return the output inside the hole and the truth elsewhere."""
    return output * mask + truth * (1.0 - mask)


def pixel_loss(output: Any, truth: Any, mask: Any) -> Any:
    """III.D.2: return mean |output - truth| / mean(mask)."""
    return ops.mean(ops.abs(output - truth)) / (ops.mean(mask) + 1e-6)


def perceptual_loss(features: Sequence[Any], wanted: Sequence[Any]) -> Any:
    """III.D.3: return the sum over layers of the mean absolute difference of features."""
    return sum(ops.mean(ops.abs(a - b)) for a, b in zip(features, wanted, strict=True))


def gram_matrix(features: Any) -> Any:
    """Return F^T F / (h w c) for features (B, h, w, c), as (B, c, c)."""
    _, height, width, channels = ops.shape(features)
    flat = ops.reshape(features, (-1, height * width, channels))
    scale = 1.0 / ops.cast(height * width * channels, flat.dtype)
    # Scaled before the product: sums of squares over a layer overflow no type this way.
    return ops.matmul(ops.transpose(flat, (0, 2, 1)), flat * scale)


def style_loss(features: Sequence[Any], wanted: Sequence[Any]) -> Any:
    """III.D.1: return the sum over layers of the mean absolute difference of Gram matrices."""
    pairs = zip(features, wanted, strict=True)
    return sum(ops.mean(ops.abs(gram_matrix(a) - gram_matrix(b))) for a, b in pairs)


def total_variation_loss(images: Any) -> Any:
    """III.D.4: return mean |dx| + mean |dy|."""
    dx = ops.mean(ops.abs(images[:, :, 1:] - images[:, :, :-1]))
    dy = ops.mean(ops.abs(images[:, 1:] - images[:, :-1]))
    return dx + dy


def discriminator_loss(real: Any, fake: Any) -> Any:
    """III.D.5: return the discriminator's least-squares loss (LSGAN), halved as in LaFIn's code.

    The scores of true images should be 1, those of completed ones 0.

    Reference:
        Mao et al., 2017.
    """
    return 0.5 * (ops.mean(ops.square(real - 1.0)) + ops.mean(ops.square(fake)))


def adversarial_loss(fake: Any) -> Any:
    """III.D.5: return the generator's least-squares loss; completed images should score 1."""
    return ops.mean(ops.square(fake - 1.0))

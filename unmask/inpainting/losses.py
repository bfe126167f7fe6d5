"""The terms of the losses, as pure functions of images in [0, 1]; `objective.py` joins them.

First the paper's (section III.D, LaFIn's), then what lite and the compared systems have besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from unmask.inpainting.layers import blur

# Pixels around the hole in which the parser's answer counts too: a lip's edge may lie beside it.
_AROUND = 8


def composite(output: Any, truth: Any, mask: Any) -> Any:
    """Return the output inside the hole and the truth elsewhere."""
    return output * mask + truth * (1.0 - mask)


# === III.D ===


def style_loss(features: Sequence[Any], wanted: Sequence[Any]) -> Any:
    """III.D.1: return the sum over layers of the mean absolute difference of Gram matrices."""
    return perceptual_loss([*map(gram_matrix, features)], [*map(gram_matrix, wanted)])


def gram_matrix(features: Any) -> Any:
    """Return F^T F / (h w c) for features (B, h, w, c), as (B, c, c)."""
    _, height, width, channels = ops.shape(features)
    flat = ops.reshape(_in_float32(features), (-1, height * width, channels))
    scale = 1.0 / ops.cast(height * width * channels, flat.dtype)
    # Scaled before the product: sums of squares over a layer overflow no type this way.
    return ops.matmul(ops.transpose(flat, (0, 2, 1)), flat * scale)


def pixel_loss(output: Any, truth: Any, mask: Any) -> Any:
    """III.D.2: return mean |output - truth| / mean(mask)."""
    return ops.mean(ops.abs(output - truth)) / (ops.mean(mask) + 1e-6)


def perceptual_loss(features: Sequence[Any], wanted: Sequence[Any]) -> Any:
    """III.D.3: return the sum over layers of the mean absolute difference of features."""
    pairs = zip(features, wanted, strict=True)
    return sum(ops.mean(ops.abs(_in_float32(a) - _in_float32(b))) for a, b in pairs)


def total_variation_loss(images: Any) -> Any:
    """III.D.4: return mean |dx| + mean |dy|."""
    dx = ops.mean(ops.abs(images[:, :, 1:] - images[:, :, :-1]))
    dy = ops.mean(ops.abs(images[:, 1:] - images[:, :-1]))
    return dx + dy


def discriminator_loss(real: Any, fake: Any, patch_mask: Any = 1.0) -> Any:
    """III.D.5: return the discriminator's least-squares loss (LSGAN), halved as in LaFIn's code.

    The scores of true images should be 1, those of completed ones 0; in SM-GAN 1 where a patch is
    without hole, as it is real in them too.

    Args:
        real: Scores of true images.
        fake: Scores of completed images.
        patch_mask: Share of hole in each patch, same shape; 1 as published in LaFIn.

    Reference:
        Mao et al., 2017; SM-GAN: Zeng et al., 2021, as in its text: the targets of the published
        code are the other way round.
    """
    return 0.5 * (
        ops.mean(ops.square(real - 1.0)) + ops.mean(ops.square(fake - (1.0 - patch_mask)))
    )


def adversarial_loss(fake: Any, patch_mask: Any = 1.0) -> Any:
    """III.D.5: return the generator's least-squares loss; completed images should score 1.

    Args:
        fake: Scores of completed images.
        patch_mask: Share of hole in each patch, which weighs it (SM-GAN); 1 as in LaFIn.
    """
    return weighted_mean(ops.square(fake - 1.0), patch_mask)


# === Not in the paper ===


def hinge_discriminator_loss(real: Any, fake: Any, patch_mask: Any = 1.0) -> Any:
    """Return the hinge loss of a discriminator that judges the hole alone.

    Args:
        real: Scores of true images, without bound.
        fake: Scores of completed images.
        patch_mask: Share of hole in each patch, which weighs it.

    Example:
        >>> round(float(hinge_discriminator_loss(ops.array([2.0]), ops.array([0.5]))), 3)
        1.5

    Reference:
        Lim and Ye, Geometric GAN, 2017.
    """
    return weighted_mean(ops.relu(1.0 - real) + ops.relu(1.0 + fake), patch_mask)


def hinge_adversarial_loss(fake: Any, patch_mask: Any = 1.0) -> Any:
    """Return the generator's part of the hinge loss: minus the score of the patches with hole."""
    return -weighted_mean(fake, patch_mask)


def soft_patch_mask(mask: Any, shape: tuple[int, int], sigma: float = 10.0) -> Any:
    """Return how much of each discriminator patch is hole: the mask blurred and shrunk.

    Args:
        mask: (B, H, W, 1), 1 in the hole; mirrored at the border, so that a hole which reaches it
            is not taken to end there. H and W are greater than 3.5 sigma.
        shape: Height and width of the discriminator's output.
        sigma: Standard deviation of the blur in pixels.

    Reference:
        SM-GAN in AOT-GAN (Zeng et al., 2021), Section 3.3: a 71 x 71 Gaussian of sigma 10.
    """
    blurred = blur(mask, sigma, reach=3.5)
    return ops.image.resize(blurred, shape, interpolation="bilinear")


def feature_matching_loss(features: Sequence[Any], wanted: Sequence[Any]) -> Any:
    """Return the mean over layers of the relative difference of a discriminator's features.

    Args:
        features: Those of completed images, a (B, h, w, C) tensor a layer.
        wanted: Those of the true images; no gradient goes through them.

    Reference:
        Wang et al., 2018 (pix2pixHD), equation 5, here relative to the features' size, because
        that differs from layer to layer and grows while a discriminator learns.
    """
    total = 0.0
    for ours, theirs in zip(features, wanted, strict=True):
        target = ops.stop_gradient(_in_float32(theirs))
        difference = ops.mean(ops.abs(_in_float32(ours) - target))
        total = total + difference / (ops.mean(ops.abs(target)) + 1e-4)
    return total / len(features)


def parsing_loss(logits: Any, wanted: Any, hole: Any) -> Any:
    """Return how far the parts of a completed face are from those of the true one.

    It is the divergence of the classes' probabilities: their cross-entropy, less what it would be
    for the truth itself, so that it is 0 where both are seen alike.

    Args:
        logits: What a parser says of completed images, (B, H, W, classes).
        wanted: What it says of the true images; no gradient goes through it.
        hole: (B, H, W, 1), 1 in the hole; the pixels in it and up to 8 beside it count.

    Example:
        >>> logits, hole = ops.ones((1, 4, 4, 2)), ops.ones((1, 4, 4, 1))
        >>> float(parsing_loss(logits, logits, hole))
        0.0

    Reference:
        Li et al., "Generative Face Completion", CVPR 2017, equation 4, with hard labels there.
    """
    ours = ops.log_softmax(_in_float32(logits), axis=-1)
    target = ops.stop_gradient(ops.log_softmax(_in_float32(wanted), axis=-1))
    divergence = ops.sum(ops.exp(target) * (target - ours), axis=-1, keepdims=True)
    return weighted_mean(divergence, ops.max_pool(hole, 2 * _AROUND + 1, strides=1, padding="same"))


def weighted_mean(values: Any, weights: Any) -> Any:
    """Return the mean of values by weights of the same shape, or of one for all."""
    weights = weights * ops.ones_like(values)
    return ops.sum(values * weights) / (ops.sum(weights) + 1e-6)


def _in_float32(x: Any) -> Any:
    """For differences and sums of features, also where a layer has half of it."""
    return ops.cast(x, "float32")

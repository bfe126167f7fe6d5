"""Terms that judge the hole: hinge, feature matching and the parser's are lite's.

The soft mask is AOT-GAN's (SM-GAN). The paper's own terms are in `losses.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from unmask.inpainting.layers import blur

# Pixels around the hole in which the parser's answer counts too: a lip's edge may lie beside it.
_AROUND = 8


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


def soft_mask_discriminator_loss(real: Any, fake: Any, patch_mask: Any) -> Any:
    """Return the least-squares loss of a discriminator that is told the hole.

    Real images should score 1 everywhere, completed ones 1 - patch_mask: patches without hole are
    real in them too.

    Args:
        real: Scores of true images.
        fake: Scores of completed images.
        patch_mask: Share of hole in each patch, same shape.

    Reference:
        Zeng et al., 2021 (SM-GAN), as in its text: the targets of the published code are the
        other way round.
    """
    return 0.5 * (
        ops.mean(ops.square(real - 1.0)) + ops.mean(ops.square(fake - (1.0 - patch_mask)))
    )


def soft_mask_adversarial_loss(fake: Any, patch_mask: Any) -> Any:
    """Return the generator's least-squares loss: patches with hole should score 1.

    Args:
        fake: Scores of completed images.
        patch_mask: Share of hole in each patch, which weighs it.
    """
    return ops.sum(ops.square(fake - 1.0) * patch_mask) / (ops.sum(patch_mask) + 1e-6)


def hinge_discriminator_loss(real: Any, fake: Any, patch_mask: Any) -> Any:
    """Return the hinge loss of a discriminator that judges the hole alone.

    Args:
        real: Scores of true images, without bound.
        fake: Scores of completed images.
        patch_mask: Share of hole in each patch, same shape, which weighs it.

    Example:
        >>> scores = ops.array([2.0]), ops.array([0.5])
        >>> round(float(hinge_discriminator_loss(*scores, ops.array([1.0]))), 3)
        1.5

    Reference:
        Lim and Ye, Geometric GAN, 2017.
    """
    margins = ops.relu(1.0 - real) + ops.relu(1.0 + fake)
    return ops.sum(margins * patch_mask) / (ops.sum(patch_mask) + 1e-6)


def hinge_adversarial_loss(fake: Any, patch_mask: Any) -> Any:
    """Return the generator's part of the hinge loss: minus the score of the patches with hole."""
    return -ops.sum(fake * patch_mask) / (ops.sum(patch_mask) + 1e-6)


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
        target = ops.stop_gradient(ops.cast(theirs, "float32"))
        difference = ops.mean(ops.abs(ops.cast(ours, "float32") - target))
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
    ours = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    target = ops.stop_gradient(ops.log_softmax(ops.cast(wanted, "float32"), axis=-1))
    divergence = ops.sum(ops.exp(target) * (target - ours), axis=-1, keepdims=True)
    near = ops.max_pool(hole, 2 * _AROUND + 1, strides=1, padding="same")
    return ops.sum(divergence * near) / (ops.sum(near) + 1e-6)

"""The losses of the inpainting networks, as pure functions of images in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import keras
from keras import ops

from unmask.inpainting.filters import blur


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
    """Return mean |output - truth| / mean(mask)."""
    return ops.mean(ops.abs(output - truth)) / (ops.mean(mask) + 1e-6)


def perceptual_loss(features: Sequence[Any], wanted: Sequence[Any]) -> Any:
    """Return the sum over layers of the mean absolute difference of features."""
    return sum(ops.mean(ops.abs(a - b)) for a, b in zip(features, wanted, strict=True))


def gram_matrix(features: Any) -> Any:
    """Return F^T F / (h w c) for features (B, h, w, c), as (B, c, c)."""
    _, height, width, channels = ops.shape(features)
    flat = ops.reshape(features, (-1, height * width, channels))
    scale = 1.0 / ops.cast(height * width * channels, flat.dtype)
    # Scaled before the product: sums of squares over a layer overflow no type this way.
    return ops.matmul(ops.transpose(flat, (0, 2, 1)), flat * scale)


def style_loss(features: Sequence[Any], wanted: Sequence[Any]) -> Any:
    """Return the sum over layers of the mean absolute difference of Gram matrices."""
    pairs = zip(features, wanted, strict=True)
    return sum(ops.mean(ops.abs(gram_matrix(a) - gram_matrix(b))) for a, b in pairs)


def total_variation_loss(images: Any) -> Any:
    """Return mean |dx| + mean |dy|."""
    dx = ops.mean(ops.abs(images[:, :, 1:] - images[:, :, :-1]))
    dy = ops.mean(ops.abs(images[:, 1:] - images[:, :-1]))
    return dx + dy


def parsing_loss(probabilities: Any, wanted: Any) -> Any:
    """Return the mean cross-entropy against the likeliest classes of the truth.

    Args:
        probabilities: (B, h, w, K), class probabilities of the completed image by a frozen
            face-parsing network.
        wanted: The same of the true image.

    Reference:
        The poster's parsing regulariser.
    """
    labels = ops.argmax(ops.stop_gradient(wanted), axis=-1)
    return ops.mean(ops.sparse_categorical_crossentropy(labels, probabilities))


# === Adversarial terms ===


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


def discriminator_loss(real: Any, fake: Any, patch_mask: Any) -> Any:
    """Return the least-squares loss of the discriminator.

    Real images should score 1 everywhere, completed ones 1 - patch_mask: patches without hole are
    real in them too.

    Args:
        real: Scores of true images.
        fake: Scores of completed images.
        patch_mask: Share of hole in each patch, same shape; ones for plain LSGAN.

    Reference:
        Mao et al., 2017 (LSGAN); Zeng et al., 2021 (SM-GAN), as in the paper's text: the targets
        of its published code are the other way round.
    """
    return 0.5 * (
        ops.mean(ops.square(real - 1.0)) + ops.mean(ops.square(fake - (1.0 - patch_mask)))
    )


def adversarial_loss(fake: Any, patch_mask: Any) -> Any:
    """Return the generator's least-squares loss: patches with hole should score 1.

    Args:
        fake: Scores of completed images.
        patch_mask: Share of hole in each patch, which weighs it; ones for plain LSGAN.
    """
    return ops.sum(ops.square(fake - 1.0) * patch_mask) / (ops.sum(patch_mask) + 1e-6)


# === Adversarial terms of a quick discriminator ===


def hinge_discriminator_loss(real: Any, fake: Any, patch_mask: Any) -> Any:
    """Return the hinge loss of a discriminator that judges the hole alone.

    Args:
        real: Scores of true images, without bound.
        fake: Scores of completed images.
        patch_mask: Share of hole in each patch, same shape, which weighs it.

    Example:
        >>> float(hinge_discriminator_loss(ops.array([2.0]), ops.array([0.5]), ops.array([1.0])))
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

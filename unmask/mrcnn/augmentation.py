"""Changing images and masks together at random, by a function or by an augmenter of imgaug."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError

Array = NDArray[Any]
Augmentation = Any
"""A function `(image, masks) -> (image, masks)`, or an augmenter of imgaug."""

# The augmenters of imgaug that move pixels and so move masks too; others would change their values.
_MASK_AUGMENTERS = frozenset(
    {
        "Sequential", "SomeOf", "OneOf", "Sometimes", "Fliplr", "Flipud", "CropAndPad", "Affine",
        "PiecewiseAffine",
    }
)  # fmt: skip


class RandomFlip:
    """Mirrors images and masks left to right; an `augmentation` for `MaskRCNN.train`.

    Args:
        probability: Share of the images that are mirrored.
        seed: Seed of the choice.
    """

    def __init__(self, probability: float = 0.5, seed: int = 0) -> None:
        self._probability, self._rng = probability, np.random.default_rng(seed)
        self._lock = threading.Lock()

    def __call__(self, image: Array, masks: Array) -> tuple[Array, Array]:
        """Return the image and its masks, mirrored or not."""
        with self._lock:
            flip = self._rng.random() < self._probability
        return (image[:, ::-1], masks[:, ::-1]) if flip else (image, masks)


class _MaskHooks:
    """What imgaug asks while it augments: only what moves pixels acts on masks.

    It has the methods of `imgaug.HooksImages`, so that imgaug need not be imported for it.
    """

    def is_activated(self, images: Any, augmenter: Any, parents: Any, default: bool) -> bool:
        """Return whether an augmenter acts at all."""
        return type(augmenter).__name__ in _MASK_AUGMENTERS

    def is_propagating(self, images: Any, augmenter: Any, parents: Any, default: bool) -> bool:
        """Return whether an augmenter passes images on to those that it holds."""
        return default

    def preprocess(self, images: Any, augmenter: Any, parents: Any) -> Any:
        """Return the images as they are."""
        return images

    def postprocess(self, images: Any, augmenter: Any, parents: Any) -> Any:
        """Return the images as they are."""
        return images


def augmented(augmentation: Augmentation, image: Array, masks: Array) -> tuple[Array, Array]:
    """Apply an augmentation.

    Args:
        augmentation: A function or an augmenter of imgaug.
        image: (H, W, C).
        masks: (H, W, n) bool.

    Returns:
        The image and its masks, bool again.

    Raises:
        DataError: A size changed.
    """
    if _is_augmenter(augmentation):
        # The same sample for image and masks.
        fixed = augmentation.to_deterministic()
        new_image, new_masks = fixed.augment_image(image), masks
        if masks.shape[-1]:
            new_masks = fixed.augment_image(masks.astype(np.uint8), hooks=_MaskHooks())
    else:
        new_image, new_masks = augmentation(image, masks)
    if new_image.shape != image.shape or new_masks.shape != masks.shape:
        raise DataError(
            "the augmentation must not change sizes. "
            f"Received: image {image.shape} -> {new_image.shape}, "
            f"masks {masks.shape} -> {new_masks.shape}"
        )
    return np.ascontiguousarray(new_image), np.ascontiguousarray(new_masks).astype(bool)


def check_augmentation(augmentation: Any) -> None:
    """Raise a `TypeError` unless it is None or can be applied."""
    if not (augmentation is None or callable(augmentation) or _is_augmenter(augmentation)):
        raise TypeError(
            "augmentation must be a function (image, masks) -> (image, masks) or an augmenter of "
            f"imgaug. Received: augmentation={type(augmentation).__name__}"
        )


def _is_augmenter(augmentation: Any) -> bool:
    return hasattr(augmentation, "to_deterministic") and hasattr(augmentation, "augment_image")

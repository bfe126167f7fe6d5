"""Blurs of images inside a network or a loss."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from unmask.image import LUMA

CHECKER_KERNEL = np.array([0.25, 0.5, 0.25], np.float32)
"""Has no answer to a pattern of two pixels."""


def blur(images: Any, sigma: float, *, reach: float = 3.0) -> Any:
    """Blur by a Gaussian; the images are mirrored at their border.

    Args:
        images: (B, H, W, C); H and W are greater than `reach * sigma`.
        sigma: Standard deviation in pixels, greater than 0.
        reach: Where the Gaussian is cut off, in standard deviations.

    Returns:
        (B, H, W, C).

    Example:
        >>> blur(ops.ones((1, 8, 8, 2)), 1.0).shape
        TensorShape([1, 8, 8, 2])
    """
    radius = int(reach * sigma)
    offsets = ops.arange(-radius, radius + 1, dtype="float32")
    kernel = ops.exp(-0.5 * ops.square(offsets / sigma))
    return _filter(images, kernel / ops.sum(kernel), radius)


def remove_checkers(images: Any) -> Any:
    """Take out what alternates from pixel to pixel, by the kernel (1, 2, 1) / 4 in both directions.

    Transposed convolutions of stride 2 leave such a pattern where a generator draws fine things.

    Args:
        images: (B, H, W, C), mirrored at their border.

    Returns:
        (B, H, W, C).

    Example:
        >>> remove_checkers(ops.ones((1, 4, 4, 2))).shape
        TensorShape([1, 4, 4, 2])
    """
    return _filter(images, ops.convert_to_tensor(CHECKER_KERNEL), 1)


def _filter(images: Any, kernel: Any, radius: int) -> Any:
    """Filter rows and columns by a kernel of 2 * radius + 1 values."""
    kernel, channels, size = ops.cast(kernel, images.dtype), images.shape[-1], 2 * radius + 1
    images = ops.pad(images, ((0, 0), (radius, radius), (radius, radius), (0, 0)), mode="reflect")
    for shape in ((size, 1, 1, 1), (1, size, 1, 1)):
        # One kernel for every channel: the filter has the channels' number of copies.
        copies = ops.tile(ops.reshape(kernel, shape), (1, 1, channels, 1))
        images = ops.depthwise_conv(images, copies, padding="valid")
    return images


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


def brightness(images: Any) -> Any:
    """Return the Rec. 601 luma of RGB images, with one channel: (B, H, W, 1)."""
    red, green, blue = (share * images[..., i : i + 1] for i, share in enumerate(LUMA))
    return red + green + blue

"""The door for images: what comes in, from `load_image` or into `detect`, leaves in one form.

Values from 0 to 255 become uint8, grey images get their channels, alpha is dropped; whatever has no
clear meaning is refused by name, because a network finds nothing in such images and says nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unmask.errors import ImageError
from unmask.image import DEFAULT_MAX_PIXELS
from unmask.mrcnn.config import Config, mean_pixel
from unmask.mrcnn.resizing import Padding, Window, resize_image, resized_shape

Array = NDArray[Any]

# What the pyramid halves: five times in the backbone.
_STRIDE = 32


class Prepared(NamedTuple):
    """An image at the size that the network takes.

    Attributes:
        shape: The image's own shape (H, W, C), with the channels that the network takes.
        image: (h, w, C).
        window: (y1, x1, y2, x2), the real image in it.
        scale: Its size over the image's.
        padding: As `resize_image` returns it.
        crop: The same.
    """

    shape: tuple[int, ...]
    image: Array
    window: Window
    scale: float
    padding: Padding
    crop: tuple[int, int, int, int] | None


def prepare_image(
    image: Any, config: Config, mode: str, name: str, rng: np.random.Generator | None = None
) -> Prepared:
    """Check an image and resize it.

    Args:
        image: What `load_image` returned or `detect` was given.
        config: Its channels, mean pixel and sizes.
        mode: As `Config.IMAGE_RESIZE_MODE`.
        name: What messages call the image.
        rng: Where the crop of the mode "crop" is.

    Raises:
        ImageError: The image cannot be used.
    """
    pixels = checked_image(image, config, name)
    _check_size(pixels.shape, config, mode, name)
    resized = resize_image(
        pixels, config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM, config.IMAGE_MIN_SCALE, mode, rng
    )
    return Prepared(pixels.shape, *resized)


def checked_image(image: Any, config: Config, name: str) -> Array:
    """Return an image as the network's channels of uint8, or of any numbers.

    `MEAN_PIXEL` tells what the values mean. If it lies above 1 and up to 255, as by default, they
    go from 0 to 255; otherwise the program has a scale of its own, and they stay as they are.

    Args:
        image: (H, W, C) or (H, W).
        config: Its `IMAGE_CHANNEL_COUNT` and `MEAN_PIXEL`.
        name: What messages call the image.

    Raises:
        ImageError: The image has other channels, no pixels, values that are no numbers, or values
            on another scale.
    """
    pixels = _with_channels(np.asarray(image), config.IMAGE_CHANNEL_COUNT, name)
    if pixels.dtype.kind not in "uif":
        raise ImageError(f"{name}: pixels must be numbers. Received: {pixels.dtype}")
    if pixels.dtype == np.uint8:
        return pixels
    low, high = pixels.min(), pixels.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(f"{name}: pixels must be finite. Received: NaN or infinity")
    if not 1 < mean_pixel(config).max() <= 255:
        return pixels
    if low < 0 or high > 255:
        wide = high > 255 and pixels.dtype.kind != "f"
        hint = "; of 16 bits, keep the high byte: image >> 8" if wide else ""
    elif pixels.dtype.kind == "f" and 0 < high <= 1:
        hint = "; multiply by 255"
    else:
        return np.rint(pixels).astype(np.uint8)
    mean = np.asarray(config.MEAN_PIXEL).tolist()
    raise ImageError(
        f"{name}: with MEAN_PIXEL={mean} pixels must go from 0 to 255. "
        f"Received: {pixels.dtype} from {low:g} to {high:g}{hint}"
    )


def _with_channels(pixels: Array, channels: int, name: str) -> Array:
    shape = pixels.shape
    if pixels.ndim == 2 and channels in (1, 3):
        pixels = pixels[..., None]
    if pixels.ndim == 3 and channels == 3:
        if pixels.shape[-1] == 4:
            pixels = pixels[..., :3]
        elif pixels.shape[-1] == 1:
            pixels = np.repeat(pixels, 3, axis=-1)
    if pixels.ndim != 3 or pixels.shape[-1] != channels or not pixels.size:
        other = {1: " or (H, W)", 3: ", (H, W, 4), (H, W, 1) or (H, W)"}.get(channels, "")
        raise ImageError(
            f"{name}: with IMAGE_CHANNEL_COUNT={channels} an image must be (H, W, {channels})"
            f"{other}, and not empty. Received: an array of shape {shape}"
        )
    return pixels


def _check_size(shape: tuple[int, ...], config: Config, mode: str, name: str) -> None:
    """Refuse what the network cannot take, and strips that would vanish or fill the memory."""
    height, width = resized_shape(
        shape, config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM, config.IMAGE_MIN_SCALE, mode
    )
    became = f"Received: {shape[0]} x {shape[1]}, which becomes {height} x {width}"
    settings = (
        f"IMAGE_RESIZE_MODE={mode!r}, IMAGE_MIN_DIM={config.IMAGE_MIN_DIM}, "
        f"IMAGE_MAX_DIM={config.IMAGE_MAX_DIM}"
    )
    if mode == "none" and (height % _STRIDE or width % _STRIDE):
        raise ImageError(
            f"{name}: with IMAGE_RESIZE_MODE='none' both sides must be divisible by {_STRIDE}. "
            f"Received: {height} x {width}"
        )
    if min(height, width) < 2:
        raise ImageError(f"{name}: with {settings} both sides must keep 2 pixels. {became}")
    if height * width > DEFAULT_MAX_PIXELS:
        raise ImageError(
            f"{name}: with {settings} an image may have {DEFAULT_MAX_PIXELS} pixels. {became}"
        )

"""Images and masks at the size that the network takes, and the vector that describes an image.

What comes in, from `load_image` or into `detect`, leaves in one form: values from 0 to 255 become
uint8, grey images get their channels, alpha is dropped; whatever has no clear meaning is refused by
name, because a network finds nothing in such images and says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage import transform

from unmask.errors import DataError, ImageError
from unmask.image import DEFAULT_MAX_PIXELS
from unmask.mrcnn.config import Config, mean_pixel

Array = NDArray[Any]

Window = tuple[int, int, int, int]
Padding = list[tuple[int, int]]


def resize(
    image: Array, output_shape: Sequence[int], order: int = 1, mode: str = "constant",
    cval: float = 0, clip: bool = True, preserve_range: bool = False, anti_aliasing: bool = False,
    anti_aliasing_sigma: float | Sequence[float] | None = None,
) -> NDArray[np.float64]:  # fmt: skip
    """Call `skimage.transform.resize` with matterport's defaults: black outside, no smoothing."""
    values = np.asarray(image)
    # scikit-image does not interpolate booleans.
    if preserve_range or values.dtype == bool:
        values = values.astype(np.float64)
    resized = transform.resize(
        values, tuple(output_shape), order=order, mode=mode, cval=cval, clip=clip,
        preserve_range=preserve_range, anti_aliasing=anti_aliasing,
        anti_aliasing_sigma=anti_aliasing_sigma,
    )  # fmt: skip
    return np.asarray(resized, np.float64)


def resize_image(
    image: Array, min_dim: int | None = None, max_dim: int | None = None,
    min_scale: float | None = None, mode: str = "square", rng: np.random.Generator | None = None,
) -> tuple[Array, Window, float, Padding, Window | None]:  # fmt: skip
    """Bring an image to the size that the network takes.

    Args:
        image: (H, W, C).
        min_dim: Least shorter side in pixels.
        max_dim: Side of the result in the mode "square", the only one that shrinks.
        min_scale: Least enlargement.
        mode: "none" leaves the image alone; "square" pads with black to `max_dim` squared;
            "pad64" pads both sides to multiples of 64; "crop" cuts out a random `min_dim` squared.
        rng: Where the crop is.

    Returns:
        The image in its own type (rounded down); the window (y1, x1, y2, x2) of the real image in
        it; the scale; the padding of each axis; the crop (y, x, height, width) or None.

    Raises:
        ValueError: The mode is unknown or its sizes are missing.

    Example:
        >>> resized, window, scale, _, _ = resize_image(
        ...     np.zeros((50, 100, 3), np.uint8), min_dim=64, max_dim=128)
        >>> resized.shape, window, scale
        ((128, 128, 3), (32, 0, 96, 128), 1.28)
    """
    height, width = image.shape[:2]
    none: Padding = [(0, 0), (0, 0), (0, 0)]
    if mode == "none":
        return image, (0, 0, height, width), 1.0, none, None
    scale = _scale(image.shape, min_dim, max_dim, min_scale, mode)
    dtype = image.dtype
    if scale != 1:
        height, width = _scaled(image.shape, scale)
        image = resize(image, (height, width), preserve_range=True).astype(dtype)
    if mode == "crop":
        assert min_dim  # checked above
        rng = rng or np.random.default_rng()
        y, x = int(rng.integers(height - min_dim + 1)), int(rng.integers(width - min_dim + 1))
        crop = (y, x, min_dim, min_dim)
        return image[y : y + min_dim, x : x + min_dim], (0, 0, min_dim, min_dim), scale, none, crop
    target = (-(-height // 64) * 64, -(-width // 64) * 64)
    if mode == "square":
        assert max_dim
        target = (max_dim, max_dim)
    top, left = (target[0] - height) // 2, (target[1] - width) // 2
    padding = [(top, target[0] - height - top), (left, target[1] - width - left), (0, 0)]
    window = (top, left, top + height, left + width)
    return np.pad(image, padding), window, scale, padding, None


def resize_mask(mask: Array, scale: float, padding: Padding, crop: Window | None = None) -> Array:
    """Bring masks (H, W, n) to the size of an image, with what `resize_image` returned for it."""
    if scale != 1:
        height, width = _scaled(mask.shape, scale)
        if mask.shape[-1]:
            zoom = [height / mask.shape[0], width / mask.shape[1], 1]
            mask = ndimage.zoom(mask, zoom=zoom, order=0)
        else:
            mask = np.zeros((height, width, 0), bool)
    if crop is not None:
        y, x, height, width = crop
        return mask[y : y + height, x : x + width]
    return np.pad(mask, padding)


def minimize_mask(bbox: ArrayLike, mask: Array, mini_shape: Sequence[int]) -> NDArray[np.bool_]:
    """Crop masks (H, W, n) to their boxes (n, 4) and shrink the crops, which saves memory.

    Raises:
        DataError: A box has no area.
    """
    boxes = np.atleast_2d(np.asarray(bbox, np.int64))[:, :4]
    small = np.zeros((*mini_shape, mask.shape[-1]), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes[: mask.shape[-1]]):
        piece = mask[y1:y2, x1:x2, i]
        if piece.size == 0:
            raise DataError(
                f"Invalid bounding box with area of zero. Received: bbox[{i}]={boxes[i]}"
            )
        small[:, :, i] = np.around(resize(piece, mini_shape, preserve_range=True)).astype(bool)
    return small


def expand_mask(bbox: ArrayLike, mini_mask: Array, image_shape: Sequence[int]) -> NDArray[np.bool_]:
    """Put the crops (h, w, n) of `minimize_mask` back into masks (H, W, n) bool of the image."""
    boxes = np.atleast_2d(np.asarray(bbox, np.int64))[:, :4]
    full = np.zeros((image_shape[0], image_shape[1], mini_mask.shape[-1]), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes[: mini_mask.shape[-1]]):
        piece = resize(mini_mask[:, :, i], (y2 - y1, x2 - x1), preserve_range=True)
        full[y1:y2, x1:x2, i] = np.around(piece).astype(bool)
    return full


def unmold_mask(mask: Array, bbox: ArrayLike, image_shape: Sequence[int]) -> NDArray[np.bool_]:
    """Turn the probabilities (h, w) inside a box (4,) into a mask (H, W) bool of the image."""
    y1, x1, y2, x2 = (int(v) for v in np.asarray(bbox))
    full = np.zeros((image_shape[0], image_shape[1]), bool)
    full[y1:y2, x1:x2] = resize(mask, (y2 - y1, x2 - x1), preserve_range=True) >= 0.5
    return full


def _scale(
    shape: Sequence[int], min_dim: int | None, max_dim: int | None, min_scale: float | None,
    mode: str,
) -> float:  # fmt: skip
    if mode not in ("square", "pad64", "crop"):
        raise ValueError(f"mode must be none, square, pad64 or crop. Received: mode={mode!r}")
    if mode == "square" and not max_dim:
        raise ValueError(f"mode 'square' needs max_dim. Received: max_dim={max_dim}")
    if mode == "crop" and not min_dim:
        raise ValueError(f"mode 'crop' needs min_dim. Received: min_dim={min_dim}")
    if mode == "pad64" and (not min_dim or min_dim % 64):
        raise ValueError(f"mode 'pad64' needs a multiple of 64. Received: min_dim={min_dim}")
    scale = max(1.0, min_dim / min(shape[:2])) if min_dim else 1.0
    scale = max(scale, min_scale or 0.0)
    if max_dim and mode == "square" and round(max(shape[:2]) * scale) > max_dim:
        scale = max_dim / max(shape[:2])
    return scale


def _scaled(shape: Sequence[int], scale: float) -> tuple[int, int]:
    # The shorter side of a strip may round to nothing.
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


# What the pyramid halves: five times in the backbone.
_STRIDE = 32


def prepare_image(
    image: Any, config: Config, mode: str, name: str, rng: np.random.Generator | None = None
) -> tuple[tuple[int, ...], Array, Window, float, Padding, Window | None]:
    """Check an image, called `name` in messages, and resize it; `rng` places a crop.

    Returns the image's own shape with the network's channels, and what `resize_image` does.

    Raises:
        ImageError: The image cannot be used.
    """
    pixels = checked_image(image, config, name)
    _check_size(pixels.shape, config, mode, name)
    limits = config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM, config.IMAGE_MIN_SCALE
    return pixels.shape, *resize_image(pixels, *limits, mode, rng)


def checked_image(image: Any, config: Config, name: str) -> Array:
    """Return an image as the network's channels of uint8, or on a scale that `MEAN_PIXEL` declares.

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
    limits = config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM, config.IMAGE_MIN_SCALE
    height, width = _scaled(shape, 1.0 if mode == "none" else _scale(shape, *limits, mode))
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


def compose_image_meta(
    image_id: int, original_image_shape: Sequence[int], image_shape: Sequence[int],
    window: Sequence[int], scale: float, active_class_ids: ArrayLike,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the vector of one image.

    Example:
        >>> window = (32, 0, 96, 128)
        >>> vector = compose_image_meta(7, (50, 100, 3), (128, 128, 3), window, 1.28, [1, 1])
        >>> len(vector), vector[7:11].tolist()
        (14, [32.0, 0.0, 96.0, 128.0])
    """
    parts = image_id, original_image_shape, image_shape, window, scale, active_class_ids
    return np.concatenate([np.asarray(part, np.float64).ravel() for part in parts])


def parse_image_meta_graph(meta: Any) -> dict[str, Any]:
    """Return the parts of image vectors (N, 12 + classes), arrays or tensors, by name.

    These are `image_id` (N,), `original_image_shape` and `image_shape` (N, 3), height, width and
    channels of the photo and of the network's input, `window` (N, 4) in pixels, the real image
    inside the padding, `scale` (N,), and `active_class_ids` (N, classes), 1 where the image's
    source knows the class.
    """
    return {
        "image_id": meta[:, 0],
        "original_image_shape": meta[:, 1:4],
        "image_shape": meta[:, 4:7],
        "window": meta[:, 7:11],
        "scale": meta[:, 11],
        "active_class_ids": meta[:, 12:],
    }


def parse_image_meta(meta: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the parts of image vectors (N, 12 + classes) as arrays, whole numbers as integers."""
    parts = parse_image_meta_graph(np.asarray(meta))
    return {
        name: value.astype(np.float32 if name == "scale" else np.int32)
        for name, value in parts.items()
    }

"""Images and masks at the sizes that the network takes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage import transform

from unmask.errors import DataError

Window = tuple[int, int, int, int]
Padding = list[tuple[int, int]]


def resize(
    image: NDArray[Any],
    output_shape: Sequence[int],
    order: int = 1,
    mode: str = "constant",
    cval: float = 0,
    clip: bool = True,
    preserve_range: bool = False,
    anti_aliasing: bool = False,
    anti_aliasing_sigma: float | Sequence[float] | None = None,
) -> NDArray[np.float64]:
    """Resize as matterport does: black outside the image, no smoothing.

    Args:
        image: (H, W) or (H, W, C). Booleans become 0 and 1 first, because scikit-image does not
            interpolate them.
        output_shape: Height and width.
        order: 0 for the nearest pixel, 1 for bilinear.
        mode: As for `skimage.transform.resize`, like all that follow.
        cval: See there.
        clip: See there.
        preserve_range: True to keep the values; False brings integers into [0, 1].
        anti_aliasing: See there.
        anti_aliasing_sigma: See there.

    Returns:
        float64.
    """
    values = np.asarray(image)
    if preserve_range or values.dtype == bool:
        values = values.astype(np.float64)
    resized = transform.resize(
        values, tuple(output_shape), order=order, mode=mode, cval=cval, clip=clip,
        preserve_range=preserve_range, anti_aliasing=anti_aliasing,
        anti_aliasing_sigma=anti_aliasing_sigma,
    )  # fmt: skip
    return np.asarray(resized, np.float64)


def resize_image(
    image: NDArray[Any],
    min_dim: int | None = None,
    max_dim: int | None = None,
    min_scale: float | None = None,
    mode: str = "square",
    rng: np.random.Generator | None = None,
) -> tuple[NDArray[Any], Window, float, Padding, tuple[int, int, int, int] | None]:
    """Bring an image to the size that the network takes.

    The image is never shrunk but in the mode "square", where the longer side may not exceed
    `max_dim`.

    Args:
        image: (H, W, C).
        min_dim: Least shorter side in pixels.
        max_dim: Side of the result in the mode "square".
        min_scale: Least enlargement.
        mode: "none" leaves the image alone; "square" pads with black to `max_dim` squared;
            "pad64" pads both sides to multiples of 64; "crop" cuts out a random `min_dim` squared.
        rng: Where the crop is; without one it differs from call to call.

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
        assert min_dim is not None  # checked above
        rng = rng or np.random.default_rng()
        y, x = int(rng.integers(height - min_dim + 1)), int(rng.integers(width - min_dim + 1))
        crop = (y, x, min_dim, min_dim)
        return image[y : y + min_dim, x : x + min_dim], (0, 0, min_dim, min_dim), scale, none, crop
    if mode == "square":
        assert max_dim is not None
        target = (max_dim, max_dim)
    else:
        target = (-(-height // 64) * 64, -(-width // 64) * 64)
    top, left = (target[0] - height) // 2, (target[1] - width) // 2
    padding = [(top, target[0] - height - top), (left, target[1] - width - left), (0, 0)]
    window = (top, left, top + height, left + width)
    return np.pad(image, padding), window, scale, padding, None


def resized_shape(
    shape: Sequence[int],
    min_dim: int | None,
    max_dim: int | None,
    min_scale: float | None,
    mode: str,
) -> tuple[int, int]:
    """Return height and width to which `resize_image` resizes, before it pads or crops."""
    if mode == "none":
        return int(shape[0]), int(shape[1])
    return _scaled(shape, _scale(shape, min_dim, max_dim, min_scale, mode))


def resize_mask(
    mask: NDArray[Any],
    scale: float,
    padding: Padding,
    crop: tuple[int, int, int, int] | None = None,
) -> NDArray[Any]:
    """Bring masks to the size of a resized image.

    Args:
        mask: (H, W, n).
        scale: As `resize_image` returned it.
        padding: The same.
        crop: The same.

    Returns:
        (h, w, n) of the same type.
    """
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


def minimize_mask(
    bbox: ArrayLike, mask: NDArray[Any], mini_shape: Sequence[int]
) -> NDArray[np.bool_]:
    """Crop masks to their boxes and shrink the crops, which saves memory.

    Args:
        bbox: (n, 4) pixels.
        mask: (H, W, n).
        mini_shape: Height and width of the crops.

    Returns:
        (h, w, n) bool.

    Raises:
        DataError: A box has no area.
    """
    boxes = np.asarray(bbox, np.int64).reshape(-1, 4)
    small = np.zeros((*mini_shape, mask.shape[-1]), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes[: mask.shape[-1]]):
        piece = mask[y1:y2, x1:x2, i]
        if piece.size == 0:
            raise DataError(
                f"Invalid bounding box with area of zero. Received: bbox[{i}]={boxes[i]}"
            )
        small[:, :, i] = np.around(resize(piece, mini_shape, preserve_range=True)).astype(bool)
    return small


def expand_mask(
    bbox: ArrayLike, mini_mask: NDArray[Any], image_shape: Sequence[int]
) -> NDArray[np.bool_]:
    """Put the crops of `minimize_mask` back into masks of the image's size.

    Args:
        bbox: (n, 4) pixels.
        mini_mask: (h, w, n).
        image_shape: Height and width.

    Returns:
        (H, W, n) bool.
    """
    boxes = np.asarray(bbox, np.int64).reshape(-1, 4)
    full = np.zeros((image_shape[0], image_shape[1], mini_mask.shape[-1]), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes[: mini_mask.shape[-1]]):
        piece = resize(mini_mask[:, :, i], (y2 - y1, x2 - x1), preserve_range=True)
        full[y1:y2, x1:x2, i] = np.around(piece).astype(bool)
    return full


def unmold_mask(
    mask: NDArray[np.floating], bbox: ArrayLike, image_shape: Sequence[int]
) -> NDArray[np.bool_]:
    """Turn the small map that the network draws into a mask of the image's size.

    Args:
        mask: (h, w) probabilities inside the box.
        bbox: (4,) pixels, inside the image and not empty.
        image_shape: Height and width.

    Returns:
        (H, W) bool.
    """
    y1, x1, y2, x2 = (int(v) for v in np.asarray(bbox))
    full = np.zeros((image_shape[0], image_shape[1]), bool)
    full[y1:y2, x1:x2] = resize(mask, (y2 - y1, x2 - x1), preserve_range=True) >= 0.5
    return full


def _scale(
    shape: Sequence[int],
    min_dim: int | None,
    max_dim: int | None,
    min_scale: float | None,
    mode: str,
) -> float:
    _check_mode(mode, min_dim, max_dim)
    scale = max(1.0, min_dim / min(shape[:2])) if min_dim else 1.0
    scale = max(scale, min_scale or 0.0)
    if max_dim and mode == "square" and round(max(shape[:2]) * scale) > max_dim:
        scale = max_dim / max(shape[:2])
    return scale


def _scaled(shape: Sequence[int], scale: float) -> tuple[int, int]:
    # The shorter side of a strip may round to nothing.
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _check_mode(mode: str, min_dim: int | None, max_dim: int | None) -> None:
    if mode not in ("square", "pad64", "crop"):
        raise ValueError(f"mode must be none, square, pad64 or crop. Received: mode={mode!r}")
    if mode == "square" and not max_dim:
        raise ValueError(f"mode 'square' needs max_dim. Received: max_dim={max_dim}")
    if mode == "crop" and not min_dim:
        raise ValueError(f"mode 'crop' needs min_dim. Received: min_dim={min_dim}")
    if mode == "pad64" and (not min_dim or min_dim % 64):
        raise ValueError(f"mode 'pad64' needs a multiple of 64. Received: min_dim={min_dim}")

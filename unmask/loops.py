"""Ear loops: found beside a mask, and painted over from the skin and hair beside them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.face import (
    CROP_SIZE,
    compose,
    grow,
    invert,
    scale_of,
    tight_box,
    transform_points,
    warp,
)
from unmask.inference import Network, forward

# Crop pixels. A loop begins so near to its mask; what is thinner than its own blur is widened.
_NEAR, _WIDEN = 8, 2
_CERTAIN = 0.5
# What lies beside a loop is taken from so far, in pixels of the crop that is painted in.
_REACH = 3.0
# How finely it is painted, in crops' pixels a crop's pixel, where the photo has as many.
_FINEST = 3


def find_loops(
    network: Network, crops: NDArray[np.uint8], masks: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Find the ear loops of masks.

    Args:
        network: One of `unmask.segmentation.lite.build_loops`.
        crops: (B, 256, 256, 3) uint8 RGB canonical crops, B at least 1.
        masks: (B, 256, 256) bool, the masks in them.

    Returns:
        (B, 256, 256) bool, what touches its mask, widened; nothing of the mask itself.

    Example:
        >>> from unmask.segmentation.lite import build_loops
        >>> crops, masks = np.zeros((1, 256, 256, 3), np.uint8), np.zeros((1, 256, 256), bool)
        >>> bool(find_loops(build_loops(), crops, masks).any())  # no mask, no loops
        False
    """
    found = []
    for crop, mask in zip(crops, masks, strict=True):
        view = np.dstack([crop.astype(np.float32) / np.float32(255), mask.astype(np.float32)])
        straight, mirrored = forward(network, np.stack([view, view[:, ::-1]]))[..., 0]
        found.append(_attached((straight + mirrored[:, ::-1]) / 2, mask))
    return np.stack(found)


def _attached(probability: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    found = probability > _CERTAIN
    _, labels = cv2.connectedComponents(found.astype(np.uint8))
    near = np.unique(labels[grow(mask, _NEAR) & found])
    return grow(np.isin(labels, near[near > 0]), _WIDEN) & ~mask


def remove_loops(
    photo: NDArray[np.uint8],
    loops: NDArray[np.bool_],
    mask: NDArray[np.bool_],
    matrix: NDArray[np.floating],
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Paint over ear loops with what lies on both sides of them.

    Args:
        photo: (H, W, 3) uint8 RGB.
        loops: (256, 256) bool, from `find_loops`.
        mask: (256, 256) bool, the mask, of which no colour is taken.
        matrix: (2, 3) transform from the photo to the crop.

    Returns:
        The new photo, and the (H, W) bool mask of pixels that may differ from the old one.

    Example:
        >>> photo, loops = np.full((256, 256, 3), 150, np.uint8), np.zeros((256, 256), bool)
        >>> photo[100:103, 20:60] = 255
        >>> loops[98:105, 18:62] = True
        >>> result, changed = remove_loops(photo, loops, np.zeros_like(loops), np.eye(2, 3))
        >>> bool(result.max() < 160), int(changed.sum())
        (True, 308)

    Reference:
        Telea, "An image inpainting technique based on the fast marching method", 2004.
    """
    changed = np.zeros(photo.shape[:2], bool)
    place = _place(loops, matrix, changed.shape)
    if place is None:
        return photo, changed
    finer = int(np.clip(np.ceil(1 / scale_of(matrix)), 1, _FINEST))
    larger = np.array([[finer, 0, (finer - 1) / 2], [0, finer, (finer - 1) / 2]], np.float64)
    to_fine, side = compose(larger, matrix), CROP_SIZE * finer
    hole, unusable = (
        cv2.resize(part.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
        for part in (loops, loops | grow(mask, _NEAR // 2))
    )
    painted = cv2.inpaint(warp(photo, to_fine, side), unusable, _REACH * finer, cv2.INPAINT_TELEA)
    # From the crop to this part of the photo.
    back = invert(to_fine)
    back[:, 2] -= (place[1].start, place[0].start)
    old = photo[place]
    size = old.shape[0], old.shape[1]
    inside = warp(hole.astype(np.float32), back, size, border=cv2.BORDER_CONSTANT) > 0.5
    soft = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), finer)
    share = np.clip(2 * warp(soft, back, size, border=cv2.BORDER_CONSTANT), 0, 1)[..., None]
    mixed = old + share * (warp(painted, back, size).astype(np.float32) - old)
    result = photo.copy()
    result[place] = np.where(inside[..., None], np.clip(mixed + 0.5, 0, 255).astype(np.uint8), old)
    changed[place] = inside
    return result, changed


def _place(
    loops: NDArray[np.bool_], matrix: NDArray[np.floating], shape: tuple[int, ...]
) -> tuple[slice, slice] | None:
    """Return the photo's rows and columns in which loops of the crop lie, if there are any."""
    box = tight_box(loops)
    if box is None:
        return None
    x0, y0, x1, y1 = box
    corners = transform_points(
        np.array([(x, y) for x in (x0 - 1, x1) for y in (y0 - 1, y1)]), invert(matrix)
    )
    low = np.clip(np.floor(corners.min(0)), 0, shape[1::-1]).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1, 0, shape[1::-1]).astype(int)
    if (low >= high).any():
        return None
    return slice(low[1], high[1]), slice(low[0], high[0])

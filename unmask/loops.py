"""Ear loops: found beside a mask, and painted over from the skin and hair beside them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.face import CROP_SIZE, compose, grow, invert, scale_of, warp
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
        network: One of `build_unet` with `LOOPS`.
        crops: (B, 256, 256, 3) uint8 RGB canonical crops.
        masks: (B, 256, 256) bool, the masks in them.

    Returns:
        (B, 256, 256) bool, what touches its mask, widened; nothing of the mask itself.
    """
    colours = crops.astype(np.float32) / np.float32(255)
    given = np.concatenate([colours, masks[..., None].astype(np.float32)], axis=-1)
    probability = (forward(network, given) + forward(network, given[:, :, ::-1])[:, :, ::-1]) / 2
    return np.stack(
        [_attached(p, mask) for p, mask in zip(probability[..., 0], masks, strict=True)]
    )


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

    Reference:
        Telea, "An image inpainting technique based on the fast marching method", 2004.
    """
    if not loops.any():
        return photo, np.zeros(photo.shape[:2], bool)
    finer = int(np.clip(np.ceil(1 / scale_of(matrix)), 1, _FINEST))
    larger = np.array([[finer, 0, (finer - 1) / 2], [0, finer, (finer - 1) / 2]], np.float64)
    to_fine, side = compose(larger, matrix), CROP_SIZE * finer
    fine = warp(photo, to_fine, side)
    hole, unusable = (
        cv2.resize(part.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
        for part in (loops, loops | grow(mask, _NEAR // 2))
    )
    painted = cv2.inpaint(fine, unusable, _REACH * finer, cv2.INPAINT_TELEA)
    back, shape = invert(to_fine), (photo.shape[0], photo.shape[1])
    share = warp(cv2.GaussianBlur(hole.astype(np.float32), (0, 0), finer), back, shape, border=0)
    changed = warp(hole.astype(np.float32), back, shape, border=0) > 0.5
    share = np.where(changed, np.clip(2 * share, 0, 1), 0)[..., None]
    mixed = photo + share * (warp(painted, back, shape).astype(np.float32) - photo)
    return np.where(changed[..., None], np.clip(mixed + 0.5, 0, 255), photo).astype(
        np.uint8
    ), changed

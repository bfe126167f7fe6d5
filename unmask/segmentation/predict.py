"""From photos and crops to mask probabilities."""

from __future__ import annotations

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from unmask.segmentation.model import STRIDE

WORKING_SIDE = 320


def segment_crops(
    model: keras.Model, crops: NDArray[np.uint8], batch_size: int = 8
) -> NDArray[np.float32]:
    """Segment the masks in canonical face crops.

    Args:
        model: A network of `build_unet`.
        crops: (B, 256, 256, 3) uint8 RGB; other sizes work too when both are multiples of 32.
        batch_size: Crops that go through the network together.

    Returns:
        (B, 256, 256) float32, the probability that a pixel belongs to a mask.

    Raises:
        ValueError: `crops` has another shape or type.

    Example:
        >>> from unmask.segmentation.model import LITE, build_unet
        >>> segment_crops(build_unet(**LITE), np.zeros((2, 256, 256, 3), np.uint8)).shape
        (2, 256, 256)
    """
    if (
        crops.ndim != 4
        or crops.shape[-1] != 3
        or crops.dtype != np.uint8
        or crops.shape[1] % STRIDE
        or crops.shape[2] % STRIDE
    ):
        raise ValueError(
            f"crops must be (B, H, W, 3) uint8 with H and W multiples of {STRIDE}. "
            f"Received: shape={crops.shape}, dtype={crops.dtype}"
        )
    parts = [
        np.asarray(
            keras.ops.convert_to_numpy(
                model(crops[i : i + batch_size].astype(np.float32) / 255.0, training=False)
            )
        )[..., 0]
        for i in range(0, len(crops), batch_size)
    ]
    return np.concatenate(parts) if parts else np.zeros(crops.shape[:3], np.float32)


def probability_map(
    model: keras.Model, photo: NDArray[np.uint8], side: int = WORKING_SIDE
) -> NDArray[np.float32]:
    """Segment a photo at a working size.

    Args:
        model: A network of `build_unet`.
        photo: (H, W, 3) uint8 RGB, any size.
        side: The longer side is brought to this many pixels, a multiple of 32; small photos are
            enlarged. The shorter side is padded with black to a multiple of 32.

    Returns:
        (h, w) float32 at the working size without the padding: the longer of both is `side`.
    """
    small = _resized(photo, side)
    height, width = small.shape[:2]
    canvas = np.zeros((-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE, 3), np.uint8)
    canvas[:height, :width] = small
    return segment_crops(model, canvas[None])[0, :height, :width]


def _resized(photo: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    height, width = photo.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(photo, size, interpolation=method), np.uint8)

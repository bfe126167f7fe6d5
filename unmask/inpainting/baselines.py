"""Ways to fill a hole that have not learnt anything: what every figure is measured against."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def fill_mean_color(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Paint the hole with the mean colour of the known pixels.

    Args:
        image: (H, W, 3) uint8 RGB.
        hole: (H, W) bool, True where pixels are unknown; at least one must be known.

    Returns:
        A completed copy.

    Raises:
        ValueError: Shapes or types do not fit, or nothing is known.

    Example:
        >>> image = np.array([[[10, 10, 10], [30, 30, 30], [0, 0, 0]]], np.uint8)
        >>> fill_mean_color(image, np.array([[False, False, True]]))[0, 2].tolist()
        [20, 20, 20]
    """
    _check(image, hole)
    result = image.copy()
    result[hole] = np.rint(image[~hole].mean(0)).astype(np.uint8)
    return result


def fill_telea(
    image: NDArray[np.uint8], hole: NDArray[np.bool_], *, radius: float = 3.0
) -> NDArray[np.uint8]:
    """Carry the known pixels inwards by fast marching (OpenCV).

    Args:
        image: (H, W, 3) uint8 RGB.
        hole: (H, W) bool, True where pixels are unknown; at least one must be known.
        radius: Pixels around each one that count.

    Returns:
        A completed copy.

    Raises:
        ValueError: Shapes or types do not fit, or nothing is known.

    Reference:
        Telea, An Image Inpainting Technique Based on the Fast Marching Method, 2004.
    """
    return _fill_opencv(image, hole, radius, cv2.INPAINT_TELEA)


def fill_navier_stokes(
    image: NDArray[np.uint8], hole: NDArray[np.bool_], *, radius: float = 3.0
) -> NDArray[np.uint8]:
    """Continue lines of equal brightness into the hole (OpenCV); arguments as `fill_telea`.

    Reference:
        Bertalmio et al., Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting, 2001.
    """
    return _fill_opencv(image, hole, radius, cv2.INPAINT_NS)


def _fill_opencv(
    image: NDArray[np.uint8], hole: NDArray[np.bool_], radius: float, method: int
) -> NDArray[np.uint8]:
    _check(image, hole)
    return np.asarray(cv2.inpaint(image, hole.astype(np.uint8), radius, method), np.uint8)


def _check(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"image must be (H, W, 3) uint8. Received: shape={image.shape}, dtype={image.dtype}"
        )
    if hole.shape != image.shape[:2] or hole.dtype != bool:
        raise ValueError(
            f"hole must be {image.shape[:2]} bool. Received: shape={hole.shape}, dtype={hole.dtype}"
        )
    if hole.all():
        raise ValueError("at least one pixel must be known. Received: a hole everywhere")

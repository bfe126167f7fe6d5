"""What light, cameras and compression do to a picture, for training samples."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from unmask.image import LUMA

Pixels = NDArray[np.uint8]


def photometric(image: Pixels, rng: Generator) -> Pixels:
    """Return a picture (H, W, 3) with other colours, contrast, sharpness, noise, compression."""
    if rng.random() < 0.8:
        image = recolour(
            image,
            saturation=0.0 if rng.random() < 0.08 else rng.uniform(0.5, 1.5),
            contrast=rng.uniform(0.7, 1.3),
            gain=rng.uniform(0.65, 1.4) * rng.normal(1, 0.08, 3),
            brightness=rng.uniform(-20, 20),
        )
    if rng.random() < 0.25:
        back = cv2.INTER_NEAREST if rng.random() < 0.15 else cv2.INTER_LINEAR
        image = coarsen(image, rng.uniform(0.2, 0.8), back)
    if rng.random() < 0.2:
        image = blur(image, rng.uniform(0.4, 1.8))
    if rng.random() < 0.25:
        image = add_noise(image, rng.normal(0, rng.uniform(2, 14), image.shape[:2])[..., None])
    if rng.random() < 0.4:
        image = compress(image, int(rng.integers(25, 95)))
    return image


def recolour(
    image: Pixels,
    *,
    saturation: float = 1.0,
    contrast: float = 1.0,
    gain: ArrayLike = 1.0,
    brightness: float = 0.0,
    gamma: float = 1.0,
) -> Pixels:
    """Change the colours of a picture (H, W, 3); the defaults change nothing.

    Args:
        image: RGB.
        saturation: 0 for grey, above 1 for stronger colours.
        contrast: Factor on the distance from the middle level.
        gain: Factor, or one for each channel.
        brightness: Levels of 255 that are added last.
        gamma: Exponent of values in [0, 1], which are changed first.

    Example:
        >>> recolour(np.full((1, 1, 3), 100, np.uint8), gain=(1, 1, 2), brightness=5).tolist()
        [[[105, 105, 205]]]
    """
    if gamma != 1.0:
        levels = 255 * np.linspace(0, 1, 256) ** gamma
        image = np.asarray(cv2.LUT(image, np.rint(levels).astype(np.uint8)), np.uint8)
    gains = np.broadcast_to(np.asarray(gain, np.float64), 3)[:, None]
    matrix = saturation * np.eye(3) + (1 - saturation) * np.tile(LUMA, (3, 1))
    offset = gains * 128 * (1 - contrast) + brightness
    affine = np.hstack([gains * contrast * matrix, offset])
    return np.asarray(cv2.transform(image, affine), np.uint8)


def coarsen(image: Pixels, share: float, back: int = cv2.INTER_LINEAR) -> Pixels:
    """Shrink a picture to a share of its size and enlarge it again, by OpenCV's way `back`."""
    height, width = image.shape[:2]
    small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=back), np.uint8)


def blur(image: Pixels, deviation: float) -> Pixels:
    """Blur with a Gaussian of a standard deviation in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), deviation), np.uint8)


def add_noise(image: Pixels, noise: NDArray[np.floating]) -> Pixels:
    """Add levels of 255, (H, W, 1) or (H, W, 3)."""
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def compress(image: Pixels, quality: int) -> Pixels:
    """Return what JPEG of a quality (0 to 100) leaves of an RGB picture."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # what was just encoded
    return np.ascontiguousarray(decoded[..., ::-1], np.uint8)

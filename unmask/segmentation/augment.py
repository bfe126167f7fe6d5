"""Photometric changes: what cameras, compression and light do to a picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def photometric(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change colour, contrast, sharpness, noise and compression at random.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        rng: Source of randomness.

    Returns:
        A new picture of the same size.
    """
    if rng.random() < 0.8:
        image = _colour(image, rng)
    if rng.random() < 0.25:
        image = _lower_resolution(image, rng)
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8))
    if rng.random() < 0.25:
        noise = rng.normal(0, rng.uniform(2, 14), image.shape[:2])[..., None]
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        image = _jpeg(image, int(rng.integers(25, 95)))
    return image


def _colour(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Saturation, contrast, brightness and white balance: one affine map of the colours."""
    grey = np.tile([0.299, 0.587, 0.114], (3, 1))
    saturation = 0.0 if rng.random() < 0.08 else rng.uniform(0.5, 1.5)
    contrast = rng.uniform(0.7, 1.3)
    gain = rng.uniform(0.65, 1.4) * rng.normal(1, 0.08, 3)[:, None]
    matrix = gain * contrast * (saturation * np.eye(3) + (1 - saturation) * grey)
    offset = gain * 128 * (1 - contrast) + rng.uniform(-20, 20)
    return np.asarray(cv2.transform(image, np.hstack([matrix, offset])), np.uint8)


def _lower_resolution(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = rng.uniform(0.2, 0.8)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    back = cv2.INTER_NEAREST if rng.random() < 0.15 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(small, (width, height), interpolation=back), np.uint8)


def _jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # what was just encoded
    return np.asarray(decoded[..., ::-1], np.uint8)

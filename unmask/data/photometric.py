"""What light, cameras and compression do to a picture, for training samples."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from unmask.image import LUMA

Pixels = NDArray[np.uint8]


def photometric(image: Pixels, rng: Generator) -> Pixels:
    """Return a picture (H, W, 3) with other colours, contrast, sharpness, noise, compression."""
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


def _colour(image: Pixels, rng: Generator) -> Pixels:
    """Saturation, contrast, brightness and white balance: one affine map of the colours."""
    grey = np.tile(LUMA, (3, 1))
    saturation = 0.0 if rng.random() < 0.08 else rng.uniform(0.5, 1.5)
    contrast = rng.uniform(0.7, 1.3)
    gain = rng.uniform(0.65, 1.4) * rng.normal(1, 0.08, 3)[:, None]
    matrix = gain * contrast * (saturation * np.eye(3) + (1 - saturation) * grey)
    offset = gain * 128 * (1 - contrast) + rng.uniform(-20, 20)
    return np.asarray(cv2.transform(image, np.hstack([matrix, offset])), np.uint8)


def _lower_resolution(image: Pixels, rng: Generator) -> Pixels:
    height, width = image.shape[:2]
    scale = rng.uniform(0.2, 0.8)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    back = cv2.INTER_NEAREST if rng.random() < 0.15 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(small, (width, height), interpolation=back), np.uint8)


def _jpeg(image: Pixels, quality: int) -> Pixels:
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # what was just encoded
    return np.asarray(decoded[..., ::-1], np.uint8)

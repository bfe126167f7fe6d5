"""Laying a mask onto a photo: light, shadow, loops, sharpness and noise."""

from __future__ import annotations

import cv2
import numpy as np

from unmask.synthesis.template import MaskTemplate
from unmask.synthesis.warp import surface_coordinates, template_positions

_COARSE = 5


def render(
    image: np.ndarray, template: MaskTemplate, net: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a template over a face.

    Args:
        image: `(H, W, 3)` uint8 RGB; not changed.
        template: The mask.
        net: `(5, 7, 2)` points of the mask's surface in the image, see `warp.net_from_anchors`.
        rng: Source of light, loop and noise variation.

    Returns:
        The new image and the boolean mask `(H, W)`.
    """
    result = image.copy()
    body = np.zeros(image.shape[:2], bool)
    box = _box(net, image.shape)
    if box is None:
        return result, body
    x0, y0, x1, y1 = box
    region = image[y0:y1, x0:x1]
    surface, layer = _warp(template, net, box)
    alpha = layer[..., 3].astype(np.float32) * np.float32(1 / 255)
    solid = alpha > 0.5
    if not solid.any():
        return result, body

    light = _light(region, alpha)
    color = layer[..., :3].astype(np.float32) * light
    color *= (1 + rng.normal(0, 0.02, 3)).astype(np.float32)

    size = net[2, -1, 0] - net[2, 0, 0]
    skin = region.astype(np.float32) * _shadow(alpha, float(abs(size)), rng)[..., None]
    a = alpha[..., None]
    mixed = skin + a * (color - skin)
    mixed += (a * _noise(region, rng)[..., None]).astype(np.float32)
    result[y0:y1, x0:x1] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
    body[y0:y1, x0:x1] = solid
    del surface
    return result, body


def _box(net: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    low, high = net.reshape(-1, 2).min(0), net.reshape(-1, 2).max(0)
    margin = 0.16 * (high - low) + 2
    x0, y0 = np.maximum(np.floor(low - margin), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(high + margin), (shape[1], shape[0])).astype(int)
    if x1 - x0 < 4 or y1 - y0 < 4:
        return None
    return int(x0), int(y0), int(x1), int(y1)


def _warp(
    template: MaskTemplate, net: np.ndarray, box: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    columns, rows = max(width // _COARSE, 2), max(height // _COARSE, 2)
    # Coarse samples at the centres that cv2.resize assumes.
    x = (np.arange(columns) + 0.5) * width / columns - 0.5 + x0
    y = (np.arange(rows) + 0.5) * height / rows - 0.5 + y0
    surface = surface_coordinates(net, x, y)
    positions = template_positions(template.points, surface)
    positions = cv2.resize(positions, (width, height), interpolation=cv2.INTER_LINEAR)
    layer = cv2.remap(
        template.rgba,
        positions,
        None,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0, 0),
    )
    return surface, layer


def _light(region: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Brightness of the scene on the mask, `(h, w, 1)`: overall from skin and highlights, slope from the face."""
    small = cv2.resize(region, (12, 10), interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = cv2.resize(alpha, (12, 10), interpolation=cv2.INTER_AREA) + np.float32(1e-3)
    luma = small @ np.array([0.299, 0.587, 0.114], np.float32)
    mean = float((luma * weight).sum() / weight.sum())
    level = np.clip(0.45 + 0.55 * mean / 140, 0.4, 1.12)
    blurred = cv2.GaussianBlur(luma * weight, (0, 0), 2.2) / cv2.GaussianBlur(weight, (0, 0), 2.2)
    slope = np.clip(blurred / max(mean, 1), 0.5, 1.5) ** 0.6
    full = cv2.resize(
        slope * np.float32(level), (region.shape[1], region.shape[0]), interpolation=cv2.INTER_CUBIC
    )
    return full[..., None]


def _shadow(alpha: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    sigma = max(size * 0.02, 0.6)
    shifted = np.roll(alpha, max(round(size * 0.012), 1), axis=0)
    soft = cv2.GaussianBlur(shifted, (0, 0), sigma)
    return 1 - np.float32(rng.uniform(0.25, 0.5)) * soft


def _noise(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey = region[..., 1].astype(np.int16)
    level = float(np.median(np.abs(grey[:, 1:] - grey[:, :-1])))
    return rng.standard_normal(region.shape[:2], dtype=np.float32) * np.float32(
        min(0.6 * level, 5) + 0.4
    )

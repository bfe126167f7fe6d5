"""Laying a mask onto a photo."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.synthesis.light import read_light, softness_and_noise
from unmask.synthesis.straps import draw_loops
from unmask.synthesis.template import PIXELS_PER_U, SHAPE, MaskTemplate, sheet_position
from unmask.synthesis.wear import Worn

Field = NDArray[np.float32]
Box = tuple[int, int, int, int]

# The warp is smooth: it is computed on a coarse grid and enlarged.
_COARSE = 4
_FEWEST = 22
_LOOPS_SHOWN = 0.85


def compose(
    image: NDArray[np.uint8], template: MaskTemplate, worn: Worn, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw a mask over a face.

    Args:
        image: (H, W, 3) RGB; not changed.
        template: The mask, as a flat sheet (see `sheet.flatten`).
        worn: Its place.
        rng: Variation of light, shadow, loops and noise.

    Returns:
        The new image and the mask's body, (H, W) bool.
    """
    result = image.copy()
    body = np.zeros(image.shape[:2], bool)
    box = _box(worn, image.shape)
    if box is None:
        return result, body
    x0, y0, x1, y1 = box
    region = image[y0:y1, x0:x1]
    softness, grain = softness_and_noise(region)
    mirrored = template.view == "front" and rng.random() < 0.5
    layer = _warp(template, worn, box, mirrored)
    layer = cv2.GaussianBlur(layer, (0, 0), softness * rng.uniform(0.8, 1.3))
    alpha = layer[..., 3].astype(np.float32) * np.float32(1 / 255)
    light = read_light(image, region, alpha, rng)
    if template.loops is not None and rng.random() < _LOOPS_SHOWN:
        draw_loops(result, template.loops, worn, light, rng)

    mixed = result[y0:y1, x0:x1].astype(np.float32)
    mixed *= _shadow(alpha, worn.surface.width, rng)[..., None]
    dye = rng.normal(1, 0.018, 3).astype(np.float32)
    color = light.on(layer[..., :3] * dye)
    color *= light.slope[..., None]
    color += (rng.standard_normal(alpha.shape, dtype=np.float32) * np.float32(grain))[..., None]
    color -= mixed
    color *= alpha[..., None]
    mixed += color
    mixed += np.float32(0.5)
    np.clip(mixed, 0, 255, out=mixed)
    result[y0:y1, x0:x1] = mixed.astype(np.uint8)
    body[y0:y1, x0:x1] = alpha > 0.5
    return result, body


def _box(worn: Worn, shape: tuple[int, ...]) -> Box | None:
    low, high = worn.surface.bounds()
    # Templates may reach beyond their key points, and the shadow beyond the template.
    margin = 0.13 * (high - low) + 4
    x0, y0 = np.maximum(np.floor(low - margin), 0).astype(int).tolist()
    x1, y1 = np.minimum(np.ceil(high + margin), (shape[1], shape[0])).astype(int).tolist()
    return (x0, y0, x1, y1) if x1 - x0 >= 8 and y1 - y0 >= 8 else None


def _warp(template: MaskTemplate, worn: Worn, box: Box, mirrored: bool) -> NDArray[np.uint8]:
    """Return the template as it lies on the face: (h, w, 4) for the box."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    columns, rows = (max(side // _COARSE, min(side, _FEWEST)) for side in (width, height))
    # Samples at the pixel centres that cv2.resize assumes.
    x = (np.arange(columns) + 0.5) * width / columns - 0.5 + x0
    y = (np.arange(rows) + 0.5) * height / rows - 0.5 + y0
    surface = worn.surface.coordinates(x, y)
    if mirrored:
        surface[..., 0] *= -1
    positions = sheet_position(surface)
    rgba = template.rgba
    scale = worn.surface.width / (2 * PIXELS_PER_U)
    if scale < 0.5:
        # Bilinear sampling would skip pixels.
        rgba = cv2.resize(rgba, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        shrink = (np.array(rgba.shape[1::-1]) / np.array(SHAPE[::-1])).astype(np.float32)
        positions = (positions + np.float32(0.5)) * shrink - np.float32(0.5)
    positions = cv2.resize(positions, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.remap(rgba, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def _shadow(alpha: Field, width: float, rng: np.random.Generator) -> Field:
    """Factor on the skin: a soft shadow that the mask throws around and below itself."""
    offset = max(round(width * rng.uniform(0.005, 0.03)), 1)
    lowered = np.zeros_like(alpha)
    lowered[offset:] = alpha[:-offset]
    soft = cv2.GaussianBlur(lowered, (0, 0), max(width * rng.uniform(0.012, 0.03), 0.6))
    return 1 - np.float32(rng.uniform(0.2, 0.5)) * soft

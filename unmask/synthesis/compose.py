"""Laying a mask onto a photo: loops, shadow, light, sharpness and noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.synthesis.template import Loops, MaskTemplate
from unmask.synthesis.warp import COLUMNS, ROWS, surface_coordinates, template_positions
from unmask.synthesis.wear import Worn

Field = NDArray[np.float32]
Box = tuple[int, int, int, int]

# The warp is smooth: it is computed on every fifth pixel and enlarged.
_COARSE = 5
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def compose(
    image: NDArray[np.uint8], template: MaskTemplate, worn: Worn, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw a mask over a face.

    Args:
        image: (H, W, 3) RGB; not changed.
        template: The mask.
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
    layer = _warp(template, worn, box)
    sigma = _sharpness(region) * rng.uniform(0.8, 1.3)
    layer = cv2.GaussianBlur(layer, (0, 0), sigma)
    alpha = layer[..., 3].astype(np.float32) * np.float32(1 / 255)
    light = _light(image, region, alpha, rng)

    mixed = region.astype(np.float32)
    mixed *= _shadow(alpha, worn.width, rng)[..., None]
    if template.loops is not None and rng.random() < 0.85:
        _draw_loops(mixed, template.loops, worn, box, light, rng)
    color = layer[..., :3].astype(np.float32)
    color *= light
    color += _noise(region, rng)[..., None]
    mixed += alpha[..., None] * (color - mixed)
    np.clip(mixed + np.float32(0.5), 0, 255, out=mixed)
    result[y0:y1, x0:x1] = mixed.astype(np.uint8)
    body[y0:y1, x0:x1] = alpha > 0.5
    return result, body


def _box(worn: Worn, shape: tuple[int, ...]) -> Box | None:
    points = np.vstack([worn.net.reshape(-1, 2), worn.ears.reshape(-1, 2)])
    low, high = points.min(0), points.max(0)
    # Templates may reach beyond their key points, and the shadow beyond the template.
    margin = 0.12 * (worn.net.max((0, 1)) - worn.net.min((0, 1))) + 4
    x0, y0 = np.maximum(np.floor(low - margin), 0).astype(int).tolist()
    x1, y1 = np.minimum(np.ceil(high + margin), (shape[1], shape[0])).astype(int).tolist()
    return (x0, y0, x1, y1) if x1 - x0 >= 4 and y1 - y0 >= 4 else None


def _warp(template: MaskTemplate, worn: Worn, box: Box) -> NDArray[np.uint8]:
    """Return the template as it lies on the face: (h, w, 4) for the box."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    columns, rows = max(width // _COARSE, 2), max(height // _COARSE, 2)
    # Samples at the pixel centres that cv2.resize assumes.
    x = (np.arange(columns) + 0.5) * width / columns - 0.5 + x0
    y = (np.arange(rows) + 0.5) * height / rows - 0.5 + y0
    rgba, points = template.rgba, template.points
    scale = worn.width / max(float(points[:, 0].max() - points[:, 0].min()), 1.0)
    if scale < 0.5:
        # Bilinear sampling would skip pixels.
        rgba = cv2.resize(rgba, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        points = (points + 0.5) * (np.array(rgba.shape[1::-1]) / template.rgba.shape[1::-1]) - 0.5
    positions = template_positions(points, surface_coordinates(worn.net, x, y))
    positions = cv2.resize(positions, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.remap(rgba, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def _sharpness(region: NDArray[np.uint8]) -> float:
    """Blur, as a Gaussian's deviation in pixels, that makes a drawn edge as soft as the photo."""
    green = region[..., 1].astype(np.int16)
    near = float(np.abs(green[:, 1:] - green[:, :-1]).mean())
    far = float(np.abs(green[:, 4:] - green[:, :-4]).mean())
    return float(np.clip(2.2 - 4.5 * near / max(far, 1e-3), 0.35, 1.4))


def _light(
    image: NDArray[np.uint8], region: NDArray[np.uint8], alpha: Field, rng: np.random.Generator
) -> Field:
    """Light of the scene on the mask, (h, w, 3).

    Level and colour come from the covered skin and the brightest parts of the photo, the slope
    from the broad shading of the covered skin.
    """
    small = cv2.resize(region, (12, 10), interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = cv2.resize(alpha, (12, 10), interpolation=cv2.INTER_AREA) + np.float32(1e-3)
    luma = small @ _LUMA
    skin = float((luma * weight).sum() / weight.sum())
    thumb = cv2.resize(image, (24, 24), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    bright = np.percentile(thumb, 96, axis=0)
    cast = (bright / max(float(bright.max()), 1.0)) ** rng.uniform(0.1, 0.45)
    level = 0.3 + 0.4 * min(skin / 125, 1.4) + 0.34 * float(bright.max()) / 235
    level = np.clip(level * rng.uniform(0.92, 1.06), 0.3, 1.12)
    blurred = cv2.GaussianBlur(luma * weight, (0, 0), 2.2) / cv2.GaussianBlur(weight, (0, 0), 2.2)
    slope = np.clip(blurred / max(skin, 1), 0.5, 1.5) ** 0.6
    size = (region.shape[1], region.shape[0])
    slope = cv2.resize(slope.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return slope[..., None] * (level * cast).astype(np.float32)


def _shadow(alpha: Field, width: float, rng: np.random.Generator) -> Field:
    """Factor on the skin: a soft shadow that the mask throws around and below itself."""
    offset = max(round(width * rng.uniform(0.005, 0.03)), 1)
    lowered = np.zeros_like(alpha)
    lowered[offset:] = alpha[:-offset]
    soft = cv2.GaussianBlur(lowered, (0, 0), max(width * rng.uniform(0.012, 0.03), 0.6))
    return 1 - np.float32(rng.uniform(0.2, 0.5)) * soft


def _noise(region: NDArray[np.uint8], rng: np.random.Generator) -> Field:
    green = region[..., 1].astype(np.int16)
    level = float(np.median(np.abs(green[:, 1:] - green[:, :-1])))
    noise = rng.standard_normal(region.shape[:2], dtype=np.float32)
    return noise * np.float32(min(0.5 * level, 5) + 0.4)


def _draw_loops(
    pixels: Field, loops: Loops, worn: Worn, box: Box, light: Field, rng: np.random.Generator
) -> None:
    """Draw the loops of the visible sides onto `pixels`, with a thin shadow below each."""
    cover = np.zeros(pixels.shape[:2], np.uint8)
    t = np.linspace(0, 1, 9)[:, None]
    for side in (0, 1):
        if not worn.ear_visible[side]:
            continue
        column = worn.net[:, 0 if side == 0 else len(COLUMNS) - 1]
        inner = worn.net[:, 1 if side == 0 else len(COLUMNS) - 2]
        for end in (0, 1):
            where = loops.ends[end]
            start = np.array([np.interp(where, ROWS, column[:, axis]) for axis in (0, 1)])
            inside = np.array([np.interp(where, ROWS, inner[:, axis]) for axis in (0, 1)])
            # Begin a little inside, so that body and loop meet.
            start = start + 0.15 * (inside - start)
            ear = worn.ears[side, end]
            sag = rng.normal(0, 0.03, 2) * worn.width
            curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * ((start + ear) / 2 + sag) + t**2 * ear
            _strip(cover, curve - box[:2], loops.width * worn.width)
    opacity = cv2.GaussianBlur(cover, (0, 0), 0.6).astype(np.float32) * np.float32(1 / 255)
    opacity *= _skin_likeness(pixels, worn, box)
    below = np.roll(opacity, max(round(0.4 * loops.width * worn.width), 1), axis=0)
    pixels *= (1 - np.float32(0.35) * below)[..., None]
    color = np.asarray(loops.color, np.float32) * light * np.float32(rng.uniform(0.85, 1.0))
    pixels += opacity[..., None] * (color - pixels)


def _skin_likeness(pixels: Field, worn: Worn, box: Box) -> Field:
    """Return 1 on skin and towards 0 on hair and background, which hide a loop; (h, w)."""
    cheeks = worn.net[0, 1:-1].mean(0) - box[:2]
    x, y = np.clip(cheeks.astype(int), 2, np.array(pixels.shape[1::-1]) - 3)
    skin = np.median(pixels[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3), axis=0)
    distance = np.abs(cv2.blur(pixels, (3, 3)) - skin.astype(np.float32)).max(axis=2)
    return np.clip(np.float32(2.2) - distance * np.float32(1 / 40), 0.0, 1.0)


def _strip(cover: NDArray[np.uint8], curve: NDArray[np.float64], width: float) -> None:
    """Fill a band of even width along a curve; fractions of a pixel count."""
    direction = np.gradient(curve, axis=0)
    length = np.maximum(np.hypot(direction[:, 0], direction[:, 1]), 1e-6)[:, None]
    normal = direction[:, ::-1] * (-1, 1) / length * (width / 2)
    outline = np.vstack([curve + normal, (curve - normal)[::-1]])
    cv2.fillPoly(cover, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)

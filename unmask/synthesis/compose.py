"""Laying a mask onto a photo: its shadow, ear loops, and the light, blur and noise of the photo."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.image import LUMA
from unmask.synthesis.surface import Surface
from unmask.synthesis.template import PIXELS_PER_U, SHAPE, Loops, MaskTemplate, sheet_position
from unmask.synthesis.wear import Head

Field = NDArray[np.float32]
Box = tuple[int, int, int, int]

_LOOPS_SHOWN = 0.85
# Grey levels from which on a loop is seen.
_SHOWS = 10.0
# Where loops end, upper and lower, along the jaw from its temple.
_EARS = (1.0, 3.8)
# Share of a mask's width on one side of the nose below which that ear is out of sight.
_HIDDEN_BELOW = 0.32
# The warp is smooth: it is computed on a coarse grid and enlarged.
_COARSE = 4
_FEWEST = 22
# Light is read off the photo at this size.
_GRID = (10, 8)
_LUMA = np.array(LUMA, np.float32)


def compose(
    image: NDArray[np.uint8],
    template: MaskTemplate,
    head: Head,
    surface: Surface,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the photo with a mask, a flat sheet, drawn over a face; its body and loops, (H, W).

    The mask lies on the head as its surface says; `rng` varies light, shadow, loops and noise.
    """
    result = image.copy()
    body, loops = np.zeros((2, *image.shape[:2]), bool)
    box = _box(surface, image.shape)
    if box is None:
        return result, body, loops
    x0, y0, x1, y1 = box
    region = image[y0:y1, x0:x1]
    softness, grain = _softness_and_noise(region)
    mirrored = template.view == "front" and rng.random() < 0.5
    layer = _warp(template, surface, box, mirrored)
    layer = cv2.GaussianBlur(layer, (0, 0), softness * rng.uniform(0.8, 1.3))
    alpha = layer[..., 3].astype(np.float32) * np.float32(1 / 255)
    light = _read_light(image, region, alpha, rng)
    if template.loops is not None and rng.random() < _LOOPS_SHOWN:
        _draw_loops(result, loops, template.loops, head, surface, light, rng)

    mixed = result[y0:y1, x0:x1].astype(np.float32)
    mixed *= _shadow(alpha, surface.width, rng)[..., None]
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
    return result, body, loops & ~body


def _box(surface: Surface, shape: tuple[int, ...]) -> Box | None:
    low, high = surface.bounds()
    # Templates may reach beyond their key points, and the shadow beyond the template.
    margin = 0.13 * (high - low) + 4
    x0, y0 = np.maximum(np.floor(low - margin), 0).astype(int).tolist()
    x1, y1 = np.minimum(np.ceil(high + margin), (shape[1], shape[0])).astype(int).tolist()
    return (x0, y0, x1, y1) if x1 - x0 >= 8 and y1 - y0 >= 8 else None


def _warp(template: MaskTemplate, surface: Surface, box: Box, mirrored: bool) -> NDArray[np.uint8]:
    """Return the template as it lies on the face: (h, w, 4) for the box."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    columns, rows = (max(side // _COARSE, min(side, _FEWEST)) for side in (width, height))
    # Samples at the pixel centres that cv2.resize assumes.
    x = (np.arange(columns) + 0.5) * width / columns - 0.5 + x0
    y = (np.arange(rows) + 0.5) * height / rows - 0.5 + y0
    coordinates = surface.coordinates(x, y)
    if mirrored:
        coordinates[..., 0] *= -1
    positions = sheet_position(coordinates)
    rgba = template.rgba
    scale = surface.width / (2 * PIXELS_PER_U)
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


# === Light ===


@dataclass(frozen=True, eq=False)
class _Light:
    """The light of a scene."""

    color: Field  # (3,) factor on an albedo: level and colour of the light
    saturation: float  # 1 in a colour photo, 0 in a grey one
    slope: Field  # (h, w) factor of mean 1: from which side the face is lit

    def on(self, albedo: NDArray[np.floating]) -> Field:
        """Return a material's colour, (..., 3), in this light but for the slope."""
        lit: Field = (albedo * self.color).astype(np.float32, copy=False)
        if self.saturation < 1:
            grey = (lit @ _LUMA)[..., None]
            lit = (grey + self.saturation * (lit - grey)).astype(np.float32, copy=False)
        return lit


def _read_light(
    image: NDArray[np.uint8], region: NDArray[np.uint8], alpha: Field, rng: np.random.Generator
) -> _Light:
    """Estimate the light on a mask that covers `alpha` of a region of the photo.

    The level comes from the covered skin (which may be dark by itself) and from the brightest parts
    of the photo, the colour from the latter, the slope from the broad shading of the covered skin.
    """
    small = cv2.resize(region, _GRID, interpolation=cv2.INTER_AREA).astype(np.float32)
    luma = small @ _LUMA
    # Skin in a colour photo has 20 and more.
    chroma = float(np.median(small.max(axis=2) - small.min(axis=2)))
    weight = cv2.resize(alpha, _GRID, interpolation=cv2.INTER_AREA) + np.float32(1e-3)
    skin = max(float((luma * weight).sum() / weight.sum()), 1.0)
    bright = _bright(image)
    cast = (bright / bright.max()) ** rng.uniform(0.1, 0.45)
    level = 0.32 + 0.42 * min(skin / 125, 1.4) + 0.36 * float(bright.max()) / 235
    level = float(np.clip(level * rng.uniform(0.92, 1.06), 0.3, 1.15))
    blurred = cv2.GaussianBlur(luma * weight, (0, 0), 1.8) / cv2.GaussianBlur(weight, (0, 0), 1.8)
    slope = np.clip(blurred / skin, 0.5, 1.5) ** np.float32(0.6)
    size = (region.shape[1], region.shape[0])
    return _Light(
        (level * cast).astype(np.float32),
        min(chroma / 12, 1.0),
        cv2.resize(slope, size, interpolation=cv2.INTER_LINEAR),
    )


def _bright(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The 96th percentile of each channel, at least 1."""
    step = max(min(image.shape[:2]) // 32, 1)
    pixels = image[::step, ::step].reshape(-1, 3)
    rank = int(0.96 * (len(pixels) - 1))
    return np.maximum(np.partition(pixels, rank, axis=0)[rank].astype(np.float64), 1.0)


def _softness_and_noise(region: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the blur, in pixels, of a photo's edges, and the deviation of its noise."""
    green = region[::2, :, 1].astype(np.int16)
    steps = np.abs(green[:, 1:] - green[:, :-1])
    far = float(np.abs(green[:, 4:] - green[:, :-4]).mean())
    softness = 2.2 - 4.5 * float(steps.mean()) / max(far, 1e-3)
    middle = np.partition(steps, steps.size // 2, axis=None)[steps.size // 2]
    return float(np.clip(softness, 0.35, 1.4)), min(0.5 * float(middle), 5.0) + 0.4


# === Ear loops ===


def _draw_loops(
    image: NDArray[np.uint8],
    shown: NDArray[np.bool_],
    loops: Loops,
    head: Head,
    surface: Surface,
    light: _Light,
    rng: np.random.Generator,
) -> None:
    """Draw the loops of the sides that face the camera, in place, and mark where they show.

    Hair and background, told by their colour, hide them: behind an ear or under hair no loop shows.
    """
    color = light.on(np.asarray(loops.color, np.float32)) * np.float32(rng.uniform(0.85, 1.0))
    skin = _cheek_color(image, surface)
    left, nose, right = surface.anchors[1]
    chord, t = right - left, np.linspace(0, 1, 9)[:, None]
    left_share = float((nose - left) @ chord) / surface.width**2
    for sign, share in ((-1, left_share), (1, 1 - left_share)):
        # The nearer the side, the further behind the jaw line the ear shows.
        out = sign * chord * np.clip(0.03 + 0.3 * (share - 0.5), 0.01, 0.15)
        # Begin a little inside, so that body and loop meet.
        starts = surface.points(0.95 * sign * np.ones(2), np.array(loops.ends))
        for start, position in zip(starts, _EARS, strict=True):
            ear = head.jaw_at(position if sign < 0 else 32 - position) + out
            middle = (start + ear) / 2 + rng.normal(0, 0.03, 2) * surface.width
            if share > _HIDDEN_BELOW:
                curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * ear
                _band(image, shown, curve, loops.width * surface.width, color, skin)


def _cheek_color(image: NDArray[np.uint8], surface: Surface) -> Field:
    """Median colour on the upper edge of the mask, where skin shows: (3,)."""
    u = np.linspace(-0.7, 0.7, 5)
    points = np.rint(surface.points(u, np.zeros(5))).astype(int)
    limit = np.array(image.shape[1::-1]) - 1
    x, y = np.clip(points, 0, limit).T
    return np.median(image[y, x], axis=0).astype(np.float32)


def _band(
    image: NDArray[np.uint8], shown: NDArray[np.bool_], curve: NDArray[np.float64], width: float,
    color: Field, skin: Field,
) -> None:  # fmt: skip
    """Draw one band of even width with a shadow below it, and mark its pixels."""
    margin = width + 3
    x0, y0 = np.maximum(np.floor(curve.min(0) - margin), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(curve.max(0) + margin), image.shape[1::-1]).astype(int)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    direction = np.gradient(curve, axis=0)
    length = np.maximum(np.hypot(direction[:, 0], direction[:, 1]), 1e-6)[:, None]
    normal = direction[:, ::-1] * (-1, 1) / length * (width / 2)
    outline = np.vstack([curve + normal, (curve - normal)[::-1]]) - (x0, y0)
    cover = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(cover, [np.rint(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)

    patch = image[y0:y1, x0:x1].astype(np.float32)
    distance = np.abs(cv2.blur(patch, (3, 3)) - skin)
    farthest = np.maximum(np.maximum(distance[..., 0], distance[..., 1]), distance[..., 2])
    likeness = np.clip(np.float32(2.2) - farthest * np.float32(1 / 40), 0, 1)
    opacity = cv2.GaussianBlur(cover, (0, 0), 0.6).astype(np.float32) * likeness / np.float32(255)
    drop = max(round(0.4 * width), 1)
    shadow = np.zeros_like(opacity)
    shadow[drop:] = opacity[:-drop]
    patch *= (1 - np.float32(0.35) * shadow)[..., None]
    change = opacity[..., None] * (color - patch)
    patch += change
    image[y0:y1, x0:x1] = np.clip(patch + np.float32(0.5), 0, 255).astype(np.uint8)
    shown[y0:y1, x0:x1] |= np.abs(change).max(-1) > _SHOWS

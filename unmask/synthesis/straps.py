"""Ear loops: thin bands between the mask's side and the ear."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.synthesis.light import Light
from unmask.synthesis.template import Loops
from unmask.synthesis.wear import Worn

Field = NDArray[np.float32]

_STEPS = np.linspace(0, 1, 9)[:, None]


def draw_loops(
    image: NDArray[np.uint8], loops: Loops, worn: Worn, light: Light, rng: np.random.Generator
) -> None:
    """Draw the loops of the sides that face the camera.

    Hair and background, told by their colour, hide them: behind an ear or under hair no loop shows.

    Args:
        image: (H, W, 3); changed in place.
        loops: Their look.
        worn: The mask's place.
        light: The light on them.
        rng: Varies curve and brightness.
    """
    color = light.on(np.asarray(loops.color, np.float32)) * np.float32(rng.uniform(0.85, 1.0))
    skin = _cheek_color(image, worn)
    width = loops.width * worn.surface.width
    ends = np.array(loops.ends)
    for side, sign in enumerate((-1, 1)):
        # Begin a little inside, so that body and loop meet.
        starts = worn.surface.points(0.95 * sign * np.ones(2), ends)
        for end, start in enumerate(starts):
            ear = worn.ears[side, end]
            middle = (start + ear) / 2 + rng.normal(0, 0.03, 2) * worn.surface.width
            if worn.ear_visible[side]:
                t = _STEPS
                curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * ear
                _band(image, curve, width, color, skin)


def _cheek_color(image: NDArray[np.uint8], worn: Worn) -> Field:
    """Median colour on the upper edge of the mask, where skin shows: (3,)."""
    u = np.linspace(-0.7, 0.7, 5)
    points = np.rint(worn.surface.points(u, np.zeros(5))).astype(int)
    limit = np.array(image.shape[1::-1]) - 1
    x, y = np.clip(points, 0, limit).T
    return np.median(image[y, x], axis=0).astype(np.float32)


def _band(
    image: NDArray[np.uint8], curve: NDArray[np.float64], width: float, color: Field, skin: Field
) -> None:
    """Draw one band of even width with a shadow below it."""
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
    patch += opacity[..., None] * (color - patch)
    image[y0:y1, x0:x1] = np.clip(patch + np.float32(0.5), 0, 255).astype(np.uint8)

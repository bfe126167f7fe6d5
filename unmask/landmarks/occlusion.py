"""What hides parts of a training face besides masks: blocks and hands."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_SUBPIXEL = 3  # bits of the fixed-point coordinates that OpenCV draws with


def add_blocks(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cover a crop with one to three rectangles or ellipses.

    They have one colour or show another part of the image.

    Args:
        image: (S, S, 3) uint8 RGB; it may be changed in place.
        rng: Source of randomness.

    Returns:
        (S, S, 3) uint8 RGB.

    Example:
        >>> image = np.zeros((256, 256, 3), np.uint8)
        >>> add_blocks(image, np.random.default_rng(1)).any()
        True
    """
    size = image.shape[0]
    image = np.ascontiguousarray(image)
    for _ in range(rng.integers(1, 4)):
        width, height = (rng.uniform(0.08, 0.32, 2) * size).astype(int)
        x, y = (rng.uniform(0.1, 0.9, 2) * size).astype(int)
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        kind = rng.integers(3)
        if kind == 0:
            cv2.rectangle(image, (x, y), (x + width, y + height), colour, -1)
        elif kind == 1:
            angle = float(rng.uniform(0, 180))
            cv2.ellipse(image, (x, y), (width // 2, height // 2), angle, 0, 360, colour, -1)
        else:
            x, y = min(x, size - width), min(y, size - height)
            u, v = rng.integers(0, size - width), rng.integers(0, size - height)
            image[y : y + height, x : x + width] = image[v : v + height, u : u + width].copy()
    return image


def add_hand(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Hold a hand before the lower part of a face.

    The hand is drawn: a forearm, a palm, four fingers more or less curled and a thumb, in the
    colour of the middle of the crop, with a dark line around each part and light from one side.

    Args:
        image: (S, S, 3) uint8 RGB crop, about in the canonical framing.
        rng: Source of randomness.

    Returns:
        (S, S, 3) uint8 RGB, a new array.

    Example:
        >>> image = np.full((256, 256, 3), 180, np.uint8)
        >>> hand = add_hand(image, np.random.default_rng(1))
        >>> (hand != image).any(-1)[128:].any(), (hand != image).any(-1).mean() < 0.5
        (np.True_, np.True_)
    """
    size = image.shape[0]
    scale = rng.uniform(0.4, 0.65) * size  # from the wrist to the finger tips
    place = rng.uniform((0.2, 0.6), (0.8, 1.0)) * size
    turn = np.deg2rad(rng.normal(0, 35))
    across = np.array([np.cos(turn), np.sin(turn)]) * scale
    along = np.array([np.sin(turn), -np.cos(turn)]) * scale
    colour = _skin(image, rng)
    hand, cover = np.empty_like(image), np.zeros(image.shape[:2], np.uint8)
    hand[:] = colour.astype(np.uint8)
    edge = tuple(float(v) for v in 0.6 * colour)
    fill = tuple(float(v) for v in colour)
    for start, end, width in _parts(rng):
        ends = [place + point[0] * across + point[1] * along for point in (start, end)]
        thickness = max(2, round(width * scale))
        _stroke(cover, ends, thickness + 2, (255.0,))
        _stroke(hand, ends, thickness + 2, edge)
        _stroke(hand, ends, thickness, fill)
    ramp = np.linspace(-1, 1, size) * rng.uniform(-0.3, 0.3)
    lit = hand * (1 + ramp[None, :, None]) * (1 + rng.uniform(-0.2, 0.2) * ramp[:, None, None])
    lit = cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.8, 2.0))
    alpha = cv2.GaussianBlur(cover, (0, 0), 0.8)[..., None] / 255
    return np.clip(np.rint(image + alpha * (lit - image)), 0, 255).astype(np.uint8)


def _skin(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float64]:
    """The middle colour of the crop's centre, a little lighter or darker."""
    third = image.shape[0] // 3
    center = np.median(image[third : 2 * third, third : 2 * third], axis=(0, 1))
    return np.clip(center * rng.uniform(0.6, 1.2) * np.exp(rng.normal(0, 0.04, 3)), 20, 250)


def _parts(
    rng: np.random.Generator,
) -> list[tuple[tuple[float, float], tuple[float, float], float]]:
    """Strokes (start, end, width) with the palm's centre as origin and the hand's length as 1."""
    side = float(rng.choice((-1, 1)))
    spread = rng.uniform(0.05, 0.3)
    curl = rng.uniform(0.45, 1.0)
    parts = [
        ((0.0, -1.5), (0.0, -0.2), 0.3),  # forearm
        ((0.0, -0.2), (0.0, 0.0), 0.4),
        ((side * 0.15, -0.2), (side * (0.25 + spread / 2), 0.12), 0.12),  # thumb
    ]
    for place, length in ((-0.15, 0.34), (-0.05, 0.42), (0.05, 0.45), (0.15, 0.38)):
        reach = length * curl
        x = -side * place
        parts.append(((x, 0.05), (x + 2 * spread * x, 0.05 + reach), 0.105))
    return parts


def _stroke(
    canvas: NDArray[np.uint8],
    ends: list[NDArray[np.float64]],
    thickness: int,
    colour: tuple[float, ...],
) -> None:
    first, last = (tuple(int(v) for v in np.rint(end * 2**_SUBPIXEL)) for end in ends)
    cv2.line(canvas, first, last, colour, thickness, cv2.LINE_AA, _SUBPIXEL)

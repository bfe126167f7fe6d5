"""Colours, prints and weave."""

from __future__ import annotations

import cv2
import numpy as np

from unmask.synthesis.drawing.canvas import ASPECT, Canvas, Field, bump, smooth_noise
from unmask.synthesis.template import PIXELS_PER_U, PIXELS_PER_V

COLORS = {
    "white": (240, 241, 242), "ivory": (236, 230, 218), "light blue": (168, 208, 232),
    "sky": (132, 192, 228), "pale blue": (200, 224, 236), "teal": (124, 186, 184),
    "green": (160, 206, 180), "dark green": (40, 92, 84), "black": (38, 38, 42),
    "charcoal": (58, 60, 64), "navy": (42, 52, 90), "blue": (40, 84, 170),
    "grey": (134, 138, 144), "pink": (234, 182, 194), "magenta": (206, 56, 126),
    "red": (160, 32, 44), "yellow": (228, 190, 70), "lime": (136, 190, 60),
    "violet": (112, 92, 152), "khaki": (134, 126, 96), "brown": (104, 74, 58),
}  # fmt: skip


def pick_color(rng: np.random.Generator, weights: dict[str, float]) -> Field:
    """Draw a colour by the odds of its name in `COLORS`, varied a little: (3,) in [0, 1]."""
    names, odds = list(weights), np.array(list(weights.values()))
    color = np.array(COLORS[names[rng.choice(len(names), p=odds / odds.sum())]]) / 255
    color = color * rng.uniform(0.9, 1.04) + rng.normal(0, 0.012, 3)
    return np.clip(color, 0.04, 0.97).astype(np.float32)


def to_rgb(color: Field) -> tuple[int, int, int]:
    """Return an albedo as RGB, 0 to 255."""
    red, green, blue = (round(float(c) * 255) for c in color)
    return red, green, blue


def weave(canvas: Canvas, strength: float) -> None:
    """Add the grain of a fabric; its deviation is about 0.01 for fleece, 0.04 for coarse cloth."""
    grain = canvas.rng.standard_normal(canvas.u.shape, dtype=np.float32)
    if canvas.rng.random() < 0.5:
        # Threads: grain drawn out along and across.
        grain = cv2.blur(grain, (5, 1)) + cv2.blur(grain[::-1], (1, 5))
    canvas.stain += np.float32(strength) * grain


def melange(canvas: Canvas, strength: float) -> None:
    """Vary the colour slowly, as worn or mixed cloth does."""
    canvas.color *= 1 + np.float32(strength) * smooth_noise(canvas.rng, 20, 20)[..., None]


def print_on(canvas: Canvas) -> None:
    """Paint a random print over the sheet: dots, stripes, checks, flowers, blots or camouflage."""
    rng, x, y = canvas.rng, canvas.u * PIXELS_PER_U, canvas.v * PIXELS_PER_V
    angle = rng.choice([0.0, np.pi / 4, rng.uniform(0, np.pi)])
    p, q = (x * np.cos(angle) + y * np.sin(angle)), (y * np.cos(angle) - x * np.sin(angle))
    p, q = p.astype(np.float32), q.astype(np.float32)
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))]
    for _ in range(rng.integers(1, 4)):
        period = float(rng.uniform(8, 28))
        shift = rng.uniform(0, period, 2)
        ink = _ink(rng, canvas.color)
        canvas.paint(pattern(p + shift[0], q + shift[1], period, rng), ink)


def sign(canvas: Canvas) -> None:
    """Put a maker's mark without letters on one cheek: a tag, a ring or a few printed lines."""
    rng = canvas.rng
    size = rng.uniform(0.04, 0.1)
    u = (canvas.u - rng.choice([-1, 1]) * rng.uniform(0.35, 0.7)) / size
    v = (canvas.v - rng.uniform(0.35, 0.75)) * ASPECT / size
    width = np.minimum(rng.uniform(0.7, 1.4) - np.abs(u), 1)
    shapes = (
        np.minimum(width, 0.3 - np.abs(v)),
        0.12 - np.abs(np.hypot(u, v) - 0.6),
        np.minimum(width, np.minimum(0.12 - np.abs(_cell(v, 0.5)), 0.75 - np.abs(v))),
        np.minimum(width, np.minimum(0.10 - np.abs(_cell(v, 0.4)), 0.6 - np.abs(v))),
    )
    cover = np.clip(shapes[rng.integers(len(shapes))] * size * PIXELS_PER_U + 0.5, 0, 1)
    cover = cover.astype(np.float32) * np.float32(rng.uniform(0.3, 0.9))
    canvas.paint(cover, _ink(rng, canvas.color))


def _ink(rng: np.random.Generator, ground: Field) -> Field:
    ink = rng.uniform(0.05, 0.92, 3)
    if rng.random() < 0.5:
        # Half of all prints are black or white.
        ink[:] = 0.9 if ground.mean() < 0.5 else 0.08
    return ink.astype(np.float32)


def _cell(p: Field, period: float) -> Field:
    return np.mod(p, period) - np.float32(period / 2)


def _dots(p: Field, q: Field, period: float, rng: np.random.Generator) -> Field:
    radius = rng.uniform(0.15, 0.36) * period
    staggered = _cell(p + (np.floor(q / period) % 2) * period / 2, period)
    return np.clip(radius - np.hypot(staggered, _cell(q, period)) + 0.5, 0, 1)


def _stripes(p: Field, q: Field, period: float, rng: np.random.Generator) -> Field:
    return np.clip(rng.uniform(0.1, 0.3) * period - np.abs(_cell(p, period)) + 0.5, 0, 1)


def _checks(p: Field, q: Field, period: float, rng: np.random.Generator) -> Field:
    return (_stripes(p, q, period, rng) + _stripes(q, p, period, rng)) * np.float32(0.5)


def _plaid(p: Field, q: Field, period: float, rng: np.random.Generator) -> Field:
    period = 2 * period
    lines = np.zeros_like(p)
    for _ in range(3):
        shift, width = rng.uniform(0, period), rng.uniform(0.03, 0.18) * period
        for axis in (p, q):
            band = np.clip(width - np.abs(_cell(axis + shift, period)) + 0.5, 0, 1)
            lines += np.float32(rng.uniform(0.2, 0.6)) * band * (1 - lines)
    return lines


def _flowers(p: Field, q: Field, period: float, rng: np.random.Generator) -> Field:
    period = 1.6 * period
    row = np.floor(q / period)
    column = np.floor((p + (row % 2) * period / 2) / period)
    # Each flower sits a little off its place.
    a = _cell(p + (row % 2) * period / 2, period) + 0.14 * period * np.sin(7 * row + 5 * column)
    b = _cell(q, period) + 0.14 * period * np.sin(3 * row + 11 * column)
    petals = int(rng.integers(4, 7))
    radius = period * 0.36 * (0.62 + 0.38 * np.cos(petals * np.arctan2(b, a)))
    flower = np.clip(radius - np.hypot(a, b) + 0.5, 0, 1)
    heart = np.clip(np.hypot(a, b) - period * 0.09 + 0.5, 0, 1)
    return flower * heart


def _blots(p: Field, q: Field, period: float, rng: np.random.Generator) -> Field:
    noise = smooth_noise(rng, int(300 / period), int(360 / period))
    return np.clip(4 * (noise - 0.5), 0, 1)


def _lines(p: Field, q: Field, period: float, rng: np.random.Generator) -> Field:
    field = smooth_noise(rng, int(150 / period) + 2, int(180 / period) + 2)
    return bump(_cell(field, 0.9), 0.1)


_PATTERNS = (_dots, _stripes, _checks, _plaid, _flowers, _flowers, _blots, _lines)

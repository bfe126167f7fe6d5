"""Colours, prints and weave."""

from __future__ import annotations

import numpy as np

from unmask.synthesis.drawing.canvas import Canvas, smooth_noise

PLAIN: dict[str, tuple[int, int, int]] = {
    "white": (236, 238, 240),
    "ivory": (232, 226, 214),
    "light blue": (160, 205, 232),
    "sky": (120, 185, 225),
    "teal": (120, 190, 186),
    "green": (150, 200, 170),
    "black": (26, 26, 29),
    "charcoal": (52, 54, 58),
    "navy": (32, 42, 78),
    "grey": (128, 132, 138),
    "pink": (232, 176, 188),
    "magenta": (206, 48, 120),
    "red": (160, 28, 40),
    "yellow": (226, 186, 60),
    "lime": (130, 190, 50),
    "violet": (110, 88, 150),
    "khaki": (130, 122, 92),
}


def pick_color(rng: np.random.Generator, weights: dict[str, float]) -> np.ndarray:
    """Draw a colour by name with the given weights and vary it a little; `(3,)` float32 in [0, 1]."""
    names = list(weights)
    odds = np.array([weights[name] for name in names])
    name = names[rng.choice(len(names), p=odds / odds.sum())]
    color = np.array(PLAIN[name], np.float32) / 255
    return np.clip(color * rng.uniform(0.92, 1.05) + rng.normal(0, 0.015, 3), 0.03, 0.98).astype(
        np.float32
    )


def weave(canvas: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Add the fine grain of a fabric and slow wrinkles to the shade."""
    shape = canvas.shade.shape
    canvas.shade += np.float32(strength) * rng.standard_normal(shape).astype(np.float32)
    canvas.shade += np.float32(0.02) * smooth_noise(rng, shape, (7, 9))


def print_pattern(canvas: Canvas, rng: np.random.Generator, base: np.ndarray) -> None:
    """Paint a random print over the sheet: dots, stripes, checks or blots."""
    ink = np.clip(rng.uniform(0, 1, 3), 0.05, 0.95).astype(np.float32)
    x, y = canvas.u * 96, canvas.v * 140
    angle = rng.uniform(0, np.pi)
    a, b = np.cos(angle), np.sin(angle)
    p, q = x * a + y * b, y * a - x * b
    period = rng.uniform(9, 26)
    choice = rng.integers(4)
    if choice == 0:
        cell = np.hypot((p % period) - period / 2, (q % period) - period / 2)
        cover = np.clip(rng.uniform(0.2, 0.38) * period - cell + 0.5, 0, 1)
    elif choice == 1:
        cover = np.clip(np.abs((p % period) - period / 2) - period * 0.25 + 0.5, 0, 1)
    elif choice == 2:
        stripes = [
            np.clip(np.abs((s % period) - period / 2) - period * 0.25 + 0.5, 0, 1) for s in (p, q)
        ]
        cover = (stripes[0] + stripes[1]) / 2
    else:
        cover = np.clip(3 * (smooth_noise(rng, x.shape, (14, 18)) - 0.6), 0, 1)
    canvas.color[...] = base + cover[..., None].astype(np.float32) * (ink - base)

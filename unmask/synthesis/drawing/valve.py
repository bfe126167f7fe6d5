"""The exhalation valve."""

from __future__ import annotations

import numpy as np

from unmask.synthesis.drawing.canvas import (
    Canvas,
    bump,
    soft_step,
)
from unmask.synthesis.drawing.fabric import pick_color
from unmask.synthesis.sheet import PIXELS_PER_U, PIXELS_PER_V

_COLORS = {"white": 4.0, "grey": 2, "charcoal": 0.7, "pale blue": 0.4}


def add_valve(canvas: Canvas, rng: np.random.Generator) -> None:
    """Set a round plastic valve with slots on one cheek or on the middle."""
    radius = rng.uniform(0.12, 0.19)
    u = canvas.u - rng.choice([-1, 0, 1]) * rng.uniform(0.3, 0.45)
    v = (canvas.v - rng.uniform(0.5, 0.66)) * (PIXELS_PER_V / PIXELS_PER_U)
    r = np.hypot(u, v) / radius
    cover = soft_step(1 - r, 0.05)
    color = pick_color(rng, _COLORS)
    canvas.color += cover[..., None].astype(np.float32) * (color - canvas.color)
    canvas.height += 4 * soft_step(1 - r, 0.12) - 1.5 * soft_step(0.78 - r, 0.08)
    slots = 0.5 + 0.5 * np.sin(v * rng.uniform(70, 120))
    canvas.stain -= rng.uniform(0.1, 0.4) * slots * soft_step(0.66 - r, 0.05)
    canvas.stain -= 0.25 * bump(r - 1.05, 0.08)

"""The one-piece foam mask whose sides run out into the ear loops."""

from __future__ import annotations

import numpy as np

from unmask.synthesis.drawing.canvas import (
    bump,
    cut,
    finish,
    new_canvas,
    soft_step,
    stand_on_face,
    wrinkle,
)
from unmask.synthesis.drawing.fabric import pick_color, sign, to_rgb, weave
from unmask.synthesis.drawing.valve import add_valve
from unmask.synthesis.template import Loops, MaskTemplate

_COLORS = {
    "black": 6.0, "charcoal": 3, "grey": 1.5, "white": 1.5, "navy": 1, "pink": 0.6, "khaki": 0.4,
    "pale blue": 0.6, "red": 0.3,
}  # fmt: skip


def draw_moulded(rng: np.random.Generator) -> MaskTemplate:
    """Draw a foam mask: smooth, a seam down the middle, tapering sides, broad loops."""
    color = pick_color(rng, _COLORS)
    canvas = new_canvas(color)
    if rng.random() < 0.12:
        sign(canvas, rng)
    u, v = canvas.u, canvas.v
    away = np.abs(u)
    taper = np.clip((away - rng.uniform(0.5, 0.7)) / 0.5, 0, 1) ** 1.6
    top = rng.uniform(0.0, 0.09) * np.sin(np.pi * np.clip(away, 0, 1)) + 0.1 * taper
    bottom = 1 + rng.uniform(-0.04, 0.05) * np.sin(np.pi * away) - rng.uniform(0.15, 0.4) * taper
    cut(canvas, top, bottom, np.full_like(u, rng.uniform(0.96, 1.08)), 0.06)
    stand_on_face(canvas, rng, 1.3)
    canvas.height += rng.uniform(2, 8) * bump(u, 0.12)
    canvas.height -= rng.uniform(0.3, 1.4) * bump(u, 0.012)
    canvas.stain -= rng.uniform(0, 0.15) * bump(u, 0.010)
    canvas.stain += 0.04 * soft_step(0.015 - np.minimum(v - top, bottom - v), 0.008)
    wrinkle(canvas, rng, rng.uniform(0.2, 1.2))
    if rng.random() < 0.15:
        add_valve(canvas, rng)
    weave(canvas, rng, rng.uniform(0.01, 0.025))
    loops = Loops(to_rgb(color), rng.uniform(0.025, 0.045), (0.16, 0.5))
    return finish(canvas, "moulded", loops, rng, 0.6)

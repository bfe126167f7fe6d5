"""The sewn cloth mask."""

from __future__ import annotations

import numpy as np

from unmask.synthesis.drawing.canvas import (
    Canvas,
    bump,
    cut,
    finish,
    hem,
    new_canvas,
    soft_step,
    stand_on_face,
    wrinkle,
)
from unmask.synthesis.drawing.fabric import melange, pick_color, print_on, sign, to_rgb, weave
from unmask.synthesis.template import Loops, MaskTemplate

_COLORS = {
    "black": 5.0, "charcoal": 1.5, "navy": 2, "blue": 1, "grey": 1.5, "white": 3, "red": 1.2,
    "pink": 0.8, "violet": 0.5, "khaki": 0.7, "lime": 0.4, "yellow": 0.5, "ivory": 1, "brown": 0.4,
    "light blue": 0.8,
}  # fmt: skip


def draw_cloth(rng: np.random.Generator) -> MaskTemplate:
    """Draw a cloth mask: curved edges, hems, a seam or two pleats, half of them printed."""
    color = pick_color(rng, _COLORS)
    canvas = new_canvas(color)
    melange(canvas, rng, rng.uniform(0, 0.03))
    if rng.random() < 0.45:
        print_on(canvas, rng)
    elif rng.random() < 0.25:
        sign(canvas, rng)
    u, v = canvas.u, canvas.v
    away = np.abs(u)
    top = rng.uniform(-0.02, 0.12) * np.sin(np.pi * np.clip(away, 0, 1)) - rng.uniform(
        0, 0.05
    ) * bump(u, 0.2)
    bottom = 1 + rng.uniform(-0.05, 0.05) * np.sin(np.pi * away) - rng.uniform(0, 0.05) * away
    side = 1 - rng.uniform(0, 0.12) * np.sin(np.pi * np.clip(v, 0, 1))
    cut(canvas, top, bottom, side, rng.uniform(0.02, 0.1))
    stand_on_face(canvas, rng, rng.uniform(0.6, 1.4))
    if rng.random() < 0.6:
        _seam(canvas, rng)
    else:
        _pleats(canvas, rng)
    wrinkle(canvas, rng, rng.uniform(1.0, 3.4))
    width = rng.uniform(0.03, 0.07)
    for distance in (v - top, bottom - v, side - away):
        hem(canvas, distance, width, rng)
    weave(canvas, rng, rng.uniform(0.015, 0.05))
    loop = color if rng.random() < 0.6 else np.full(3, rng.choice([0.1, 0.9]), np.float32)
    return finish(canvas, "cloth", Loops(to_rgb(loop), rng.uniform(0.012, 0.024)), rng, 0.65)


def _seam(canvas: Canvas, rng: np.random.Generator) -> None:
    u = canvas.u
    canvas.height -= rng.uniform(0.5, 1.8) * bump(u, 0.012)
    canvas.height += rng.uniform(3, 9) * bump(u, 0.16)
    canvas.stain -= rng.uniform(0.02, 0.2) * bump(u, 0.010)


def _pleats(canvas: Canvas, rng: np.random.Generator) -> None:
    for start in (rng.uniform(0.3, 0.4), rng.uniform(0.55, 0.68)):
        below = canvas.v - start - rng.uniform(0, 0.06) * (1 - canvas.u**2)
        canvas.height -= 2.2 * soft_step(below, 0.02)
        canvas.stain -= 0.14 * soft_step(below, 0.008) * np.exp(-np.maximum(below, 0) / 0.03)

"""FFP2, KN95 and cup-shaped N95."""

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
from unmask.synthesis.drawing.fabric import pick_color, sign, to_rgb, weave
from unmask.synthesis.drawing.valve import add_valve
from unmask.synthesis.template import Loops, MaskTemplate

_COLORS = {
    "white": 9.0, "black": 1.5, "grey": 1, "pink": 0.6, "pale blue": 0.7, "magenta": 0.3,
    "ivory": 1.5, "yellow": 0.3,
}  # fmt: skip


def draw_respirator(rng: np.random.Generator) -> MaskTemplate:
    """Draw a respirator: two stiff panels folded along the middle, or a cup; sometimes a valve."""
    color = pick_color(rng, _COLORS)
    canvas = new_canvas(color)
    if rng.random() < 0.3:
        sign(canvas, rng)
    if rng.random() < 0.65:
        _folded(canvas, rng)
    else:
        _cup(canvas, rng)
    if rng.random() < 0.3:
        add_valve(canvas, rng)
    weave(canvas, rng, rng.uniform(0.006, 0.015))
    strap = color if color.mean() < 0.3 else np.maximum(color, 0.9)
    loops = Loops(to_rgb(strap), rng.uniform(0.018, 0.03), (0.15, 0.8))
    return finish(canvas, "respirator", loops, rng, 0.65)


def _folded(canvas: Canvas, rng: np.random.Generator) -> None:
    u, v = canvas.u, canvas.v
    away = np.abs(u)
    top = rng.uniform(0.04, 0.14) * away + rng.uniform(0, 0.05) * np.sin(np.pi * away)
    bottom = 1.02 - rng.uniform(0.0, 0.09) * away + rng.uniform(0, 0.05) * np.sin(np.pi * away)
    side = 1 - rng.uniform(0, 0.06) * np.sin(np.pi * np.clip(v, 0, 1))
    cut(canvas, top, bottom, side, rng.uniform(0.03, 0.12))
    stand_on_face(canvas, rng, 0.5)
    # The fold: two planes that meet in a welded ridge.
    canvas.height -= rng.uniform(22, 40) * np.sqrt(away**2 + 0.0009)
    canvas.height += rng.uniform(0.5, 1.5) * (bump(u, 0.018) - bump(away - 0.05, 0.015))
    for distance, inset in ((v - top, 0.05), (bottom - v, 0.05), (side - away, 0.08)):
        hem(canvas, distance, inset, rng)
    if rng.random() < 0.6:
        _panel_seams(canvas, rng)
    canvas.height += 1.6 * bump(v - top - 0.07, 0.02) * bump(u, 0.35)
    wrinkle(canvas, rng, rng.uniform(0.3, 1.2))


def _panel_seams(canvas: Canvas, rng: np.random.Generator) -> None:
    """Weld lines from the ridge to the sides, as on KN95."""
    away = np.abs(canvas.u)
    for start, end in ((rng.uniform(0.28, 0.4), 0.3), (rng.uniform(0.6, 0.75), 0.72)):
        line = canvas.v - (start + (end - start) * away)
        canvas.height -= 0.9 * bump(line, 0.012)
        canvas.stain -= 0.05 * bump(line, 0.009)


def _cup(canvas: Canvas, rng: np.random.Generator) -> None:
    u, v = canvas.u, canvas.v
    away = np.abs(u)
    top = rng.uniform(0.1, 0.2) * away**1.6
    bottom = 1.03 - rng.uniform(0.1, 0.2) * away**2
    side = np.full_like(u, rng.uniform(0.86, 0.96))
    cut(canvas, top, bottom, side, rng.uniform(0.25, 0.45))
    stand_on_face(canvas, rng, 0.3)
    radius = np.hypot(u / 0.8, (v - 0.55) / 0.48)
    canvas.height += rng.uniform(20, 34) * np.sqrt(np.maximum(1 - radius**2, 0.02))
    for ring in (rng.uniform(0.55, 0.7), rng.uniform(0.85, 0.95)):
        canvas.height -= rng.uniform(0.6, 1.4) * bump(radius - ring, 0.02)
    metal = soft_step(0.03 - np.abs(v - top - 0.08), 0.008) * soft_step(0.26 - away, 0.01)
    if rng.random() < 0.5:
        canvas.color += (0.5 * metal[..., None]).astype(np.float32) * (0.72 - canvas.color)
        canvas.height += 1.5 * metal

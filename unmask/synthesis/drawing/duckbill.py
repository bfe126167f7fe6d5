"""The duckbill: two trapezoid panels that meet in a horizontal fold before the mouth."""

from __future__ import annotations

import numpy as np

from unmask.synthesis.drawing.canvas import (
    bump,
    cut,
    finish,
    hem,
    new_canvas,
    soft_step,
    stand_on_face,
    wrinkle,
)
from unmask.synthesis.drawing.fabric import pick_color, print_on, to_rgb, weave
from unmask.synthesis.template import Loops, MaskTemplate

_COLORS = {
    "white": 5.0, "light blue": 2, "pale blue": 1, "black": 2, "grey": 1, "pink": 1, "ivory": 1,
    "teal": 0.5, "navy": 0.5,
}  # fmt: skip


def draw_duckbill(rng: np.random.Generator) -> MaskTemplate:
    """Draw a duckbill respirator."""
    color = pick_color(rng, _COLORS)
    canvas = new_canvas(color)
    if rng.random() < 0.08:
        print_on(canvas, rng)
    u, v = canvas.u, canvas.v
    away = np.abs(u)
    fold = rng.uniform(0.5, 0.62) + rng.uniform(-0.02, 0.05) * (1 - u * u)
    top = rng.uniform(0.02, 0.12) * away
    bottom = 1.02 - rng.uniform(0.02, 0.1) * away + rng.uniform(-0.04, 0.04) * np.sin(np.pi * away)
    waist = 1 - rng.uniform(0.0, 0.12) * bump(v - 0.12, 0.2)
    side = waist - rng.uniform(0.05, 0.2) * np.clip((v - 0.6) / 0.4, 0, 1)
    cut(canvas, top, bottom, side, rng.uniform(0.03, 0.15))
    stand_on_face(canvas, rng, 0.4)
    distance = v - fold
    # Upper panel faces the light, lower panel faces the ground.
    canvas.height -= rng.uniform(45, 75) * np.sqrt(distance**2 + 0.0004)
    canvas.stain -= rng.uniform(0.06, 0.16) * soft_step(distance, 0.012)
    canvas.stain += 0.06 * bump(distance + 0.012, 0.012)
    for edge, inset in ((v - top, 0.05), (bottom - v, 0.05), (side - away, 0.08)):
        hem(canvas, edge, inset, rng)
    wrinkle(canvas, rng, rng.uniform(0.4, 1.4))
    weave(canvas, rng, 0.01)
    strap = color if color.mean() < 0.3 else np.maximum(color, 0.88)
    loops = Loops(to_rgb(strap), rng.uniform(0.01, 0.02), (0.1, 0.75))
    return finish(canvas, "duckbill", loops, rng, 0.55)

"""FFP2 and KN95: two panels folded along the middle, sometimes a valve."""

from __future__ import annotations

import numpy as np

from unmask.synthesis.drawing.canvas import bump, cut, finish, new_canvas, soft_step
from unmask.synthesis.drawing.fabric import pick_color, weave
from unmask.synthesis.template import MaskTemplate

COLORS = {
    "white": 9,
    "black": 2,
    "grey": 1,
    "pink": 0.7,
    "light blue": 0.7,
    "magenta": 0.4,
    "ivory": 1,
}


def draw_respirator(rng: np.random.Generator) -> MaskTemplate:
    """Draw a folded respirator: welded edges, ridge, sometimes a valve."""
    canvas = new_canvas()
    u, v = canvas.u, canvas.v
    base = pick_color(rng, COLORS)
    canvas.color[...] = base
    top = 0.10 * np.abs(u) + 0.03 * np.sin(np.pi * np.abs(u))
    bottom = 1.0 - rng.uniform(0.03, 0.09) * np.abs(u)
    side = 1.0 - 0.04 * np.sin(np.pi * np.clip(v, 0, 1)) + 0 * u
    cut(canvas, top, bottom, side, 0.05)
    light = rng.choice([-1, 1]) * rng.uniform(0.02, 0.07)
    canvas.shade += light * (2 * soft_step(u, 0.02) - 1)
    canvas.shade += 0.08 * bump(u, 0.02) - 0.05 * (bump(u - 0.05, 0.02) + bump(u + 0.05, 0.02))
    for d in (v - top - 0.05, bottom - v - 0.05, side - np.abs(u) - 0.07):
        canvas.shade -= 0.07 * bump(d, 0.01)
    canvas.shade -= 0.16 * np.abs(u) ** 2.2 + 0.2 * np.clip(v - 0.5, 0, 1) ** 1.4
    weave(canvas, rng, 0.01)
    return finish(
        canvas, "respirator", (235, 235, 235) if base.mean() > 0.3 else (40, 40, 42), 0.02
    )

"""The pleated three-layer mask."""

from __future__ import annotations

import numpy as np

from unmask.synthesis.drawing.canvas import bump, cut, finish, new_canvas, soft_step
from unmask.synthesis.drawing.fabric import pick_color, weave
from unmask.synthesis.template import MaskTemplate

COLORS = {
    "light blue": 5,
    "white": 4,
    "sky": 2,
    "green": 1,
    "teal": 1,
    "black": 2,
    "pink": 0.7,
    "grey": 0.3,
}


def draw_surgical(rng: np.random.Generator) -> MaskTemplate:
    """Draw a surgical mask: nose wire, three pleats, bound sides."""
    canvas = new_canvas()
    u, v = canvas.u, canvas.v
    base = pick_color(rng, COLORS)
    canvas.color[...] = base
    top = rng.uniform(-0.01, 0.03) * (1 - u * u) + 0.012 * np.sin(3 * u + rng.uniform(0, 6))
    bottom = 1.0 + rng.uniform(-0.03, 0.03) * (1 - u * u)
    side = 1.0 - rng.uniform(0.0, 0.05) * np.sin(np.pi * np.clip(v, 0, 1)) + 0 * u
    cut(canvas, top, bottom, side, 0.03)

    sag = rng.uniform(0.02, 0.08)
    for start in np.linspace(0.3, 0.68, 3) + rng.normal(0, 0.015, 3):
        line = start + sag * (1 - u * u) * (start - 0.2) + 0.008 * np.sin(4 * u + rng.uniform(0, 6))
        depth = rng.uniform(0.10, 0.22)
        d = v - line
        canvas.shade -= depth * soft_step(d, 0.006) * np.exp(-np.maximum(d, 0) / 0.05)
        canvas.shade += 0.05 * bump(d + 0.012, 0.012)
    seam = v - top - 0.06
    canvas.shade -= 0.05 * bump(seam, 0.008)
    canvas.shade -= 0.05 * bump(v - bottom + 0.05, 0.008)
    canvas.shade -= 0.06 * bump(side - np.abs(u) - 0.05, 0.012)
    canvas.shade += (
        0.06 * bump(u, 0.12) * (v < 0.6)
        - 0.16 * np.abs(u) ** 2.5
        - 0.16 * np.clip(v - 0.55, 0, 1) ** 1.5
    )
    weave(canvas, rng, 0.012)
    white = (235, 235, 235)
    loop = white if base.mean() > 0.3 else (40, 40, 42)
    return finish(canvas, "surgical", loop, 0.018)

"""The sewn or moulded cloth mask."""

from __future__ import annotations

import numpy as np

from unmask.synthesis.drawing.canvas import bump, cut, finish, new_canvas
from unmask.synthesis.drawing.fabric import pick_color, print_pattern, weave
from unmask.synthesis.template import MaskTemplate

COLORS = {
    "black": 6, "charcoal": 2, "navy": 2, "grey": 2, "white": 2, "red": 1, "pink": 0.7, "violet": 0.5, "khaki": 0.7,
    "lime": 0.3, "yellow": 0.3, "ivory": 0.7,
}  # fmt: skip


def draw_cloth(rng: np.random.Generator) -> MaskTemplate:
    """Draw a cloth mask: curved edges, a seam down the middle, hems, sometimes a print."""
    canvas = new_canvas()
    u, v = canvas.u, canvas.v
    base = pick_color(rng, COLORS)
    canvas.color[...] = base
    if rng.random() < 0.3:
        print_pattern(canvas, rng, base)
    dip = rng.uniform(0.0, 0.12)
    top = dip * np.sin(np.pi * np.clip(np.abs(u), 0, 1)) - rng.uniform(0, 0.04) * bump(u, 0.2)
    bottom = (
        1.0
        - rng.uniform(-0.02, 0.06) * np.abs(u)
        - rng.uniform(0, 0.05) * np.sin(np.pi * np.abs(u))
    )
    side = 1.0 - rng.uniform(0, 0.10) * np.sin(np.pi * np.clip(v, 0, 1)) + 0 * u
    cut(canvas, top, bottom, side, 0.05)
    if rng.random() < 0.7:
        canvas.shade -= rng.uniform(0.05, 0.25) * bump(u, 0.012)
        canvas.shade += 0.06 * (bump(u - 0.03, 0.02) + bump(u + 0.03, 0.02))
    for d in (v - top - 0.05, bottom - v - 0.05, side - np.abs(u) - 0.06):
        canvas.shade -= 0.07 * bump(d, 0.008)
    canvas.shade += (
        0.10 * bump(u, 0.25) - 0.2 * np.abs(u) ** 2.2 - 0.2 * np.clip(v - 0.5, 0, 1) ** 1.4
    )
    weave(canvas, rng, 0.02)
    loop = tuple(int(255 * x) for x in base)
    return finish(canvas, "cloth", (loop[0], loop[1], loop[2]), rng.uniform(0.015, 0.035))

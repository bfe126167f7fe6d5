"""The scarf tied behind the head, and the neck tube."""

from __future__ import annotations

import numpy as np

from unmask.synthesis.drawing.canvas import (
    Canvas,
    bump,
    cut,
    finish,
    new_canvas,
    smooth_noise,
    stand_on_face,
    wrinkle,
)
from unmask.synthesis.drawing.fabric import melange, pick_color, print_on, weave
from unmask.synthesis.template import MaskTemplate

_COLORS = {
    "red": 2.0, "navy": 2, "black": 3, "blue": 1, "khaki": 1, "grey": 1, "charcoal": 1, "white": 1,
    "pink": 0.5, "brown": 0.7, "dark green": 0.7, "yellow": 0.3,
}  # fmt: skip


def draw_bandana(rng: np.random.Generator) -> MaskTemplate:
    """Draw a bandana: no loops, deep folds, over the chin down to the neck."""
    canvas = new_canvas(pick_color(rng, _COLORS))
    melange(canvas, rng, 0.03)
    if rng.random() < 0.6:
        print_on(canvas, rng)
    u = canvas.u
    away = np.abs(u)
    top = rng.uniform(-0.03, 0.08) * np.sin(np.pi * np.clip(away, 0, 1))
    top = top + 0.012 * smooth_noise(rng, u.shape, (1, 7))
    point = rng.uniform(0.0, 0.25) if rng.random() < 0.6 else 0.0
    bottom = 1.05 - point * away + 0.02 * smooth_noise(rng, u.shape, (1, 6))
    cut(canvas, top, bottom, np.full_like(u, 1.03), 0.02)
    stand_on_face(canvas, rng, 1.2)
    _hang(canvas, rng)
    wrinkle(canvas, rng, rng.uniform(2.5, 5.0))
    weave(canvas, rng, rng.uniform(0.02, 0.05))
    return finish(canvas, "bandana", None, rng, 0.7)


def _hang(canvas: Canvas, rng: np.random.Generator) -> None:
    """Folds that fall from the sides and gather under the chin."""
    u, v = canvas.u, canvas.v
    for _ in range(rng.integers(3, 7)):
        depth, width = rng.uniform(0.5, 1.1), rng.uniform(0.03, 0.07)
        line = rng.uniform(0.35, 0.95) + depth * 0.35 * np.maximum(1 - np.abs(u), 0) ** 1.5
        canvas.height += rng.uniform(1, 4) * bump(v - line, width)
        canvas.stain -= 0.08 * bump(v - line - width, width)

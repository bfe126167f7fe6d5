"""Masks that keep their form: respirators, duckbills, foam; and the valve on some of them."""

from __future__ import annotations

import numpy as np

from unmask.synthesis.drawing.canvas import ASPECT, Canvas, bump, soft_step
from unmask.synthesis.drawing.fabric import pick_color, print_on, sign, to_rgb, weave
from unmask.synthesis.template import Loops, MaskTemplate

_RESPIRATOR_COLORS = {
    "white": 9.0, "black": 1.5, "grey": 1, "pink": 0.6, "pale blue": 0.7, "magenta": 0.3,
    "ivory": 1.5, "yellow": 0.3,
}  # fmt: skip


def draw_respirator(rng: np.random.Generator) -> MaskTemplate:
    """Draw a respirator: two stiff panels folded along the middle, or a cup; sometimes a valve."""
    color = pick_color(rng, _RESPIRATOR_COLORS)
    canvas = Canvas(rng, color)
    if rng.random() < 0.25:
        sign(canvas)
    if rng.random() < 0.72:
        _folded(canvas)
    else:
        _cup(canvas)
    if rng.random() < 0.3:
        _add_valve(canvas)
    weave(canvas, rng.uniform(0.006, 0.015))
    strap = color if color.mean() < 0.3 else np.maximum(color, 0.9)
    loops = Loops(to_rgb(strap), rng.uniform(0.012, 0.022), (0.15, 0.75))
    return canvas.finish("respirator", 0.65, loops)


def _folded(canvas: Canvas) -> None:
    u, v, away, rng = canvas.u, canvas.v, canvas.away, canvas.rng
    top = rng.uniform(0.04, 0.14) * away + rng.uniform(0, 0.05) * np.sin(np.pi * away)
    bottom = 1.02 - rng.uniform(0.0, 0.08) * away + rng.uniform(-0.04, 0.04) * np.sin(np.pi * away)
    side = 1 - rng.uniform(0, 0.06) * np.sin(np.pi * np.clip(v, 0, 1))
    canvas.cut(top, bottom, side, rng.uniform(0.03, 0.12))
    canvas.stand_on_face(0.5)
    # The fold: two planes that meet in a welded ridge.
    canvas.height -= rng.uniform(22, 40) * np.sqrt(away**2 + 0.0009)
    canvas.height += rng.uniform(0.5, 1.5) * (bump(u, 0.018) - bump(away - 0.05, 0.015))
    for distance, inset in ((v - top, 0.05), (bottom - v, 0.05), (side - away, 0.08)):
        canvas.hem(distance, inset)
    if rng.random() < 0.6:
        _panel_seams(canvas)
    canvas.height += 1.6 * bump(v - top - 0.07, 0.02) * bump(u, 0.35)
    canvas.wrinkle(rng.uniform(0.3, 1.2))


def _panel_seams(canvas: Canvas) -> None:
    """Weld lines from the ridge to the sides, as on KN95."""
    rng = canvas.rng
    for start, end in ((rng.uniform(0.28, 0.4), 0.3), (rng.uniform(0.6, 0.75), 0.72)):
        line = canvas.v - (start + (end - start) * canvas.away)
        canvas.height -= 0.9 * bump(line, 0.012)
        canvas.stain -= 0.05 * bump(line, 0.009)


def _cup(canvas: Canvas) -> None:
    u, v, away, rng = canvas.u, canvas.v, canvas.away, canvas.rng
    top = rng.uniform(0.06, 0.16) * away**1.6
    bottom = 1.0 + rng.uniform(-0.02, 0.03) * np.sin(np.pi * away)
    side = np.full_like(u, rng.uniform(0.9, 1.0))
    canvas.cut(top, bottom, side, rng.uniform(0.1, 0.3))
    canvas.stand_on_face(0.3)
    radius = np.hypot(u, (v - 0.52) / 0.5)
    canvas.height += rng.uniform(14, 26) * np.exp(-1.6 * radius**2)
    rim = np.minimum(np.minimum(v - top, bottom - v), side - away)
    canvas.hem(rim, rng.uniform(0.05, 0.09))
    if rng.random() < 0.5:
        line = v - rng.uniform(0.36, 0.46) - 0.1 * away**2
        canvas.height -= rng.uniform(0.5, 1.2) * bump(line, 0.014)
    metal = soft_step(0.02 - np.abs(v - top - 0.08), 0.008) * soft_step(0.24 - away, 0.02)
    if rng.random() < 0.5:
        canvas.paint(0.6 * metal, 0.66)
        canvas.height += 1.2 * metal
    canvas.wrinkle(rng.uniform(0.2, 0.7))


_DUCKBILL_COLORS = {
    "white": 5.0, "light blue": 2, "pale blue": 1, "black": 2, "grey": 1, "pink": 1, "ivory": 1,
    "teal": 0.5, "navy": 0.5,
}  # fmt: skip


def draw_duckbill(rng: np.random.Generator) -> MaskTemplate:
    """Draw a duckbill respirator."""
    color = pick_color(rng, _DUCKBILL_COLORS)
    canvas = Canvas(rng, color)
    if rng.random() < 0.08:
        print_on(canvas)
    u, v, away = canvas.u, canvas.v, canvas.away
    fold = rng.uniform(0.5, 0.62) + rng.uniform(-0.02, 0.05) * (1 - u * u)
    top = rng.uniform(0.02, 0.12) * away
    bottom = 1.02 - rng.uniform(0.02, 0.1) * away + rng.uniform(-0.04, 0.04) * np.sin(np.pi * away)
    waist = 1 - rng.uniform(0.0, 0.12) * bump(v - 0.12, 0.2)
    side = waist - rng.uniform(0.05, 0.2) * np.clip((v - 0.6) / 0.4, 0, 1)
    canvas.cut(top, bottom, side, rng.uniform(0.03, 0.15))
    canvas.stand_on_face(0.4)
    distance = v - fold
    # Upper panel faces the light, lower panel faces the ground.
    canvas.height -= rng.uniform(45, 75) * np.sqrt(distance**2 + 0.0004)
    canvas.stain -= rng.uniform(0.06, 0.16) * soft_step(distance, 0.012)
    canvas.stain += 0.06 * bump(distance + 0.012, 0.012)
    for edge, inset in ((v - top, 0.05), (bottom - v, 0.05), (side - away, 0.08)):
        canvas.hem(edge, inset)
    canvas.wrinkle(rng.uniform(0.4, 1.4))
    weave(canvas, 0.01)
    strap = color if color.mean() < 0.3 else np.maximum(color, 0.88)
    loops = Loops(to_rgb(strap), rng.uniform(0.01, 0.02), (0.1, 0.75))
    return canvas.finish("duckbill", 0.55, loops)


_MOULDED_COLORS = {
    "black": 6.0, "charcoal": 3, "grey": 1.5, "white": 1.5, "navy": 1, "pink": 0.6, "khaki": 0.4,
    "pale blue": 0.6, "red": 0.3,
}  # fmt: skip


def draw_moulded(rng: np.random.Generator) -> MaskTemplate:
    """Draw a foam mask: smooth, a seam down the middle, tapering sides, broad loops."""
    color = pick_color(rng, _MOULDED_COLORS)
    canvas = Canvas(rng, color)
    if rng.random() < 0.12:
        sign(canvas)
    u, v, away = canvas.u, canvas.v, canvas.away
    taper = np.clip((away - rng.uniform(0.5, 0.7)) / 0.5, 0, 1) ** 1.6
    top = rng.uniform(0.0, 0.09) * np.sin(np.pi * np.clip(away, 0, 1)) + 0.1 * taper
    bottom = 1 + rng.uniform(-0.04, 0.05) * np.sin(np.pi * away) - rng.uniform(0.15, 0.4) * taper
    canvas.cut(top, bottom, np.full_like(u, rng.uniform(0.96, 1.08)), 0.06)
    canvas.stand_on_face(1.3)
    canvas.height += rng.uniform(2, 8) * bump(u, 0.12)
    canvas.height -= rng.uniform(0.3, 1.4) * bump(u, 0.012)
    canvas.stain -= rng.uniform(0, 0.15) * bump(u, 0.010)
    canvas.stain += 0.04 * soft_step(0.015 - np.minimum(v - top, bottom - v), 0.008)
    canvas.wrinkle(rng.uniform(0.2, 1.2))
    if rng.random() < 0.15:
        _add_valve(canvas)
    weave(canvas, rng.uniform(0.01, 0.025))
    loops = Loops(to_rgb(color), rng.uniform(0.025, 0.045), (0.16, 0.5))
    return canvas.finish("moulded", 0.6, loops)


_VALVE_COLORS = {"white": 4.0, "grey": 2, "charcoal": 0.7, "pale blue": 0.4}


def _add_valve(canvas: Canvas) -> None:
    """Set a round plastic valve with slots on one cheek or on the middle."""
    rng = canvas.rng
    radius = rng.uniform(0.12, 0.19)
    u = canvas.u - rng.choice([-1, 0, 1]) * rng.uniform(0.3, 0.45)
    v = (canvas.v - rng.uniform(0.5, 0.66)) * ASPECT
    r = np.hypot(u, v) / radius
    canvas.paint(soft_step(1 - r, 0.05), pick_color(rng, _VALVE_COLORS))
    canvas.height += 4 * soft_step(1 - r, 0.12) - 1.5 * soft_step(0.78 - r, 0.08)
    slots = 0.5 + 0.5 * np.sin(v * rng.uniform(70, 120))
    canvas.stain -= rng.uniform(0.1, 0.4) * slots * soft_step(0.66 - r, 0.05)
    canvas.stain -= 0.25 * bump(r - 1.05, 0.08)

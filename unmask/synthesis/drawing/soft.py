"""Masks of soft cloth: surgical, sewn cloth, and the bandana."""

from __future__ import annotations

import numpy as np

from unmask.synthesis.drawing.canvas import Canvas, Field, bump, smooth_noise, soft_step
from unmask.synthesis.drawing.fabric import melange, pick_color, print_on, sign, to_rgb, weave
from unmask.synthesis.template import Loops, MaskTemplate

_SURGICAL_COLORS = {
    "light blue": 5.0, "pale blue": 3, "white": 7, "sky": 2, "green": 0.8, "teal": 0.8, "black": 2,
    "pink": 0.7, "grey": 0.4, "dark green": 0.2, "violet": 0.1,
}  # fmt: skip


def draw_surgical(rng: np.random.Generator) -> MaskTemplate:
    """Draw a surgical mask: nose wire, pleats, welded border, thin loops."""
    color = pick_color(rng, _SURGICAL_COLORS)
    canvas = Canvas(rng, color)
    if rng.random() < 0.06:
        print_on(canvas)
    u, v, away = canvas.u, canvas.v, canvas.away
    top = rng.uniform(-0.05, 0.04) * np.maximum(1 - away, 0) ** 1.5 + _ripple(u, rng, 0.012)
    bottom = 1 + rng.uniform(-0.03, 0.05) * np.sin(np.pi * away) + _ripple(u, rng, 0.012)
    side = 1 - rng.uniform(0, 0.09) * np.sin(np.pi * np.clip(v, 0, 1)) + _ripple(v, rng, 0.01)
    canvas.cut(top, bottom, side, 0.02)
    canvas.stand_on_face()
    _surgical_pleats(canvas)
    canvas.wrinkle(rng.uniform(1.0, 2.6))
    _border(canvas, v - top, bottom - v, side - away)
    weave(canvas, 0.012)
    loop = to_rgb(np.maximum(color, 0.9) if color.mean() > 0.3 else color)
    return canvas.finish("surgical", 0.7, Loops(loop, rng.uniform(0.010, 0.018)))


def _ripple(along: Field, rng: np.random.Generator, depth: float) -> Field:
    return np.float32(rng.uniform(0, depth)) * np.sin(
        np.float32(rng.uniform(2, 6)) * along + np.float32(rng.uniform(0, 6))
    )


def _surgical_pleats(canvas: Canvas) -> None:
    """Fold the sheet: each pleat is a step down, tight at the sides and opened in the middle."""
    u, v, rng = canvas.u, canvas.v, canvas.rng
    first, last = rng.uniform(0.24, 0.36), rng.uniform(0.6, 0.74)
    count = int(rng.integers(2, 5))
    openness = rng.uniform(0.2, 1.0)
    for start in np.linspace(first, last, count) + rng.normal(0, 0.02, count):
        line = start + rng.uniform(-0.02, 0.12) * (start - 0.1) * (1 - u * u)
        line += rng.normal(0, 0.012) * u + _ripple(u, rng, 0.012)
        below = v - line - 0.008 * smooth_noise(rng, 1, 6)
        middle = bump(u - rng.normal(0, 0.15), rng.uniform(0.35, 0.6))
        tight = 1 - openness * middle
        canvas.height -= tight * rng.uniform(1.6, 3.2) * soft_step(below, 0.014)
        # The panel below a step leans out of it, the more the pleat is opened.
        canvas.height += rng.uniform(8, 22) * (0.5 + tight) * np.clip(below, 0, 0.1)
        length = rng.uniform(0.015, 0.035) * (0.5 + middle)
        shadow = soft_step(below, 0.006) * np.exp(-np.maximum(below, 0) / length)
        uneven = np.clip(0.7 + 0.5 * smooth_noise(rng, 1, 5), 0.1, 1.4)
        canvas.stain -= rng.uniform(0.08, 0.24) * shadow * uneven * (0.35 + 0.65 * tight)
        # Each panel leans a little otherwise than the one above.
        canvas.stain += rng.normal(-0.015, 0.03) * soft_step(below, 0.01)
    for side in (-1, 1):
        if rng.random() >= 0.4:
            _tuck(canvas, side)


def _tuck(canvas: Canvas, side: int) -> None:
    """Add the triangle that stands up where the opened pleats meet a side border."""
    rng = canvas.rng
    depth = rng.uniform(0.2, 0.6)
    t = np.clip((1 - side * canvas.u) / depth, 0, 1)
    center, spread = rng.uniform(0.4, 0.65), rng.uniform(0.08, 0.22)
    for fold in (-1, 1):
        line = canvas.v - center - fold * spread * t
        canvas.height += fold * rng.uniform(1.0, 3.0) * soft_step(line, 0.02) * (1 - t)
        canvas.stain -= rng.uniform(0.02, 0.12) * bump(line, 0.014) * (1 - t)


def _border(canvas: Canvas, top: Field, bottom: Field, side: Field) -> None:
    """Weld the four borders; above the nose a wire shows through a pale band."""
    rng = canvas.rng
    width = rng.uniform(0.05, 0.08)
    canvas.hem(top, width)
    canvas.hem(bottom, width)
    canvas.hem(side, 1.3 * width)
    stitches = 0.5 + 0.5 * np.sin(canvas.u * rng.uniform(120, 190))
    canvas.stain -= rng.uniform(0.0, 0.1) * bump(top - 0.6 * width, 0.008) * stitches
    stitches = 0.5 + 0.5 * np.sin(canvas.v * rng.uniform(150, 220))
    canvas.stain -= rng.uniform(0.0, 0.12) * bump(side - 0.6 * width, 0.012) * stitches
    pale = soft_step(width - top, 0.006) * rng.uniform(0, 0.5)
    if canvas.color.mean() > 0.3:
        canvas.paint(pale, 0.93)
    canvas.height += 1.2 * bump(top - 0.04, 0.012) * bump(canvas.u, 0.3)


_CLOTH_COLORS = {
    "black": 5.0, "charcoal": 1.5, "navy": 2, "blue": 1, "grey": 1.5, "white": 3, "red": 1.2,
    "pink": 0.8, "violet": 0.5, "khaki": 0.7, "lime": 0.4, "yellow": 0.5, "ivory": 1, "brown": 0.4,
    "light blue": 0.8,
}  # fmt: skip


def draw_cloth(rng: np.random.Generator) -> MaskTemplate:
    """Draw a cloth mask: curved edges, hems, a seam or two pleats, half of them printed."""
    color = pick_color(rng, _CLOTH_COLORS)
    canvas = Canvas(rng, color)
    melange(canvas, rng.uniform(0, 0.03))
    if rng.random() < 0.45:
        print_on(canvas)
    elif rng.random() < 0.25:
        sign(canvas)
    u, v, away = canvas.u, canvas.v, canvas.away
    top = rng.uniform(-0.02, 0.12) * np.sin(np.pi * np.clip(away, 0, 1))
    top = top - rng.uniform(0, 0.05) * bump(u, 0.2)
    bottom = 1 + rng.uniform(-0.05, 0.05) * np.sin(np.pi * away) - rng.uniform(0, 0.05) * away
    side = 1 - rng.uniform(0, 0.12) * np.sin(np.pi * np.clip(v, 0, 1))
    canvas.cut(top, bottom, side, rng.uniform(0.02, 0.1))
    canvas.stand_on_face(rng.uniform(0.6, 1.4))
    if rng.random() < 0.6:
        _seam(canvas)
    else:
        _cloth_pleats(canvas)
    canvas.wrinkle(rng.uniform(1.0, 3.4))
    width = rng.uniform(0.03, 0.07)
    for distance in (v - top, bottom - v, side - away):
        canvas.hem(distance, width)
    weave(canvas, rng.uniform(0.015, 0.05))
    loop = color if rng.random() < 0.6 else np.full(3, rng.choice([0.1, 0.9]), np.float32)
    return canvas.finish("cloth", 0.65, Loops(to_rgb(loop), rng.uniform(0.012, 0.024)))


def _seam(canvas: Canvas) -> None:
    u, rng = canvas.u, canvas.rng
    canvas.height -= rng.uniform(0.5, 1.8) * bump(u, 0.012)
    canvas.height += rng.uniform(3, 9) * bump(u, 0.16)
    canvas.stain -= rng.uniform(0.02, 0.2) * bump(u, 0.010)


def _cloth_pleats(canvas: Canvas) -> None:
    rng = canvas.rng
    for start in (rng.uniform(0.3, 0.4), rng.uniform(0.55, 0.68)):
        below = canvas.v - start - rng.uniform(0, 0.06) * (1 - canvas.u**2)
        canvas.height -= 2.2 * soft_step(below, 0.02)
        canvas.stain -= 0.14 * soft_step(below, 0.008) * np.exp(-np.maximum(below, 0) / 0.03)


_BANDANA_COLORS = {
    "red": 2.0, "navy": 2, "black": 3, "blue": 1, "khaki": 1, "grey": 1, "charcoal": 1, "white": 1,
    "pink": 0.5, "brown": 0.7, "dark green": 0.7, "yellow": 0.3,
}  # fmt: skip


def draw_bandana(rng: np.random.Generator) -> MaskTemplate:
    """Draw a bandana: no loops, deep folds, over the chin down to the neck."""
    canvas = Canvas(rng, pick_color(rng, _BANDANA_COLORS))
    melange(canvas, 0.03)
    if rng.random() < 0.6:
        print_on(canvas)
    u, away = canvas.u, canvas.away
    top = rng.uniform(-0.03, 0.08) * np.sin(np.pi * np.clip(away, 0, 1))
    top = top + 0.012 * smooth_noise(rng, 1, 7)
    point = rng.uniform(0.0, 0.25) if rng.random() < 0.6 else 0.0
    bottom = 1.05 - point * away + 0.02 * smooth_noise(rng, 1, 6)
    canvas.cut(top, bottom, np.full_like(u, 1.03), 0.02)
    canvas.stand_on_face(1.2)
    _hang(canvas)
    canvas.wrinkle(rng.uniform(2.5, 5.0))
    weave(canvas, rng.uniform(0.02, 0.05))
    return canvas.finish("bandana", 0.7)


def _hang(canvas: Canvas) -> None:
    """Folds that fall from the sides and gather under the chin."""
    rng = canvas.rng
    for _ in range(rng.integers(3, 7)):
        depth, width = rng.uniform(0.5, 1.1), rng.uniform(0.03, 0.07)
        line = rng.uniform(0.35, 0.95) + depth * 0.35 * np.maximum(1 - canvas.away, 0) ** 1.5
        canvas.height += rng.uniform(1, 4) * bump(canvas.v - line, width)
        canvas.stain -= 0.08 * bump(canvas.v - line - width, width)

"""Holes that are no masks: strokes and blocks, so that a generator does not only know masks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def stroke_hole(side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw thick wandering strokes until 10 to 35 % of a square are covered.

    Args:
        side: Side of the square in pixels.
        rng: Where chance comes from.

    Returns:
        (side, side) bool, True in the hole.

    Example:
        >>> hole = stroke_hole(96, np.random.default_rng(0))
        >>> bool(0.1 <= hole.mean() <= 0.5)
        True

    Reference:
        The irregular masks of partial convolutions (Liu et al., 2018), as strokes.
    """
    hole = np.zeros((side, side), np.uint8)
    wanted = rng.uniform(0.10, 0.35)
    while hole.mean() < wanted:
        place = rng.uniform(0, side, 2)
        direction = rng.uniform(0, 2 * np.pi)
        thickness = int(rng.integers(max(side // 24, 2), max(side // 8, 3)))
        for _ in range(int(rng.integers(3, 8))):
            direction += rng.normal(0, 0.8)
            step = rng.uniform(0.08, 0.2) * side * np.array([np.cos(direction), np.sin(direction)])
            start, end = (tuple(int(v) for v in p) for p in (place, place + step))
            cv2.line(hole, start, end, 1, thickness)
            place = place + step
            if hole.mean() >= wanted:
                break
    return hole.astype(bool)


def block_hole(side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw one to three upright rectangles with sides of 15 to 45 % of a square.

    Args:
        side: Side of the square in pixels.
        rng: Where chance comes from.

    Returns:
        (side, side) bool, True in the hole.

    Example:
        >>> block_hole(96, np.random.default_rng(0)).shape
        (96, 96)
    """
    hole = np.zeros((side, side), bool)
    for _ in range(int(rng.integers(1, 4))):
        height, width = (int(v) for v in rng.uniform(0.15, 0.45, 2) * side)
        top, left = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
        hole[top : top + height, left : left + width] = True
    return hole

"""Masks and instances as polygons, for formats that know nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.labelme.drawing import Instance


def outlines(mask: NDArray[np.bool_], tolerance: float = 0.0) -> list[NDArray[np.float64]]:
    """Trace a mask, one polygon a piece, through the centres of its outermost pixels.

    A hole is joined to the outline by a cut without area, so that a polygon may have holes. Drawn
    again, the polygons cover exactly the mask's pixels, but for horizontal lines one pixel thick.

    Args:
        mask: Boolean (H, W).
        tolerance: How far the polygons may be from the outlines, pixels.

    Returns:
        (P, 2) float64 each, (x, y) pixels, three points or more.

    Example:
        >>> mask = np.zeros((9, 9), bool)
        >>> mask[2:6, 1:5] = True
        >>> outlines(mask)[0].tolist()
        [[1.0, 2.0], [1.0, 5.0], [4.0, 5.0], [4.0, 2.0]]
    """
    rings, hierarchy = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    pieces: dict[int, NDArray[np.float64]] = {}
    parents = [] if hierarchy is None else hierarchy[0, :, 3]
    traced = [cv2.approxPolyDP(ring, tolerance, True)[:, 0].astype(float) for ring in rings]
    for number, parent in enumerate(parents):
        if parent < 0:
            pieces[number] = traced[number]
    for number, parent in enumerate(parents):
        if parent >= 0:
            pieces[parent] = _joined(pieces[parent], traced[number])
    return [_with_area(piece) for piece in pieces.values()]


def polygons_of(instance: Instance) -> list[NDArray[np.float64]]:
    """Return an instance's polygons as they were drawn, or the outlines of its mask.

    What was not drawn as polygons, or reaches over the frame, is traced.
    """
    last = np.array(instance.mask.shape[::-1]) - 1
    drawn = [shape.points for shape in instance.shapes if shape.shape_type == "polygon"]
    if drawn and len(drawn) == len(instance.shapes):
        everything = np.concatenate(drawn)
        if (everything >= 0).all() and (everything <= last).all():
            return drawn
    return outlines(instance.mask)


def single_polygon(polygons: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Join the pieces of an instance by cuts without area, for formats with one polygon each.

    Example:
        >>> square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
        >>> single_polygon([square, square + 8]).shape
        (10, 2)
    """
    joined = polygons[0]
    for piece in polygons[1:]:
        joined = _joined(joined, piece)
    return joined


def _joined(ring: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Walk round a ring, at its nearest corner over to the other, round that, and back."""
    distances = ((ring[:, None] - other[None]) ** 2).sum(-1)
    here, there = np.unravel_index(distances.argmin(), distances.shape)
    detour = np.concatenate([other[there:], other[: there + 1], ring[here : here + 1]])
    return np.insert(ring, here + 1, detour, axis=0)


def _with_area(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give a row of pixels a height: a polygon without one covers nothing."""
    low, high = ring.min(0), ring.max(0)
    if len(ring) > 2 and low[1] < high[1]:
        return ring
    if low[1] == high[1]:
        quarter = np.array([0, 0.25])
        low, high = low - quarter, high + quarter
        return np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    return np.concatenate([ring, ring[:1]])

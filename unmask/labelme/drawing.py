"""From shapes to pixels and back: shapes are painted row by row onto the mask that they belong to.

No shape has a mask of its own, so that hundreds of them on a large photo take little more than one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.errors import LabelmeError
from unmask.face import tight_box
from unmask.labelme.annotation import WITHOUT_AREA, Annotation, Shape

DEFAULT_LINE_WIDTH = 10.0
"""Width in pixels of lines and line strips, for which the format has no field; Labelme's own."""

# A star of a million rays would take minutes; a million points along an outline need this much.
_MOST_RUNS = 4_000_000


@dataclass(frozen=True, eq=False)
class Instance:
    """One object: all shapes of one label and group.

    Attributes:
        label: Its class.
        mask: Boolean (H, W), as large as the image; never empty.
        group_id: Its group, or None.
        shapes: The shapes that it was drawn from.
    """

    label: str
    mask: NDArray[np.bool_] = field(repr=False)
    group_id: int | None = None
    shapes: tuple[Shape, ...] = field(default=(), repr=False)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 in pixels, tight; x1 and y1 are exclusive."""
        box = tight_box(self.mask)
        assert box is not None  # never empty
        return box


def draw_instances(
    annotation: Annotation,
    size: tuple[int, int],
    *,
    line_width: float = DEFAULT_LINE_WIDTH,
) -> Iterator[Instance]:
    """Draw every object of an annotation into its own mask, one after the other.

    Args:
        annotation: From `read_annotation`.
        size: Height and width of the image.
        line_width: Width of lines and line strips in pixels.

    Yields:
        The instances, in the order in which they begin in the file.

    Raises:
        LabelmeError: A shape covers no pixel (it lies outside the image or has no area), its mask
            cannot be used, or its outline goes up and down so often that it would take minutes.

    Example:
        >>> from pathlib import Path
        >>> corners = np.array([[0.0, 0.0], [1.0, 1.0]])
        >>> shapes = [Shape(i, "mask", "rectangle", corners + i, group_id=7) for i in (0, 1)]
        >>> [found] = draw_instances(Annotation(Path("a.json"), tuple(shapes)), (3, 3))
        >>> int(found.mask.sum())
        7
    """
    grouped: dict[tuple[object, ...], list[Shape]] = {}
    for shape in _with_area(annotation):
        # A shape without a group is alone: its own index keeps it apart from all others.
        own = ("alone", shape.index) if shape.group_id is None else ("group", shape.group_id)
        grouped.setdefault((shape.label, *own), []).append(shape)
    for shapes in grouped.values():
        mask = _draw(annotation, shapes, size, line_width)
        yield Instance(shapes[0].label, mask, shapes[0].group_id, tuple(shapes))


def draw_mask(
    annotation: Annotation,
    size: tuple[int, int],
    *,
    line_width: float = DEFAULT_LINE_WIDTH,
) -> NDArray[np.bool_]:
    """Draw all objects of an annotation into one mask (H, W); arguments as for `draw_instances`.

    Raises:
        LabelmeError: See `draw_instances`.

    Example:
        >>> from pathlib import Path
        >>> bool(draw_mask(Annotation(Path("a.json"), ()), (2, 2)).any())
        False
    """
    return _draw(annotation, _with_area(annotation), size, line_width)


# === Inside ===


def _with_area(annotation: Annotation) -> Iterator[Shape]:
    return (shape for shape in annotation.shapes if shape.shape_type not in WITHOUT_AREA)


def _draw(
    annotation: Annotation, shapes: Iterable[Shape], size: tuple[int, int], line_width: float
) -> NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    for shape in shapes:
        try:
            covers = _paint(mask, shape, line_width)
        except LabelmeError as error:
            raise LabelmeError(f"{annotation.path}: {error}") from error
        if not covers:
            raise LabelmeError(
                f"{annotation.path}: shapes[{shape.index}].points: the {shape.shape_type} covers "
                f"no pixel of the image, {size[1]} x {size[0]}"
            )
    return mask


def _paint(mask: NDArray[np.bool_], shape: Shape, line_width: float) -> bool:
    """Set the pixels of a shape, and tell whether there are any in the image."""
    x, y = shape.points[:, 0], shape.points[:, 1]
    patch = shape.load_mask()
    if patch is not None:
        return _paste(mask, patch, round(x.min()), round(y.min()))
    try:
        if shape.shape_type == "circle":
            # Without the outline, as scikit-image's `draw.disk`.
            radius = math.hypot(x[1] - x[0], y[1] - y[0]) - 1e-9
            return _paint_disks(mask, x[:1], y[:1], radius)
        if shape.shape_type in ("line", "linestrip"):
            return _paint_line(mask, x, y, line_width / 2)
        if shape.shape_type == "rectangle" and len(x) == 2:
            x, y = x[[0, 1, 1, 0]], y[[0, 0, 1, 1]]
        return _paint_polygons(mask, x[None], y[None])
    except _TooManyRunsError as error:
        raise LabelmeError(
            f"shapes[{shape.index}].points: the {shape.shape_type} {error}"
        ) from None


class _TooManyRunsError(Exception):
    """A shape has more runs of pixels than can be painted in seconds."""


def _paint_polygons(
    mask: NDArray[np.bool_], x: NDArray[np.float64], y: NDArray[np.float64]
) -> bool:
    """Set the pixels inside or on polygons, even-odd; x and y are (polygons, corners).

    The pixels are those of scikit-image's `draw.polygon`, which tests every pixel against every
    edge: 2 seconds instead of milliseconds for a polygon across a photo of 12 megapixels.
    """
    corners = x.shape[1]
    x0, y0, x1, y1 = (
        values.ravel() for values in (x, y, np.roll(x, -1, axis=1), np.roll(y, -1, axis=1))
    )
    low, high = np.minimum(y0, y1), np.maximum(y0, y1)
    painted = False
    # An edge is cut by a row at one of its ends, but not at the other, lest a corner count twice.
    # Leaving out the lower ends drops the bottom outline, leaving out the upper ends the top one.
    first_rows: tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], ...]
    first_rows = (np.ceil, lambda value: np.floor(value) + 1)
    for first_row in first_rows:
        edge, rows = _rows(first_row(low), first_row(high), len(mask))
        height, width = y1[edge] - y0[edge], x1[edge] - x0[edge]
        # Rounded, so that a cut meant to lie on a pixel centre does not miss it by a hair.
        cuts = np.round(x0[edge] + (rows - y0[edge]) * width / height, 9)
        order = np.lexsort((cuts, rows, edge // corners))
        rows, cuts = rows[order], cuts[order]
        painted |= _paint_runs(mask, rows[::2], cuts[::2], cuts[1::2])
    return painted


def _paint_disks(
    mask: NDArray[np.bool_], x: NDArray[np.float64], y: NDArray[np.float64], radius: float
) -> bool:
    """Set the pixels whose centre is at most so far from one of the middles."""
    if radius < 0:
        return False
    disk, rows = _rows(np.ceil(y - radius), np.floor(y + radius) + 1, len(mask))
    reach = np.sqrt(np.maximum(radius**2 - (rows - y[disk]) ** 2, 0))
    return _paint_runs(mask, rows, x[disk] - reach, x[disk] + reach)


def _paint_line(
    mask: NDArray[np.bool_], x: NDArray[np.float64], y: NDArray[np.float64], reach: float
) -> bool:
    """Set the pixels whose centre is at most so far from a line strip: a bar a part, round ends."""
    dx, dy = np.diff(x), np.diff(y)
    scale = reach / np.maximum(np.hypot(dx, dy), 1e-12)
    aside_x, aside_y = -dy * scale, dx * scale
    bars_x = np.stack([x[:-1] + aside_x, x[1:] + aside_x, x[1:] - aside_x, x[:-1] - aside_x], 1)
    bars_y = np.stack([y[:-1] + aside_y, y[1:] + aside_y, y[1:] - aside_y, y[:-1] - aside_y], 1)
    return _paint_polygons(mask, bars_x, bars_y) | _paint_disks(mask, x, y, reach)


def _rows(
    begin: NDArray[np.float64], end: NDArray[np.float64], height: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """List the rows of several parts, cut off at the frame: whose row it is, and which."""
    first = np.clip(begin, 0, height).astype(np.intp)
    counts = np.maximum(np.clip(end, 0, height).astype(np.intp) - first, 0)
    total = int(counts.sum())
    if total > _MOST_RUNS:
        raise _TooManyRunsError(
            f"crosses the image's rows {total} times, more than the limit of {_MOST_RUNS}"
        )
    part = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return part, np.arange(total) - before[part] + first[part]


def _paint_runs(
    mask: NDArray[np.bool_],
    rows: NDArray[np.intp],
    left: NDArray[np.float64],
    right: NDArray[np.float64],
) -> bool:
    """Set what lies between two places in a row, both included."""
    width = mask.shape[1]
    starts = np.clip(np.ceil(left), 0, width).astype(np.intp)
    stops = np.clip(np.floor(right) + 1, 0, width).astype(np.intp)
    inside = np.flatnonzero(starts < stops)
    for row, start, stop in zip(
        rows[inside].tolist(), starts[inside].tolist(), stops[inside].tolist(), strict=True
    ):
        mask[row, start:stop] = True
    return bool(len(inside))


def _paste(mask: NDArray[np.bool_], patch: NDArray[np.bool_], left: int, top: int) -> bool:
    """Add a patch at a place that may lie partly outside."""
    height, width = mask.shape
    part = patch[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    top, left = max(top, 0), max(left, 0)
    mask[top : top + part.shape[0], left : left + part.shape[1]] |= part
    return bool(part.any())


# === Back: masks and instances as polygons, for formats that know nothing else ===


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
    return [_heightened(piece) for piece in pieces.values()]


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


def single_polygon(instance: Instance) -> NDArray[np.float64]:
    """Join the pieces of an instance by cuts without area, for formats with one polygon each.

    Example:
        >>> mask = np.zeros((9, 9), bool)
        >>> mask[:3, :3] = mask[5:, 5:] = True
        >>> single_polygon(Instance("mask", mask)).shape
        (10, 2)
    """
    polygons = polygons_of(instance)
    joined = functools.reduce(_joined, polygons)
    if len(polygons) > 1 and not _covers(joined, instance.mask):  # drawn pieces that overlap
        joined = functools.reduce(_joined, outlines(instance.mask))
    return joined


def _covers(ring: NDArray[np.float64], mask: NDArray[np.bool_]) -> bool:
    """Tell whether a polygon, filled even-odd, covers all of a mask."""
    painted = np.zeros_like(mask)
    try:
        _paint_polygons(painted, ring[None, :, 0], ring[None, :, 1])
    except _TooManyRunsError:
        return False
    return not (mask & ~painted).any()


def _joined(ring: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Walk round a ring, at its nearest corner over to the other, round that, and back."""
    distances = ((ring[:, None] - other[None]) ** 2).sum(-1)
    here, there = np.unravel_index(distances.argmin(), distances.shape)
    detour = np.concatenate([other[there:], other[: there + 1], ring[here : here + 1]])
    return np.insert(ring, here + 1, detour, axis=0)


def _heightened(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give a row of pixels a height: a polygon without one covers nothing."""
    low, high = ring.min(0), ring.max(0)
    if len(ring) > 2 and low[1] < high[1]:
        return ring
    if low[1] == high[1]:
        quarter = np.array([0, 0.25])
        low, high = low - quarter, high + quarter
        return np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    return np.concatenate([ring, ring[:1]])

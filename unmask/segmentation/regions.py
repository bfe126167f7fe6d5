"""From a map of probabilities to single masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class MaskRegion:
    """A face mask that was found in a photo.

    Attributes:
        box: x0, y0, x1, y1 in photo pixels, tight; x1 and y1 are exclusive.
        score: Mean probability inside the mask, 0 to 1.
        patch: (y1 - y0, x1 - x0) bool, the mask inside the box. Photos can be large and masks many,
            so that whole pictures would fill the memory.
        shape: Height and width of the photo.
    """

    box: Box
    score: float
    patch: NDArray[np.bool_] = field(repr=False)
    shape: tuple[int, int]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask at the photo's size, (H, W) bool."""
        full = np.zeros(self.shape, bool)
        x0, y0, x1, y1 = (int(value) for value in self.box)
        full[y0:y1, x0:x1] = self.patch
        return full

    @property
    def area(self) -> int:
        """Number of mask pixels."""
        return int(self.patch.sum())


def find_regions(
    probability: NDArray[np.float32],
    shape: tuple[int, int],
    *,
    threshold: float = 0.5,
    min_score: float = 0.7,
    min_pixels: int = 30,
    merge_gap: float = 0.1,
) -> list[MaskRegion]:
    """Split a probability map into masks.

    Connected pixels above the threshold are a piece. A piece that lies near a piece at least three
    times as large belongs to it (prints, valves and fingers divide masks); two pieces of similar
    size are two faces. Holes are filled, and what is tiny or unsure is dropped.

    Args:
        probability: (h, w) float32 map of the whole photo at any resolution.
        shape: Height and width of the photo.
        threshold: Probability from which on a pixel belongs to a mask.
        min_score: Masks with a lower mean probability are dropped.
        min_pixels: Masks with fewer pixels of the map are dropped.
        merge_gap: Largest distance of a piece from the larger one, in sides of the larger box.

    Returns:
        The masks, largest first.

    Example:
        >>> probability = np.zeros((32, 32), np.float32)
        >>> probability[8:20, 4:28] = 0.9
        >>> [region.box for region in find_regions(probability, (64, 64))]
        [(8.0, 16.0, 56.0, 40.0)]
    """
    labels, count = ndimage.label(probability > threshold, np.ones((3, 3)))
    if not count:
        return []
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    boxes = [(s[1].start, s[0].start, s[1].stop, s[0].stop) for s in ndimage.find_objects(labels)]
    regions = []
    for group in _groups(boxes, areas[1:].tolist(), merge_gap):
        inside = np.isin(labels, [piece + 1 for piece in group])
        score = float(probability[inside].mean())
        if inside.sum() < min_pixels or score < min_score:
            continue
        region = _at_photo_size(probability, inside, shape, threshold, score)
        if region is not None:
            regions.append(region)
    return sorted(regions, key=lambda region: -region.area)


def overlap(first: MaskRegion, second: MaskRegion) -> float:
    """Return the intersection over union of two masks' boxes, 0 to 1."""
    a, b = first.box, second.box
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / (_box_area(a) + _box_area(b) - common)


def _groups(
    boxes: Sequence[tuple[int, int, int, int]], areas: Sequence[int], gap: float
) -> list[list[int]]:
    order = sorted(range(len(boxes)), key=lambda i: -areas[i])
    leaders: list[int] = []
    groups: dict[int, list[int]] = {}
    for piece in order:
        leader = next(
            (
                other
                for other in leaders
                if areas[other] >= 3 * areas[piece]
                and _distance(boxes[other], boxes[piece]) <= gap * _side(boxes[other])
            ),
            None,
        )
        if leader is None:
            leaders.append(piece)
            groups[piece] = [piece]
        else:
            groups[leader].append(piece)
    return [groups[leader] for leader in leaders]


def _at_photo_size(
    probability: NDArray[np.float32],
    inside: NDArray[np.bool_],
    shape: tuple[int, int],
    threshold: float,
    score: float,
) -> MaskRegion | None:
    height, width = probability.shape
    filled = ndimage.binary_fill_holes(inside)
    # Just around the piece the map itself places the edge between two of its pixels.
    around = ndimage.binary_dilation(filled, np.ones((3, 3)))
    own = np.where(filled & ~inside, 1.0, np.where(around, probability, 0.0)).astype(np.float32)
    rows, columns = np.flatnonzero(around.any(1)), np.flatnonzero(around.any(0))
    scale_x, scale_y = shape[1] / width, shape[0] / height
    x0, x1 = int(columns[0] * scale_x), min(shape[1], int(np.ceil((columns[-1] + 1) * scale_x)))
    y0, y1 = int(rows[0] * scale_y), min(shape[0], int(np.ceil((rows[-1] + 1) * scale_y)))
    # Pixel centres of the photo's window in the map's pixels.
    map_x = ((np.arange(x0, x1) + 0.5) / scale_x - 0.5).astype(np.float32)
    map_y = ((np.arange(y0, y1) + 0.5) / scale_y - 0.5).astype(np.float32)
    grid_x, grid_y = np.meshgrid(map_x, map_y)
    window = cv2.remap(own, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    patch = window > threshold
    if not patch.any():
        return None
    rows, columns = np.flatnonzero(patch.any(1)), np.flatnonzero(patch.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    box = (float(x0 + left), float(y0 + top), float(x0 + right), float(y0 + bottom))
    return MaskRegion(box, score, patch[top:bottom, left:right].copy(), shape)


def _distance(a: Sequence[int], b: Sequence[int]) -> float:
    horizontal = max(0, a[0] - b[2], b[0] - a[2])
    vertical = max(0, a[1] - b[3], b[1] - a[3])
    return float(np.hypot(horizontal, vertical))


def _side(box: Sequence[float]) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _box_area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])

"""From a map of probabilities to single masks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from unmask.face import tight_box

Box = tuple[float, float, float, float]

# Two masks touch where a region's half width falls below this share of both lobes' half widths:
# none of 176 single masks drawn by hand is narrower than 0.76, of such masks put together at
# random nine in ten are narrower than 0.7.
_NECK = 0.65
# A lobe that is thinner than this share of the thickest is a loop or a string.
_LOBE = 0.5
# A piece of a mask lies this near to the largest one, in sides of its box.
_GAP = 0.1
# In a mask that somebody gives: areas of fewer pixels, and of less than this share of the largest
# area (a twentieth of its width and height), are specks. More faces than this are no photo.
_LEAST_PIXELS, _LEAST_SHARE, _MOST_FACES = 100, 1 / 400, 64
# OpenCV resamples to less than 32,767 pixels a side; a block of this side also spares memory.
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class MaskRegion:
    """A face mask that was found in a photo.

    Attributes:
        box: x0, y0, x1, y1 in photo pixels, tight; x1 and y1 are exclusive.
        score: How sure it is, 0 to 1: a U-Net's mean probability inside the mask, a verifier's or a
            Mask R-CNN's verdict on the whole.
        patch: (y1 - y0, x1 - x0) bool, the mask inside the box; whole ones would fill the memory.
        shape: Height and width of the photo.
        certainty: The mean probability inside the mask, where `score` is a verifier's.
    """

    box: Box
    score: float
    patch: NDArray[np.bool_] = field(repr=False)
    shape: tuple[int, int]
    certainty: float | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask at the photo's size, (H, W) bool."""
        full = np.zeros(self.shape, bool)
        x0, y0, x1, y1 = (int(value) for value in self.box)
        full[y0:y1, x0:x1] = self.patch
        return full

    @property
    def evidence(self) -> tuple[float, float | None]:
        """How sure the pixels are, and what a verifier says if there is one, both 0 to 1."""
        return (self.score, None) if self.certainty is None else (self.certainty, self.score)

    @property
    def area(self) -> int:
        """Number of mask pixels."""
        return int(self.patch.sum())


def find_regions(
    probability: NDArray[np.float32], shape: tuple[int, int], *, threshold: float = 0.5,
    min_score: float = 0.7, min_pixels: int = 30,
) -> list[MaskRegion]:  # fmt: skip
    """Split a probability map (h, w) of a photo into masks, largest first.

    Connected pixels above the threshold are a piece, or several where they are joined by narrow
    necks only, as faces side by side are. A piece near one at least three times as large belongs to
    it (prints, valves and fingers divide masks); two of similar size are two faces. Holes are
    filled. Masks of fewer than `min_pixels` or a lower mean than `min_score` are dropped.

    Example:
        >>> probability = np.zeros((32, 32), np.float32)
        >>> probability[8:20, 4:28] = 0.9
        >>> [region.box for region in find_regions(probability, (64, 64))]
        [(8.0, 16.0, 56.0, 40.0)]
    """
    labels, count = _pieces(probability > threshold)
    if not count:
        return []
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    boxes = [(s[1].start, s[0].start, s[1].stop, s[0].stop) for s in ndimage.find_objects(labels)]
    regions = []
    for group in _groups(boxes, areas[1:].tolist()):
        window = _around([boxes[piece] for piece in group])
        inside = np.isin(labels[window], [piece + 1 for piece in group])
        score = float(probability[window][inside].mean())
        if inside.sum() < min_pixels or score < min_score:
            continue
        region = _at_photo_size(probability, inside, window, shape, threshold, score)
        if region is not None:
            regions.append(region)
    return sorted(regions, key=lambda region: -region.area)


def regions_of_mask(mask: NDArray[np.bool_]) -> list[MaskRegion]:
    """Split a mask (H, W) that somebody gives into those of single faces, at most 64, of score 1.

    The largest comes first; specks are left out.

    Example:
        >>> mask = np.zeros((64, 64), bool)
        >>> mask[20:40, 10:50] = mask[60, 60] = True
        >>> [region.box for region in regions_of_mask(mask)]
        [(10.0, 20.0, 50.0, 40.0)]
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # what is no mask
    kept = areas >= max(_LEAST_PIXELS, _LEAST_SHARE * areas.max())
    kept[np.argsort(-areas, kind="stable")[_MOST_FACES:]] = False
    if not kept.any():
        return []
    corners = stats[kept][:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]]
    sides = stats[kept][:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    (x0, y0), (x1, y1) = corners.min(0).tolist(), (corners + sides).max(0).tolist()
    # Large photos and small masks: what follows looks at the masks alone.
    window = kept[labels[y0:y1, x0:x1]].astype(np.float32)
    regions = find_regions(window, (window.shape[0], window.shape[1]))
    return [
        replace(
            region,
            box=(region.box[0] + x0, region.box[1] + y0, region.box[2] + x0, region.box[3] + y0),
            shape=(mask.shape[0], mask.shape[1]),
        )
        for region in regions[:_MOST_FACES]
    ]


def region_of(
    mask: NDArray[np.bool_], score: float, shape: tuple[int, int], corner: Sequence[int] = (0, 0)
) -> MaskRegion | None:
    """Return a mask that begins at a corner (x, y) of a photo, or None if it is empty."""
    box = tight_box(mask)
    if box is None:
        return None
    left, top, right, bottom = box
    x, y = corner
    place = float(x + left), float(y + top), float(x + right), float(y + bottom)
    return MaskRegion(place, score, mask[top:bottom, left:right].copy(), shape)


def overlap(first: MaskRegion, second: MaskRegion) -> float:
    """Return the intersection over union of two masks' boxes, 0 to 1."""
    a, b = first.box, second.box
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return common / (areas - common)


def _pieces(above: NDArray[np.bool_]) -> tuple[NDArray[np.intp], int]:
    """Number connected pixels, those of touching masks apart."""
    connected, count = ndimage.label(above, np.ones((3, 3)))
    labels, last = np.zeros(above.shape, np.intp), 0
    for place, number in zip(ndimage.find_objects(connected), range(1, count + 1), strict=True):
        own = connected[place] == number
        # Beside a hole (a valve, a print) a mask is narrow, which is no neck.
        lobes = _lobes(_filled(own))
        labels[place][own] = lobes[own] + last
        last += int(lobes.max())
    return labels, last


def _lobes(region: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Number the parts of a region that only narrow necks join."""
    width = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    widest = float(width.max())
    for neck in np.linspace(0.1, _NECK, 12) * widest:
        thick = width > neck
        if cv2.connectedComponents(thick.astype(np.uint8), connectivity=4)[0] < 3:
            continue  # the background and one core
        cores, count = ndimage.label(thick)
        peaks = ndimage.maximum(width, cores, np.arange(1, count + 1))
        lobes = np.flatnonzero(peaks >= max(_LOBE * widest, neck / _NECK)) + 1
        if len(lobes) > _MOST_FACES:  # noise
            break
        if len(lobes) < 2:
            continue
        markers = np.where(np.isin(cores, lobes), cores, 0)
        halves = watershed(-width, markers, connectivity=2, mask=region)
        parts, last = np.zeros(region.shape, np.intp), 0
        for lobe in lobes:
            # A row of three falls apart at its narrowest neck first.
            part = np.where(halves == lobe, _lobes(halves == lobe), 0)
            parts[part > 0] = part[part > 0] + last
            last += int(part.max())
        return parts
    return region.astype(np.intp)


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what a mask surrounds."""
    canvas = np.pad(mask, 1).astype(np.uint8)
    cv2.floodFill(canvas, None, (0, 0), 2)
    return np.asarray(canvas[1:-1, 1:-1] != 2)


def _groups(boxes: Sequence[tuple[int, int, int, int]], areas: Sequence[int]) -> list[list[int]]:
    """Gather small pieces with the large ones beside them."""
    groups: dict[int, list[int]] = {}
    for piece in sorted(range(len(boxes)), key=lambda i: -areas[i]):
        near = (
            other
            for other in groups
            if areas[other] >= 3 * areas[piece] and _is_near(boxes[other], boxes[piece])
        )
        groups.setdefault(next(near, piece), []).append(piece)
    return list(groups.values())


def _is_near(large: Sequence[int], small: Sequence[int]) -> bool:
    x, y = (max(0, large[i] - small[i + 2], small[i] - large[i + 2]) for i in (0, 1))
    return bool(np.hypot(x, y) <= _GAP * max(large[2] - large[0], large[3] - large[1]))


def _around(boxes: Sequence[tuple[int, int, int, int]]) -> tuple[slice, slice]:
    """Return the rows and columns of some boxes, and of a pixel around them."""
    x0, y0 = (min(box[axis] for box in boxes) for axis in (0, 1))
    x1, y1 = (max(box[axis] for box in boxes) for axis in (2, 3))
    return slice(max(y0 - 1, 0), y1 + 1), slice(max(x0 - 1, 0), x1 + 1)


def _at_photo_size(
    probability: NDArray[np.float32], inside: NDArray[np.bool_], window: tuple[slice, slice],
    shape: tuple[int, int], threshold: float, score: float,
) -> MaskRegion | None:  # fmt: skip
    height, width = probability.shape
    filled = _filled(inside)
    # Just around the piece the map itself places the edge between two of its pixels.
    around = cv2.dilate(filled.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    own = np.zeros((height, width), np.float32)
    own[window] = np.where(
        filled & ~inside, 1.0, np.where(around, probability[window], np.float32(0))
    )
    place = tight_box(around)
    assert place is not None  # `inside` is not empty
    left, top, right, bottom = np.add(place, [window[1].start, window[0].start] * 2).tolist()
    scale_x, scale_y = shape[1] / width, shape[0] / height
    x0, x1 = int(left * scale_x), min(shape[1], int(np.ceil(right * scale_x)))
    y0, y1 = int(top * scale_y), min(shape[0], int(np.ceil(bottom * scale_y)))
    if (scale_x, scale_y) == (1, 1):
        patch = own[y0:y1, x0:x1] > threshold
    else:
        # Pixel centres of the photo's window in the map's pixels.
        map_x = ((np.arange(x0, x1) + 0.5) / scale_x - 0.5).astype(np.float32)
        map_y = ((np.arange(y0, y1) + 0.5) / scale_y - 0.5).astype(np.float32)
        patch = np.zeros((y1 - y0, x1 - x0), bool)
        for y, x in itertools.product(*(range(0, n, _BLOCK) for n in patch.shape)):
            rows, columns = slice(y, y + _BLOCK), slice(x, x + _BLOCK)
            gx, gy = np.meshgrid(map_x[columns], map_y[rows])
            block = cv2.remap(own, gx, gy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            patch[rows, columns] = block > threshold
    return region_of(patch, score, shape, (x0, y0))

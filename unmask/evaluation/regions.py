"""One figure for each fault that a completed face can have, region by region.

A change that sharpens the mouth and smears the jaw must be seen, so the hole is divided by the
true landmarks into mouth, nose, the rest of the face, and the ring outside the jaw line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.face import fill_hull, grow
from unmask.image import LUMA
from unmask.landmark_layout import LAYOUTS
from unmask.tables import markdown_table

REGIONS = ("mouth", "nose", "face", "ring")
"""`face` is what is neither mouth nor nose inside the outline; `ring` is what is outside it."""

_AROUND_MOUTH, _AROUND_NOSE = 5, 7  # pixels of a 192 x 192 window, for corners and nostrils
_DETAIL = 1.5  # pixels; what a Gaussian blur of this takes away is detail
_BAND = 3  # pixels on either side of the hole's border
_LEAST_PIXELS = 40

Distance = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""From completed windows (N, S, S, 3) to each one's perceptual distance from the truth."""


@dataclass(frozen=True)
class RegionScores:
    """Figures of one method in one region.

    Attributes:
        method: Name of the method.
        region: One of `REGIONS`.
        count: Faces whose hole has such a region.
        psnr: Mean PSNR in dB there.
        sharpness: Median of the detail's deviation there, as a share of the true face's.
        perceptual: Mean perceptual distance when this region alone is the method's; None without a
            feature network.
        border: Mean false step of colour across the hole's border, see `border_step`; the same in
            every region.
    """

    method: str
    region: str
    count: int
    psnr: float
    sharpness: float
    perceptual: float | None
    border: float


def divide_hole(
    hole: NDArray[np.bool_], landmarks: NDArray[np.floating]
) -> dict[str, NDArray[np.bool_]]:
    """Divide a hole (S, S) into the regions, by the (98, 2) true points in its pixels.

    There is a mask a region; together they are the hole.

    Raises:
        ValueError: The landmarks are not 98 points.
    """
    if landmarks.shape != (98, 2):
        raise ValueError(f"landmarks must be (98, 2). Received: shape={landmarks.shape}")
    layout = LAYOUTS[98]
    outline = np.concatenate([landmarks[part] for part in (layout.jaw, *layout.brows)])
    inside = fill_hull(outline, hole.shape)
    mouth = hole & grow(fill_hull(landmarks[layout.lips], hole.shape), _AROUND_MOUTH)
    around_nose = grow(fill_hull(landmarks[layout.nose], hole.shape), _AROUND_NOSE)
    nose = hole & ~mouth & around_nose
    face = hole & inside & ~mouth & ~nose
    return {"mouth": mouth, "nose": nose, "face": face, "ring": hole & ~mouth & ~nose & ~face}


def score_regions(
    method: str,
    completed: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    scored: NDArray[np.bool_],
    landmarks: NDArray[np.floating],
    distance: Distance | None = None,
) -> list[RegionScores]:
    """Score completed windows region by region, in the order of `REGIONS`.

    Windows and truth are (N, S, S, 3) uint8, `scored` (N, S, S) is the part of the hole where the
    truth is known, landmarks are (N, 98, 2) true points; `distance` gives the perceptual distance.
    """
    parts = [divide_hole(h, p) for h, p in zip(scored, landmarks, strict=True)]
    composites = np.where(scored[..., None], completed, truth)
    border = float(np.mean([border_step(*f) for f in zip(composites, truth, scored, strict=True)]))
    scores = []
    for region in REGIONS:
        masks = np.stack([part[region] for part in parts])
        rows = np.flatnonzero(masks.sum(axis=(1, 2)) >= _LEAST_PIXELS)
        if not len(rows):
            continue
        errors = [
            np.square(completed[i][masks[i]] - truth[i][masks[i]].astype(float)) for i in rows
        ]
        shares = [_detail(completed[i], masks[i]) / _detail(truth[i], masks[i]) for i in rows]
        perceptual = None
        if distance is not None:
            alone = np.where(masks[..., None], completed, truth)
            perceptual = float(distance(alone)[rows].mean())
        psnr = float(np.mean([10 * np.log10(255.0**2 / max(e.mean(), 1e-3)) for e in errors]))
        sharpness = float(np.median(shares))
        scores.append(RegionScores(method, region, len(rows), psnr, sharpness, perceptual, border))
    return scores


def border_step(
    completed: NDArray[np.uint8], truth: NDArray[np.uint8], hole: NDArray[np.bool_]
) -> float:
    """Return the false colour step across a hole's border, in levels of 255.

    It is the mean over the border of how far the difference between a band of 3 pixels inside and
    one outside is from the true difference, with both taken over a neighbourhood of the border.
    Both pictures, (S, S, 3) uint8, are the same outside the hole (S, S).

    Example:
        >>> truth = np.full((40, 40, 3), 100, np.uint8)
        >>> hole = np.zeros((40, 40), bool)
        >>> hole[10:30, 10:30] = True
        >>> round(border_step(np.where(hole[..., None], np.uint8(110), truth), truth, hole))
        10
    """
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _BAND + 1,) * 2)
    solid = hole.astype(np.uint8)
    inner = hole & (cv2.erode(solid, disk) == 0)
    if not inner.any():
        return 0.0
    # Outside the hole both are the truth, so that what differs is what differs inside.
    false = (completed.astype(np.float32) - truth) * inner[..., None]
    near = inner.astype(np.float32)
    local = cv2.blur(false, (9, 9)) / np.maximum(cv2.blur(near, (9, 9)), 1e-6)[..., None]
    return float(np.abs(local[inner]).mean())


def region_table(scores: list[RegionScores]) -> str:
    """Return the scores as a Markdown table, with the step of colour at the hole's border."""
    header = ("method", "region", "n", "PSNR", "sharpness", "perceptual", "border step")
    rows = [
        (
            s.method,
            s.region,
            s.count,
            f"{s.psnr:.2f}",
            f"{s.sharpness:.2f}",
            "" if s.perceptual is None else f"{s.perceptual:.3f}",
            f"{s.border:.1f}",
        )
        for s in scores
    ]
    return markdown_table(header, rows)


def _detail(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
    grey = image.astype(np.float32) @ np.array(LUMA, np.float32)
    taken = grey - cv2.GaussianBlur(grey, (0, 0), _DETAIL)
    return float(taken[mask].std()) + 1e-3

"""Morphs: a face between two others, so that a network sees more faces than there are."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.record import CanonicalFace

# The displacement is smooth: it is solved for on a grid of so many points a side.
_GRID = 25
# Points that stay where they are, on each side of the picture.
_ANCHORS = 5
# Landmarks that coincide would have no solution.
_SMOOTHING = 1.0


def morph(first: CanonicalFace, second: CanonicalFace, share: float) -> CanonicalFace:
    """Return the face that is `share` of the way from one to another.

    Both are moved so that their landmarks meet, by a thin plate spline that keeps the picture's
    border, and then mixed.

    Args:
        first: A face of side S.
        second: Another of the same side and with as many landmarks, in about the same pose.
        share: 0 for the first, 1 for the second.

    Example:
        >>> points = np.random.default_rng(0).uniform(16, 48, (98, 2)).astype(np.float32)
        >>> image, valid = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), bool)
        >>> black, grey = (CanonicalFace(image + x, points, valid) for x in np.uint8([0, 200]))
        >>> int(morph(black, grey, 0.5).image[9, 9, 0])
        100

    Reference:
        Wolberg, Image Morphing: a Survey, 1998; for training: Zhang et al., mixup, 2018.
    """
    points = (1 - share) * first.landmarks + share * second.landmarks
    moved = [_move(face, points) for face in (first, second)]
    image = cv2.addWeighted(moved[0][0], 1 - share, moved[1][0], share, 0.0)
    return CanonicalFace(image, points.astype(np.float32), moved[0][1] & moved[1][1])


def _move(
    face: CanonicalFace, points: NDArray[np.floating]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Move a face's landmarks to some points."""
    from scipy.interpolate import RBFInterpolator

    side = len(face.image)
    edge = np.linspace(0, side - 1, _ANCHORS)
    anchors = [(x, y) for x in edge for y in edge if {x, y} & {0, side - 1}]
    places = np.concatenate([points, anchors])
    wanted = np.concatenate([face.landmarks - points, np.zeros((len(anchors), 2))])
    spline = RBFInterpolator(places, wanted, smoothing=_SMOOTHING)
    steps = np.linspace(0, side - 1, _GRID)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1)
    coarse = spline(grid.reshape(-1, 2)).reshape(_GRID, _GRID, 2).astype(np.float32)
    # `resize` puts its samples in the middle of cells, the grid's are on the picture's border.
    at = np.linspace(0, _GRID - 1, side, dtype=np.float32)
    columns, rows = np.meshgrid(at, at)
    shift = cv2.remap(coarse, columns, rows, cv2.INTER_LINEAR)
    y, x = np.indices((side, side), np.float32)
    image = cv2.remap(
        face.image, x + shift[..., 0], y + shift[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip
    valid = cv2.remap(
        face.valid.astype(np.uint8), x + shift[..., 0], y + shift[..., 1], cv2.INTER_NEAREST
    )
    return np.asarray(image, np.uint8), valid > 0

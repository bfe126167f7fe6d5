"""Pictures that show the steps of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unmask.face import CROP_SIZE, canonical_matrix, transform_points, warp

if TYPE_CHECKING:
    from unmask.result import Face, Result

_MASK_COLOUR = np.array([255.0, 64.0, 64.0])


def draw_panel(result: Result, truth: NDArray[np.uint8] | None = None) -> Figure:
    """Draw input, mask, landmarks, result and, where known, the truth; one row a face.

    Args:
        result: What `unmask.run` returned.
        truth: (H, W, 3) uint8 RGB, the photo without masks.

    Returns:
        The figure.
    """
    titles = ["input", "mask", "landmarks", "result"] + (["truth"] if truth is not None else [])
    if not result.faces:
        figure = Figure(figsize=(4, 4), layout="constrained")
        axes = figure.subplots()
        _show(axes, result.image, "no masked face")
        return figure
    shape = (len(result.faces), len(titles))
    figure = Figure(figsize=(2.6 * shape[1], 2.7 * shape[0]), layout="constrained")
    grid = figure.subplots(*shape, squeeze=False)
    for row, face in zip(grid, result.faces, strict=True):
        pictures = _pictures(face, truth)
        for axes, picture, title in zip(row, pictures, titles, strict=True):
            _show(axes, picture, title)
        matrix = canonical_matrix(face.landmarks)
        points = transform_points(face.landmarks, matrix)
        row[2].scatter(points[:, 0], points[:, 1], s=3, c="lime")
        row[3].set_xlabel(f"{face.gender} {face.gender_confidence:.0%}")
    return figure


def _pictures(face: Face, truth: NDArray[np.uint8] | None) -> list[NDArray[np.uint8]]:
    matrix = canonical_matrix(face.landmarks)
    mask = np.asarray(warp(face.mask.astype(np.float32), matrix, CROP_SIZE))[..., None]
    tinted = face.crop_before * (1 - 0.55 * mask) + _MASK_COLOUR * 0.55 * mask
    pictures = [face.crop_before, tinted.astype(np.uint8), face.crop_before, face.crop_after]
    if truth is not None:
        pictures.append(np.asarray(warp(truth, matrix, CROP_SIZE), np.uint8))
    return pictures


def _show(axes: Axes, picture: NDArray[np.uint8], title: str) -> None:
    axes.imshow(picture)
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])

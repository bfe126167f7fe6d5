"""Pictures that show the steps of a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unmask.face import CROP_SIZE, canonical_matrix, steady_matrix, transform_points, warp

if TYPE_CHECKING:
    from unmask.result import Face, Result

_MASK_COLOUR = np.array([255.0, 64.0, 64.0])
_TITLES = ("input", "mask", "landmarks", "result", "truth")


def draw_panel(result: Result, truth: NDArray[np.uint8] | None = None) -> Figure:
    """Draw input, mask, landmarks, result and, where known, the truth (H, W, 3); one row a face."""
    if not result.faces:
        figure = Figure(figsize=(4, 4), layout="constrained")
        title = "left as it is: turned or hidden too far" if result.skipped else "no masked face"
        _show(figure.subplots(), result.image, title)
        return figure
    columns = len(_TITLES) - (truth is None)
    size = (2.6 * columns, 2.7 * len(result.faces))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(result.faces), columns, squeeze=False)
    for axes, face in zip(grid, result.faces, strict=True):
        fill_row(axes, face, truth)
    return figure


def fill_row(
    axes: Sequence[Axes] | NDArray[np.object_], face: Face, truth: NDArray[np.uint8] | None = None
) -> None:
    """Draw the steps of one face on four axes, or on five when the truth (H, W, 3) is given."""
    matrix = steady_matrix(canonical_matrix(face.landmarks))
    changed = warp(face.mask.astype(np.float32), matrix, CROP_SIZE, border=cv2.BORDER_CONSTANT)
    mask = changed[..., None]
    tinted = face.crop_before * (1 - 0.55 * mask) + _MASK_COLOUR * 0.55 * mask
    pictures = [face.crop_before, tinted.astype(np.uint8), face.crop_before, face.crop_after]
    if truth is not None:
        pictures.append(warp(truth, matrix, CROP_SIZE))
    for ax, picture, title in zip(axes, pictures, _TITLES, strict=False):
        _show(ax, picture, title)
    points = transform_points(face.landmarks, matrix)
    axes[2].scatter(points[:, 0], points[:, 1], s=3, c="lime")
    axes[3].set_xlabel(face.gender_label)


def _show(axes: Axes, picture: NDArray[np.uint8], title: str) -> None:
    axes.imshow(picture)
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])

"""Pictures of an evaluation: rows of faces, columns of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


def draw_columns(
    columns: Mapping[str, Sequence[NDArray[np.uint8]]],
    captions: Mapping[str, Sequence[str]] | None = None,
    *,
    side: float = 1.9,
) -> Figure:
    """Draw pictures side by side, one row a face and one column a method.

    Args:
        columns: Pictures by title, the same number in each column.
        captions: What to write under the pictures of a column, by its title.
        side: Side of a picture in inches.

    Returns:
        A figure that belongs to no window.

    Raises:
        ValueError: There is nothing to draw, or the columns differ in length.

    Example:
        >>> draw_columns({"masked": [np.zeros((8, 8, 3), np.uint8)]}).axes[0].get_title()
        'masked'
    """
    lengths = {title: len(pictures) for title, pictures in columns.items()}
    if not lengths or len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"columns must be of one length, at least 1. Received: {lengths}")
    count = next(iter(lengths.values()))
    height = side + (0.25 if captions else 0.03)
    size = (side * len(columns), height * count + 0.25)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(count, len(columns), squeeze=False)
    for column, (title, pictures) in enumerate(columns.items()):
        for row, picture in enumerate(pictures):
            axes = grid[row, column]
            axes.imshow(picture, cmap="gray")
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(title, fontsize=9)
            if captions and title in captions:
                axes.set_xlabel(captions[title][row], fontsize=8)
    return figure

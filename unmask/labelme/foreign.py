"""What a reader of another format says about one photo."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.errors import LabelmeError
from unmask.labelme.document import mask_shape, polygon_shape

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True, eq=False)
class Foreign:
    """One photo's annotations in another program's words.

    Attributes:
        photos: What the photo's file may be called, the likeliest first.
        where: The field that says so, for messages.
        shapes: From the photo's height and width to Labelme's shapes.
    """

    photos: Sequence[str]
    where: str
    shapes: Callable[[Size], Iterable[dict[str, Any]]]


def shapes_of_polygons(
    label: str, polygons: Sequence[NDArray[np.float64]], group: int
) -> list[dict[str, Any]]:
    """Return the shapes of an instance, which have a group only where there are several."""
    number = group if len(polygons) > 1 else None
    return [polygon_shape(label, polygon, number) for polygon in polygons]


def mask_of_runs(label: str, counts: Sequence[int], size: Size, where: str) -> dict[str, Any]:
    """Return the shape of run lengths down the columns, zeros first.

    Raises:
        LabelmeError: They do not fill the photo.
    """
    total = size[0] * size[1]
    if min(counts, default=0) < 0 or sum(counts) != total:
        raise LabelmeError(
            f"{where}: must be run lengths of {total} pixels in all. Received: {sum(counts)}"
        )
    flat = np.repeat(np.arange(len(counts)) % 2 > 0, counts)
    return mask_shape(label, flat.reshape(size, order="F"))


def check_size(said: object, real: int, where: str) -> None:
    """Compare a side with the photo's.

    Raises:
        LabelmeError: It is another.
    """
    if said != real:
        raise LabelmeError(f"{where}: is {said!r}, but the photo has {real}")

"""The picture of one mask and the six points that pin it to a face."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

POINT_NAMES = ("left_top", "nose_bridge", "right_top", "left_bottom", "chin", "right_bottom")


@dataclass(frozen=True)
class Loops:
    """The ear loops or straps of a mask, drawn on the face between the mask's side and the ear.

    Attributes:
        color: RGB, 0 to 255.
        width: Thickness as a fraction of the face's width.
        ends: Where the upper and the lower one leave the mask's side: 0 at its upper corner, 1 at
            its lower one.
    """

    color: tuple[int, int, int]
    width: float = 0.02
    ends: tuple[float, float] = (0.08, 0.92)


@dataclass(frozen=True, eq=False)
class MaskTemplate:
    """One mask, lying flat, with the points that are pinned to the face.

    Attributes:
        kind: Family of the mask, for example `"surgical"`; decides how it is worn.
        rgba: (H, W, 4) uint8, straight (not premultiplied) alpha: the mask's body without loops.
        points: (6, 2) float32, (x, y) in template pixels, in the order of `POINT_NAMES`. Left and
            right are those of the picture.
        view: Head pose that the picture was made for: `"front"`, `"left"` (its left half is the
            far, narrow one) or `"right"`.
        loops: Ear loops, None where they do not show.
        name: Templates of one name are views of the same mask.
    """

    kind: str
    rgba: NDArray[np.uint8] = field(repr=False)
    points: NDArray[np.float32] = field(repr=False)
    view: str = "front"
    loops: Loops | None = None
    name: str = ""

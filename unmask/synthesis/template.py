"""The picture of one mask and the six points that pin it to a face."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

KEY_POINT_NAMES = (
    "left_top",
    "nose_bridge",
    "right_top",
    "left_bottom",
    "chin",
    "right_bottom",
)

VIEWS = ("front", "left", "right")


@dataclass(frozen=True, eq=False)
class MaskTemplate:
    """One mask, lying flat, with the points that are pinned to the face.

    Args:
        kind: Family of the mask, for example `"surgical"`.
        rgba: `(H, W, 4)` uint8, straight (not premultiplied) alpha. Alpha is the mask's body alone;
            ear loops are drawn on the face.
        points: `(6, 2)` float32, (x, y) in template pixels, in the order of `KEY_POINT_NAMES`. Left
            and right are those of the picture.
        view: Head pose that the picture was made for: `"front"`, `"left"` (the picture's left half is
            the far one) or `"right"`.
        loop_color: RGB of the ear loops, or None for a mask without visible loops.
        loop_width: Thickness of a loop as a fraction of the mask's width.
    """

    kind: str
    rgba: np.ndarray = field(repr=False)
    points: np.ndarray = field(repr=False)
    view: str = "front"
    loop_color: tuple[int, int, int] | None = None
    loop_width: float = 0.02

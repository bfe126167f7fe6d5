"""Which part of a canonical crop a gender network looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from unmask.face import CROP_SIZE

View: TypeAlias = Literal["window", "whole"]


@dataclass(frozen=True)
class Framing:
    """A square window of the canonical crop, in its pixels.

    Attributes:
        left: First column.
        top: First row.
        side: Side.
        margin: Pixels around it that stored views have too.
    """

    left: int
    top: int
    side: int
    margin: int

    @property
    def view(self) -> tuple[int, int, int]:
        """The window as the networks' builders want it: left, top, side."""
        return self.left, self.top, self.side

    @property
    def stored_side(self) -> int:
        """Side of a stored view."""
        return self.side + 2 * self.margin


FRAMINGS: dict[View, Framing] = {
    # Tight face photos cover about this much of the crop; the rest would be fill.
    "window": Framing(48, 66, 160, 24),
    # As in the paper, whose pictures have the side of the crop.
    "whole": Framing(0, 0, CROP_SIZE, 0),
}

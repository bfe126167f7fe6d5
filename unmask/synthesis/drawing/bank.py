"""All kinds by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unmask.synthesis.drawing.cloth import draw_cloth
from unmask.synthesis.drawing.respirator import draw_respirator
from unmask.synthesis.drawing.surgical import draw_surgical
from unmask.synthesis.template import MaskTemplate

_DRAWERS: dict[str, Callable[[np.random.Generator], MaskTemplate]] = {
    "surgical": draw_surgical,
    "respirator": draw_respirator,
    "cloth": draw_cloth,
}

ALL_KINDS = tuple(_DRAWERS)


def draw_template(kind: str, rng: np.random.Generator) -> MaskTemplate:
    """Draw one mask of a kind.

    Raises:
        ValueError: For an unknown kind.
    """
    if kind not in _DRAWERS:
        raise ValueError(f"kind must be one of {ALL_KINDS}. Received: kind={kind!r}")
    return _DRAWERS[kind](rng)

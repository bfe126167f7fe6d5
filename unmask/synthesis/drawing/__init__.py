"""Masks drawn from scratch: `soft` and `stiff` ones, with `fabric` on a `canvas`."""

from __future__ import annotations

import numpy as np

from unmask.synthesis.drawing.soft import draw_bandana, draw_cloth, draw_surgical
from unmask.synthesis.drawing.stiff import draw_duckbill, draw_moulded, draw_respirator
from unmask.synthesis.template import MaskTemplate

# How often each kind is drawn: roughly what street and stock photos show.
SHARES = {
    "surgical": 0.36,
    "cloth": 0.22,
    "respirator": 0.16,
    "moulded": 0.14,
    "bandana": 0.07,
    "duckbill": 0.05,
}

_DRAWERS = {
    "surgical": draw_surgical,
    "cloth": draw_cloth,
    "respirator": draw_respirator,
    "moulded": draw_moulded,
    "bandana": draw_bandana,
    "duckbill": draw_duckbill,
}

ALL_KINDS = tuple(_DRAWERS)


def draw_template(kind: str, rng: np.random.Generator) -> MaskTemplate:
    """Draw one mask.

    Args:
        kind: One of `ALL_KINDS`.
        rng: Decides colours, folds, print, light; the same state draws the same mask.

    Returns:
        The template, 240 x 232 pixels.

    Raises:
        ValueError: For an unknown kind.

    Example:
        >>> import numpy as np
        >>> draw_template("cloth", np.random.default_rng(0)).rgba.shape
        (232, 240, 4)
    """
    if kind not in _DRAWERS:
        raise ValueError(f"kind must be one of {ALL_KINDS}. Received: kind={kind!r}")
    return _DRAWERS[kind](rng)

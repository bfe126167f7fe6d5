"""Masks drawn from scratch: `soft` and `stiff` ones, with `fabric` on a `canvas`."""

from __future__ import annotations

import numpy as np

from unmask.synthesis.drawing.soft import draw_bandana, draw_cloth, draw_surgical
from unmask.synthesis.drawing.stiff import draw_duckbill, draw_moulded, draw_respirator
from unmask.synthesis.template import MaskTemplate

# How often each kind is drawn: roughly what street and stock photos show.
_KINDS = {
    "surgical": (0.36, draw_surgical),
    "cloth": (0.22, draw_cloth),
    "respirator": (0.16, draw_respirator),
    "moulded": (0.14, draw_moulded),
    "bandana": (0.07, draw_bandana),
    "duckbill": (0.05, draw_duckbill),
}
ALL_KINDS = tuple(_KINDS)
SHARES = {kind: share for kind, (share, _) in _KINDS.items()}


def draw_template(kind: str, rng: np.random.Generator) -> MaskTemplate:
    """Draw a mask of one of `ALL_KINDS`; the same state of `rng` draws the same mask.

    Raises:
        ValueError: For an unknown kind.

    Example:
        >>> draw_template("cloth", np.random.default_rng(0)).rgba.shape
        (232, 240, 4)
    """
    if kind not in _KINDS:
        raise ValueError(f"kind must be one of {ALL_KINDS}. Received: kind={kind!r}")
    return _KINDS[kind][1](rng)

"""Black-and-white and toned photos: a filled part in full colour gives itself away in them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Root mean square distance, in grey levels, of a toned photo's colours from their smooth function
# of the brightness. JPEG keeps it below 2; a face in colour stays above 4 even in dull light.
_TONED = 2.5
_DEGREE = 2


def match_tint(
    completed: NDArray[np.uint8], hole: NDArray[np.bool_], valid: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Tone the filled part like the rest where the colour of the rest follows its brightness.

    So it does in black-and-white photos, and in brown or blue toned ones; other photos are left as
    they are.

    Args:
        completed: (h, w, 3) uint8 RGB crop with the hole filled.
        hole: (h, w) bool.
        valid: (h, w) bool, True where the crop shows the photo and not what was made up beyond
            its border; None for all of it.

    Returns:
        The crop, toned in the hole and beyond the photo's border.

    Example:
        >>> crop = np.full((8, 8, 3), 90, np.uint8)
        >>> hole = np.zeros((8, 8), bool)
        >>> hole[2:6, 2:6] = True
        >>> crop[hole] = 150, 90, 80
        >>> match_tint(crop, hole)[4, 4].tolist()
        [107, 107, 107]
    """
    grey = cv2.cvtColor(completed, cv2.COLOR_RGB2GRAY).astype(np.float32)
    made_up = hole if valid is None else hole | ~valid
    shown = ~made_up
    if not shown.any() or not hole.any():
        return completed
    known = grey[shown]
    # Scaled, so that the fit is well conditioned; what it knows of is where it may be used.
    terms = np.vander(known / 255.0, _DEGREE + 1)
    tints = completed[shown].astype(np.float32) - known[:, None]
    fit, *_ = np.linalg.lstsq(terms, tints, rcond=None)
    if np.sqrt(np.mean((terms @ fit - tints) ** 2)) > _TONED:
        return completed
    inside = grey[made_up]
    tint = np.vander(np.clip(inside, known.min(), known.max()) / 255.0, _DEGREE + 1) @ fit
    toned = completed.copy()
    toned[made_up] = np.clip(inside[:, None] + tint + 0.5, 0, 255).astype(np.uint8)
    return toned

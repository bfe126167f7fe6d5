"""Film grain: a filled part without noise gives itself away in a noisy photo."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.face import grow


def match_grain(
    completed: NDArray[np.uint8], hole: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Give the filled part the noise of the photo around it, where the photo has more.

    Args:
        completed: (h, w, 3) uint8 crop with the hole filled.
        hole: (h, w) bool.
        rng: Source of the noise.

    Returns:
        The crop with noise in the hole.
    """
    grey = cv2.cvtColor(completed, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.0)
    around = grow(hole, 24) & ~grow(hole, 3)
    if around.sum() < 50:
        return completed
    # The median of |x| of Gaussian noise is 0.6745 sigma; lashes and lines do not move it much.
    wanted, present = (float(np.median(np.abs(fine[a]))) / 0.6745 for a in (around, hole))
    missing = min(np.sqrt(max(wanted**2 - present**2, 0.0)), 6.0)
    if missing < 0.3:
        return completed
    noise = rng.normal(0, missing, grey.shape)[..., None] * hole[..., None]
    return np.clip(completed + noise + 0.5, 0, 255).astype(np.uint8)

"""Which way a head is turned, as far as its landmarks say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.landmark_layout import LAYOUTS

TURNED = 0.35
"""Heads with at least this `head_turn` count as turned: one in six of UTKFace's."""


def head_turn(landmarks: NDArray[np.floating]) -> float:
    """Say how far a head is turned to one side.

    Args:
        landmarks: (98, 2) or (68, 2) points in any unit.

    Returns:
        -1 to 1 for plausible faces: the difference of the nose tip's distances from the two cheeks
        along the line of the eyes, as a share of their sum. 0 is frontal; positive when the nose
        points to the right of the picture; at 0.5 it is three times as far from one cheek as from
        the other.

    Raises:
        ValueError: `landmarks` has another shape.

    Example:
        >>> points = np.zeros((98, 2))
        >>> points[4], points[54], points[28], points[72] = (0, 0), (75, 0), (100, 0), (60, 0)
        >>> head_turn(points)
        0.5
    """
    if landmarks.shape not in ((98, 2), (68, 2)):
        raise ValueError(f"landmarks must be (98, 2) or (68, 2). Received: shape={landmarks.shape}")
    points = landmarks.astype(np.float64)
    layout = LAYOUTS[len(points)]
    first, second = layout.outer_eye_corners
    eyes, tip = points[second] - points[first], points[layout.nose_tip]
    left, right = (float((tip - points[cheek]) @ eyes) for cheek in layout.cheeks)
    width = left - right
    return (left + right) / width if width else 0.0


def is_turned(landmarks: NDArray[np.floating]) -> bool:
    """Say whether a head counts as turned; argument as for `head_turn`."""
    return abs(head_turn(landmarks)) >= TURNED

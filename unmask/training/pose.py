"""Which way a head is turned, as far as its landmarks say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TURNED = 0.35
"""Heads with at least this `head_turn` count as turned: one in six of UTKFace's."""

_CHEEKS, _NOSE_TIP, _EYE_CORNERS = (4, 28), 54, (60, 72)


def head_turn(landmarks: NDArray[np.floating]) -> float:
    """Say how far a head is turned to one side.

    Args:
        landmarks: (98, 2) points in any unit.

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
    if landmarks.shape != (98, 2):
        raise ValueError(f"landmarks must be (98, 2). Received: shape={landmarks.shape}")
    points = landmarks.astype(np.float64)
    eyes = points[_EYE_CORNERS[1]] - points[_EYE_CORNERS[0]]
    left, right = (float((points[_NOSE_TIP] - points[cheek]) @ eyes) for cheek in _CHEEKS)
    width = left - right
    return (left + right) / width if width else 0.0


def is_turned(landmarks: NDArray[np.floating]) -> bool:
    """Say whether a head counts as turned; argument as for `head_turn`."""
    return abs(head_turn(landmarks)) >= TURNED

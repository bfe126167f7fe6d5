"""WFLW's 98 facial points and iBUG's 68: their regions, mirrors and correspondence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


def _indices(*values: int) -> NDArray[np.intp]:
    array = np.array(values, dtype=np.intp)
    array.setflags(write=False)
    return array


def _mirror(count: int, pairs: list[tuple[int, int]]) -> NDArray[np.intp]:
    """Permutation that swaps each pair and keeps the points of the midline."""
    mirror = np.arange(count)
    for left, right in pairs:
        mirror[left], mirror[right] = right, left
    return _indices(*mirror.tolist())


REGIONS_98: Mapping[str, NDArray[np.intp]] = MappingProxyType(
    {
        "jaw": _indices(*range(33)),
        "brows": _indices(*range(33, 51)),
        "nose": _indices(*range(51, 60)),
        "eyes": _indices(*range(60, 76), 96, 97),
        "mouth": _indices(*range(76, 96)),
    }
)
"""Indices of the 98 points by part of the face; every point belongs to exactly one part."""

MIRROR_98 = _mirror(
    98,
    [(i, 32 - i) for i in range(16)]
    + [(33, 46), (34, 45), (35, 44), (36, 43), (37, 42)]
    + [(38, 50), (39, 49), (40, 48), (41, 47)]
    + [(55, 59), (56, 58)]
    + [(60, 72), (61, 71), (62, 70), (63, 69), (64, 68), (65, 75), (66, 74), (67, 73)]
    + [(76, 82), (77, 81), (78, 80), (83, 87), (84, 86)]
    + [(88, 92), (89, 91), (93, 95), (96, 97)],
)
"""``points[MIRROR_98]`` renames the 98 points of a mirrored face."""

MIRROR_68 = _mirror(
    68,
    [(i, 16 - i) for i in range(8)]
    + [(17, 26), (18, 25), (19, 24), (20, 23), (21, 22)]
    + [(31, 35), (32, 34)]
    + [(36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)]
    + [(48, 54), (49, 53), (50, 52), (55, 59), (56, 58)]
    + [(60, 64), (61, 63), (65, 67)],
)
"""``points[MIRROR_68]`` renames the 68 points of a mirrored face."""

POINTS_98_TO_68 = _indices(
    *range(0, 33, 2),  # jaw: every second point of the contour
    *range(33, 38),  # brow, its upper edge from the temple to the nose
    *range(42, 47),
    *range(51, 60),  # nose: the same nine points
    *(60, 61, 63, 64, 65, 67),  # lids: 98 marks quarters, 68 marks thirds
    *(68, 69, 71, 72, 73, 75),
    *range(76, 96),  # mouth: the same twenty points
)
"""``points98[POINTS_98_TO_68]`` are the iBUG points nearest in meaning, in iBUG's order."""


def flip_landmarks(points: NDArray[np.floating], width: int) -> NDArray[np.floating]:
    """Landmarks of the horizontally mirrored image.

    Args:
        points: (..., 98, 2) or (..., 68, 2), (x, y) pixels with pixel centres at integers.
        width: Width of the image in pixels.

    Returns:
        A new array of the same shape and dtype: x becomes ``width - 1 - x``, and left and right
        points change places.

    Raises:
        ValueError: The array holds neither 98 nor 68 points.

    Example:
        >>> import numpy as np
        >>> points = np.zeros((98, 2), np.float32)
        >>> points[96] = 10, 5  # the pupil on the left of the image
        >>> flip_landmarks(points, width=256)[97].tolist()
        [245.0, 5.0]
    """
    mirrors = {98: MIRROR_98, 68: MIRROR_68}
    count = points.shape[-2] if points.ndim >= 2 else 0
    if count not in mirrors or points.shape[-1] != 2:
        raise ValueError(
            f"points must have the shape (..., 98, 2) or (..., 68, 2). "
            f"Received: points.shape={points.shape}"
        )
    flipped = points[..., mirrors[count], :]  # fancy indexing: already a copy
    flipped[..., 0] = width - 1 - flipped[..., 0]
    return flipped

"""WFLW's 98 facial points and iBUG's 68: where which part is, mirrors, correspondence, pose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Layout:
    """Which of a face's points are what; left and right are those of the picture.

    Attributes:
        jaw: The outline from ear to ear.
        brows: Left and right.
        nose: Bridge and base.
        eyes: Left and right, the lids alone.
        mouth: Outer and inner lips.
        lips: The outer line of the lips.
        bridge: The uppermost point of the nose.
        nose_tip: Its tip.
        cheeks: A point of the jaw on either side, at the height of the nose.
        eye_corners: Outer, inner, inner, outer.
        mouth_corners: Left and right.
    """

    jaw: slice
    brows: tuple[slice, slice]
    nose: slice
    eyes: tuple[slice, slice]
    mouth: slice
    lips: slice
    bridge: int
    nose_tip: int
    cheeks: tuple[int, int]
    eye_corners: tuple[int, int, int, int]
    mouth_corners: tuple[int, int]

    @property
    def both_eyes(self) -> slice:
        """The lids of both eyes."""
        return slice(self.eyes[0].start, self.eyes[1].stop)

    @property
    def outer_eye_corners(self) -> tuple[int, int]:
        """The corners whose distance errors are divided by."""
        return self.eye_corners[0], self.eye_corners[3]


LAYOUTS: Mapping[int, Layout] = MappingProxyType(
    {
        98: Layout(
            jaw=slice(0, 33),
            brows=(slice(33, 42), slice(42, 51)),
            nose=slice(51, 60),
            eyes=(slice(60, 68), slice(68, 76)),
            mouth=slice(76, 96),
            lips=slice(76, 88),
            bridge=51,
            nose_tip=54,
            cheeks=(4, 28),
            eye_corners=(60, 64, 68, 72),
            mouth_corners=(76, 82),
        ),
        68: Layout(
            jaw=slice(0, 17),
            brows=(slice(17, 22), slice(22, 27)),
            nose=slice(27, 36),
            eyes=(slice(36, 42), slice(42, 48)),
            mouth=slice(48, 68),
            lips=slice(48, 60),
            bridge=27,
            nose_tip=30,
            cheeks=(2, 14),
            eye_corners=(36, 39, 42, 45),
            mouth_corners=(48, 54),
        ),
    }
)
"""The two layouts by their numbers of points; `LAYOUTS[len(landmarks)]` is that of a face."""

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

BOUNDARIES_98: tuple[tuple[int, ...], ...] = (
    tuple(range(33)),  # jaw
    tuple(range(33, 38)),  # brows, upper edge
    tuple(range(42, 47)),
    tuple(range(51, 55)),  # line of the nose
    tuple(range(55, 60)),  # base of the nose
    (60, 61, 62, 63, 64),  # lids: upper, lower
    (60, 67, 66, 65, 64),
    (68, 69, 70, 71, 72),
    (68, 75, 74, 73, 72),
    tuple(range(76, 83)),  # lips: outer upper, outer lower, inner upper, inner lower
    (76, 87, 86, 85, 84, 83, 82),
    (88, 89, 90, 91, 92),
    (88, 95, 94, 93, 92),
)
"""The curves of AdaptiveWingLoss's boundary map, as indices of the 98 points."""

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

"""What the synthesis needs to know of a face, from 98 or 68 landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unmask.landmark_layout import LAYOUTS

_JAW_POINTS = 33
# Share of the face's width on the narrower side of the nose below which a head counts as turned.
_TURNED = 0.33


@dataclass(frozen=True)
class Head:
    """The parts of a landmark set that masks are pinned to, the same for both layouts.

    Attributes:
        jaw: (33, 2) from the temple on the left of the picture (0) over the chin (16) to the right.
        bridge: (2,) between the eyes, where the nose begins.
        nose_tip: (2,).
        mouth: (2,) middle of the mouth corners.
        eyes: (2,) middle of the four eye corners.
    """

    jaw: np.ndarray
    bridge: np.ndarray
    nose_tip: np.ndarray
    mouth: np.ndarray
    eyes: np.ndarray

    def jaw_at(self, position: float) -> np.ndarray:
        """Return the point at a fractional index along the jaw, `0 <= position <= 32`."""
        low = min(int(position), _JAW_POINTS - 2)
        return self.jaw[low] + (position - low) * (self.jaw[low + 1] - self.jaw[low])

    @property
    def chin(self) -> np.ndarray:
        """The lowest jaw point, `(2,)`."""
        return self.jaw[16]

    def view(self) -> str:
        """Return `"front"`, or the half that is turned away: `"left"` or `"right"`."""
        chord = self.jaw[26] - self.jaw[6]
        share = float((self.nose_tip - self.jaw[6]) @ chord) / max(float(chord @ chord), 1e-6)
        if share < _TURNED:
            return "left"
        return "right" if share > 1 - _TURNED else "front"


def head_from_landmarks(landmarks: np.ndarray) -> Head:
    """Read a `Head` from WFLW's 98 points or from the 68 iBUG points.

    Args:
        landmarks: (98, 2) or (68, 2), (x, y) in pixels.

    Returns:
        The head, in the same pixels.

    Raises:
        ValueError: For another shape, or points that are not finite.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape not in ((98, 2), (68, 2)):
        raise ValueError(
            f"landmarks must have the shape (98, 2) or (68, 2). Received: shape={points.shape}"
        )
    if not np.isfinite(points).all():
        raise ValueError("landmarks must be finite. Received: landmarks with NaN or infinity")
    layout = LAYOUTS[len(points)]
    jaw = points[layout.jaw]
    if len(jaw) < _JAW_POINTS:
        half, jaw = jaw, np.empty((_JAW_POINTS, 2))
        jaw[::2] = half
        jaw[1::2] = (half[:-1] + half[1:]) / 2
    return Head(
        jaw,
        points[layout.bridge],
        points[layout.nose_tip],
        points[list(layout.mouth_corners)].mean(0),
        points[list(layout.eye_corners)].mean(0),
    )

"""How a mask sits on a face: its surface, and the variation between wearers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unmask.landmark_layout import LAYOUTS
from unmask.synthesis.surface import Points, Surface, surface_through

_JAW_POINTS = 33
# Share of the face's width on the narrower side of the nose below which a head counts as turned.
_TURNED = 0.33
_UNDER_NOSE_SHARE = 0.03
# Largest share of a mask's width between its near border and the line of the nose.
_MOST_TURNED = 0.88


@dataclass(frozen=True)
class Head:
    """The parts of a landmark set that masks are pinned to, (2,) each; alike in both layouts."""

    jaw: np.ndarray  # (33, 2) from the temple on the picture's left (0) over the chin (16)
    bridge: np.ndarray  # between the eyes, where the nose begins
    nose_tip: np.ndarray
    mouth: np.ndarray  # middle of the mouth corners
    eyes: np.ndarray  # middle of the four eye corners

    def jaw_at(self, position: float) -> np.ndarray:
        """Return the point at a fractional index along the jaw, `0 <= position <= 32`."""
        low = min(int(position), _JAW_POINTS - 2)
        return self.jaw[low] + (position - low) * (self.jaw[low + 1] - self.jaw[low])

    def view(self) -> str:
        """Return `"front"`, or the half that is turned away: `"left"` or `"right"`."""
        chord = self.jaw[26] - self.jaw[6]
        share = float((self.nose_tip - self.jaw[6]) @ chord) / max(float(chord @ chord), 1e-6)
        if share < _TURNED:
            return "left"
        return "right" if share > 1 - _TURNED else "front"


@dataclass(frozen=True)
class Fit:
    """Where one kind of mask lies on an average wearer."""

    # Jaw indices of the upper corner, the side border at the height of the mouth, and the lower
    # corner, on the left; mirrored on the right.
    rows: tuple[float, float, float]
    # How far these lie towards the jaw line: 0 at the middle of the face, 1 on the line.
    reach: tuple[float, float, float]
    # Upper edge on the nose: 0 between the eyes, 1 at its tip.
    bridge: float
    # How far the lower edge lies below the chin, and the middle stands off a turned head, as
    # fractions of the distance from the eyes to the chin.
    drop: float
    bulge: float


FITS = {
    "surgical": Fit((2.7, 6.8, 10.6), (0.95, 1.0, 1.03), 0.38, 0.05, 0.06),
    "cloth": Fit((2.8, 6.8, 10.8), (0.97, 1.01, 1.03), 0.38, 0.05, 0.07),
    "respirator": Fit((4.0, 7.2, 10.4), (0.88, 0.97, 1.0), 0.28, 0.06, 0.11),
    "moulded": Fit((2.8, 6.8, 10.8), (0.96, 1.0, 1.03), 0.38, 0.04, 0.07),
    "bandana": Fit((2.4, 6.0, 9.2), (1.04, 1.05, 1.06), 0.40, 0.28, 0.06),
    "duckbill": Fit((4.4, 7.2, 10.2), (0.86, 0.97, 1.0), 0.30, 0.06, 0.12),
}


def head_from_landmarks(landmarks: np.ndarray) -> Head:
    """Read a head from (98, 2) or (68, 2) landmarks, in the same pixels.

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


def wear(head: Head, fit: Fit, rng: np.random.Generator) -> Surface:
    """Lay a mask onto a face; `rng` has the wearer's habits: height, width, tilt, nose bare."""
    return surface_through(_anchors(head, fit, rng))


def _anchors(head: Head, fit: Fit, rng: np.random.Generator) -> Points:
    """Upper edge, height of the mouth, lower edge; each left, middle, right: (3, 3, 2)."""
    chin = head.jaw[16]
    down = chin - head.eyes
    lower = rng.normal(0, 0.45)
    bridge = fit.bridge + rng.normal(0, 0.11) + 0.05 * lower
    between = 0.95
    if rng.random() < _UNDER_NOSE_SHARE:
        bridge, lower, between = 1.1 + rng.uniform(0, 0.25), 2.0, 1.15
    axis = (
        head.bridge + bridge * (head.nose_tip - head.bridge),
        head.nose_tip + between * (head.mouth - head.nose_tip),
        chin + (fit.drop + rng.normal(0, 0.02)) * down,
    )
    inner = (axis[0], axis[1], head.mouth)
    reach = np.asarray(fit.reach) + rng.normal(0, 0.02, 3) + rng.normal(0.005, 0.03)
    rows = np.add(fit.rows, (lower, 0.6 * lower, rng.normal(0, 0.4)))
    tilt = rng.normal(0, 0.25)
    anchors = np.empty((3, 3, 2))
    for row, index in enumerate(rows):
        anchors[row, 1] = axis[row]
        for column, position in ((0, index + tilt), (2, 32 - index + tilt)):
            edge = head.jaw_at(float(np.clip(position, 0, 32)))
            anchors[row, column] = inner[row] + reach[row] * (edge - inner[row])
    _stand_off(anchors, fit.bulge * float(np.hypot(*down)))
    return anchors


def _stand_off(anchors: Points, distance: float) -> None:
    """Move the middle of a turned mask away from the head: cloth before the nose is nearer.

    The far border then gives way, as it does where a mask turns out of sight.
    """
    chord = anchors[1, 2] - anchors[1, 0]
    length = max(float(np.hypot(*chord)), 1e-6)
    across = chord / length
    turn = np.clip(2 * float((anchors[1, 1] - anchors[1, 0]) @ across) / length - 1, -1, 1)
    anchors[1, 1] += distance * turn * across
    for left, middle, right in anchors:
        for far, near in ((right, left), (left, right)):
            span = float((middle - near) @ across)
            missing = span / _MOST_TURNED - float((far - near) @ across)
            if missing * np.sign(span) > 0:
                far += missing * across

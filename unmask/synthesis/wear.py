"""How a mask sits on a face: the nine points of its surface, with the variation of real wearers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unmask.synthesis.head import Head


@dataclass(frozen=True)
class Fit:
    """Where one kind of mask is pinned, for an average wearer.

    Args:
        top: Jaw index (0 temple, 16 chin) of the upper corner on the left side; mirrored on the right.
        middle: Jaw index of the side border at the height of the nose tip.
        bottom: Jaw index of the lower corner.
        reach: How far the side border lies towards the jaw line: 1 on it, 0 at the middle of the face. For the upper,
            middle and lower border point.
        bridge: Upper edge on the nose: 0 between the eyes, 1 at its tip.
        drop: How far the lower edge lies under the chin, as a fraction of the eyes-to-chin distance.
        bulge: How far the middle stands off a turned head, as a fraction of the eyes-to-chin distance.
    """

    top: float
    middle: float
    bottom: float
    reach: tuple[float, float, float]
    bridge: float
    drop: float
    bulge: float = 0.04


FITS: dict[str, Fit] = {
    "surgical": Fit(3.6, 6.6, 10.2, (0.95, 1.0, 1.0), 0.36, 0.05),
    "respirator": Fit(4.2, 6.8, 9.5, (0.88, 0.95, 0.95), 0.28, 0.06, 0.10),
    "cloth": Fit(3.4, 6.2, 10.0, (0.98, 1.01, 1.01), 0.36, 0.05, 0.06),
    "duckbill": Fit(4.6, 6.8, 9.4, (0.86, 0.93, 0.95), 0.30, 0.06, 0.12),
    "bandana": Fit(2.6, 5.6, 9.6, (1.03, 1.05, 1.04), 0.40, 0.30, 0.04),
}


def anchors(
    head: Head, fit: Fit, rng: np.random.Generator, *, low_share: float = 0.03
) -> np.ndarray:
    """Return the nine points that carry the mask.

    Args:
        head: The face.
        fit: The kind's average seat.
        rng: Source of the wearer's habits: height, width, tilt.
        low_share: Share of masks worn under the nose.

    Returns:
        `(3, 3, 2)`: upper edge, height of the nose tip, lower edge; each left, middle, right. Pixels.
    """
    down = head.chin - head.eyes
    length = max(float(np.hypot(*down)), 1e-6)
    bridge = fit.bridge + rng.normal(0, 0.11)
    lower = rng.normal(0, 0.25)
    under_nose = rng.random() < low_share
    if under_nose:
        bridge, lower = 1.12 + rng.uniform(0, 0.2), 1.8
    reach = np.asarray(fit.reach) + rng.normal(0, 0.02, 3) + rng.normal(0, 0.025)
    tilt = rng.normal(0, 0.25)
    drop = fit.drop + rng.normal(0, 0.018)
    top, middle, bottom = (
        fit.top + lower,
        fit.middle + 0.6 * lower,
        fit.bottom + rng.normal(0, 0.35),
    )

    axis = np.stack(
        [
            head.bridge + bridge * (head.nose_tip - head.bridge),
            head.nose_tip + (0.6 if not under_nose else 0.9) * (head.mouth - head.nose_tip),
            head.chin + drop * down,
        ]
    )
    rows = np.empty((3, 3, 2))
    for row, (index, center) in enumerate(zip((top, middle, bottom), axis, strict=True)):
        for column, position in ((0, index + tilt), (2, 32 - index + tilt)):
            edge = head.jaw_at(float(np.clip(position, 0, 32)))
            inner = center if row < 2 else head.mouth
            rows[row, column] = inner + reach[row] * (edge - inner)
        rows[row, 1] = center
    # On a turned head the nose lies off the middle of the jaw; the cloth in front of it lies further off.
    chord = rows[1, 2] - rows[1, 0]
    turn = float(
        np.clip(2 * ((rows[1, 1] - rows[1, 0]) @ chord) / max(chord @ chord, 1e-6) - 1, -1, 1)
    )
    rows[1, 1] += fit.bulge * length * turn * chord / max(float(np.hypot(*chord)), 1e-6)
    return rows

"""Draw the demo's portraits under every kind of mask into docs/images/gallery.jpg.

Run `python -m tools.draw_gallery` after a change to a network: the masks are the same every time,
so that two versions of the picture can be laid beside each other.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.demo import portraits
from unmask.face import canonical_matrix, square_matrix, warp
from unmask.image import save_image
from unmask.landmarks.predict import locate_landmarks
from unmask.pipeline import Unmasker
from unmask.synthesis import ALL_KINDS, MaskSynthesizer

_OUT = Path(__file__).parent.parent / "docs" / "images" / "gallery.jpg"
_SIDE, _GAP, _SEED = 192, 6, 11


def draw() -> NDArray[np.uint8]:
    """Return a row a kind: for each portrait what it wears, and what is painted."""
    unmasker = Unmasker()
    rows = []
    for number, kind in enumerate(ALL_KINDS):
        synthesizer = MaskSynthesizer(_SEED, kinds=(kind,))
        row = []
        for portrait in portraits():
            guess = square_matrix(portrait.center, portrait.side)
            points = locate_landmarks(unmasker.landmarks, portrait.image, guess, mirror=True)
            masked = synthesizer(portrait.image, points.points[0], number).image
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a mask that is not found stays, and is seen
                result = unmasker(masked)
            matrix = canonical_matrix(points.points[0], _SIDE)
            row += [_framed(warp(image, matrix, _SIDE)) for image in (masked, result.image)]
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows, axis=0)


def _framed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(image, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255)


if __name__ == "__main__":
    save_image(_OUT, draw())

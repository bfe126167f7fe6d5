"""This package's own pipeline under the signature of its rivals."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.errors import PhotoWarning
from unmask.pipeline import Unmasker
from unmask.rivals.completion import Complete, check


def load(preset: str, weights_dir: Path | None) -> Complete:
    """Load a preset and return what completes images with it.

    The gender decides about the weights, and landmarks that are not given are found around the
    hole. Of a face that cannot be completed (too small a hole) the image comes back as it is.
    """
    unmasker = Unmasker(preset, weights_dir)
    # All but the segmentation, since the hole is given.
    _ = unmasker.landmarks, unmasker.gender, unmasker.coarse, unmasker.generators

    def complete(
        image: NDArray[np.uint8],
        hole: NDArray[np.bool_],
        landmarks: NDArray[np.floating] | None = None,
        *,
        seed: int = 0,
    ) -> NDArray[np.uint8]:
        check(image, hole)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PhotoWarning)
            result = unmasker(image, mask=hole, landmarks=landmarks, seed=seed)
        return np.where(hole[..., None], result.image, image)

    return complete

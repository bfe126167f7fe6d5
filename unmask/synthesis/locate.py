"""Finding the one face of a bare portrait, from where it should be or by looking for it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError
from unmask.face import square_matrix
from unmask.landmarks.predict import LandmarkPrediction, locate_landmarks
from unmask.synthesis.sources import FRAMINGS, Framing

if TYPE_CHECKING:
    import keras

# Below this mean height of the heatmaps' peaks there is no face (noise and things reach 0.13).
MIN_CONFIDENCE = 0.14

# The cascade looks at pictures of at most this side, for faces from a tenth of it up.
_CASCADE_SIDE = 256
_SMALLEST_FACE = 24
# The canonical crop's side in sides of the cascade's box (measured on portraits: 2.1 to 2.2).
_CROP_PER_BOX = 2.15
# So many of the cascade's answers are looked at, the largest first.
_ANSWERS = 3


class FaceLocator:
    """Finds the landmarks of the one face (the largest) of a portrait without a mask.

    Args:
        model: The landmark network.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    def __call__(
        self, image: NDArray[np.uint8], framing: Framing | None = None
    ) -> LandmarkPrediction:
        """Find the landmarks, (1, 98, 2), of a face that is looked for where no framing is known.

        Raises:
            DataError: There is no face, or none that the network recognises.
        """
        guesses = self._search(image) if framing is None else [_crop(image, framing)]
        found = [locate_landmarks(self._model, image, g, mirror=True) for g in guesses]
        best = max(found, key=lambda f: float(f.confidence[0]))
        if best.confidence[0] < MIN_CONFIDENCE:
            raise DataError(f"no face found (confidence {best.confidence[0]:.2f})")
        return best

    def _search(self, image: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
        """Guess crops: around what the cascade finds, else as collections frame portraits."""
        scale = min(1.0, _CASCADE_SIDE / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        boxes = self._cascade.detect_multi_scale(
            img=small,
            scale_factor=1.15,
            step_ratio=1,
            min_size=(_SMALLEST_FACE,) * 2,
            max_size=(min(small.shape[:2]),) * 2,
        )
        boxes = sorted(boxes, key=lambda box: (-box["width"], box["r"], box["c"]))[:_ANSWERS]
        if not boxes:
            return [_crop(image, FRAMINGS[name]) for name in ("ffhq", "utkface")]
        guesses = []
        for box in boxes:
            x, y = box["c"] + box["width"] / 2, box["r"] + box["height"] / 2
            side = _CROP_PER_BOX * box["width"] / scale
            guesses.append(square_matrix((x / scale - 0.5, y / scale - 0.5), side))
        return guesses

    @cached_property
    def _cascade(self) -> Any:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade

        return Cascade(lbp_frontal_face_cascade_filename())


def _crop(image: NDArray[np.uint8], framing: Framing) -> NDArray[np.float64]:
    """Return the (2, 3) matrix from an image to the crop that a framing means."""
    height, width = image.shape[:2]
    center = (framing.x * width - 0.5, framing.y * height - 0.5)
    return square_matrix(center, framing.side * width)

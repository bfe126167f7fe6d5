"""A third-party landmark network in ONNX, to compare with; run by OpenCV."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.face import canonical_matrix, compose, invert, transform_points, warp

_INPUT = 112
# PFLD expects a face box that is made square and grown. In the canonical crop of 256 pixels this
# square serves it best (least error on 73 bare training photos; a detector's boxes serve it worse).
_CENTER, _SIDE = (127.5, 160.0), 180.0


class PfldLocator:
    """A PFLD with 98 points as a locator, see :data:`unmask.landmarks.evaluate.Locator`.

    Args:
        path: ONNX file with an input (1, 3, 112, 112), RGB in [0, 1], and 98 points as fractions
            of the input square, (1, 196).
        passes: Passes through the network, as for ours: each further one cuts the face out anew,
            upright, by the points found before.

    Raises:
        WeightsError: The file is missing or OpenCV cannot read it.

    Example:
        >>> locator = PfldLocator("pfld_ghostone_wflw98.onnx")  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str], *, passes: int = 2) -> None:
        if not Path(path).is_file():
            raise WeightsError(f"{path}: no such file")
        try:
            self._network = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise WeightsError(f"{path}: OpenCV cannot read it ({error})") from error
        self._passes = passes

    def __call__(
        self, photo: NDArray[np.uint8], guess: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Find the (98, 2) points in photo pixels, from a matrix to about the canonical crop."""
        scale = _INPUT / _SIDE
        shift = (_INPUT - 1) / 2 - scale * np.array(_CENTER)
        square = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
        matrix = np.asarray(guess, np.float64)
        for i in range(self._passes):
            to_input = compose(square, matrix)
            crop = np.asarray(warp(photo, to_input, _INPUT), np.uint8)
            points = transform_points(self.predict(crop[None])[0], invert(to_input))
            if i < self._passes - 1:
                matrix = canonical_matrix(points)
        return np.asarray(points, np.float32)

    def predict(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Find the landmarks of square face crops.

        Args:
            crops: (B, 112, 112, 3) uint8 RGB.

        Returns:
            (B, 98, 2) float32, (x, y) in crop pixels.
        """
        images = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32) / 255
        found = []
        for image in images:  # the published file has a batch of one
            self._network.setInput(image[None])
            found.append(self._network.forward().reshape(98, 2))
        return np.stack(found).astype(np.float32) * _INPUT - np.float32(0.5)

"""What all systems do alike: one signature, and the way from a photo to the network and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 256
"""Side, in pixels, of the images that the published networks were trained on."""

HIDDEN = 1e-3
"""Share of a pixel in the hole from which on it is hidden."""

Paint = Callable[[NDArray[np.float32], NDArray[np.float32], int], NDArray[np.float32]]
"""From an image (1, 256, 256, 3) in [0, 1], whose hole is black, a mask (1, 256, 256, 1) with 1 in
the hole, and a seed to the painted image."""


class Complete(Protocol):
    """Completes the hidden part of a face."""

    def __call__(
        self,
        image: NDArray[np.uint8],
        hole: NDArray[np.bool_],
        landmarks: NDArray[np.floating] | None = None,
        *,
        seed: int = 0,
    ) -> NDArray[np.uint8]:
        """Complete one image.

        Args:
            image: (H, W, 3) uint8 RGB.
            hole: (H, W) bool, True where it is to be completed.
            landmarks: (98, 2) or (68, 2) points in pixels, for systems that are guided by them.
            seed: For systems with several answers: which of them.

        Returns:
            (H, W, 3) uint8; the known pixels are those of `image`.

        Raises:
            ValueError: A shape or type does not fit.
        """
        ...


def check(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> None:
    """Check the arguments of a `Complete`.

    Raises:
        ValueError: A shape or type does not fit.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            f"image must be (H, W, 3) uint8. Received: shape={image.shape}, dtype={image.dtype}"
        )
    if hole.shape != image.shape[:2] or hole.dtype != bool:
        raise ValueError(
            f"hole must be {image.shape[:2]} bool. Received: shape={hole.shape}, dtype={hole.dtype}"
        )


def completer(paint: Paint) -> Complete:
    """Return what completes images of any size by a network for squares of 256 pixels.

    An image is made square by mirroring its shorter side, and resized; so is the result. What it
    shows in the hole has no influence. Values are cut to whole numbers, as the published codes do.

    Args:
        paint: The network.

    Example:
        >>> complete = completer(lambda image, mask, seed: image + 0.5)
        >>> image, hole = np.zeros((40, 60, 3), np.uint8), np.eye(40, 60, dtype=bool)
        >>> complete(image, hole)[7, 7].tolist()
        [127, 127, 127]
    """

    def complete(
        image: NDArray[np.uint8],
        hole: NDArray[np.bool_],
        landmarks: NDArray[np.floating] | None = None,
        *,
        seed: int = 0,
    ) -> NDArray[np.uint8]:
        check(image, hole)
        if not hole.any():
            return image.copy()
        height, width = hole.shape
        side = max(height, width)
        edges = (0, side - height, 0, side - width, cv2.BORDER_REFLECT)
        square = cv2.copyMakeBorder(image, *edges).astype(np.float32) / 255.0
        hidden = cv2.copyMakeBorder(hole.astype(np.float32), *edges)[..., None]
        # Averages of known pixels alone; a pixel that is hidden in part is hidden.
        mask = (_resize(hidden, SIDE) > HIDDEN).astype(np.float32)
        known = _resize(square * (1.0 - hidden), SIDE) * (1.0 - mask)
        painted = paint(known[None], mask[None], seed)[0]
        result = _resize(painted * mask + known, side)[:height, :width]
        pixels = (np.clip(result, 0.0, 1.0) * 255.0).astype(np.uint8)
        return np.where(hole[..., None], pixels, image)

    return complete


def _resize(image: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    if image.shape[0] == side:
        return image
    method = cv2.INTER_AREA if image.shape[0] > side else cv2.INTER_LINEAR
    resized = cv2.resize(image, (side, side), interpolation=method)
    return np.asarray(resized, np.float32).reshape(side, side, -1)

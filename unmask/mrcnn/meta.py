"""The vector that describes an image to the network.

Numbers of the image and of its original size, the size of the network's input, the window of the
real image in it, the scale, and which classes the image's source knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FIELDS = {
    "image_id": 0,
    "original_image_shape": slice(1, 4),
    "image_shape": slice(4, 7),
    "window": slice(7, 11),
    "scale": 11,
    "active_class_ids": slice(12, None),
}


class Meta(NamedTuple):
    """The parts of image vectors (N, 12 + classes), arrays or tensors.

    Attributes:
        image_id: (N,).
        original_image_shape: (N, 3) height, width and channels of the photo.
        image_shape: (N, 3) the same of the network's input.
        window: (N, 4) pixels, the real image inside the padding.
        scale: (N,).
        active_class_ids: (N, classes), 1 where the image's source knows the class.
    """

    image_id: Any
    original_image_shape: Any
    image_shape: Any
    window: Any
    scale: Any
    active_class_ids: Any


def compose_image_meta(
    image_id: int,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int],
    scale: float,
    active_class_ids: ArrayLike,
) -> NDArray[np.float64]:
    """Return the vector of one image.

    Example:
        >>> window = (32, 0, 96, 128)
        >>> vector = compose_image_meta(7, (50, 100, 3), (128, 128, 3), window, 1.28, [1, 1])
        >>> len(vector), vector[7:11].tolist()
        (14, [32.0, 0.0, 96.0, 128.0])
    """
    parts = [
        [image_id], original_image_shape, image_shape, window, [scale], np.asarray(active_class_ids)
    ]  # fmt: skip
    return np.concatenate([np.asarray(part, np.float64).ravel() for part in parts])


def split_meta(meta: Any) -> Meta:
    """Return the parts of image vectors (N, 12 + classes) as they are."""
    return Meta(**{name: meta[:, where] for name, where in _FIELDS.items()})


def parse_image_meta(meta: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the parts of image vectors (N, 12 + classes) as arrays, whole numbers as integers."""
    parts = split_meta(np.asarray(meta))._asdict()
    return {
        name: value.astype(np.float32 if name == "scale" else np.int32)
        for name, value in parts.items()
    }

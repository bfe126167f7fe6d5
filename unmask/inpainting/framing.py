"""The window of the canonical crop in which faces are completed.

Completing the whole 256 x 256 crop would spend half of the work on hair and background. The
window keeps everything that tells about the hidden face (brows, eyes, cheeks, neck) and every
usual mask; training and `unmask.run` use the same one, because instance normalisation depends on
how much background is in sight.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from unmask.face import CROP_SIZE

WINDOW_LEFT = 32
WINDOW_TOP = 64
WINDOW_SIDE = 192


def window(array: NDArray[Any]) -> NDArray[Any]:
    """Cut the window out of canonical crops.

    Args:
        array: (..., 256, 256) or (..., 256, 256, C), for example a batch of masks or of images.

    Returns:
        A view with 192 in place of 256.

    Raises:
        ValueError: The array has another shape.
    """
    axis = array.ndim - (2 if array.shape[-2:] == (CROP_SIZE, CROP_SIZE) else 3)
    if axis < 0 or array.shape[axis : axis + 2] != (CROP_SIZE, CROP_SIZE):
        raise ValueError(
            f"array must hold {CROP_SIZE} x {CROP_SIZE} crops. Received: shape={array.shape}"
        )
    index: list[slice] = [slice(None)] * array.ndim
    index[axis] = slice(WINDOW_TOP, WINDOW_TOP + WINDOW_SIDE)
    index[axis + 1] = slice(WINDOW_LEFT, WINDOW_LEFT + WINDOW_SIDE)
    return array[tuple(index)]

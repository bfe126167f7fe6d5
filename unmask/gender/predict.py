"""The gender stage at run time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.face import CROP_SIZE
from unmask.inference import Network, forward, mean_probability


def predict_gender(
    model: Network, crops: NDArray[np.uint8], *, batch_size: int = 32, mirror: bool = False
) -> NDArray[np.float32]:
    """Tell how likely each face is male.

    Args:
        model: A classifier of `load_gender` for whole canonical crops.
        crops: (B, 256, 256, 3) uint8 RGB, canonical crops; B may be 0.
        batch_size: Crops that go through the network at once.
        mirror: Take the mean, of the logits, over each crop and its mirror image: half a point
            more is right on 2,120 masked validation faces.

    Returns:
        (B,) float32 probabilities of "male". The answer is `"male"` from 0.5 on, and its
        confidence `max(p, 1 - p)`.

    Raises:
        ValueError: If the crops have another shape or type.

    Example:
        >>> crops = np.zeros((2, 256, 256, 3), np.uint8)
        >>> from unmask.gender.lite import build_lite
        >>> predict_gender(build_lite(), crops).shape
        (2,)
    """
    if crops.ndim != 4 or crops.shape[1:] != (CROP_SIZE, CROP_SIZE, 3) or crops.dtype != np.uint8:
        raise ValueError(
            f"crops must be (B, {CROP_SIZE}, {CROP_SIZE}, 3) uint8. "
            f"Received: shape={crops.shape}, dtype={crops.dtype}"
        )
    if mirror:
        flipped = np.ascontiguousarray(crops[:, :, ::-1])
        sides = [predict_gender(model, c, batch_size=batch_size) for c in (crops, flipped)]
        return mean_probability(np.stack(sides))
    parts = [np.zeros(0, np.float32)]
    for start in range(0, len(crops), batch_size):
        batch = crops[start : start + batch_size].astype(np.float32) / np.float32(255)
        parts.append(forward(model, batch)[:, 0])
    return np.concatenate(parts)

"""Adaptive Wing loss, its weighted loss map, and a coordinate term, as pure functions of heatmaps.

Source: Wang, Bo, Fuxin, "Adaptive Wing Loss for Robust Face Alignment via Heatmap Regression",
ICCV 2019, equations 3 and 5 to 7.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from unmask.landmarks.heatmaps import IGNORED

ALPHA, OMEGA, EPSILON, THETA = 2.1, 14.0, 1.0, 0.5
"""The published constants: exponent at a target of zero, where more than 2 keeps the loss smooth at
zero; scale; error at which the logarithm turns from linear to flat; error where the line begins."""

_PEAK, _PEAK_WEIGHT = 0.2, 10.0  # of the loss map
_FLOOR = 1e-3  # mass of an imaginary point at the centre of each heatmap


def adaptive_wing(target: Any, prediction: Any) -> Any:
    """Return the Adaptive Wing loss of every pixel, shaped like the heatmaps in [0, 1].

    Logarithmic for errors below `THETA` and linear above; its curvature follows the target, so
    that peaks are fitted closely while small errors of the background are forgiven.

    Example:
        >>> import numpy as np
        >>> loss = adaptive_wing(np.array([0.0, 1.0]), np.array([0.25, 0.25]))
        >>> np.array(loss).astype(float).round(4).tolist()
        [0.7417, 7.8099]

    Reference:
        Adaptive Wing Loss, equation 3.
    """
    error = ops.abs(target - prediction)
    exponent = ALPHA - target
    # exp(b ln a) instead of a ** b: three times faster on CPUs, and these maps are large.
    at_theta = ops.exp(exponent * math.log(THETA / EPSILON))
    slope = OMEGA * exponent * at_theta / (1.0 + at_theta) / THETA
    # The floor keeps the logarithm finite at an error of exactly zero. Beyond theta the curve
    # stays at its value there, A * theta - C, and the line A * (error - theta) is added.
    bounded = ops.clip(error, 1e-6, THETA)
    curve = OMEGA * ops.log(1.0 + ops.exp(exponent * ops.log(bounded / EPSILON)))
    return curve + slope * ops.relu(error - THETA)


def loss_map(target: Any) -> Any:
    """Return weights of the pixels of target heatmaps (B, H, W, K): high on and next to the peaks.

    They are 1, and 11 where the 3x3 neighbourhood reaches 0.2.

    Example:
        >>> import numpy as np
        >>> target = np.zeros((1, 5, 5, 1), "float32")
        >>> target[0, 0, 0, 0] = 1
        >>> float(np.sum(loss_map(target)))  # 4 pixels of 11, 21 of 1
        65.0

    Reference:
        Adaptive Wing Loss, equations 6 and 7.
    """
    dilated = ops.max_pool(target, 3, strides=1, padding="same")
    return 1.0 + _PEAK_WEIGHT * ops.cast(dilated >= _PEAK, target.dtype)


def weighted_adaptive_wing(target: Any, prediction: Any) -> Any:
    """Return the mean Adaptive Wing loss over supervised pixels, weighted by `loss_map`, (B,).

    Heatmaps are (B, H, W, K); target channels filled with -1 are ignored.

    Example:
        >>> import numpy as np
        >>> target = np.zeros((2, 8, 8, 3), "float32")
        >>> np.round(np.array(weighted_adaptive_wing(target, target)), 3).tolist()
        [0.0, 0.0]

    Reference:
        Adaptive Wing Loss, equation 8.
    """
    supervised = ops.cast(target > IGNORED / 2, prediction.dtype)
    target = ops.maximum(target, 0.0)
    losses = adaptive_wing(target, prediction) * loss_map(target) * supervised
    count = ops.maximum(ops.sum(supervised, axis=(1, 2, 3)), 1.0)
    return ops.sum(losses, axis=(1, 2, 3)) / count


def expected_positions(heatmaps: Any) -> Any:
    """Return the centre of mass of each heatmap's squared positive part, (B, K, 2), differentiable.

    Squaring makes a low background harmless. A map without mass has its centre in the middle.
    Points are (x, y) in heatmap pixels with pixel centres at integers.

    Example:
        >>> import numpy as np
        >>> heatmaps = np.zeros((1, 9, 9, 1), "float32")
        >>> heatmaps[0, 2, 6, 0] = 1
        >>> np.round(np.array(expected_positions(heatmaps)), 1).tolist()
        [[[6.0, 2.0]]]
    """
    _, height, width, count = heatmaps.shape
    mass = ops.reshape(ops.square(ops.relu(heatmaps)), (-1, height * width, count))
    ys, xs = np.mgrid[:height, :width] - np.array([height - 1, width - 1]).reshape(2, 1, 1) / 2
    basis = np.stack([np.ones_like(xs), xs, ys]).reshape(1, 3, -1).astype("float32")
    moments = ops.matmul(ops.cast(basis, mass.dtype), mass)  # (B, 3, K): mass, and times x and y
    center = np.array([width - 1, height - 1], "float32") / 2
    offset = moments[:, 1:] / (moments[:, :1] + _FLOOR)
    return ops.transpose(offset, (0, 2, 1)) + center


def coordinate_loss(target: Any, prediction: Any) -> Any:
    """Return the mean distance in heatmap pixels between the centres of mass of heatmaps, (B,).

    Heatmaps alone say little about a point hidden by a mask: their optimum is a faint, wide blob.
    This term asks that its centre be right. The last channel, a boundary map, is left out; target
    channels filled with -1 are ignored.

    Example:
        >>> import numpy as np
        >>> target = np.zeros((1, 16, 16, 2), "float32")
        >>> moved = target.copy()
        >>> target[0, 4, 4, 0] = moved[0, 4, 7, 0] = 100
        >>> np.round(np.array(coordinate_loss(target, moved)), 2).tolist()
        [3.0]
    """
    supervised = ops.cast(target[:, 0, 0, :-1] > IGNORED / 2, prediction.dtype)  # (B, K - 1)
    # The boundary map is dropped late: leaving it out of the heatmaps would copy all of them.
    offset = (expected_positions(target) - expected_positions(prediction))[:, :-1]
    # The small constant keeps the square root's gradient finite where a point is exactly right.
    distance = ops.sqrt(ops.sum(ops.square(offset), axis=-1) + 1e-6) * supervised
    return ops.sum(distance, axis=-1) / ops.maximum(ops.sum(supervised, axis=-1), 1.0)


def landmark_loss(target: Any, prediction: Any, *, coordinate_weight: float) -> Any:
    """Return the weighted Adaptive Wing loss plus the coordinate loss by its weight, (B,).

    A weight of 0 leaves the published loss.
    """
    loss = weighted_adaptive_wing(target, prediction)
    if coordinate_weight:
        loss = loss + coordinate_weight * coordinate_loss(target, prediction)
    return loss

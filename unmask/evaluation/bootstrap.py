"""How far a mean over a few hundred faces can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000
LEVEL = 0.95

# Indices that are drawn at once; more faces are drawn in several goes, to bound the memory.
_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A mean with its confidence interval.

    Attributes:
        mean: The mean of the sample.
        low: Lower end of the 95 % interval.
        high: Upper end.
        count: Size of the sample.
    """

    mean: float
    low: float
    high: float
    count: int


def estimate(values: ArrayLike, seed: int = 0, *, resamples: int = RESAMPLES) -> Estimate:
    """Estimate a mean and its 95 % interval by the percentile bootstrap over faces.

    Args:
        values: One finite number a face, (N,), N >= 1; truth values count as 0 and 1.
        seed: Seed of the resampling.
        resamples: Number of samples that are drawn with replacement.

    Returns:
        The estimate. Of a single face both ends are its value: nothing is known of others.

    Raises:
        ValueError: There is no value, or one is not finite.

    Reference:
        Efron, Bootstrap Methods: Another Look at the Jackknife, 1979.

    Example:
        >>> found = estimate([1.0, 2.0, 3.0, 2.0])
        >>> found.mean, found.low < 2 < found.high
        (2.0, True)
    """
    sample = np.asarray(values, np.float64)
    if sample.ndim != 1 or not sample.size or not np.isfinite(sample).all():
        raise ValueError(f"values must be (N,) finite numbers, N >= 1. Received: {sample!r}")
    rng = np.random.default_rng([seed, sample.size])
    rows = max(1, _AT_ONCE // sample.size)
    means = np.concatenate(
        [
            sample[rng.integers(sample.size, size=(min(rows, resamples - i), sample.size))].mean(1)
            for i in range(0, resamples, rows)
        ]
    )
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(sample.mean()), float(low), float(high), sample.size)

"""From WFLW's 98 points to iBUG's 68 by a linear map that is learnt from training faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unmask.face import canonical_matrix, invert, transform_points
from unmask.landmark_layout import POINTS_98_TO_68, flip_landmarks

_FRAME = 256


@dataclass(frozen=True, eq=False)
class Correspondence:
    """A learnt replacement of :data:`unmask.landmark_layout.POINTS_98_TO_68`.

    The two layouts put points of the same name in different places: lids are divided into
    quarters or thirds, and annotators were told different things about jaw and lips. The fixed
    choice of points counts this as an error of the network; the map removes what is systematic.
    It works in the canonical frame of the 98 points, so size, place and roll do not matter.

    Attributes:
        center: (196,) mean of the 98 points in the canonical frame.
        matrix: (196, 136) from what differs from the mean to the correction of the 68 points.
        offset: (136,) mean correction.
    """

    center: NDArray[np.float64]
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    def __call__(self, points: ArrayLike) -> NDArray[np.float32]:
        """Map (N, 98, 2) points to (N, 68, 2), both in pixels of the photos."""
        mapped = []
        for face in np.asarray(points, np.float64):
            matrix = canonical_matrix(face, _FRAME)
            inside = np.asarray(transform_points(face, matrix), np.float64)
            correction = (inside.ravel() - self.center) @ self.matrix + self.offset
            moved = inside[POINTS_98_TO_68] + correction.reshape(-1, 2)
            mapped.append(transform_points(moved, invert(matrix)))
        return np.stack(mapped).astype(np.float32)


def fit_correspondence(
    points98: ArrayLike, points68: ArrayLike, *, strength: float = 1e4
) -> Correspondence:
    """Learn the map by ridge regression from faces that have both, and from their mirror images.

    Args:
        points98: (N, 98, 2) pixels, usually a network's predictions on training faces.
        points68: (N, 68, 2) hand-made points of the same faces. Never those of test faces.
        strength: Penalty on the matrix, in square pixels of the 256-pixel canonical frame.

    Returns:
        The map.

    Raises:
        ValueError: The shapes do not fit.

    Example:
        >>> faces = np.random.default_rng(0).uniform(0, 256, (50, 98, 2))
        >>> learnt = fit_correspondence(faces, faces[:, POINTS_98_TO_68])
        >>> np.abs(learnt(faces) - faces[:, POINTS_98_TO_68]).max() < 1e-3
        np.True_
    """
    first, second = np.asarray(points98, np.float64), np.asarray(points68, np.float64)
    if first.shape[1:] != (98, 2) or second.shape != (len(first), 68, 2):
        raise ValueError(
            "points98 and points68 must be (N, 98, 2) and (N, 68, 2). "
            f"Received: points98.shape={first.shape}, points68.shape={second.shape}"
        )
    matrices = [canonical_matrix(face, _FRAME) for face in first]
    sources = _with_mirrors(first, matrices)
    corrections = _with_mirrors(second, matrices) - sources[:, POINTS_98_TO_68]
    x, y = sources.reshape(len(sources), -1), corrections.reshape(len(sources), -1)
    center, offset = x.mean(0), y.mean(0)
    x, y = x - center, y - offset
    matrix = np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ y)
    return Correspondence(center, matrix, offset)


def _with_mirrors(
    points: NDArray[np.float64], matrices: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Points in the canonical frame, then those of the mirrored faces."""
    framed = np.stack([transform_points(p, m) for p, m in zip(points, matrices, strict=True)])
    return np.concatenate([framed, flip_landmarks(framed, _FRAME)]).astype(np.float64)

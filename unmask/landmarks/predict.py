"""Landmarks of face crops."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.face import (
    canonical_matrix,
    compose,
    invert,
    scale_of,
    steady_matrix,
    transform_points,
    warp,
)
from unmask.inference import Network, forward
from unmask.io import PathLike
from unmask.landmark_layout import MIRROR_98
from unmask.landmarks.heatmaps import decode_mean, to_image

# Scale and angle in degrees of the two further crops of a thorough look.
_VIEWS = ((0.95, -6.0), (1.05, 6.0))


@dataclass(frozen=True, eq=False)
class LandmarkPrediction:
    """Landmarks of some crops.

    Attributes:
        points: (B, 98, 2) float32, (x, y) in crop pixels with pixel centres at integers.
        confidence: (B,) float32 in [0, 1], the mean height of the heatmaps' peaks. It falls with
            everything that hides points, and is no probability: the lite network gives most masked
            faces 0.3 to 0.4 and what is no face about 0.1.
        spread: (B,) float32, how far the points found in several views of a crop lie from their
            mean, as a share of the crop's side; None where there was one view only. Around 0.004
            for masked faces; on profiles, which the lite network has not learnt, above 0.013.
    """

    points: NDArray[np.float32]
    confidence: NDArray[np.float32]
    spread: NDArray[np.float32] | None = None


def predict_landmarks(
    model: Network,
    crops: NDArray[np.uint8],
    *,
    batch_size: int = 16,
    mirror: bool = False,
) -> LandmarkPrediction:
    """Find the landmarks of face crops.

    Args:
        model: A network of this stage with 98 points.
        crops: (B, 256, 256, 3) uint8 RGB, faces about in the canonical framing.
        batch_size: Crops that go through the network at once.
        mirror: Also look at the mirrored crops and average; twice the time, a little better.

    Returns:
        The landmarks, for an empty batch too.

    Raises:
        ValueError: The crops are not uint8 or have another size than the network's input.

    Example:
        >>> from unmask.landmarks.lite import build_lite
        >>> model = build_lite(width=16, depth=2)
        >>> predict_landmarks(model, np.zeros((2, 256, 256, 3), np.uint8)).points.shape
        (2, 98, 2)
    """
    size = tuple(model.input_shape[1:])
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != size:
        raise ValueError(
            f"crops must be uint8 (B, {', '.join(map(str, size))}). "
            f"Received: crops.dtype={crops.dtype}, crops.shape={crops.shape}"
        )
    points = np.zeros((len(crops), 98, 2), np.float32)
    confidence = np.zeros(len(crops), np.float32)
    for start in range(0, len(crops), batch_size):
        part = slice(start, start + batch_size)
        images = crops[part].astype(np.float32) / np.float32(255)
        heatmaps = _heatmaps(model, images)
        if mirror:
            turned = np.take(_heatmaps(model, images[:, :, ::-1]), MIRROR_98, axis=-1)
            heatmaps = (heatmaps + turned[:, :, ::-1]) * np.float32(0.5)
        points[part] = to_image(decode_mean(heatmaps))
        confidence[part] = np.clip(heatmaps.max(axis=(1, 2)).mean(axis=1), 0, 1)
    return LandmarkPrediction(points, confidence)


def locate_landmarks(
    model: Network,
    photo: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
    guess: NDArray[np.floating] | Sequence[NDArray[np.floating]],
    *,
    passes: int = 2,
    mirror: bool = False,
    thorough: bool = False,
    least: float = 0.0,
) -> LandmarkPrediction:
    """Find the landmarks of faces in photos, from rough crops to the canonical ones.

    Args:
        model: A network of this stage with 98 points.
        photo: (H, W, 3) uint8 RGB, or one such photo for each guess.
        guess: (2, 3) matrix, or (B, 2, 3) one for each face, from photo pixels to a crop that
            roughly has the canonical framing; 20 % in scale and 12 % of the side in position may
            be wrong.
        passes: Passes through the network; from the second on the crop is the canonical one of the
            landmarks found before.
        mirror: See `predict_landmarks`.
        thorough: Take the mean over the last crop and two more, one smaller and turned one way, one
            larger and turned the other way.
        least: Where the confidence is lower, there is probably no face, and `thorough` is spared.

    Returns:
        The prediction, points (B, 98, 2) in photo pixels; B is 1 for a single guess.

    Raises:
        ValueError: ``passes`` is less than 1, or there are not as many photos as guesses.

    Example:
        >>> from unmask.face import square_matrix
        >>> from unmask.landmarks.lite import build_lite
        >>> model = build_lite(width=16, depth=2)
        >>> photo = np.zeros((480, 640, 3), np.uint8)
        >>> locate_landmarks(model, photo, square_matrix((320, 200), 300)).points.shape
        (1, 98, 2)
    """
    if passes < 1:
        raise ValueError(f"passes must be at least 1. Received: passes={passes}")
    size = model.input_shape[1]
    matrices = np.asarray(guess, np.float64).reshape(-1, 2, 3)
    photos = [photo] * len(matrices) if isinstance(photo, np.ndarray) else photo
    for i in range(passes):
        found = _look(model, photos, matrices, mirror=mirror)
        if i < passes - 1 or thorough:
            upright = [steady_matrix(canonical_matrix(p, size), size) for p in found.points]
            matrices = np.array(upright).reshape(-1, 2, 3)
    if not thorough:
        return found
    middle = ((size - 1) / 2, (size - 1) / 2)
    turns = [cv2.getRotationMatrix2D(middle, angle, scale) for scale, angle in _VIEWS]
    sure = np.flatnonzero(found.confidence >= least)
    # Both further views of a face, then those of the next.
    more = np.array([compose(turn, matrices[i]) for i in sure for turn in turns])
    others = _look(
        model, [photos[int(i)] for i in sure for _ in turns], more.reshape(-1, 2, 3), mirror=mirror
    )
    views = np.concatenate(
        [found.points[sure, None], others.points.reshape(len(sure), len(turns), 98, 2)], axis=1
    )
    points, spread = found.points.copy(), np.zeros(len(matrices), np.float32)
    points[sure] = mean = views.mean(1)
    scales = np.array([scale_of(matrices[i]) for i in sure])
    spread[sure] = np.linalg.norm(views - mean[:, None], axis=-1).mean((1, 2)) * scales / size
    return LandmarkPrediction(points, found.confidence, spread)


def predict_by_file(path: PathLike, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the points (B, 98, 2) that the lite network, of a file's weights, finds in crops.

    The last file's network is kept.

    Raises:
        WeightsError: The file is missing, or does not fit.

    Example:
        >>> from unmask.weights import find
        >>> crops = np.zeros((2, 256, 256, 3), np.uint8)
        >>> predict_by_file(find("lite", "landmarks").path, crops).shape
        (2, 98, 2)
    """
    return predict_landmarks(_lite(os.fspath(path)), crops).points


@functools.lru_cache(maxsize=1)
def _lite(path: str) -> Network:
    from unmask.landmarks.lite import build_lite
    from unmask.weights import load_weights

    model = build_lite()
    load_weights(model, path)
    return model


def _look(
    model: Network,
    photos: Sequence[NDArray[np.uint8]],
    matrices: NDArray[np.float64],
    *,
    mirror: bool,
) -> LandmarkPrediction:
    """Find the points, in photo pixels, in one crop of each photo."""
    size = model.input_shape[1]
    crops = [warp(photo, matrix, size) for photo, matrix in zip(photos, matrices, strict=True)]
    found = predict_landmarks(
        model, np.array(crops, np.uint8).reshape(-1, size, size, 3), mirror=mirror
    )
    points = [
        transform_points(p, invert(matrix))
        for p, matrix in zip(found.points, matrices, strict=True)
    ]
    return replace(found, points=np.array(points, np.float32).reshape(-1, 98, 2))


def _heatmaps(model: Network, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Heatmaps of the last stack without the boundary map, (B, H, W, 98)."""
    return forward(model, images)[..., :98]

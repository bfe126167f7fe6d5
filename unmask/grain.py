"""Pores and film grain: a filled part without them gives itself away beside the skin around it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

# Standard deviations, in photo pixels, of the blurs between which the details lie: each band holds
# what is about twice as large as in the one before. The first begins at the pixel itself.
_FINEST, _FACTOR = 0.7, 2.0
# The generator misses what is smaller than this many of its own pixels.
_COARSEST = 2.8
# In pixels of the generator: how far around the filled part skin is looked for, how far from its
# border, where the two sides are mixed, and how far from eyes and brows.
_AROUND, _BORDER, _EYE_MARGIN = 64.0, 3.0, 4.0
# Skin differs from the filled part by at most so much, in grey levels: in brightness, in colour.
_BRIGHTNESS, _COLOUR = 48.0, 12.0
# More than this many grey levels in one band is a beard or the edge of something.
_MOST = 3.0
# Lashes, wrinkles and strands of hair are no texture: of the deviations in known skin, measured in
# patches of so many of a band's standard deviations, this percentile counts.
_PATCH, _SMOOTH = 7.0, 15
_FEW_PIXELS = 50
# From this standard deviation on a blur is made at a smaller size: its kernel is too long.
_WIDE = 16.0
# The mean of |x| of Gaussian noise, in standard deviations.
_MEAN = 0.798


def match_grain(
    photo: NDArray[np.uint8],
    filled: NDArray[np.bool_],
    landmarks: NDArray[np.floating],
    rng: np.random.Generator,
    *,
    pixel: float = 1.0,
) -> NDArray[np.uint8]:
    """Give the filled part of a photo the fine texture of the skin around it.

    Band by band, from the photo's pixels up to the smallest details that the generator paints, the
    filled part gets as much noise as it has less detail than the smoother skin around. Only its
    brightness changes.

    Args:
        photo: (H, W, 3) uint8 RGB, the face completed.
        filled: (H, W) bool, what was completed.
        landmarks: (98, 2) or (68, 2) points of the face in photo pixels.
        rng: Source of the noise.
        pixel: Size of a pixel of the generator in pixels of the photo.

    Returns:
        A photo that differs inside the filled part only.
    """
    if not filled.any():
        return photo
    box = _box(filled, int(_AROUND * pixel) + 1)
    patch, inside = photo[box], filled[box]
    corner = np.array([box[1].start, box[0].start])
    known, painted = _skin(patch, inside, landmarks - corner, pixel)
    if min(known.sum(), painted.sum()) < _FEW_PIXELS:
        return photo
    grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32)
    noise = rng.standard_normal(grey.shape, np.float32)
    missing = np.zeros_like(grey)
    for (sigma, band), (_, noise_band) in zip(
        _bands(grey, pixel), _bands(noise, pixel), strict=True
    ):
        size = round(_PATCH * sigma)
        deviation = cv2.blur(np.abs(band), (size, size)) / _MEAN
        wanted = float(np.percentile(deviation[known], _SMOOTH))
        present = float(np.median(deviation[painted]))
        strength = min(np.sqrt(max(wanted**2 - present**2, 0.0)), _MOST)
        missing += strength * noise_band / max(float(noise_band.std()), 1e-6)
    # None at the border, where the photo's own texture fades out.
    missing *= np.clip(_distance(inside) / (_BORDER * pixel), 0, 1)
    result = photo.copy()
    for channel in range(3):  # one by one: photos can be large
        grained = np.clip(patch[..., channel] + missing + 0.5, 0, 255).astype(np.uint8)
        np.copyto(result[box][..., channel], grained, where=inside)
    return result


def _box(filled: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """Return the rows and columns of the filled part and of what lies around it."""
    spans = []
    for axis in (1, 0):
        places = np.flatnonzero(filled.any(axis))
        spans.append(slice(max(int(places[0]) - margin, 0), int(places[-1]) + margin + 1))
    return spans[0], spans[1]


def _skin(
    patch: NDArray[np.uint8],
    inside: NDArray[np.bool_],
    landmarks: NDArray[np.floating],
    pixel: float,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what is skin around the filled part, and in it."""
    core = _distance(inside) > _BORDER * pixel
    around = _face(landmarks, inside.shape, _EYE_MARGIN * pixel)
    around &= _distance(~inside) > _BORDER * pixel
    alike = np.ones_like(inside)
    # Strands of hair over the face, spectacles, and in the filled part the mouth, are no skin.
    channels = cv2.split(cv2.cvtColor(patch, cv2.COLOR_RGB2YCrCb))
    for channel, limit in zip(channels, (_BRIGHTNESS, _COLOUR, _COLOUR), strict=True):
        middle = np.median(channel[core if core.any() else inside])
        alike &= np.abs(cv2.blur(channel.astype(np.float32), (5, 5)) - middle) < limit
    return around & alike, core & alike


def _face(
    landmarks: NDArray[np.floating], shape: tuple[int, ...], margin: float
) -> NDArray[np.bool_]:
    """Fill the hull of a face's landmarks but for eyes and brows."""
    brows_and_eyes = (
        (slice(33, 42), slice(42, 51), slice(60, 68), slice(68, 76))
        if len(landmarks) == 98
        else (slice(17, 22), slice(22, 27), slice(36, 42), slice(42, 48))
    )
    face, apart = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    points = np.rint(landmarks).astype(np.int32)
    cv2.fillConvexPoly(face, cv2.convexHull(points), 1)
    for part in brows_and_eyes:
        cv2.fillConvexPoly(apart, cv2.convexHull(points[part]), 1)
    return (face > 0) & (_distance(apart == 0) > margin)


def _distance(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return how far each pixel is from the nearest one outside; a photo's edge is outside too."""
    framed = np.pad(inside, 1).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1], np.float32)


def _bands(
    values: NDArray[np.float32], pixel: float
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Split into details of growing size; what is larger than the generator's pixels is left.

    Yields:
        For each band the standard deviation of the blur that it ends with, and the band.
    """
    rest, sigma = values, _FINEST
    while True:
        smooth = _blur(values, sigma)
        yield sigma, rest - smooth
        rest, sigma = smooth, sigma * _FACTOR
        if sigma > _COARSEST * pixel:
            return


def _blur(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Blur; a wide blur, as in faces of thousands of pixels, at a smaller size."""
    shrink = 2 ** max(0, math.floor(math.log2(sigma / _WIDE)) + 1)
    if shrink == 1:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma))
    height, width = values.shape
    size = (max(1, width // shrink), max(1, height // shrink))
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small, (0, 0), sigma / shrink)
    return np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR))

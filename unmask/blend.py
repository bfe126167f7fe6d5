"""What makes a completed hole part of its photo: its tint, the paste, its grain, in this order."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.face import fill_hull, invert, scale_of, tight_box, transform_points, warp
from unmask.landmark_layout import LAYOUTS


def blend(
    photo: NDArray[np.uint8],
    completed: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    matrix: NDArray[np.floating],
    landmarks: NDArray[np.floating],
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Put a completed window into its photo.

    Args:
        photo: (H, W, 3) uint8 RGB.
        completed: (h, w, 3) uint8 RGB window with the hole filled.
        hole: (h, w) bool, True where it was filled.
        valid: (h, w) bool, True where the window shows the photo.
        matrix: (2, 3) transform from photo pixels to window pixels.
        landmarks: (98, 2) or (68, 2) points of the face in photo pixels.
        rng: Source of the grain.

    Returns:
        The new photo, and the (H, W) bool mask of pixels that may differ from the old one.

    Example:
        >>> photo, hole = np.full((64, 64, 3), 90, np.uint8), np.zeros((64, 64), bool)
        >>> hole[20:40, 20:40] = True
        >>> points, rng = np.zeros((68, 2)), np.random.default_rng(0)
        >>> result, changed = blend(photo, photo, hole, ~hole, np.eye(2, 3), points, rng)
        >>> bool((result == photo).all()), int(changed.sum())
        (True, 400)
    """
    toned = match_tint(completed, hole, valid)
    pasted, changed = paste_back(photo, toned, hole, matrix)
    pixel = 1.0 / scale_of(matrix)
    return match_grain(pasted, changed, landmarks, rng, pixel=pixel), changed


# === Tint: black-and-white and toned photos, where full colour gives the filled part away ===

# Root mean square distance, in grey levels, of a toned photo's colours from their smooth function
# of the brightness. JPEG keeps it below 2; a face in colour stays above 4 even in dull light.
_TONED = 2.5
_DEGREE = 2


def match_tint(
    completed: NDArray[np.uint8], hole: NDArray[np.bool_], valid: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Tone the filled part like the rest where the colour of the rest follows its brightness.

    So it does in black-and-white photos, and in brown or blue toned ones; other photos are left as
    they are.

    Args:
        completed: (h, w, 3) uint8 RGB crop with the hole filled.
        hole: (h, w) bool.
        valid: (h, w) bool, True where the crop shows the photo and not what was made up beyond
            its border; None for all of it.

    Returns:
        The crop, toned in the hole and beyond the photo's border.

    Example:
        >>> crop = np.full((8, 8, 3), 90, np.uint8)
        >>> hole = np.zeros((8, 8), bool)
        >>> hole[2:6, 2:6] = True
        >>> crop[hole] = 150, 90, 80
        >>> match_tint(crop, hole)[4, 4].tolist()
        [107, 107, 107]
    """
    grey = cv2.cvtColor(completed, cv2.COLOR_RGB2GRAY).astype(np.float32)
    made_up = hole if valid is None else hole | ~valid
    shown = ~made_up
    if not shown.any() or not hole.any():
        return completed
    known = grey[shown]
    # Scaled, so that the fit is well conditioned; what it knows of is where it may be used.
    terms = np.vander(known / 255.0, _DEGREE + 1)
    tints = completed[shown].astype(np.float32) - known[:, None]
    fit, *_ = np.linalg.lstsq(terms, tints, rcond=None)
    if np.sqrt(np.mean((terms @ fit - tints) ** 2)) > _TONED:
        return completed
    inside = grey[made_up]
    tint = np.vander(np.clip(inside, known.min(), known.max()) / 255.0, _DEGREE + 1) @ fit
    toned = completed.copy()
    toned[made_up] = np.clip(inside[:, None] + tint + 0.5, 0, 255).astype(np.uint8)
    return toned


# === Paste ===

# What is pasted is computed in blocks of this side, lest large faces fill the memory.
_BLOCK = 2048


def paste_back(
    photo: NDArray[np.uint8],
    completed: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    matrix: NDArray[np.floating],
    *,
    feather: float = 3.0,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Put the completed part of a crop back into its photo.

    Only pixels whose centre falls into the hole change. The transition lies inside the hole, and
    the completed part's colour follows the photo's along the border.

    Args:
        photo: (H, W, 3) uint8 RGB.
        completed: (h, w, 3) uint8 RGB crop, the hole filled and the photo's pixels around it.
        hole: (h, w) bool, True where the crop was filled.
        matrix: (2, 3) transform from photo pixels to crop pixels.
        feather: Width of the transition in crop pixels.

    Returns:
        The new photo, and the (H, W) bool mask of pixels that may differ from the old one.
    """
    changed = np.zeros(photo.shape[:2], bool)
    rows, columns = np.nonzero(hole)
    if not len(rows):
        return photo.copy(), changed
    corners = np.array(
        [[x, y] for x in (columns.min(), columns.max()) for y in (rows.min(), rows.max())]
    )
    outline = transform_points(corners, invert(matrix))
    x0, y0 = np.maximum(np.floor(outline.min(0)).astype(int) - 1, 0)
    x1, y1 = np.minimum(np.ceil(outline.max(0)).astype(int) + 2, photo.shape[1::-1])
    if x0 >= x1 or y0 >= y1:
        return photo.copy(), changed
    # A hole that the crop's edge cuts needs a transition there too.
    framed = np.pad(hole, 1).astype(np.uint8)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1]
    opacity = np.clip(distance / feather, 0, 1).astype(np.float32)
    matched = match_border(completed, hole)
    result = photo.copy()
    for top in range(int(y0), int(y1), _BLOCK):
        for left in range(int(x0), int(x1), _BLOCK):
            block = slice(top, min(top + _BLOCK, int(y1))), slice(left, min(left + _BLOCK, int(x1)))
            # From the crop to this part of the photo.
            back = invert(matrix)
            back[:, 2] -= (left, top)
            old = photo[block]
            size = old.shape[:2]
            patch = warp(matched, back, size, border=cv2.BORDER_REPLICATE)
            inside = warp(hole.astype(np.float32), back, size, border=cv2.BORDER_CONSTANT) > 0.5
            share = warp(
                opacity, back, size, border=cv2.BORDER_CONSTANT, interpolation=cv2.INTER_LINEAR
            )
            share = np.where(inside, np.clip(share, 0, 1), 0)[..., None]
            mixed = old + share * (patch - old)
            new = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
            result[block] = np.where(inside[..., None], new, old)
            changed[block] = inside
    return result, changed


def match_border(
    completed: NDArray[np.uint8], hole: NDArray[np.bool_], *, reach: float = 8.0, limit: float = 24
) -> NDArray[np.float32]:
    """Shift the colour of the filled part so that it meets the known pixels at the border.

    Args:
        completed: (h, w, 3) uint8 crop with the hole filled.
        hole: (h, w) bool.
        reach: How far, in pixels, colours are compared and the shift reaches into the hole.
        limit: Largest shift in grey levels: larger differences are edges, not colour casts.

    Returns:
        (h, w, 3) float32 in [0, 255]; unchanged outside the hole.
    """
    pixels = completed.astype(np.float32)
    outside = (~hole).astype(np.uint8)
    to_border = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)
    from_border = cv2.distanceTransform(outside, cv2.DIST_L2, 5)
    ring_in = ((to_border > 0) & (to_border <= 4)).astype(np.float32)
    ring_out = ((from_border > 0) & (from_border <= 4)).astype(np.float32)
    shift = _local_mean(pixels, ring_out, reach) - _local_mean(pixels, ring_in, reach)
    # Where the two sides differ much, an outline runs along the border and must stay.
    trust = np.clip(2.0 - np.abs(shift).max(-1, keepdims=True) / limit, 0, 1)
    fading = np.exp(-to_border / reach)[..., None] * hole[..., None]
    return np.clip(pixels + shift * trust * fading, 0, 255)


def _local_mean(
    pixels: NDArray[np.float32], weight: NDArray[np.float32], sigma: float
) -> NDArray[np.float32]:
    total = cv2.GaussianBlur(pixels * weight[..., None], (0, 0), sigma)
    share = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
    return total / np.maximum(share, 1e-4)


# === Grain: pores and film, whose absence gives the filled part away beside the skin ===

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
    """Return the rows and columns of the filled part, which is not empty, and around it."""
    box = tight_box(filled)
    assert box is not None
    left, top, right, bottom = box
    rows = slice(max(top - margin, 0), bottom + margin)
    return rows, slice(max(left - margin, 0), right + margin)


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
    layout = LAYOUTS[len(landmarks)]
    apart = np.any([fill_hull(landmarks[p], shape) for p in layout.brows + layout.eyes], axis=0)
    return fill_hull(landmarks, shape) & (_distance(~apart) > margin)


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

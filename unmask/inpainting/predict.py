"""The inpainting stage at run time: a generator on windows, and how much of it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.image import LUMA
from unmask.inference import Network, forward
from unmask.inpainting.coarse import CoarseCompletion
from unmask.inpainting.window import CHECKER_KERNEL, WINDOW_SIDE, draw_landmark_map

# A generator's correction counts pixel by pixel in its brightness, but its colour is averaged over
# this many pixels: finer colours are green and red dots at lips and nostrils. The detail phase
# trains with the same mean.
COLOUR_REACH = 4.0
# Trained against a discriminator, a generator exaggerates, above all what is broader than this many
# pixels: the coarse completion is nearer to the truth there. What is finer counts in full. Of the
# shares tried on 60 wide validation faces these are nearest by features, and as near in decibels as
# 60 % of everything, with a fifth more of the true detail.
FINE = 1.5
# Shares of the broad part at the hole's border, where it hides the seam, and deep inside; from one
# to the other within some `BORDER_REACH` pixels.
BORDER_SHARE, INNER_SHARE = 0.6, 0.4
BORDER_REACH = 8.0
# All of the colour turns dark lips violet, none leaves teeth without their white.
COLOUR_SHARE = 0.18
# Period of the grid that a network leaves which doubles its maps twice, and the distance over which
# the grid changes; in pixels.
_GRID, _GRID_REACH = 4, 8.0
# Faces that go through the network at once.
_AT_ONCE = 8
_LUMA = np.array(LUMA, np.float32)


def complete_windows(
    model: Network,
    images: NDArray[np.uint8],
    holes: NDArray[np.bool_],
    landmarks: NDArray[np.floating],
    coarse: NDArray[np.uint8] | None = None,
    *,
    in_full: bool = False,
) -> NDArray[np.uint8]:
    """Complete the hidden part of faces.

    Args:
        model: A generator of `unmask.inpainting.paper`, `.aot` or `.lite`.
        images: (B, 192, 192, 3) uint8 RGB windows of canonical crops; B may be 0. What they show
            inside the hole has no influence.
        holes: (B, 192, 192) bool, True where a face is to be completed.
        landmarks: (B, 98, 2) or (B, 68, 2) points in window pixels, those in the hole included.
        coarse: (B, 192, 192, 3) uint8 coarse completions; needed by generators that paint on them,
            left alone by others.
        in_full: Whether all counts that such a generator changes, and not `correct_coarse`'s part.

    Returns:
        (B, 192, 192, 3) uint8: the completed windows; known pixels are those of `images`.

    Raises:
        ValueError: A shape or type does not fit, or the coarse completions are missing.

    Example:
        >>> from unmask.inpainting.paper import build_generator
        >>> images = np.full((1, 192, 192, 3), 128, np.uint8)
        >>> holes = np.zeros((1, 192, 192), bool); holes[:, 96:160, 64:128] = True
        >>> model = build_generator(width=8, depth=1)
        >>> complete_windows(model, images, holes, np.zeros((1, 98, 2))).shape
        (1, 192, 192, 3)
    """
    _check(images, holes, landmarks)
    if len(model.inputs) == 3:
        coarse = None
    elif coarse is None:
        raise ValueError("this generator paints on coarse completions. Received: coarse=None")
    parts = [images[:0]]
    for start in range(0, len(images), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        given = None if coarse is None else coarse[rows]
        parts.append(_paint(model, images[rows], holes[rows], landmarks[rows], given, in_full))
    return np.concatenate(parts)


def complete_faces(
    generators: Mapping[str, Network],
    coarse: CoarseCompletion | None,
    images: NDArray[np.uint8],
    holes: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    landmarks: NDArray[np.floating],
    genders: Sequence[str] | NDArray[np.str_],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Complete faces coarsely, all at once, then by each gender's generator.

    Args:
        generators: By gender.
        coarse: Makes the coarse completions; None for generators that need none.
        images: As for `complete_windows`, and so are `holes` and `landmarks`; B is at least 1.
        holes: What is completed.
        valid: (B, S, S) bool, True where a pixel comes from the photo.
        landmarks: Points in image pixels.
        genders: Each face's; one without a generator is not completed.

    Returns:
        Two (B, S, S, 3) uint8 arrays: the images, with what lies beyond the photo's edge filled
        where there is a coarse completion, and the same with the faces completed.
    """
    first = None
    if coarse is not None:
        images, first = coarse(images, holes, valid, landmarks, genders)
    completed = images.copy()
    for gender, model in generators.items():
        rows = np.flatnonzero(np.asarray(genders) == gender)
        given = None if first is None else first[rows]
        completed[rows] = complete_windows(model, images[rows], holes[rows], landmarks[rows], given)
    return images, completed


def correct_coarse(
    outputs: NDArray[np.float32], coarse: NDArray[np.float32], holes: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Add a generator's correction to the coarse completion as `unmask.run` does.

    Of its brightness the fine part counts in full, but for what repeats every four pixels, and the
    broad part by 40 %, by up to 60 % near the hole's border; of its mean colour 18 %. Outputs and
    completions are (B, h, w, 3) in [0, 1]; so is the result, which outside the holes (B, h, w) is
    `coarse`, and a little beyond at places.

    Example:
        >>> coarse = np.full((1, 64, 64, 3), 0.5, np.float32)
        >>> holes = np.zeros((1, 64, 64), bool); holes[:, 2:62, 2:62] = True
        >>> result = correct_coarse(coarse + 0.1, coarse, holes)[0, :, 32, 0]
        >>> [round(float(result[row]), 2) for row in (0, 4, 32)]
        [0.5, 0.55, 0.54]
    """
    result = coarse.copy()
    for output, start, hole, corrected in zip(outputs, coarse, holes, result, strict=True):
        brightness, colour = split_correction(output, start, hole)
        inside = hole.astype(np.float32)
        broad = _mean_inside(brightness, inside, FINE)
        fine = _without_grid(brightness - broad, inside)
        depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3)
        near = np.exp(-depth / np.float32(BORDER_REACH))
        share = INNER_SHARE + (BORDER_SHARE - INNER_SHARE) * near
        corrected += (share * broad + fine)[..., None] + COLOUR_SHARE * colour
    return result


def split_correction(
    output: NDArray[np.float32], coarse: NDArray[np.float32], hole: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the brightness (h, w) and the mean colour (h, w, 3) that a generator adds in the hole.

    What alternates from pixel to pixel is left out. Training sees the sum of both.
    """
    weight = hole.astype(np.float32)
    correction = (output - coarse) * weight[..., None]
    correction = cv2.sepFilter2D(correction, -1, CHECKER_KERNEL, CHECKER_KERNEL)
    correction *= weight[..., None]
    brightness = correction @ _LUMA
    return brightness, _mean_inside(correction - brightness[..., None], weight, COLOUR_REACH)


def _paint(
    model: Network,
    images: NDArray[np.uint8],
    holes: NDArray[np.bool_],
    landmarks: NDArray[np.floating],
    coarse: NDArray[np.uint8] | None,
    in_full: bool,
) -> NDArray[np.uint8]:
    inputs = [
        images.astype(np.float32) / 255.0,
        holes[..., None].astype(np.float32),
        np.stack([draw_landmark_map(points, WINDOW_SIDE) for points in landmarks]),
    ]
    if coarse is not None:
        inputs.append(coarse.astype(np.float32) / 255.0)
    output = forward(model, *inputs)
    if coarse is not None and not in_full:
        output = correct_coarse(output, inputs[-1], holes)
    painted = (np.clip(output, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return np.where(holes[..., None], painted, images)


def _mean_inside(
    values: NDArray[np.float32], inside: NDArray[np.float32], sigma: float
) -> NDArray[np.float32]:
    """Blur (h, w) or (h, w, C) by a Gaussian that knows of the pixels inside the hole only."""
    share = np.maximum(cv2.GaussianBlur(inside, (0, 0), sigma), 1e-6)
    inside, share = (x.reshape(x.shape + (1,) * (values.ndim - 2)) for x in (inside, share))
    return np.asarray(cv2.GaussianBlur(values * inside, (0, 0), sigma) / share * inside, np.float32)


def _without_grid(fine: NDArray[np.float32], inside: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take away what repeats every `_GRID` pixels, by the local mean of each place in the grid."""

    def phases(x: NDArray[np.float32]) -> NDArray[np.float32]:
        rows, columns = (side // _GRID for side in x.shape)
        cells = x.reshape(rows, _GRID, columns, _GRID).transpose(0, 2, 1, 3)
        cells = np.ascontiguousarray(cells.reshape(rows, columns, _GRID**2))
        return np.asarray(cv2.GaussianBlur(cells, (0, 0), _GRID_REACH / _GRID), np.float32)

    mean = phases(fine * inside) / np.maximum(phases(inside), 1e-3)
    mean -= mean.mean(axis=-1, keepdims=True)
    rows, columns, _ = mean.shape
    grid = mean.reshape(rows, columns, _GRID, _GRID).transpose(0, 2, 1, 3).reshape(fine.shape)
    return np.asarray((fine - grid) * inside, np.float32)


def _check(images: NDArray[np.uint8], holes: NDArray[np.bool_], landmarks: NDArray) -> None:
    count, side = len(images), WINDOW_SIDE
    if images.shape != (count, side, side, 3) or images.dtype != np.uint8:
        raise ValueError(
            f"images must be (B, {side}, {side}, 3) uint8. "
            f"Received: shape={images.shape}, dtype={images.dtype}"
        )
    if holes.shape != (count, side, side) or holes.dtype != bool:
        raise ValueError(
            f"holes must be ({count}, {side}, {side}) bool. "
            f"Received: shape={holes.shape}, dtype={holes.dtype}"
        )
    if landmarks.shape not in ((count, 98, 2), (count, 68, 2)):
        raise ValueError(
            f"landmarks must be ({count}, 98, 2) or ({count}, 68, 2). "
            f"Received: shape={landmarks.shape}"
        )

"""The inpainting stage at run time: a generator on windows, and how much of it counts."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.image import LUMA
from unmask.inference import Network, forward
from unmask.inpainting.window import CHECKER_KERNEL, WINDOW_SIDE, draw_landmark_map

# A generator's correction counts pixel by pixel in its brightness, but its colour is averaged over
# this many pixels: finer colours are green and red dots at lips and nostrils. The detail phase
# trains with the same mean.
COLOUR_REACH = 4.0
# Trained against a discriminator, a generator exaggerates: of the shares tried on 80 validation
# faces this one of its correction is nearest to the truth by features (5 % nearer than all of it,
# and 0.6 dB), and still sharp.
STRENGTH = 0.6
# Share of the correction's colour that is kept before STRENGTH applies: all of it turns dark lips
# violet, none leaves teeth without their white. A quarter to a half is nearest by features.
COLOUR_SHARE = 0.3
# Faces that go through the network at once.
_AT_ONCE = 8
_LUMA = np.array(LUMA, np.float32)


def complete_windows(
    model: Network,
    images: NDArray[np.uint8],
    holes: NDArray[np.bool_],
    landmarks: NDArray[np.floating],
    coarse: NDArray[np.uint8] | None = None,
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
        parts.append(_paint(model, images[rows], holes[rows], landmarks[rows], given))
    return np.concatenate(parts)


def correct_coarse(
    outputs: NDArray[np.float32], coarse: NDArray[np.float32], holes: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Add a generator's correction to the coarse completion as `unmask.run` does.

    What alternates from pixel to pixel is left out, and 60 % of its brightness count. Its colour is
    averaged inside the hole, and 18 % of that count. Outputs and completions are (B, h, w, 3) in
    [0, 1]; so is the result, which outside the holes (B, h, w) is `coarse`, and a little beyond at
    places.

    Example:
        >>> coarse = np.full((1, 32, 32, 3), 0.5, np.float32)
        >>> holes = np.zeros((1, 32, 32), bool); holes[:, 8:24, 8:24] = True
        >>> round(float(correct_coarse(coarse + 0.1, coarse, holes)[0, 16, 16, 0]), 2)
        0.56
    """
    result = coarse.copy()
    for output, start, hole, corrected in zip(outputs, coarse, holes, result, strict=True):
        weight = hole.astype(np.float32)
        correction = (output - start) * weight[..., None]
        correction = cv2.sepFilter2D(correction, -1, CHECKER_KERNEL, CHECKER_KERNEL)
        correction *= weight[..., None]
        brightness = (correction @ _LUMA)[..., None]
        colour = correction - brightness
        colour = _mean_inside(colour, weight, COLOUR_REACH)
        corrected += STRENGTH * (brightness + COLOUR_SHARE * colour)
    return result


def _paint(
    model: Network,
    images: NDArray[np.uint8],
    holes: NDArray[np.bool_],
    landmarks: NDArray[np.floating],
    coarse: NDArray[np.uint8] | None,
) -> NDArray[np.uint8]:
    inputs = [
        images.astype(np.float32) / 255.0,
        holes[..., None].astype(np.float32),
        np.stack([draw_landmark_map(points, WINDOW_SIDE) for points in landmarks]),
    ]
    if coarse is not None:
        inputs.append(coarse.astype(np.float32) / 255.0)
    output = forward(model, *inputs)
    if coarse is not None:
        output = correct_coarse(output, inputs[-1], holes)
    painted = (np.clip(output, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return np.where(holes[..., None], painted, images)


def _mean_inside(
    values: NDArray[np.float32], weight: NDArray[np.float32], sigma: float
) -> NDArray[np.float32]:
    """Blur by a Gaussian that knows of the pixels inside the hole only."""
    total = cv2.GaussianBlur(values * weight[..., None], (0, 0), sigma)
    share = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
    return np.asarray(total / np.maximum(share, 1e-6) * weight[..., None], np.float32)


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

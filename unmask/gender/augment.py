"""Random changes to a training face: ours, and those of the authors' notebook."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.photometric import add_noise, blur, coarsen, compress, recolour
from unmask.gender.lite import FRAMINGS, Framing

Augmentation: TypeAlias = Literal["varied", "notebook", "none"]

# Rows of the canonical crop: a little below the eyes, and the tip of the nose.
_EYES_TO_NOSE_TIP = (142, 164)


def vary(
    source: NDArray[np.uint8], framing: Framing, rng: np.random.Generator, kind: Augmentation
) -> NDArray[np.uint8]:
    """Return the window (side, side, 3) of a stored view (S, S, 3) with margin, changed at random.

    `kind` is "varied", see `augment`; "notebook", see `notebook_augment`; or "none".
    """
    if kind == "varied":
        return augment(source, rng, framing)
    window = source[framing.inside, framing.inside]
    return notebook_augment(window, rng) if kind == "notebook" else window


def notebook_augment(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change a copy of an image (S, S, 3) uint8 as the authors' notebook does.

    A flip, turns of up to 20 degrees, shifts of up to 0.4 of the side, zoom of each axis by up to
    0.3; what comes from outside repeats the nearest pixels. Faces leave the picture often.

    Reference:
        The authors' published gender notebook.
    """
    side, turn = len(image), math.radians(rng.uniform(-20, 20))
    zoom, shift = rng.uniform(0.7, 1.3, 2), rng.uniform(-0.4, 0.4, 2) * side
    flip = -1.0 if rng.random() < 0.5 else 1.0
    turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = turned * zoom * np.array([flip, 1.0])
    centre = np.full(2, (side - 1) / 2)
    matrix = np.column_stack([linear, centre + shift - linear @ centre])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(
        image, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


def augment(
    source: NDArray[np.uint8],
    rng: np.random.Generator,
    framing: Framing = FRAMINGS["window"],
) -> NDArray[np.uint8]:
    """Cut a randomly changed window (side, side, 3) out of a stored view (S, S, 3) with its margin.

    Sometimes the lower face is covered whole, as large masks and scarves do. Flip, rotation, scale,
    shift and a little stretch, wide enough for crops from wrong landmarks; brightness, contrast,
    saturation, tint and gamma; sometimes blur, a low resolution, JPEG artefacts, noise or an erased
    rectangle.
    """
    image = _covered(source, framing, rng) if rng.random() < 0.12 else source
    image = _moved(image, framing.side, rng)
    image = _recoloured(image, rng)
    if rng.random() < 0.35:
        image = _degraded(image, rng)
    if rng.random() < 0.3:
        _erase(image, rng)
    return image


def _covered(
    source: NDArray[np.uint8], framing: Framing, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Hide what lies below a slightly tilted line between the eyes and the tip of the nose."""
    side = source.shape[0]
    row = rng.uniform(*_EYES_TO_NOSE_TIP) - framing.top + framing.margin
    ends = row + rng.normal(0, 6, 2)
    corners = [(0, ends[0]), (side, ends[1]), (side, side), (0, side)]
    covered = source.copy()
    colour = rng.integers(0, 256, 3).tolist()
    cv2.fillConvexPoly(covered, np.array(corners).round().astype(np.int32), colour)
    return covered


def _moved(source: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    centre = (source.shape[0] - 1) / 2
    angle = math.radians(np.clip(rng.normal(0.0, 7.0), -20.0, 20.0))
    scale = math.exp(np.clip(rng.normal(0.0, 0.08), -0.2, 0.2))
    stretch = math.exp(rng.uniform(-0.05, 0.05))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    # From window to source, as WARP_INVERSE_MAP wants it.
    linear = np.array([[flip * cos * stretch, -sin], [flip * sin, cos / stretch]])
    shift = np.clip(rng.normal(0.0, 6.0, 2), -16.0, 16.0)
    offset = centre + shift - linear @ np.full(2, (side - 1) / 2)
    return cv2.warpAffine(
        source,
        np.column_stack([linear, offset]),
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def _recoloured(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return recolour(
        image,
        saturation=0.0 if rng.random() < 0.07 else rng.uniform(0.6, 1.4),
        contrast=math.exp(rng.uniform(-0.45, 0.35)),
        gain=np.exp(rng.normal(0.0, 0.08, 3)),
        brightness=rng.uniform(-35.0, 30.0),
        gamma=math.exp(rng.uniform(-0.4, 0.4)) if rng.random() < 0.5 else 1.0,
    )


def _degraded(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    kind = rng.integers(4)
    if kind == 0:
        return blur(image, rng.uniform(0.5, 2.0))
    if kind == 1:
        return coarsen(image, 1 / rng.uniform(1.5, 3.5))
    if kind == 2:
        return compress(image, int(rng.integers(25, 85)))
    return add_noise(image, rng.normal(0.0, rng.uniform(3.0, 14.0), image.shape))


def _erase(image: NDArray[np.uint8], rng: np.random.Generator) -> None:
    side = image.shape[0]
    area, ratio = rng.uniform(0.03, 0.15) * side * side, math.exp(rng.uniform(-0.9, 0.9))
    height, width = int(math.sqrt(area * ratio)), int(math.sqrt(area / ratio))
    top, left = rng.integers(side - height), rng.integers(side - width)
    image[top : top + height, left : left + width] = rng.integers(0, 256, 3)

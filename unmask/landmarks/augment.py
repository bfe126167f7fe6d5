"""Random changes to a training face: geometry by one matrix; colours, quality and what hides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.photometric import add_noise, blur, coarsen, compress, recolour
from unmask.face import CROP_SIZE, compose

Degradation: TypeAlias = Literal["blur", "resolution", "noise", "jpeg"]

_SUBPIXEL = 3  # bits of the fixed-point coordinates that OpenCV draws with


@dataclass(frozen=True)
class Augmentation:
    """How strongly the training faces vary.

    The crop that the pipeline delivers first is guessed from a mask's box, so position and scale
    vary much; its second crop comes from landmarks, so a share of faces varies little.

    Attributes:
        steady: Share of faces with a fifth of the geometric variation, the second crop.
        rotation: Standard deviation of the rotation in degrees.
        wild: Share of faces turned by any angle up to ``wild_rotation``.
        wild_rotation: Largest angle in degrees.
        scale: Largest relative change of the size, up or down.
        shift: Largest shift in x and y, as a fraction of the crop's side.
        flip: Share of mirrored faces.
        masked: Share of faces that wear a synthetic mask.
        blocked: Share of faces with opaque blocks over them.
        hands: Share of faces with a drawn hand before them.
        degraded: Share of faces with each of `degradations`.
        degradations: What spoils the pixels.
        recoloured: Share of faces with another gamma, contrast, brightness and colour cast.
        grey: Share of the recoloured faces without colour.
    """

    steady: float = 0.5
    rotation: float = 12.0
    wild: float = 0.08
    wild_rotation: float = 50.0
    scale: float = 0.25
    shift: float = 0.12
    flip: float = 0.5
    masked: float = 0.5
    blocked: float = 0.2
    hands: float = 0.08
    degraded: float = 0.2
    degradations: tuple[Degradation, ...] = ("blur", "resolution", "noise", "jpeg")
    recoloured: float = 1.0
    grey: float = 0.05


def jitter_matrix(rng: np.random.Generator, settings: Augmentation) -> NDArray[np.float64]:
    """Return a random rotation, scaling and shift of a crop about its centre, (2, 3).

    It leads from the canonical crop to the varied one. Mirroring is not
    part of it.

    Example:
        >>> jitter_matrix(np.random.default_rng(0), Augmentation()).shape
        (2, 3)
    """
    share = 0.2 if rng.random() < settings.steady else 1.0
    angle = rng.normal(0, settings.rotation) * share
    if rng.random() < settings.wild * share:
        angle = rng.uniform(-1, 1) * settings.wild_rotation
    angle = np.deg2rad(np.clip(angle, -settings.wild_rotation, settings.wild_rotation))
    scale = (1 + settings.scale) ** (rng.uniform(-1, 1) * share)
    shift = rng.uniform(-1, 1, 2) * settings.shift * share * CROP_SIZE
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    center = np.full(2, (CROP_SIZE - 1) / 2)
    return np.concatenate([linear, (center + shift - linear @ center)[:, None]], axis=1)


def mirror_matrix(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """Append a horizontal mirroring of the crop to a (2, 3) matrix."""
    return compose(np.array([[-1.0, 0.0, CROP_SIZE - 1.0], [0.0, 1.0, 0.0]]), matrix)


def vary_pixels(
    image: NDArray[np.uint8], rng: np.random.Generator, settings: Augmentation
) -> NDArray[np.uint8]:
    """Vary the colours and quality of a crop (H, W, 3) uint8, maybe in place, and hide parts of it.

    Example:
        >>> image = np.full((256, 256, 3), 128, np.uint8)
        >>> vary_pixels(image, np.random.default_rng(0), Augmentation()).shape
        (256, 256, 3)
    """
    if rng.random() < settings.blocked:
        image = _add_blocks(image, rng)
    if rng.random() < settings.hands:
        image = add_hand(image, rng)
    if rng.random() < settings.recoloured:
        image = _recolour(image, rng, grey=rng.random() < settings.grey)
    for name in settings.degradations:
        if rng.random() < settings.degraded:
            image = _degrade(image, rng, name)
    return image


def _recolour(
    image: NDArray[np.uint8], rng: np.random.Generator, *, grey: bool
) -> NDArray[np.uint8]:
    return recolour(
        image,
        saturation=0.0 if grey else 1.0,
        contrast=np.exp(rng.normal(0, 0.15)),
        gain=np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.05, 3)),
        brightness=255 * rng.normal(0, 0.06),
        gamma=np.exp(rng.normal(0, 0.2)),
    )


def _degrade(
    image: NDArray[np.uint8], rng: np.random.Generator, kind: Degradation
) -> NDArray[np.uint8]:
    if kind == "blur":
        return blur(image, rng.uniform(0.5, 2.0))
    if kind == "resolution":  # a small face that has been enlarged to the crop
        return coarsen(image, rng.uniform(0.2, 0.7))
    if kind == "noise":
        return add_noise(image, rng.standard_normal(image.shape, np.float32) * rng.uniform(2, 12))
    return compress(image, int(rng.integers(20, 80)))


# === What hides parts of a face besides masks ===


def _add_blocks(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cover a crop with one to three shapes of one colour, or pieces of the image, in place."""
    size = image.shape[0]
    image = np.ascontiguousarray(image)
    for _ in range(rng.integers(1, 4)):
        width, height = (rng.uniform(0.08, 0.32, 2) * size).astype(int)
        x, y = (rng.uniform(0.1, 0.9, 2) * size).astype(int)
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        kind = rng.integers(3)
        if kind == 0:
            cv2.rectangle(image, (x, y), (x + width, y + height), colour, -1)
        elif kind == 1:
            angle = float(rng.uniform(0, 180))
            cv2.ellipse(image, (x, y), (width // 2, height // 2), angle, 0, 360, colour, -1)
        else:
            x, y = min(x, size - width), min(y, size - height)
            u, v = rng.integers(0, size - width), rng.integers(0, size - height)
            image[y : y + height, x : x + width] = image[v : v + height, u : u + width].copy()
    return image


def add_hand(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Hold a hand before the lower part of a face, in a copy of its crop (S, S, 3) uint8.

    The hand is drawn: a forearm, a palm, four fingers more or less curled and a thumb, in the
    colour of the middle of the crop, with a dark line around each part and light from one side.

    Example:
        >>> image = np.full((256, 256, 3), 180, np.uint8)
        >>> hand = add_hand(image, np.random.default_rng(1))
        >>> (hand != image).any(-1)[128:].any(), (hand != image).any(-1).mean() < 0.5
        (np.True_, np.True_)
    """
    size = image.shape[0]
    scale = rng.uniform(0.4, 0.65) * size  # from the wrist to the finger tips
    place = rng.uniform((0.2, 0.6), (0.8, 1.0)) * size
    turn = np.deg2rad(rng.normal(0, 35))
    across = np.array([np.cos(turn), np.sin(turn)]) * scale
    along = np.array([np.sin(turn), -np.cos(turn)]) * scale
    colour = _skin(image, rng)
    hand, cover = np.empty_like(image), np.zeros(image.shape[:2], np.uint8)
    hand[:] = colour.astype(np.uint8)
    edge = tuple(float(v) for v in 0.6 * colour)
    fill = tuple(float(v) for v in colour)
    for start, end, width in _parts(rng):
        ends = [place + point[0] * across + point[1] * along for point in (start, end)]
        thickness = max(2, round(width * scale))
        _stroke(cover, ends, thickness + 2, (255.0,))
        _stroke(hand, ends, thickness + 2, edge)
        _stroke(hand, ends, thickness, fill)
    ramp = np.linspace(-1, 1, size) * rng.uniform(-0.3, 0.3)
    lit = hand * (1 + ramp[None, :, None]) * (1 + rng.uniform(-0.2, 0.2) * ramp[:, None, None])
    lit = cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.8, 2.0))
    alpha = cv2.GaussianBlur(cover, (0, 0), 0.8)[..., None] / 255
    return np.clip(np.rint(image + alpha * (lit - image)), 0, 255).astype(np.uint8)


def _skin(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float64]:
    """The middle colour of the crop's centre, a little lighter or darker."""
    third = image.shape[0] // 3
    center = np.median(image[third : 2 * third, third : 2 * third], axis=(0, 1))
    return np.clip(center * rng.uniform(0.6, 1.2) * np.exp(rng.normal(0, 0.04, 3)), 20, 250)


def _parts(
    rng: np.random.Generator,
) -> list[tuple[tuple[float, float], tuple[float, float], float]]:
    """Strokes (start, end, width) with the palm's centre as origin and the hand's length as 1."""
    side = float(rng.choice((-1, 1)))
    spread = rng.uniform(0.05, 0.3)
    curl = rng.uniform(0.45, 1.0)
    parts = [
        ((0.0, -1.5), (0.0, -0.2), 0.3),  # forearm
        ((0.0, -0.2), (0.0, 0.0), 0.4),
        ((side * 0.15, -0.2), (side * (0.25 + spread / 2), 0.12), 0.12),  # thumb
    ]
    for place, length in ((-0.15, 0.34), (-0.05, 0.42), (0.05, 0.45), (0.15, 0.38)):
        reach = length * curl
        x = -side * place
        parts.append(((x, 0.05), (x + 2 * spread * x, 0.05 + reach), 0.105))
    return parts


def _stroke(
    canvas: NDArray[np.uint8],
    ends: list[NDArray[np.float64]],
    thickness: int,
    colour: tuple[float, ...],
) -> None:
    first, last = (tuple(int(v) for v in np.rint(end * 2**_SUBPIXEL)) for end in ends)
    cv2.line(canvas, first, last, colour, thickness, cv2.LINE_AA, _SUBPIXEL)

"""Random changes to a training face: geometry by one matrix, pixels in a fixed order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.face import CROP_SIZE, compose
from unmask.landmarks.occlusion import add_blocks, add_hand

Degradation: TypeAlias = Literal["blur", "resolution", "noise", "jpeg"]


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


def jitter_matrix(
    rng: np.random.Generator, settings: Augmentation, size: int = CROP_SIZE
) -> NDArray[np.float64]:
    """Random rotation, scaling and shift of a crop about its centre.

    Args:
        rng: Source of randomness.
        settings: Strengths.
        size: Side of the crop in pixels.

    Returns:
        (2, 3) matrix from the canonical crop to the varied one. Mirroring is not part of it.

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
    shift = rng.uniform(-1, 1, 2) * settings.shift * share * size
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    center = np.full(2, (size - 1) / 2)
    return np.concatenate([linear, (center + shift - linear @ center)[:, None]], axis=1)


def mirror_matrix(matrix: NDArray[np.floating], size: int = CROP_SIZE) -> NDArray[np.float64]:
    """Append a horizontal mirroring of the crop to a (2, 3) matrix."""
    return compose(np.array([[-1.0, 0.0, size - 1.0], [0.0, 1.0, 0.0]]), matrix)


def vary_pixels(
    image: NDArray[np.uint8], rng: np.random.Generator, settings: Augmentation
) -> NDArray[np.uint8]:
    """Vary a crop's colours and quality and hide parts of it.

    Args:
        image: (H, W, 3) uint8 RGB; it may be changed in place.
        rng: Source of randomness.
        settings: Shares.

    Returns:
        (H, W, 3) uint8 RGB.

    Example:
        >>> image = np.full((256, 256, 3), 128, np.uint8)
        >>> vary_pixels(image, np.random.default_rng(0), Augmentation()).shape
        (256, 256, 3)
    """
    if rng.random() < settings.blocked:
        image = add_blocks(image, rng)
    if rng.random() < settings.hands:
        image = add_hand(image, rng)
    if rng.random() < settings.recoloured:
        image = _recolour(image, rng, grey=rng.random() < settings.grey)
    for name in settings.degradations:
        if rng.random() < settings.degraded:
            image = _DEGRADE[name](image, rng)
    return image


def _recolour(
    image: NDArray[np.uint8], rng: np.random.Generator, *, grey: bool
) -> NDArray[np.uint8]:
    """Gamma, contrast, brightness and a colour cast by one table a channel."""
    values = np.linspace(0, 1, 256)[:, None]
    values = values ** np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.12))
    values = (values - 0.5) * np.exp(rng.normal(0, 0.15)) + 0.5 + rng.normal(0, 0.06)
    values = values * np.exp(rng.normal(0, 0.05, 3))
    if grey:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    table = np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def _blur(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0)), np.uint8)


def _coarsen(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """What a small face looks like after it has been enlarged to the crop."""
    height, width = image.shape[:2]
    share = rng.uniform(0.2, 0.7)
    small = (max(1, round(width * share)), max(1, round(height * share)))
    image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _add_noise(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(2, 12)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _compress(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    quality = int(rng.integers(20, 80))
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


_DEGRADE: dict[Degradation, Callable[[NDArray[np.uint8], np.random.Generator], Any]] = {
    "blur": _blur,
    "resolution": _coarsen,
    "noise": _add_noise,
    "jpeg": _compress,
}

"""What the photo says about light, sharpness and noise."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.image import LUMA

Field = NDArray[np.float32]

_LUMA = np.array(LUMA, np.float32)
_GRID = (10, 8)


@dataclass(frozen=True, eq=False)
class Light:
    """The light of a scene.

    Attributes:
        color: (3,) factor on an albedo: level and colour of the light.
        saturation: 1 in a colour photo, 0 in a grey one.
        slope: (h, w) factor of mean 1: from which side the face is lit.
    """

    color: Field
    saturation: float
    slope: Field = field(repr=False)

    def on(self, albedo: NDArray[np.floating]) -> Field:
        """Return a material's colour in this light (without the slope): (..., 3) to the same."""
        lit: Field = (albedo * self.color).astype(np.float32, copy=False)
        if self.saturation < 1:
            grey = (lit @ _LUMA)[..., None]
            lit = (grey + self.saturation * (lit - grey)).astype(np.float32, copy=False)
        return lit


def read_light(
    image: NDArray[np.uint8],
    region: NDArray[np.uint8],
    alpha: Field,
    rng: np.random.Generator,
) -> Light:
    """Estimate the light that falls on a mask.

    The level comes from the covered skin (which may be dark by itself) and from the brightest parts
    of the photo, the colour from the latter, the slope from the broad shading of the covered skin.

    Args:
        image: (H, W, 3) the photo.
        region: (h, w, 3) the part that the mask lies in.
        alpha: (h, w) coverage of the mask, not zero everywhere.
        rng: Varies level and colour a little.
    """
    small = cv2.resize(region, _GRID, interpolation=cv2.INTER_AREA).astype(np.float32)
    luma = small @ _LUMA
    # Skin in a colour photo has 20 and more.
    chroma = float(np.median(small.max(axis=2) - small.min(axis=2)))
    weight = cv2.resize(alpha, _GRID, interpolation=cv2.INTER_AREA) + np.float32(1e-3)
    skin = max(float((luma * weight).sum() / weight.sum()), 1.0)
    bright = _bright(image)
    cast = (bright / bright.max()) ** rng.uniform(0.1, 0.45)
    level = 0.32 + 0.42 * min(skin / 125, 1.4) + 0.36 * float(bright.max()) / 235
    level = float(np.clip(level * rng.uniform(0.92, 1.06), 0.3, 1.15))
    blurred = cv2.GaussianBlur(luma * weight, (0, 0), 1.8) / cv2.GaussianBlur(weight, (0, 0), 1.8)
    slope = np.clip(blurred / skin, 0.5, 1.5) ** np.float32(0.6)
    size = (region.shape[1], region.shape[0])
    return Light(
        (level * cast).astype(np.float32),
        min(chroma / 12, 1.0),
        cv2.resize(slope, size, interpolation=cv2.INTER_LINEAR),
    )


def _bright(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The 96th percentile of each channel, at least 1."""
    step = max(min(image.shape[:2]) // 32, 1)
    pixels = image[::step, ::step].reshape(-1, 3)
    rank = int(0.96 * (len(pixels) - 1))
    return np.maximum(np.partition(pixels, rank, axis=0)[rank].astype(np.float64), 1.0)


def softness_and_noise(region: NDArray[np.uint8]) -> tuple[float, float]:
    """Measure how soft and how noisy a part of a photo is.

    Args:
        region: (h, w, 3), at least 5 pixels wide.

    Returns:
        The Gaussian's deviation in pixels that makes a drawn edge as soft as the photo, and the
        deviation of the noise in grey levels.
    """
    green = region[::2, :, 1].astype(np.int16)
    steps = np.abs(green[:, 1:] - green[:, :-1])
    far = float(np.abs(green[:, 4:] - green[:, :-4]).mean())
    softness = 2.2 - 4.5 * float(steps.mean()) / max(far, 1e-3)
    middle = np.partition(steps, steps.size // 2, axis=None)[steps.size // 2]
    return float(np.clip(softness, 0.35, 1.4)), min(0.5 * float(middle), 5.0) + 0.4

"""The demonstration: portraits that everybody may use, masked by us and unmasked again.

The truth is known here, so the result can be measured; the masks are drawn, so it is an easier
case than a real one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unmask.face import square_matrix
from unmask.image import load_image
from unmask.io import PathLike, atomic_path
from unmask.landmarks.predict import locate_landmarks
from unmask.panel import fill_row
from unmask.pipeline import Unmasker
from unmask.result import Result
from unmask.synthesis import MaskSynthesizer


@dataclass(frozen=True)
class Portrait:
    """A portrait without a mask."""

    name: str  # what to call it
    image: NDArray[np.uint8]  # (H, W, 3) uint8 RGB
    center: tuple[float, float]  # (x, y) about the middle of the face, in pixels
    side: float  # side of a square with about the framing of the canonical crop


@dataclass(frozen=True)
class DemoScore:
    """How near one method came to one portrait."""

    portrait: str
    method: str  # "unmask" or "Telea"
    psnr_hole: float  # PSNR in dB over the pixels of the hole
    ssim_hole: float  # mean structural similarity (7 x 7 windows, RGB) over the pixels of the hole
    psnr_outside: float  # PSNR in dB over all other pixels; infinite when none was changed


def portraits() -> list[Portrait]:
    """Return the two public-domain portraits that come with scikit-image and matplotlib."""
    from matplotlib.cbook import get_sample_data
    from skimage.data import astronaut

    hopper = load_image(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    return [
        Portrait("astronaut", astronaut(), center=(223, 118), side=210),
        Portrait("hopper", hopper, center=(267, 225), side=330),
    ]


def wear_mask(
    unmasker: Unmasker, portrait: Portrait, seed: int = 0, index: int = 0
) -> NDArray[np.uint8]:
    """Put a drawn mask on a portrait, by the landmarks that the pipeline finds on it."""
    guess = square_matrix(portrait.center, portrait.side)
    found = locate_landmarks(unmasker.landmarks, portrait.image, guess, mirror=True)
    synthesizer = MaskSynthesizer(seed, kinds=("surgical", "cloth"))
    return synthesizer(portrait.image, found.points[0], index).image


def run_demo(path: PathLike, *, preset: str = "lite", seed: int = 0) -> list[DemoScore]:
    """Mask and unmask the portraits, measure, and draw the panel, a PNG.

    There are two scores a portrait: those of the preset's networks, and of OpenCV's Telea
    inpainting of the same hole. The masks are the same for every preset; `seed` is theirs.

    Raises:
        WeightsError: The preset is unknown or its weights are missing.
    """
    unmasker = Unmasker(preset).load()
    wearer = unmasker if preset == "lite" else Unmasker()
    scores: list[DemoScore] = []
    shown: list[tuple[Result, NDArray[np.uint8]]] = []
    for index, portrait in enumerate(portraits()):
        result = unmasker(wear_mask(wearer, portrait, seed, index))
        hole = np.zeros(portrait.image.shape[:2], bool)
        for face in result.faces:
            hole |= face.mask
        telea = cv2.inpaint(result.original, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        for method, image in (("unmask", result.image), ("Telea", telea)):
            scores.append(_score(portrait, method, image, result.original, hole))
        shown.append((result, portrait.image))
    _draw(path, shown)
    return scores


def _score(
    portrait: Portrait,
    method: str,
    image: NDArray[np.uint8],
    masked: NDArray[np.uint8],
    hole: NDArray[np.bool_],
) -> DemoScore:
    from skimage.metrics import structural_similarity

    from unmask.metrics import psnr_hole

    if not hole.any():
        return DemoScore(portrait.name, method, float("nan"), float("nan"), float("inf"))
    _, local = structural_similarity(portrait.image, image, channel_axis=-1, full=True)
    return DemoScore(
        portrait=portrait.name,
        method=method,
        psnr_hole=psnr_hole(portrait.image, image, hole),
        ssim_hole=float(local[hole].mean()),
        # Outside the hole the masked photo is what must come back, ear loops included.
        psnr_outside=psnr_hole(masked, image, ~hole),
    )


def _draw(path: PathLike, shown: list[tuple[Result, NDArray[np.uint8]]]) -> None:
    rows = [(face, truth) for result, truth in shown for face in result.faces]
    figure = Figure(figsize=(13, 2.8 * max(len(rows), 1)), layout="constrained")
    if rows:
        grid = figure.subplots(len(rows), 5, squeeze=False)
        for axes, (face, truth) in zip(grid, rows, strict=True):
            fill_row(axes, face, truth)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)

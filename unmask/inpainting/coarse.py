"""The coarse completion: what a face behind its hole looks like roughly, at 64 x 64 pixels.

A linear model (`prior.py`) averages faces; a small network corrects it. At 64 x 64 it sees ten
times more faces a minute than the generator does at 192 x 192, and learns what a line cannot: which
light, beard or open mouth goes with the visible half. One network serves both genders, and is told
which one the generator behind it belongs to. The generator adds the details.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask import presets
from unmask.inference import Network, OnnxNetwork, forward, is_onnx
from unmask.inpainting.prior import PRIOR_SIDE, LinearPrior
from unmask.inpainting.window import WINDOW_SIDE, draw_landmark_map
from unmask.io import PathLike

GENDERS = presets.GENDERS[::-1]
"""Order of the network's two gender inputs."""

# Faces that go through the network at once.
_AT_ONCE = 8


@dataclass(frozen=True)
class CoarseCompletion:
    """Completes faces coarsely: the one place that training samples and `unmask.run` ask.

    Attributes:
        linear: The linear model.
        network: A network of `build_coarse` that corrects it; None for none.

    Example:
        >>> size = 64 * 64 * 3 + 196
        >>> one = np.ones(size, np.float32)
        >>> linear = LinearPrior(one / 2, one[None] / size**0.5, one[:1], one, side=WINDOW_SIDE)
        >>> images, holes = np.zeros((2, 192, 192, 3), np.uint8), np.zeros((2, 192, 192), bool)
        >>> filled, coarse = CoarseCompletion(linear)(images, holes, ~holes, np.zeros((2, 98, 2)))
        >>> coarse.shape
        (2, 192, 192, 3)
    """

    linear: LinearPrior
    network: Network | None = None

    def __call__(
        self,
        images: NDArray[np.uint8],
        holes: NDArray[np.bool_],
        valid: NDArray[np.bool_],
        landmarks: Sequence[NDArray[np.floating]] | NDArray[np.floating],
        genders: Sequence[str] | NDArray[np.str_] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Fill what lies beyond the photo's edge, then complete the hole.

        Args:
            images: (B, 192, 192, 3) uint8 RGB windows of canonical crops, B at least 1.
            holes: (B, 192, 192) bool, True where the pixels are unknown.
            valid: (B, 192, 192) bool, True where the pixel comes from the photo.
            landmarks: (98, 2) or (68, 2) points in window pixels of each face; the linear model
                looks at pixels alone when there are 68.
            genders: "male" or "female" for each face, "" for neither, which None is for all.

        Returns:
            Two (B, 192, 192, 3) uint8 arrays: the images with their invalid pixels replaced, and
            those with the hole completed too.

        Raises:
            ValueError: A shape or a gender does not fit.
        """
        faces = zip(images, holes, valid, landmarks, strict=True)
        filled, coarse = (
            np.stack(x) for x in zip(*(self.linear.complete(*face) for face in faces), strict=True)
        )
        genders = [""] * len(images) if genders is None else list(genders)
        codes = np.stack([gender_code(gender) for gender in genders])
        if self.network is None:
            return filled, coarse
        for start in range(0, len(images), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            coarse[rows] = _correct(
                self.network, coarse[rows], holes[rows], landmarks[rows], codes[rows]
            )
        return filled, coarse


def load_coarse(linear: PathLike, network: PathLike | None = None) -> CoarseCompletion:
    """Read what makes the coarse completion.

    Args:
        linear: File of the linear prior.
        network: File of the shipped size's network that corrects it; None for none.

    Raises:
        WeightsError: A file is missing or does not fit.
    """
    prior = LinearPrior.load(linear)
    if network is None:
        return CoarseCompletion(prior)
    if is_onnx(network):
        return CoarseCompletion(prior, OnnxNetwork(network))
    from unmask.inpainting.coarse_network import build_coarse
    from unmask.weights import load_weights

    model = build_coarse()
    load_weights(model, network)
    return CoarseCompletion(prior, model)


def gender_code(gender: str) -> NDArray[np.float32]:
    """Return the network's (2,) gender input: 1 for "male", 1 for "female", zeros for "".

    Raises:
        ValueError: `gender` is something else.
    """
    if gender and gender not in GENDERS:
        raise ValueError(f"gender must be 'male', 'female' or ''. Received: gender={gender!r}")
    return np.array([gender == name for name in GENDERS], np.float32)


def _correct(
    network: Network,
    linear: NDArray[np.uint8],
    holes: NDArray[np.bool_],
    landmarks: Sequence[NDArray[np.floating]] | NDArray[np.floating],
    genders: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Correct linear completions inside their holes."""
    cells, size = (PRIOR_SIDE, PRIOR_SIDE), (WINDOW_SIDE, WINDOW_SIDE)

    def shrunk(arrays: NDArray[Any]) -> NDArray[np.float32]:
        return np.stack([cv2.resize(x, cells, interpolation=cv2.INTER_AREA) for x in arrays])

    small = shrunk(linear).astype(np.float32) / 255.0
    share = shrunk(holes.astype(np.float32))[..., None]
    marks = np.stack([draw_landmark_map(points, WINDOW_SIDE) for points in landmarks])
    # The mirrored face errs differently: the mean of both answers is 0.08 dB nearer the truth.
    pairs = [np.concatenate([x, x[:, :, ::-1]]) for x in (small, share, marks)]
    straight, mirrored = np.split(forward(network, *pairs, np.tile(genders, (2, 1))), 2)
    # The correction alone is enlarged: the linear completion would lose its edges.
    corrections = (straight + mirrored[:, :, ::-1]) / 2 - small
    result = linear.copy()
    for image, correction, hole in zip(result, corrections, holes, strict=True):
        large = cv2.resize(correction, size, interpolation=cv2.INTER_CUBIC)
        image[hole] = np.clip(image + large * 255.0 + 0.5, 0, 255).astype(np.uint8)[hole]
    return result

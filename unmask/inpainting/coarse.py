"""The coarse completion: what a face behind its hole looks like roughly, at 64 x 64 pixels.

A linear model (`prior.py`) averages faces; a small network corrects it. At 64 x 64 it sees ten
times more faces a minute than the generator does at 192 x 192, and learns what a line cannot: which
light, beard or open mouth goes with the visible half. One network serves both genders, and is told
which one the generator behind it belongs to. The generator adds the details.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from unmask import presets
from unmask.inference import forward
from unmask.inpainting.prior import PRIOR_SIDE, LinearPrior
from unmask.inpainting.window import WINDOW_SIDE, draw_landmark_map
from unmask.weights import load_weights

GENDERS = presets.GENDERS[::-1]
"""Order of the network's two gender inputs."""

_LANDMARK_CELL = WINDOW_SIDE // (PRIOR_SIDE // 2)
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
    network: keras.Model | None = None

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


def load_coarse(
    linear: str | os.PathLike[str], network: str | os.PathLike[str] | None = None
) -> CoarseCompletion:
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
    network: keras.Model,
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


def build_coarse(width: int = 64, blocks: Sequence[int] = (2, 2, 3)) -> keras.Model:
    """Build the network: a residual U-Net at 1/2, 1/4 and 1/8 of 64 pixels.

    Args:
        width: Channels of the first level; the others have twice and two and a half times as many.
        blocks: Residual blocks of the three levels, in both directions.

    Returns:
        A model from `[linear (B, 64, 64, 3) in [0, 1], hole (B, 64, 64, 1) in [0, 1],
        landmark_map (B, 192, 192, 1), gender (B, 2)]` to the corrected completion (B, 64, 64, 3),
        float32; outside the hole it is the first input. The landmarks come at the window's size:
        at 64 pixels their places would be too rough for a mouth.

    Raises:
        ValueError: `width` or `blocks` is not positive, or `blocks` has not three entries.

    Example:
        >>> model = build_coarse(width=8, blocks=(1, 1, 1))
        >>> zeros = keras.ops.zeros
        >>> tuple(model([zeros((1, 64, 64, 3)), zeros((1, 64, 64, 1)), zeros((1, 192, 192, 1)),
        ...              zeros((1, 2))]).shape)
        (1, 64, 64, 3)
    """
    if len(blocks) != 3 or min(*blocks, width) < 1:
        raise ValueError(
            "width must be positive and blocks three positive numbers. "
            f"Received: width={width}, blocks={blocks}"
        )
    linear = keras.Input((PRIOR_SIDE, PRIOR_SIDE, 3), name="linear")
    hole = keras.Input((PRIOR_SIDE, PRIOR_SIDE, 1), name="hole")
    marks = keras.Input((WINDOW_SIDE, WINDOW_SIDE, 1), name="landmark_map")
    gender = keras.Input((len(GENDERS),), name="gender")

    widths = (width, 2 * width, 5 * width // 2)
    x = _stem(linear, hole, marks, gender, width)
    skips = []
    for level, (channels, count) in enumerate(zip(widths, blocks, strict=True)):
        if level:
            x = layers.Conv2D(channels, 2, strides=2, name=f"down{level}")(x)
        x = _blocks(x, count, f"encoder{level}")
        skips.append(x)
    for level in (1, 0):
        x = layers.Conv2DTranspose(widths[level], 2, strides=2, name=f"up{level}")(x)
        x = layers.Add(name=f"join{level}")([x, skips[level]])
        x = _blocks(x, blocks[level], f"decoder{level}")
    x = layers.Activation("silu", name="correction_silu")(x)
    # Almost nothing at first, so that the training starts from the linear completion itself.
    x = layers.Conv2D(
        12, 3, padding="same", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3),
        name="correction",
    )(x)  # fmt: skip
    # In float32 also in mixed precision: bfloat16 has 8 bits, as have the pixels.
    x = layers.Activation("linear", dtype="float32", name="correction_float32")(x)
    half = PRIOR_SIDE // 2
    x = ops.reshape(x, (-1, half, half, 2, 2, 3))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, PRIOR_SIDE, PRIOR_SIDE, 3))
    return keras.Model([linear, hole, marks, gender], linear + x * hole, name="coarse")


def _stem(linear: Any, hole: Any, marks: Any, gender: Any, width: int) -> Any:
    """Bring the four inputs to half of their resolution, in one sum."""
    pixels = layers.Rescaling(4.0, offset=-2.0, name="rescale")(linear)
    pixels = layers.Concatenate(name="pixels")([pixels, hole])
    cell = _LANDMARK_CELL
    return layers.Add(name="stem")(
        [
            layers.Conv2D(width, 4, strides=2, padding="same", name="stem_pixels")(pixels),
            layers.Conv2D(width, cell, strides=cell, use_bias=False, name="stem_landmarks")(marks),
            layers.Reshape((1, 1, width), name="stem_gender_everywhere")(
                layers.Dense(width, use_bias=False, name="stem_gender")(gender)
            ),
        ]
    )


def _blocks(x: Any, count: int, name: str) -> Any:
    width = x.shape[-1]
    for index in range(count):
        y = layers.Activation("silu", name=f"{name}_block{index}_silu1")(x)
        y = layers.Conv2D(
            width, 3, padding="same", kernel_initializer="he_normal",
            name=f"{name}_block{index}_conv1",
        )(y)  # fmt: skip
        y = layers.Activation("silu", name=f"{name}_block{index}_silu2")(y)
        # Starting from zero, a block is the identity at first: no normalisation is needed.
        y = layers.Conv2D(
            width, 3, padding="same", kernel_initializer="zeros", name=f"{name}_block{index}_conv2"
        )(y)
        x = layers.Add(name=f"{name}_block{index}_sum")([x, y])
    return x

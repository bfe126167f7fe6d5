"""A small network that corrects the linear first guess before the generator sees it.

The linear model of `unmask.inpainting.prior` can only average faces. At 64 x 64 pixels a network
is cheap enough to see ten times more faces a minute than the generator does at 192 x 192, so it
learns what a line cannot: which light, beard or open mouth goes with the visible half. One network
serves both genders, and is told which one the generator behind it belongs to.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from unmask import presets
from unmask.inference import forward
from unmask.inpainting.data import draw_landmark_map
from unmask.inpainting.framing import WINDOW_SIDE
from unmask.inpainting.prior import PRIOR_SIDE, FirstGuess, LinearPrior
from unmask.weights import load_weights

# Arguments of `build_coarse` for the shipped weights.
COARSE: dict[str, Any] = {"width": 64}

GENDERS = presets.GENDERS[::-1]
"""Order of the network's two gender inputs."""

_LANDMARK_CELL = WINDOW_SIDE // (PRIOR_SIDE // 2)


@dataclass(frozen=True)
class CoarsePrior:
    """The linear first guess with the network's correction.

    Attributes:
        linear: The linear model.
        network: A network of `build_coarse`.
        gender: "male" or "female", the gender that the guess is for; None for neither.

    Raises:
        ValueError: `gender` is something else.
    """

    linear: LinearPrior
    network: keras.Model
    gender: str | None = None

    def __post_init__(self) -> None:
        """Check the gender."""
        gender_code(self.gender)

    def for_gender(self, gender: str | None) -> CoarsePrior:
        """Return the same model for another gender."""
        return replace(self, gender=gender)

    def fill_outside(
        self,
        image: NDArray[np.uint8],
        hole: NDArray[np.bool_],
        valid: NDArray[np.bool_],
        landmarks: NDArray[np.floating] | None = None,
    ) -> NDArray[np.uint8]:
        """Guess what lies beyond the photo's edge, as `LinearPrior.fill_outside` does."""
        return self.linear.fill_outside(image, hole, valid, landmarks)

    def complete(
        self,
        image: NDArray[np.uint8],
        hole: NDArray[np.bool_],
        landmarks: NDArray[np.floating] | None = None,
    ) -> NDArray[np.uint8]:
        """Guess the pixels in the hole of one aligned face.

        Args:
            image: (192, 192, 3) uint8 RGB window of the canonical crop.
            hole: (192, 192) bool, True where the pixels are unknown.
            landmarks: (98, 2) or (68, 2) points in window pixels, if known.

        Returns:
            (192, 192, 3) uint8: the guess in the hole, the image elsewhere.

        Raises:
            ValueError: A shape does not fit.
        """
        guess = self.linear.complete(image, hole, landmarks)
        *maps, gender = coarse_inputs(guess, hole, landmarks, self.gender)
        # The mirrored face errs differently: the mean of both answers is 0.08 dB nearer the truth.
        pairs = [np.stack([x, x[:, ::-1]]) for x in maps]
        straight, mirrored = forward(self.network, *pairs, np.stack([gender, gender]))
        size = (WINDOW_SIDE, WINDOW_SIDE)
        # The correction alone is enlarged: the guess, enlarged once more, would lose its edges.
        small = (straight + mirrored[:, ::-1]) / 2 - maps[0]
        correction = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
        corrected = np.clip(guess + correction * 255.0 + 0.5, 0, 255).astype(np.uint8)
        return np.where(hole[..., None], corrected, image)


def load_first_guess(
    linear: str | os.PathLike[str],
    network: str | os.PathLike[str] | None = None,
    gender: str | None = None,
) -> FirstGuess:
    """Read what makes the first guess.

    Args:
        linear: File of the linear prior.
        network: File of the shipped size's network that corrects it; None for none.
        gender: As `CoarsePrior.gender`.

    Returns:
        A `LinearPrior`, or a `CoarsePrior`.

    Raises:
        WeightsError: A file is missing or does not fit.
    """
    prior = LinearPrior.load(linear)
    if network is None:
        return prior
    model = build_coarse(**COARSE)
    load_weights(model, network)
    return CoarsePrior(prior, model, gender)


def gender_code(gender: str | None) -> NDArray[np.float32]:
    """Return the network's (2,) gender input: 1 for "male", 1 for "female", zeros for None.

    Raises:
        ValueError: `gender` is something else.
    """
    if gender is not None and gender not in GENDERS:
        raise ValueError(f"gender must be 'male', 'female' or None. Received: gender={gender!r}")
    return np.array([gender == name for name in GENDERS], np.float32)


def coarse_inputs(
    guess: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    landmarks: NDArray[np.floating] | None,
    gender: str | None,
) -> tuple[NDArray[np.float32], ...]:
    """Prepare one face for the network.

    Args:
        guess: (192, 192, 3) uint8 RGB, the linear model's completion.
        hole: (192, 192) bool.
        landmarks: (N, 2) points in window pixels; None for none.
        gender: As `CoarsePrior.gender`.

    Returns:
        The network's four inputs without a batch axis.
    """
    size = (PRIOR_SIDE, PRIOR_SIDE)
    small = cv2.resize(guess, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    share = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA)[..., None]
    points = np.zeros((0, 2), np.float32) if landmarks is None else landmarks
    return small, share, draw_landmark_map(points, WINDOW_SIDE), gender_code(gender)


def build_coarse(width: int = 64, blocks: Sequence[int] = (2, 2, 3)) -> keras.Model:
    """Build the network: a residual U-Net at 1/2, 1/4 and 1/8 of the guess's 64 pixels.

    Args:
        width: Channels of the first level; the others have twice and two and a half times as many.
        blocks: Residual blocks of the three levels, in both directions.

    Returns:
        A model from `[guess (B, 64, 64, 3) in [0, 1], hole (B, 64, 64, 1) in [0, 1],
        landmark_map (B, 192, 192, 1), gender (B, 2)]` to the corrected guess (B, 64, 64, 3),
        float32; outside the hole it is the guess. The landmarks come at the window's resolution:
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
    guess = keras.Input((PRIOR_SIDE, PRIOR_SIDE, 3), name="guess")
    hole = keras.Input((PRIOR_SIDE, PRIOR_SIDE, 1), name="hole")
    marks = keras.Input((WINDOW_SIDE, WINDOW_SIDE, 1), name="landmark_map")
    gender = keras.Input((len(GENDERS),), name="gender")

    widths = (width, 2 * width, 5 * width // 2)
    x = _stem(guess, hole, marks, gender, width)
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
    # Almost nothing at first, so that the training starts from the linear guess itself.
    x = layers.Conv2D(
        12, 3, padding="same", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3),
        name="correction",
    )(x)  # fmt: skip
    # In float32 also in mixed precision: bfloat16 has 8 bits, as have the pixels.
    x = layers.Activation("linear", dtype="float32", name="correction_float32")(x)
    half = PRIOR_SIDE // 2
    x = ops.reshape(x, (-1, half, half, 2, 2, 3))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, PRIOR_SIDE, PRIOR_SIDE, 3))
    return keras.Model([guess, hole, marks, gender], guess + x * hole, name="coarse")


def _stem(guess: Any, hole: Any, marks: Any, gender: Any, width: int) -> Any:
    """Bring the four inputs to half of the guess's resolution, in one sum."""
    pixels = layers.Rescaling(4.0, offset=-2.0, name="rescale")(guess)
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

"""The refine network, a second stage after lite's generators: it copies from what is known.

Lite's generator with one difference: what passes by its blocks is not the known features but
DeepFill v2's contextual attention, which rebuilds the hole's features from the known ones that are
most like them. It corrects a finished completion as the generator corrects the coarse one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.inference import Network
from unmask.inpainting.coarse import CoarseCompletion, load_coarse
from unmask.inpainting.lite import build_generator, paint_on_coarse
from unmask.inpainting.predict import complete_faces
from unmask.io import PathLike
from unmask.rivals.layers import ContextualAttention
from unmask.weights import load_weights


def build_refiner(width: int = 32, depth: int = 2) -> keras.Model:
    """Build the refine network: 1,464,547 parameters, the very ones of lite's generator.

    Args:
        width: Channels of the first layer.
        depth: Number of dilated residual blocks.

    Returns:
        A model as `unmask.inpainting.lite.build_generator` returns, whose input `coarse` is a
        finished completion.

    Example:
        >>> build_refiner(width=8, depth=1).output_shape
        (None, None, None, 3)

    Reference:
        Yu et al., 2018, for contextual attention; the poster, for the second stage.
    """
    attention = ContextualAttention(name="attention")
    return paint_on_coarse(width, depth, lambda features, mask: attention([features, mask]))


@dataclass(frozen=True)
class FirstStage:
    """What the refine network gets to correct, called as a `CoarseCompletion` is.

    Attributes:
        coarse: Makes the coarse completions.
        gender: Whose generator it is.
        generator: Paints on them.
    """

    coarse: CoarseCompletion
    gender: str
    generator: Network

    def __call__(
        self,
        images: NDArray[np.uint8],
        holes: NDArray[np.bool_],
        valid: NDArray[np.bool_],
        landmarks: NDArray[np.floating],
        genders: Sequence[str],
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the images without gaps, and with their faces completed."""
        generators = {self.gender: self.generator}
        return complete_faces(generators, self.coarse, images, holes, valid, landmarks, genders)


def load_first_stage(
    linear: PathLike, network: PathLike, gender: str, generator: PathLike
) -> FirstStage:
    """Read what makes the first completion of one gender's faces.

    Raises:
        WeightsError: A file is missing or does not fit.
    """
    model = build_generator()
    load_weights(model, generator)
    return FirstStage(load_coarse(linear, network), gender, model)

"""Pictures of what a generator does, while it trains."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord
from unmask.inpainting.data import InpaintingData
from unmask.inpainting.framing import WINDOW_SIDE
from unmask.inpainting.predict import correct_guess
from unmask.inpainting.prior import FirstGuess

_SEED = 4321
_RED = np.array([1, 0, 0], np.float32)


class SampleSheet:
    """The same few faces at every call: what is known, the first guess, the result, the truth.

    The result of a generator that paints on the guess is shown as `unmask.run` would use it.

    Args:
        records: Faces with 98 landmarks; the first `rows` are shown.
        prior: Makes the first guess.
        side: Side of the pictures in pixels, at most 192.
        rows: Number of faces.
    """

    def __init__(
        self,
        records: Sequence[FaceRecord],
        prior: FirstGuess,
        *,
        side: int = WINDOW_SIDE,
        rows: int = 6,
    ) -> None:
        data = InpaintingData(records[:rows], prior, seed=_SEED, augment=False)
        self._batch = data.batch(0, len(data), side)

    def draw(self, generator: keras.Model) -> NDArray[np.uint8]:
        """Return the sheet, (rows * side, 4 * side, 3) uint8."""
        batch = self._batch
        inputs = [batch.image, batch.mask, batch.landmark_map, batch.coarse]
        inputs = inputs[: len(generator.inputs)]
        output = np.asarray(generator.predict_on_batch(inputs), np.float32)
        if len(inputs) == 4:
            output = correct_guess(output, batch.coarse, batch.mask[..., 0] > 0)
        known = batch.image * (1 - batch.mask) + batch.mask
        # The landmarks that the generator is told, in red.
        known = np.where(batch.landmark_map > 0, _RED, known)
        completed = output * batch.mask + batch.image * (1 - batch.mask)
        columns = np.concatenate([known, batch.coarse, completed, batch.truth], axis=2)
        pixels = np.clip(columns * 255 + 0.5, 0, 255).astype(np.uint8)
        return np.concatenate(list(pixels))

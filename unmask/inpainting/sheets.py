"""Pictures of what a generator does, while it trains."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.inpainting.data import InpaintingBatch
from unmask.inpainting.predict import correct_guess

_RED = np.array([1, 0, 0], np.float32)


def draw_sheet(generator: keras.Model, batch: InpaintingBatch) -> NDArray[np.uint8]:
    """Draw a row a face: what is known, the first guess if there is one, the result, the truth.

    The result of a generator that paints on the guess is shown as `unmask.run` would use it.

    Args:
        generator: The generator.
        batch: The faces, B of side S.

    Returns:
        (B * S, 3 or 4 columns of S, 3) uint8.
    """
    image, truth = (batch[name].astype(np.float32) / 255.0 for name in ("image", "truth"))
    mask, points = (batch[name].astype(np.float32) for name in ("mask", "landmark_map"))
    inputs, columns = [image, mask, points], []
    if "coarse" in batch:
        columns = [batch["coarse"].astype(np.float32) / 255.0]
    guided = len(generator.inputs) == 4
    output = np.asarray(generator.predict_on_batch(inputs + columns * guided), np.float32)
    if guided:
        output = correct_guess(output, columns[0], mask[..., 0] > 0)
    # The landmarks that the generator is told, in red.
    known = np.where(points > 0, _RED, image * (1 - mask) + mask)
    columns = [known, *columns, output * mask + image * (1 - mask), truth]
    pixels = np.clip(np.concatenate(columns, axis=2) * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.concatenate(list(pixels))

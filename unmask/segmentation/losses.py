"""The training loss: cross-entropy that cares for borders, and overlap."""

from __future__ import annotations

import keras
from keras import ops


def border_weight(truth: keras.KerasTensor, gain: float, width: int) -> keras.KerasTensor:
    """Weigh pixels near a mask's border more.

    Args:
        truth: (B, H, W, 1) of 0 and 1.
        gain: Weight added near the border.
        width: Size of the neighbourhood, odd, in pixels: half of it lies on either side.

    Returns:
        (B, H, W, 1): 1 far from borders, 1 + `gain` near them.
    """
    grown = ops.max_pool(truth, width, strides=1, padding="same")
    shrunk = -ops.max_pool(-truth, width, strides=1, padding="same")
    return 1.0 + gain * (grown - shrunk)


@keras.saving.register_keras_serializable(package="unmask")
class MaskLoss(keras.losses.Loss):
    """Weighted binary cross-entropy plus soft Dice over the batch.

    Dice is taken over all pixels of a batch: a single picture without a mask has no overlap to
    speak of, and small masks would otherwise count as much as large ones.

    Args:
        border_gain: See `border_weight`.
        border_width: See `border_weight`.
        dice: Weight of the Dice term.
        name: Name of the loss.

    Example:
        >>> truth = ops.ones((1, 8, 8, 1))
        >>> float(MaskLoss()(truth, truth)) < 1e-3
        True
    """

    def __init__(
        self,
        border_gain: float = 2.0,
        border_width: int = 5,
        dice: float = 0.5,
        name: str = "mask_loss",
    ) -> None:
        super().__init__(name=name, reduction="mean")
        self.border_gain, self.border_width, self.dice = border_gain, border_width, dice

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of a batch."""
        truth = ops.cast(y_true, "float32")
        weight = border_weight(truth, self.border_gain, self.border_width)
        entropy = ops.binary_crossentropy(truth, y_pred) * weight
        overlap = ops.sum(truth * y_pred)
        dice = 1.0 - (2.0 * overlap + 1.0) / (ops.sum(truth) + ops.sum(y_pred) + 1.0)
        return ops.mean(entropy) + self.dice * dice

    def get_config(self) -> dict[str, object]:
        """Return the arguments."""
        return {
            "border_gain": self.border_gain,
            "border_width": self.border_width,
            "dice": self.dice,
            "name": self.name,
        }

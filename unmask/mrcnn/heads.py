"""What is said about each box: its class, its correction and its mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import layers, ops

from unmask.mrcnn.config import Config
from unmask.mrcnn.normalisation import BatchNorm
from unmask.mrcnn.roi import PyramidROIAlign

Tensor = Any


class FoldBoxes(layers.Layer):
    """Puts the boxes of all images one after another: (N, R, ...) to (N * R, ...)."""

    def call(self, inputs: Tensor) -> Tensor:
        """Join the first two dimensions."""
        return ops.reshape(inputs, (-1, *inputs.shape[2:]))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return (N * R, ...)."""
        return (None, *input_shape[2:])


class UnfoldBoxes(layers.Layer):
    """Undoes `FoldBoxes`: `[values (N * R, ...), boxes (N, R, 4)]` become (N, R, ...).

    Args:
        shape: What follows R; by default the shape of the values.
    """

    def __init__(self, shape: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.shape = None if shape is None else tuple(shape)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Split the first dimension."""
        values, boxes = inputs
        count = boxes.shape[1] if boxes.shape[1] is not None else ops.shape(boxes)[1]
        rest = self.shape or tuple(values.shape[1:])
        batch = -1 if boxes.shape[1] is not None else ops.shape(boxes)[0]
        return ops.reshape(values, (batch, count, *rest))

    def compute_output_shape(self, input_shape: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return (N, R, ...)."""
        return (*input_shape[1][:2], *(self.shape or input_shape[0][1:]))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        config = {**super().get_config(), "shape": self.shape}
        config.pop("dtype")
        return config


class BoxHead:
    """Classifies boxes and corrects them; holds the layers so that they can be applied again.

    Args:
        config: Its pool size, width, number of classes and `TRAIN_BN`.
    """

    def __init__(self, config: Config) -> None:
        width, classes = config.FPN_CLASSIF_FC_LAYERS_SIZE, config.NUM_CLASSES
        self._align = PyramidROIAlign(
            config.POOL_SIZE, config.ROI_CANONICAL_SIZE, name="roi_align_classifier"
        )
        self._fold = FoldBoxes(name="mrcnn_class_fold")
        self._hidden = [
            (
                layers.Conv2D(width, size, name=f"mrcnn_class_conv{i}"),
                BatchNorm(config.TRAIN_BN, name=f"mrcnn_class_bn{i}"),
                layers.Activation("relu", name=f"mrcnn_class_relu{i}"),
            )
            for i, size in ((1, config.POOL_SIZE), (2, 1))
        ]
        self._squeeze = layers.Flatten(name="pool_squeeze")
        self._logits = layers.Dense(classes, dtype="float32", name="mrcnn_class_logits")
        self._deltas = layers.Dense(4 * classes, dtype="float32", name="mrcnn_bbox_fc")
        self._unfold_logits = UnfoldBoxes(name="mrcnn_class_logits_rows")
        self._softmax = layers.Activation("softmax", dtype="float32", name="mrcnn_class")
        self._unfold_deltas = UnfoldBoxes((classes, 4), name="mrcnn_bbox")

    def __call__(
        self, boxes: Tensor, meta: Tensor, pyramid: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (N, R, C), probabilities and corrections (N, R, C, 4)."""
        x = self._fold(self._align([boxes, meta, *pyramid]))
        for convolve, normalise, activate in self._hidden:
            x = activate(normalise(convolve(x)))
        x = self._squeeze(x)
        logits = self._unfold_logits([self._logits(x), boxes])
        return logits, self._softmax(logits), self._unfold_deltas([self._deltas(x), boxes])


class MaskHead:
    """Draws a mask for each class in each box.

    Args:
        config: Its mask sizes, `MASK_FILTERS`, number of classes and `TRAIN_BN`.
    """

    def __init__(self, config: Config) -> None:
        filters = config.MASK_FILTERS
        self._align = PyramidROIAlign(
            config.MASK_POOL_SIZE, config.ROI_CANONICAL_SIZE, name="roi_align_mask"
        )
        self._fold = FoldBoxes(name="mrcnn_mask_fold")
        self._hidden = [
            (
                layers.Conv2D(filters, 3, padding="same", name=f"mrcnn_mask_conv{i}"),
                BatchNorm(config.TRAIN_BN, name=f"mrcnn_mask_bn{i}"),
                layers.Activation("relu", name=f"mrcnn_mask_relu{i}"),
            )
            for i in (1, 2, 3, 4)
        ]
        self._enlarge = layers.Conv2DTranspose(
            filters, 2, strides=2, activation="relu", name="mrcnn_mask_deconv"
        )
        self._draw = layers.Conv2D(
            config.NUM_CLASSES, 1, activation="sigmoid", dtype="float32", name="mrcnn_mask"
        )
        self._unfold = UnfoldBoxes(name="mrcnn_mask_rows")

    def __call__(self, boxes: Tensor, meta: Tensor, pyramid: Sequence[Tensor]) -> Tensor:
        """Return probabilities (N, R, height, width, C)."""
        x = self._fold(self._align([boxes, meta, *pyramid]))
        for convolve, normalise, activate in self._hidden:
            x = activate(normalise(convolve(x)))
        return self._unfold([self._draw(self._enlarge(x)), boxes])

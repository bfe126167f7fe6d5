"""What is read from the pyramid for each box, and said about it: class, correction, mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from unmask.mrcnn.backbone import BatchNorm
from unmask.mrcnn.boxes import sample_boxes
from unmask.mrcnn.config import Config
from unmask.mrcnn.images import split_meta

Tensor = Any


@keras.saving.register_keras_serializable(package="unmask")
class PyramidROIAlign(layers.Layer):
    """Reads a square grid of points from each box, at the level that suits the box's size.

    Called with `[boxes (N, R, 4), image_meta, P2, P3, P4, P5]` it returns (N, R, size, size, C). A
    box of the canonical size is read from P4, one of half of it from P3. Points on a map's border
    read its last row or column. No gradient passes to the boxes.

    Args:
        size: Points a side.
        canonical: Side in pixels of a box that is read from P4.

    Reference:
        Lin et al., "Feature Pyramid Networks", CVPR 2017, equation 1; points as published by
        matterport: one sample a bin, from edge to edge.
    """

    def __init__(self, size: int, canonical: float = 224.0, **kwargs: Any) -> None:
        # Boxes have to stay float32 when the feature maps are not.
        super().__init__(autocast=False, **kwargs)
        self.size, self.canonical = size, float(canonical)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Cut the boxes out."""
        boxes, maps = ops.stop_gradient(ops.cast(inputs[0], "float32")), inputs[2:]
        shape = ops.cast(split_meta(inputs[1]).image_shape, "float32")
        batch, count = ops.shape(boxes)[0], ops.shape(boxes)[1]
        level = ops.reshape(self._level(boxes, shape[:, 0] * shape[:, 1]), (-1,))

        # All maps one after another, so that every box reads from the same table.
        channels = maps[0].shape[-1]
        table = ops.concatenate([ops.reshape(m, (-1, channels)) for m in maps], axis=0)
        heights, widths = _sizes(maps, 1), _sizes(maps, 2)
        cells = heights * widths
        starts = (ops.cumsum(cells) - cells) * batch
        image = ops.repeat(ops.arange(batch, dtype="int32"), count)
        offset = ops.take(starts, level) + image * ops.take(cells, level)
        pooled = sample_boxes(
            table, offset, ops.take(heights, level), ops.take(widths, level),
            ops.reshape(boxes, (-1, 4)), self.size, clamp=True,
        )  # fmt: skip
        return ops.reshape(pooled, (batch, count, self.size, self.size, channels))

    def _level(self, boxes: Tensor, area: Tensor) -> Tensor:
        """Return 0 for P2 to 3 for P5."""
        size = boxes[..., 2:] - boxes[..., :2]
        side = ops.sqrt(ops.maximum(size[..., 0] * size[..., 1], 0.0))
        # An empty box has no logarithm; the least side stands in for it and belongs to P2.
        ratio = ops.maximum(side * ops.sqrt(area)[:, None] / self.canonical, 1e-6)
        level = ops.round(ops.log(ratio) / math.log(2.0)) + 2.0
        return ops.cast(ops.clip(level, 0.0, 3.0), "int32")

    def compute_output_shape(self, input_shape: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return (N, R, size, size, C)."""
        return (*input_shape[0][:2], self.size, self.size, input_shape[2][-1])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        config = {**super().get_config(), "size": self.size, "canonical": self.canonical}
        config.pop("autocast", None)
        return config


def _sizes(maps: Sequence[Tensor], axis: int) -> Tensor:
    return ops.stack([ops.cast(ops.shape(m)[axis], "int32") for m in maps])


@keras.saving.register_keras_serializable(package="unmask")
class FoldBoxes(layers.Layer):
    """Puts the boxes of all images one after another: (N, R, ...) to (N * R, ...)."""

    def call(self, inputs: Tensor) -> Tensor:
        """Join the first two dimensions."""
        return ops.reshape(inputs, (-1, *inputs.shape[2:]))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return (N * R, ...)."""
        return (None, *input_shape[2:])


@keras.saving.register_keras_serializable(package="unmask")
class UnfoldBoxes(layers.Layer):
    """Undoes `FoldBoxes`: `[values (N * R, ...), boxes (N, R, 4)]` become (N, R, *shape)."""

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
    """Classifies boxes and corrects them; holds the layers so that they can be applied again."""

    def __init__(self, config: Config) -> None:
        width, classes = config.FPN_CLASSIF_FC_LAYERS_SIZE, config.NUM_CLASSES
        self._align = PyramidROIAlign(
            config.POOL_SIZE, config.ROI_CANONICAL_SIZE, name="roi_align_classifier"
        )
        self._fold = FoldBoxes(name="mrcnn_class_fold")
        self._hidden = [
            layer
            for i, size in ((1, config.POOL_SIZE), (2, 1))
            for layer in _hidden("mrcnn_class", i, width, size, "valid", config)
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
        for layer in self._hidden:
            x = layer(x)
        x = self._squeeze(x)
        logits = self._unfold_logits([self._logits(x), boxes])
        return logits, self._softmax(logits), self._unfold_deltas([self._deltas(x), boxes])


class MaskHead:
    """Draws a mask for each class in each box."""

    def __init__(self, config: Config) -> None:
        filters = config.MASK_FILTERS
        self._align = PyramidROIAlign(
            config.MASK_POOL_SIZE, config.ROI_CANONICAL_SIZE, name="roi_align_mask"
        )
        self._fold = FoldBoxes(name="mrcnn_mask_fold")
        self._hidden = [
            layer
            for i in (1, 2, 3, 4)
            for layer in _hidden("mrcnn_mask", i, filters, 3, "same", config)
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
        for layer in self._hidden:
            x = layer(x)
        return self._unfold([self._draw(self._enlarge(x)), boxes])


def _hidden(
    head: str, number: int, width: int, size: int, padding: str, config: Config
) -> tuple[layers.Layer, ...]:
    return (
        layers.Conv2D(width, size, padding=padding, name=f"{head}_conv{number}"),
        BatchNorm(config.TRAIN_BN, name=f"{head}_bn{number}"),
        layers.Activation("relu", name=f"{head}_relu{number}"),
    )

"""Cutting boxes out of the feature pyramid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keras import layers, ops

from unmask.mrcnn.meta import split_meta
from unmask.mrcnn.tensors import sample_boxes

Tensor = Any


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

"""From classified proposals to the final boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import layers, ops

from unmask.mrcnn.meta import split_meta
from unmask.mrcnn.tensors import clip_boxes, decode_boxes, gather_rows, suppress

Tensor = Any


class DetectionLayer(layers.Layer):
    """Corrects the proposals, drops what is unsure or double, and keeps the best.

    Called with `[rois (N, R, 4), probabilities (N, R, C), corrections (N, R, C, 4), image_meta]` it
    returns (N, count, 6): y1, x1, y2, x2 normalised, class, score; best first, zeros at the end.

    Args:
        count: Detections an image.
        confidence: Least score; None or 0 for all.
        threshold: Overlap above which the weaker box of a class is dropped.
        std_dev: Units of the corrections.
    """

    def __init__(
        self,
        count: int,
        confidence: float | None,
        threshold: float,
        std_dev: Sequence[float],
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.count, self.confidence, self.threshold = count, confidence, threshold
        self.std_dev = [float(value) for value in np.asarray(std_dev)]

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Choose the detections."""
        rois, probabilities, deltas, meta = inputs
        return refine_detections(
            rois, probabilities, deltas, _normalised_window(meta),
            self.count, self.confidence, self.threshold, self.std_dev,
        )  # fmt: skip

    def compute_output_shape(self, input_shape: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return (N, count, 6)."""
        return (input_shape[0][0], self.count, 6)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        arguments = {
            "count": self.count, "confidence": self.confidence, "threshold": self.threshold,
            "std_dev": self.std_dev,
        }  # fmt: skip
        config = {**super().get_config(), **arguments}
        config.pop("dtype")
        return config


def refine_detections(
    rois: Tensor,
    probabilities: Tensor,
    deltas: Tensor,
    window: Tensor,
    count: int,
    confidence: float | None,
    threshold: float,
    std_dev: Sequence[float],
) -> Tensor:
    """Do what `DetectionLayer` says, with normalised windows (N, 4)."""
    classes = ops.cast(ops.argmax(probabilities, axis=-1), "int32")
    scores = ops.max(probabilities, axis=-1)
    chosen = ops.take_along_axis(deltas, classes[:, :, None, None], axis=2)[:, :, 0]
    boxes = decode_boxes(rois, chosen * ops.convert_to_tensor(std_dev, "float32"))
    boxes = clip_boxes(boxes, window[:, None])

    keep = ops.logical_and(classes > 0, scores >= (confidence or 0.0))
    alive = ops.where(keep, scores, -1.0)
    kept, real = suppress(boxes, alive, classes, threshold, count)
    rows = ops.concatenate(
        [boxes, ops.cast(classes, "float32")[..., None], scores[..., None]], axis=-1
    )
    return ops.where(real[..., None], gather_rows(rows, kept), 0.0)


def _normalised_window(meta: Tensor) -> Tensor:
    parts = split_meta(meta)
    scale = ops.concatenate([parts.image_shape[:, :2]] * 2, axis=-1) - 1.0
    shift = ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0], "float32")
    return (parts.window - shift) / scale


class BoxColumns(layers.Layer):
    """Cuts the boxes (N, R, 4) out of detections (N, R, 6)."""

    def call(self, inputs: Tensor) -> Tensor:
        """Return the first four columns."""
        return inputs[..., :4]

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return (N, R, 4)."""
        return (*input_shape[:-1], 4)

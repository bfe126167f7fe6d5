"""From anchors to proposals, and from classified proposals to detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from unmask.mrcnn.boxes import clip_boxes, decode_boxes, gather_rows, suppress, suppress_sorted
from unmask.mrcnn.config import Config
from unmask.mrcnn.images import split_meta

Tensor = Any


def build_rpn_model(config: Config) -> keras.Model:
    """Build the network that looks at each level of the pyramid.

    From (N, h, w, C) it gives logits (N, anchors, 2), background first, probabilities, and
    corrections (N, anchors, 4).

    Reference:
        Ren et al., "Faster R-CNN", NeurIPS 2015.
    """
    ratios = len(config.RPN_ANCHOR_RATIOS)
    features = keras.Input((None, None, config.TOP_DOWN_PYRAMID_SIZE), name="input_rpn_feature_map")
    shared = layers.Conv2D(
        config.RPN_FILTERS, 3, strides=config.RPN_ANCHOR_STRIDE, padding="same",
        activation="relu", name="rpn_conv_shared",
    )(features)  # fmt: skip
    # What losses and boxes are computed from stays float32 in a training of mixed precision.
    logits = layers.Conv2D(2 * ratios, 1, dtype="float32", name="rpn_class_raw")(shared)
    logits = layers.Reshape((-1, 2), dtype="float32", name="rpn_class_logits_rows")(logits)
    scores = layers.Activation("softmax", dtype="float32", name="rpn_class_xxx")(logits)
    deltas = layers.Conv2D(4 * ratios, 1, dtype="float32", name="rpn_bbox_pred")(shared)
    deltas = layers.Reshape((-1, 4), dtype="float32", name="rpn_bbox_rows")(deltas)
    return keras.Model(features, [logits, scores, deltas], name="rpn_model")


def apply_rpn(rpn: keras.Model, pyramid: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits, probabilities and corrections of all anchors, P2 to P6, in float32."""
    parts = zip(*(rpn(level) for level in pyramid), strict=True)
    names = ("rpn_class_logits", "rpn_class", "rpn_bbox")
    logits, scores, deltas = (
        layers.Concatenate(axis=1, name=name, dtype="float32")(list(part))
        for name, part in zip(names, parts, strict=True)
    )
    return logits, scores, deltas


@keras.saving.register_keras_serializable(package="unmask")
class ProposalLayer(layers.Layer):
    """Turns scores and corrections of the anchors into a fixed number of boxes.

    Called with `[scores (N, A, 2), corrections (N, A, 4), anchors (N, A, 4)]` it returns
    (N, count, 4) normalised boxes, best first, zeros at the end. No gradient passes.

    Args:
        count: Boxes an image.
        threshold: Overlap above which the weaker box is dropped.
        limit: Best anchors that are looked at.
        std_dev: Units of the corrections.
    """

    def __init__(
        self, count: int, threshold: float, limit: int, std_dev: Sequence[float], **kwargs: Any
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.count, self.threshold, self.limit = count, threshold, limit
        self.std_dev = [float(value) for value in np.asarray(std_dev)]

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Choose the boxes."""
        scores, deltas, anchors = (ops.stop_gradient(x) for x in inputs)
        number = scores.shape[1] if scores.shape[1] is not None else anchors.shape[1]
        # With images of unknown size the number of anchors is known only when the network runs.
        limit = self.limit if number is None else min(self.limit, int(number))
        if number is None:
            scores, deltas, anchors = self._at_least(limit, scores, deltas, anchors)
        best, order = ops.top_k(scores[:, :, 1], limit)
        deltas = gather_rows(deltas, order) * ops.convert_to_tensor(self.std_dev, "float32")
        boxes = decode_boxes(gather_rows(anchors, order), deltas)
        boxes = clip_boxes(boxes, ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0], "float32"))
        kept, real = suppress_sorted(boxes, best, self.threshold, self.count)
        proposals = ops.where(real[..., None], gather_rows(boxes, kept), 0.0)
        return ops.stop_gradient(proposals)

    @staticmethod
    def _at_least(limit: int, *values: Tensor) -> list[Tensor]:
        # Padding rows have score 0 and an empty box; they come last.
        missing = ops.maximum(limit - ops.shape(values[0])[1], 0)
        return [_pad_rows(value, missing) for value in values]

    def compute_output_shape(self, input_shape: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return (N, count, 4)."""
        return (input_shape[0][0], self.count, 4)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        arguments = {
            "count": self.count, "threshold": self.threshold, "limit": self.limit,
            "std_dev": self.std_dev,
        }  # fmt: skip
        config = {**super().get_config(), **arguments}
        config.pop("dtype")
        return config


def _pad_rows(value: Tensor, rows: Tensor) -> Tensor:
    batch, width = ops.shape(value)[0], value.shape[2]
    return ops.concatenate([value, ops.zeros((batch, rows, width), value.dtype)], axis=1)


@keras.saving.register_keras_serializable(package="unmask")
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


@keras.saving.register_keras_serializable(package="unmask")
class BoxColumns(layers.Layer):
    """Cuts the boxes (N, R, 4) out of detections (N, R, 6)."""

    def call(self, inputs: Tensor) -> Tensor:
        """Return the first four columns."""
        return inputs[..., :4]

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return (N, R, 4)."""
        return (*input_shape[:-1], 4)

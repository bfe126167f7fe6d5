"""The region proposal network: which anchors show an object, and where exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from unmask.mrcnn.config import Config
from unmask.mrcnn.tensors import clip_boxes, decode_boxes, gather_rows, suppress_sorted

Tensor = Any


def build_rpn_model(config: Config) -> keras.Model:
    """Build the network that looks at each level of the pyramid.

    Args:
        config: Its pyramid size, anchor ratios and stride, and `RPN_FILTERS`.

    Returns:
        A model named `rpn_model` from (N, h, w, C) to the logits (N, anchors, 2), background
        first, the probabilities and the corrections (N, anchors, 4).

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

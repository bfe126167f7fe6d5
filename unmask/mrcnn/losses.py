"""The five losses; each is a number that is 0 when there is nothing to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

Tensor = Any

LOSS_NAMES = (
    "rpn_class_loss",
    "rpn_bbox_loss",
    "mrcnn_class_loss",
    "mrcnn_bbox_loss",
    "mrcnn_mask_loss",
)


def all_losses(inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the five losses by name.

    Args:
        inputs: What the training model was called with.
        outputs: What it returned.
    """
    classes = outputs["target_class_ids"]
    return {
        "rpn_class_loss": rpn_class_loss(inputs["input_rpn_match"], outputs["rpn_class_logits"]),
        "rpn_bbox_loss": rpn_bbox_loss(
            inputs["input_rpn_bbox"], inputs["input_rpn_match"], outputs["rpn_bbox"]
        ),
        "mrcnn_class_loss": class_loss(
            classes, outputs["mrcnn_class_logits"], outputs["active_class_ids"]
        ),
        "mrcnn_bbox_loss": bbox_loss(outputs["target_bbox"], classes, outputs["mrcnn_bbox"]),
        "mrcnn_mask_loss": mask_loss(outputs["target_mask"], classes, outputs["mrcnn_mask"]),
    }


def rpn_class_loss(match: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of the anchors that are object (1) or background (-1).

    Args:
        match: (N, A, 1) of 1, -1 and 0.
        logits: (N, A, 2), background first.
    """
    match = match[..., 0]
    truth = ops.cast(ops.equal(match, 1), "int32")
    return _mean(_cross_entropy(truth, logits), ops.not_equal(match, 0))


def rpn_bbox_loss(targets: Tensor, match: Tensor, deltas: Tensor) -> Tensor:
    """Smooth L1 of the anchors that are object.

    Args:
        targets: (N, T, 4); row k belongs to the k-th anchor with a 1.
        match: (N, A, 1).
        deltas: (N, A, 4).
    """
    positive = ops.equal(match[..., 0], 1)
    rank = ops.cumsum(ops.cast(positive, "int32"), axis=1) - 1
    rank = ops.clip(rank, 0, targets.shape[1] - 1)
    own = ops.take_along_axis(ops.cast(targets, "float32"), rank[..., None], axis=1)
    return _mean(ops.mean(smooth_l1_loss(own, deltas), axis=-1), positive)


def class_loss(truth: Tensor, logits: Tensor, active: Tensor) -> Tensor:
    """Cross-entropy of all chosen proposals whose predicted class the image's source knows.

    Args:
        truth: (N, R) int32.
        logits: (N, R, C).
        active: (N, C), 1 for known classes.
    """
    predicted = ops.argmax(logits, axis=-1)
    known = ops.take_along_axis(ops.cast(active, "float32"), predicted, axis=1)
    return _mean(_cross_entropy(truth, logits), known > 0)


def bbox_loss(targets: Tensor, truth: Tensor, deltas: Tensor) -> Tensor:
    """Smooth L1 of the true class's correction, objects only.

    Args:
        targets: (N, R, 4).
        truth: (N, R) int32.
        deltas: (N, R, C, 4).
    """
    own = ops.take_along_axis(deltas, truth[:, :, None, None], axis=2)[:, :, 0]
    return _mean(ops.mean(smooth_l1_loss(targets, own), axis=-1), truth > 0)


def mask_loss(targets: Tensor, truth: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy of the true class's mask, objects only.

    Args:
        targets: (N, P, h, w) of 0 and 1.
        truth: (N, R) int32, R at least P; objects come first.
        masks: (N, P, h, w, C) probabilities.
    """
    truth = truth[:, : targets.shape[1]]
    own = ops.take_along_axis(masks, truth[:, :, None, None, None], axis=-1)[..., 0]
    tiny = keras.config.epsilon()
    own = ops.clip(own, tiny, 1.0 - tiny)
    entropy = -(targets * ops.log(own) + (1.0 - targets) * ops.log(1.0 - own))
    return _mean(ops.mean(entropy, axis=(2, 3)), truth > 0)


def decay_loss(weights: Sequence[keras.Variable], factor: float) -> Tensor:
    """Mean squares of the weights, gamma and beta of the normalisations left out."""
    decayed = [w for w in weights if w.path.rsplit("/", 1)[-1] not in ("gamma", "beta")]
    total = ops.zeros((), "float32")
    for weight in decayed:
        total = total + factor * ops.mean(ops.square(ops.cast(weight, "float32")))
    return total


def _cross_entropy(truth: Tensor, logits: Tensor) -> Tensor:
    own = ops.take_along_axis(logits, ops.cast(truth, "int32")[..., None], axis=-1)[..., 0]
    return ops.logsumexp(logits, axis=-1) - own


def smooth_l1_loss(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Half the square of a difference below 1, and its size less a half above."""
    difference = y_true - y_pred
    size = ops.abs(difference)
    return ops.where(size < 1.0, 0.5 * size * size, size - 0.5)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean of the marked values; 0 when none is marked."""
    marked = ops.cast(where, "float32")
    total = ops.sum(ops.where(where, values, ops.zeros_like(values)))
    return total / ops.maximum(ops.sum(marked), 1.0)

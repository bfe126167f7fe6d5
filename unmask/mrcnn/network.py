"""The two networks: one that is trained and one that detects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from unmask.mrcnn.backbone import build_backbone, build_pyramid
from unmask.mrcnn.config import Config
from unmask.mrcnn.heads import BoxHead, MaskHead
from unmask.mrcnn.rpn import BoxColumns, DetectionLayer, ProposalLayer, apply_rpn, build_rpn_model
from unmask.mrcnn.targets import (
    LOSS_NAMES,
    DetectionTargets,
    all_losses,
    decay_loss,
    positives_per_image,
)

Tensor = Any


@dataclass(frozen=True)
class InferenceNetworks:
    """The detecting network, whole and in two parts that share its weights.

    Drawing a mask for each of 100 rows, most of them empty, would take as long as all the rest; the
    last part draws only those that are there.
    """

    whole: keras.Model  # from image, meta and anchors to the seven outputs
    boxes: keras.Model  # from the same to the detections and P2 to P5
    masks: keras.Model  # from boxes, meta and P2 to P5 to masks


def build_inference(config: Config) -> InferenceNetworks:
    """Build the networks that detect."""
    image, meta = _image_inputs(config)
    anchors = keras.Input((None, 4), name="input_anchors")
    pyramid = build_pyramid(build_backbone(image, config)[1:], config.TOP_DOWN_PYRAMID_SIZE)
    _, rpn_class, rpn_bbox = apply_rpn(build_rpn_model(config), pyramid)
    rois = _proposals(config, config.POST_NMS_ROIS_INFERENCE)([rpn_class, rpn_bbox, anchors])
    _, probabilities, deltas = BoxHead(config)(rois, meta, pyramid[:4])
    detections = DetectionLayer(
        config.DETECTION_MAX_INSTANCES, config.DETECTION_MIN_CONFIDENCE,
        config.DETECTION_NMS_THRESHOLD, config.BBOX_STD_DEV, name="mrcnn_detection",
    )([rois, probabilities, deltas, meta])  # fmt: skip
    mask_head = MaskHead(config)
    masks = mask_head(
        BoxColumns(name="detection_boxes", dtype="float32")(detections), meta, pyramid[:4]
    )

    inputs = [image, meta, anchors]
    outputs = [detections, probabilities, deltas, masks, rois, rpn_class, rpn_bbox]
    return InferenceNetworks(
        whole=_on_demand(keras.Model(inputs, outputs, name="mask_rcnn")),
        boxes=_on_demand(keras.Model(inputs, [detections, *pyramid[:4]], name="mask_rcnn_boxes")),
        masks=_on_demand(_masks_of(mask_head, config)),
    )


class TrainingNetwork(keras.Model):
    """The network with its losses; `fit` works on every backend.

    `compute_loss` is all that training needs of its own. Keras makes the gradient step out of it
    with TensorFlow as well as with JAX.

    Args:
        config: The settings.
        seed: Seed of the choice of proposals.
    """

    def __init__(self, config: Config, seed: int = 0) -> None:
        inputs, outputs = _training_graph(config, seed)
        super().__init__(inputs=inputs, outputs=outputs, name="mask_rcnn")
        self._factors = {name: float(config.LOSS_WEIGHTS.get(name, 1.0)) for name in LOSS_NAMES}
        self._decay = float(config.WEIGHT_DECAY)
        self._trackers = [keras.metrics.Mean(name=name) for name in LOSS_NAMES]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Return the weighted sum of the five losses and the weight decay."""
        losses = all_losses(x, y_pred)
        total = decay_loss(self.trainable_variables, self._decay)
        for tracker in self._trackers:
            value = losses[tracker.name] * self._factors[tracker.name]
            tracker.update_state(value)
            total = total + value
        return total


def _training_graph(config: Config, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    image, meta = _image_inputs(config)
    mask_shape = config.MINI_MASK_SHAPE if config.USE_MINI_MASK else (None, None)
    instances = config.MAX_GT_INSTANCES
    inputs = {
        "input_image": image,
        "input_image_meta": meta,
        "input_rpn_match": keras.Input((None, 1), dtype="int32", name="input_rpn_match"),
        "input_rpn_bbox": keras.Input(
            (config.RPN_TRAIN_ANCHORS_PER_IMAGE, 4), name="input_rpn_bbox"
        ),
        "input_gt_class_ids": keras.Input((instances,), dtype="int32", name="input_gt_class_ids"),
        "input_gt_boxes": keras.Input((instances, 4), dtype="int32", name="input_gt_boxes"),
        "input_gt_masks": keras.Input(
            (*mask_shape, instances), dtype="bool", name="input_gt_masks"
        ),
    }
    pyramid = build_pyramid(build_backbone(image, config)[1:], config.TOP_DOWN_PYRAMID_SIZE)
    rpn_logits, rpn_class, rpn_bbox = apply_rpn(build_rpn_model(config), pyramid)
    if config.USE_RPN_ROIS:
        inputs["input_anchors"] = keras.Input((None, 4), name="input_anchors")
        rois = _proposals(config, config.POST_NMS_ROIS_TRAINING)(
            [rpn_class, rpn_bbox, inputs["input_anchors"]]
        )
    else:
        fed = keras.Input((config.POST_NMS_ROIS_TRAINING, 4), dtype="int32", name="input_roi")
        inputs["input_roi"] = fed
        rois = _normalised(fed, meta)
    boxes = _normalised(inputs["input_gt_boxes"], meta)
    target_rois, target_classes, target_bbox, target_mask = DetectionTargets(
        config, seed, name="proposal_targets"
    )([rois, inputs["input_gt_class_ids"], boxes, inputs["input_gt_masks"]])
    logits, probabilities, deltas = BoxHead(config)(target_rois, meta, pyramid[:4])
    # Only objects have a mask to learn from, and they come first.
    objects = target_rois[:, : positives_per_image(config)]
    masks = MaskHead(config)(objects, meta, pyramid[:4])
    return inputs, {
        "rpn_class_logits": rpn_logits, "rpn_class": rpn_class, "rpn_bbox": rpn_bbox,
        "mrcnn_class_logits": logits, "mrcnn_class": probabilities, "mrcnn_bbox": deltas,
        "mrcnn_mask": masks, "rpn_rois": rois, "output_rois": target_rois,
        "target_class_ids": target_classes, "target_bbox": target_bbox,
        "target_mask": target_mask, "active_class_ids": meta[:, 12:],
    }  # fmt: skip


def _normalised(boxes: Tensor, meta: Tensor) -> Tensor:
    """Turn boxes (N, R, 4) in pixels into fractions of the network's input; zeros stay zeros."""
    boxes = ops.cast(boxes, "float32")
    scale = ops.concatenate([meta[:, 4:6]] * 2, axis=-1)[:, None] - 1.0
    given = ops.any(ops.not_equal(boxes, 0.0), axis=-1, keepdims=True)
    shift = np.array([0.0, 0.0, 1.0, 1.0], np.float32)
    return ops.where(given, (boxes - shift) / scale, 0.0)


def _image_inputs(config: Config) -> tuple[Tensor, Tensor]:
    # The vector holds numbers of images, which bfloat16 would round.
    return (
        keras.Input((None, None, config.IMAGE_CHANNEL_COUNT), name="input_image"),
        keras.Input((config.IMAGE_META_SIZE,), dtype="float32", name="input_image_meta"),
    )


def _proposals(config: Config, count: int) -> ProposalLayer:
    return ProposalLayer(
        count, config.RPN_NMS_THRESHOLD, config.PRE_NMS_LIMIT, config.RPN_BBOX_STD_DEV, name="ROI"
    )


def _masks_of(head: MaskHead, config: Config) -> keras.Model:
    boxes = keras.Input((None, 4), name="detection_boxes")
    meta = keras.Input((config.IMAGE_META_SIZE,), dtype="float32", name="input_image_meta")
    pyramid = [
        keras.Input((None, None, config.TOP_DOWN_PYRAMID_SIZE), name=f"p{level}")
        for level in (2, 3, 4, 5)
    ]
    return keras.Model([boxes, meta, *pyramid], head(boxes, meta, pyramid), name="mask_rcnn_masks")


def _on_demand(model: keras.Model) -> keras.Model:
    # Compiling with XLA would take longer than hundreds of images; JAX always does.
    model.jit_compile = keras.backend.backend() == "jax"
    return model

"""The two networks: one that is trained and one that detects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

from unmask.mrcnn.backbone import build_backbone, build_pyramid
from unmask.mrcnn.config import Config
from unmask.mrcnn.detection import BoxColumns, DetectionLayer
from unmask.mrcnn.heads import BoxHead, MaskHead
from unmask.mrcnn.losses import LOSS_NAMES, all_losses, decay_loss
from unmask.mrcnn.rpn import ProposalLayer, apply_rpn, build_rpn_model
from unmask.mrcnn.targets import DetectionTargets, positives_per_image

Tensor = Any


@dataclass(frozen=True)
class InferenceNetworks:
    """The detecting network, whole and in two parts that share its weights.

    Attributes:
        whole: From image, meta and anchors to the seven outputs.
        boxes: The same inputs to the detections and P2 to P5.
        masks: Boxes, meta and P2 to P5 to masks. Drawing a mask for each of 100 rows, most of them
            empty, would take as long as all the rest; this part draws only those that are there.
    """

    whole: keras.Model
    boxes: keras.Model
    masks: keras.Model


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
        rois = NormBoxes(name="normalise_rois")([fed, meta])
    boxes = NormBoxes(name="normalise_gt_boxes")([inputs["input_gt_boxes"], meta])
    target_rois, target_classes, target_bbox, target_mask = DetectionTargets(
        config, seed, name="proposal_targets"
    )([rois, inputs["input_gt_class_ids"], boxes, inputs["input_gt_masks"]])
    logits, probabilities, deltas = BoxHead(config)(target_rois, meta, pyramid[:4])
    # Only objects have a mask to learn from, and they come first.
    objects = FirstBoxes(positives_per_image(config), name="object_rois")(target_rois)
    masks = MaskHead(config)(objects, meta, pyramid[:4])
    active = ActiveClasses(name="active_classes")(meta)
    return inputs, {
        "rpn_class_logits": rpn_logits, "rpn_class": rpn_class, "rpn_bbox": rpn_bbox,
        "mrcnn_class_logits": logits, "mrcnn_class": probabilities, "mrcnn_bbox": deltas,
        "mrcnn_mask": masks, "rpn_rois": rois, "output_rois": target_rois,
        "target_class_ids": target_classes, "target_bbox": target_bbox,
        "target_mask": target_mask, "active_class_ids": active,
    }  # fmt: skip


class NormBoxes(layers.Layer):
    """Turns `[boxes in pixels (N, R, 4), image_meta]` into normalised boxes; zeros stay zeros."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Normalise by the size of the network's input."""
        boxes, meta = ops.cast(inputs[0], "float32"), inputs[1]
        scale = ops.concatenate([meta[:, 4:6]] * 2, axis=-1)[:, None] - 1.0
        shift = ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0], "float32")
        given = ops.any(ops.not_equal(boxes, 0.0), axis=-1, keepdims=True)
        return ops.where(given, (boxes - shift) / scale, 0.0)

    def compute_output_shape(self, input_shape: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return (N, R, 4)."""
        return tuple(input_shape[0])


class FirstBoxes(layers.Layer):
    """Keeps the first boxes of each image.

    Args:
        count: How many.
    """

    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.count = count

    def call(self, inputs: Tensor) -> Tensor:
        """Return (N, count, 4)."""
        return inputs[:, : self.count]

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return (N, count, 4)."""
        return (input_shape[0], self.count, input_shape[2])


class ActiveClasses(layers.Layer):
    """Cuts the marks of known classes out of the image vectors."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        """Return (N, C)."""
        return inputs[:, 12:]

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return (N, C)."""
        return (input_shape[0], input_shape[1] - 12)


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

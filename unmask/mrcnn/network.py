"""What is read from the pyramid, and the two networks: one that is trained and one that detects."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from unmask.mrcnn.backbone import BatchNorm, build_backbone, build_pyramid
from unmask.mrcnn.boxes import (
    apply_box_deltas,
    clip_boxes_graph,
    gather_rows,
    nonzero_rows,
    norm_boxes_graph,
    sample_boxes,
    suppress,
    suppress_sorted,
)
from unmask.mrcnn.config import Config
from unmask.mrcnn.images import parse_image_meta_graph
from unmask.mrcnn.targets import (
    LOSS_NAMES,
    DetectionTargetLayer,
    all_losses,
    decay_loss,
    positives_per_image,
)

Tensor = Any

# === Proposals ===


def build_rpn_model(
    anchor_stride: int, anchors_per_location: int, depth: int, filters: int = 512
) -> keras.Model:
    """Build the network that looks at each level (N, h, w, depth) of the pyramid.

    It gives logits (N, anchors, 2), background first, probabilities, and corrections
    (N, anchors, 4).

    Reference:
        Ren et al., "Faster R-CNN", NeurIPS 2015.
    """
    features = keras.Input((None, None, depth), name="input_rpn_feature_map")
    shared = layers.Conv2D(
        filters, 3, strides=anchor_stride, padding="same", activation="relu",
        name="rpn_conv_shared",
    )(features)  # fmt: skip
    # What losses and boxes are computed from stays float32 in a training of mixed precision.
    wide = anchors_per_location
    logits = layers.Conv2D(2 * wide, 1, dtype="float32", name="rpn_class_raw")(shared)
    logits = layers.Reshape((-1, 2), dtype="float32", name="rpn_class_logits_rows")(logits)
    scores = layers.Activation("softmax", dtype="float32", name="rpn_class_xxx")(logits)
    deltas = layers.Conv2D(4 * wide, 1, dtype="float32", name="rpn_bbox_pred")(shared)
    deltas = layers.Reshape((-1, 4), dtype="float32", name="rpn_bbox_rows")(deltas)
    return keras.Model(features, [logits, scores, deltas], name="rpn_model")


def rpn_graph(feature_map: Tensor, anchors_per_location: int, anchor_stride: int) -> list[Tensor]:
    """Apply a new RPN to one feature map; see `build_rpn_model`."""
    depth = feature_map.shape[-1]
    return list(build_rpn_model(anchor_stride, anchors_per_location, depth)(feature_map))


def _apply_rpn(config: Config, pyramid: Sequence[Tensor]) -> list[Tensor]:
    """Return logits, probabilities and corrections of all anchors, P2 to P6, in float32."""
    rpn = build_rpn_model(
        config.RPN_ANCHOR_STRIDE, len(config.RPN_ANCHOR_RATIOS), config.TOP_DOWN_PYRAMID_SIZE,
        config.RPN_FILTERS,
    )  # fmt: skip
    names = ("rpn_class_logits", "rpn_class", "rpn_bbox")
    return [
        layers.Concatenate(axis=1, name=name, dtype="float32")(list(part))
        for name, part in zip(names, zip(*map(rpn, pyramid), strict=True), strict=True)
    ]


class _BoxLayer(layers.Layer):
    """A layer of boxes, float32 whatever the precision; its arguments are attributes too."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        _self, *names, _kwargs = inspect.signature(type(self).__init__).parameters
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="unmask")
class ProposalLayer(_BoxLayer):
    """Turns `[scores (N, A, 2), corrections (N, A, 4), anchors (N, A, 4)]` into proposals.

    These are (N, count, 4) normalised boxes, best first, zeros at the end. No gradient passes.

    Args:
        count: Boxes an image.
        threshold: Overlap above which the weaker box is dropped.
        limit: Best anchors that are looked at.
        std_dev: Units of the corrections.
    """

    def __init__(
        self, count: int, threshold: float, limit: int, std_dev: Sequence[float], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.count, self.threshold, self.limit = count, threshold, limit
        self.std_dev = [float(value) for value in np.asarray(std_dev)]

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Choose the boxes."""
        scores, deltas, anchors = (ops.stop_gradient(x) for x in inputs)
        number = scores.shape[1] if scores.shape[1] is not None else anchors.shape[1]
        # With images of unknown size the number of anchors is known only when the network runs.
        limit = self.limit if number is None else min(self.limit, int(number))
        if number is None:
            # Padding rows have score 0 and an empty box; they come last.
            missing = ops.maximum(limit - ops.shape(scores)[1], 0)
            scores, deltas, anchors = (
                ops.concatenate(
                    [x, ops.zeros((ops.shape(x)[0], missing, x.shape[2]), x.dtype)], axis=1
                )
                for x in (scores, deltas, anchors)
            )
        best, order = ops.top_k(scores[:, :, 1], limit)
        deltas = gather_rows(deltas, order) * ops.convert_to_tensor(self.std_dev, "float32")
        boxes = apply_box_deltas(gather_rows(anchors, order), deltas)
        boxes = clip_boxes_graph(boxes, ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0], "float32"))
        kept, real = suppress_sorted(boxes, best, self.threshold, self.count)
        proposals = ops.where(real[..., None], gather_rows(boxes, kept), 0.0)
        return ops.stop_gradient(proposals)

    def compute_output_shape(self, input_shape: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return (N, count, 4)."""
        return (input_shape[0][0], self.count, 4)


# === Heads ===


@keras.saving.register_keras_serializable(package="unmask")
class PyramidROIAlign(layers.Layer):
    """Reads (N, R, size, size, C) of `[boxes (N, R, 4), image_meta, P2, P3, P4, P5]`.

    A box of the canonical size is read from P4, one of half of it from P3. Points on a map's border
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
        shape = ops.cast(parse_image_meta_graph(inputs[1])["image_shape"], "float32")
        batch, count = ops.shape(boxes)[0], ops.shape(boxes)[1]
        level = ops.reshape(self._level(boxes, shape[:, 0] * shape[:, 1]), (-1,))

        # All maps one after another, so that every box reads from the same table.
        channels = maps[0].shape[-1]
        table = ops.concatenate([ops.reshape(m, (-1, channels)) for m in maps], axis=0)
        heights, widths = (
            ops.stack([ops.cast(ops.shape(m)[axis], "int32") for m in maps]) for axis in (1, 2)
        )
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
        return {**super().get_config(), "size": self.size, "canonical": self.canonical}


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
class UnfoldBoxes(_BoxLayer):
    """Undoes `FoldBoxes`: `[values (N * R, ...), boxes (N, R, 4)]` become (N, R, *shape)."""

    def __init__(self, shape: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
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


def fpn_classifier_graph(
    rois: Tensor, feature_maps: Sequence[Tensor], image_meta: Tensor, pool_size: int,
    num_classes: int, train_bn: bool | None = True, fc_layers_size: int = 1024,
    canonical: float = 224.0,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return logits (N, R, C), probabilities and corrections (N, R, C, 4) of boxes.

    Args:
        rois: (N, R, 4) normalised.
        feature_maps: P2 to P5.
        image_meta: (N, 12 + classes).
        pool_size: Points a side.
        num_classes: Classes with the background.
        train_bn: As `Config.TRAIN_BN`.
        fc_layers_size: Width of the hidden layers.
        canonical: Side in pixels of a box that is read from P4.
    """
    align = PyramidROIAlign(pool_size, canonical, name="roi_align_classifier")
    x = FoldBoxes(name="mrcnn_class_fold")(align([rois, image_meta, *feature_maps]))
    for number, size in ((1, pool_size), (2, 1)):
        for layer in _hidden("mrcnn_class", number, fc_layers_size, size, "valid", train_bn):
            x = layer(x)
    x = layers.Flatten(name="pool_squeeze")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="mrcnn_class_logits")(x)
    deltas = layers.Dense(4 * num_classes, dtype="float32", name="mrcnn_bbox_fc")(x)
    logits = UnfoldBoxes(name="mrcnn_class_logits_rows")([logits, rois])
    scores = layers.Activation("softmax", dtype="float32", name="mrcnn_class")(logits)
    return logits, scores, UnfoldBoxes((num_classes, 4), name="mrcnn_bbox")([deltas, rois])


def make_mask_head(
    size: int, classes: int, train_bn: bool | None, filters: int = 256, canonical: float = 224.0
) -> Callable[[Tensor, Tensor, Sequence[Tensor]], Tensor]:
    """Return what draws masks (N, R, height, width, C), each time it is called by the same layers.

    It takes boxes (N, R, 4), image vectors and P2 to P5.
    """
    align = PyramidROIAlign(size, canonical, name="roi_align_mask")
    drawing = [FoldBoxes(name="mrcnn_mask_fold")]
    for number in (1, 2, 3, 4):
        drawing += _hidden("mrcnn_mask", number, filters, 3, "same", train_bn)
    drawing += [
        layers.Conv2DTranspose(filters, 2, strides=2, activation="relu", name="mrcnn_mask_deconv"),
        layers.Conv2D(classes, 1, activation="sigmoid", dtype="float32", name="mrcnn_mask"),
    ]
    unfold = UnfoldBoxes(name="mrcnn_mask_rows")

    def draw(boxes: Tensor, meta: Tensor, pyramid: Sequence[Tensor]) -> Tensor:
        x = align([boxes, meta, *pyramid])
        for layer in drawing:
            x = layer(x)
        return unfold([x, boxes])

    return draw


def build_fpn_mask_graph(
    rois: Tensor, feature_maps: Sequence[Tensor], image_meta: Tensor, pool_size: int,
    num_classes: int, train_bn: bool | None = True,
) -> Tensor:  # fmt: skip
    """Return masks (N, R, 2 * pool_size, 2 * pool_size, C); else as `fpn_classifier_graph`."""
    return make_mask_head(pool_size, num_classes, train_bn)(rois, image_meta, feature_maps)


def _hidden(
    head: str, number: int, width: int, size: int, padding: str, train_bn: bool | None
) -> tuple[layers.Layer, ...]:
    return (
        layers.Conv2D(width, size, padding=padding, name=f"{head}_conv{number}"),
        BatchNorm(train_bn, name=f"{head}_bn{number}"),
        layers.Activation("relu", name=f"{head}_relu{number}"),
    )


# === Detections ===


@keras.saving.register_keras_serializable(package="unmask")
class DetectionLayer(_BoxLayer):
    """Detects in `[rois (N, R, 4), probabilities (N, R, C), corrections (N, R, C, 4), image_meta]`.

    It corrects the proposals, drops what is unsure or double, and returns (N, count, 6): y1, x1,
    y2, x2 normalised, class, score; best first, zeros at the end.

    Args:
        count: Detections an image.
        confidence: Least score; None or 0 for all.
        threshold: Overlap above which the weaker box of a class is dropped.
        std_dev: Units of the corrections.
    """

    def __init__(
        self, count: int, confidence: float | None, threshold: float, std_dev: Sequence[float],
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.count, self.confidence, self.threshold = count, confidence, threshold
        self.std_dev = [float(value) for value in np.asarray(std_dev)]

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Choose the detections."""
        rois, probabilities, deltas, meta = inputs
        parts = parse_image_meta_graph(meta)
        window = norm_boxes_graph(parts["window"], parts["image_shape"][:, :2])
        return self.refine(rois, probabilities, deltas, window)

    def refine(self, rois: Tensor, probabilities: Tensor, deltas: Tensor, window: Tensor) -> Tensor:
        """Do the same with normalised windows (N, 4) in place of image vectors."""
        classes = ops.cast(ops.argmax(probabilities, axis=-1), "int32")
        scores = ops.max(probabilities, axis=-1)
        chosen = ops.take_along_axis(deltas, classes[:, :, None, None], axis=2)[:, :, 0]
        boxes = apply_box_deltas(rois, chosen * ops.convert_to_tensor(self.std_dev, "float32"))
        boxes = clip_boxes_graph(boxes, window[:, None])

        keep = ops.logical_and(classes > 0, scores >= (self.confidence or 0.0))
        alive = ops.where(keep, scores, -1.0)
        kept, real = suppress(boxes, alive, classes, self.threshold, self.count)
        rows = ops.concatenate(
            [boxes, ops.cast(classes, "float32")[..., None], scores[..., None]], axis=-1
        )
        return ops.where(real[..., None], gather_rows(rows, kept), 0.0)

    def compute_output_shape(self, input_shape: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return (N, count, 6)."""
        return (input_shape[0][0], self.count, 6)


def refine_detections_graph(
    rois: Tensor, probs: Tensor, deltas: Tensor, window: Tensor, config: Config
) -> Tensor:
    """Do for one image what `DetectionLayer` does for a batch; the window is normalised."""
    return _detection(config).refine(rois[None], probs[None], deltas[None], window[None])[0]


def _detection(config: Config) -> DetectionLayer:
    return DetectionLayer(
        config.DETECTION_MAX_INSTANCES, config.DETECTION_MIN_CONFIDENCE,
        config.DETECTION_NMS_THRESHOLD, config.BBOX_STD_DEV, name="mrcnn_detection",
    )  # fmt: skip


# === The networks ===


@dataclass(frozen=True)
class InferenceNetworks:
    """The detecting network, whole and in two parts, of which the last draws what is there only."""

    whole: keras.Model  # from image, meta and anchors to the seven outputs
    boxes: keras.Model  # from the same to the detections and P2 to P5
    masks: keras.Model  # from boxes, meta and P2 to P5 to masks


def build_inference(config: Config) -> InferenceNetworks:
    """Build the networks that detect."""
    image, meta = _image_inputs(config)
    anchors = keras.Input((None, 4), name="input_anchors")
    pyramid = build_pyramid(build_backbone(image, config)[1:], config.TOP_DOWN_PYRAMID_SIZE)
    _, rpn_class, rpn_bbox = _apply_rpn(config, pyramid)
    rois = _proposals(config, config.POST_NMS_ROIS_INFERENCE)([rpn_class, rpn_bbox, anchors])
    _, probabilities, deltas = _classified(config, rois, pyramid, meta)
    detections = _detection(config)([rois, probabilities, deltas, meta])
    mask_head = _mask_head(config)
    masks = mask_head(detections[..., :4], meta, pyramid[:4])

    inputs = [image, meta, anchors]
    outputs = [detections, probabilities, deltas, masks, rois, rpn_class, rpn_bbox]
    return InferenceNetworks(
        whole=_on_demand(keras.Model(inputs, outputs, name="mask_rcnn")),
        boxes=_on_demand(keras.Model(inputs, [detections, *pyramid[:4]], name="mask_rcnn_boxes")),
        masks=_on_demand(_masks_of(mask_head, config)),
    )


class TrainingNetwork(keras.Model):
    """The network with its losses; `seed` chooses proposals. `fit` works on every backend."""

    def __init__(self, config: Config, seed: int = 0) -> None:
        inputs, outputs = _training_graph(config, seed)
        super().__init__(inputs=inputs, outputs=outputs, name="mask_rcnn")
        self._factors = {name: float(config.LOSS_WEIGHTS.get(name, 1.0)) for name in LOSS_NAMES}
        self._decay = float(config.WEIGHT_DECAY)
        self._trackers = [keras.metrics.Mean(name=name) for name in LOSS_NAMES]

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:  # fmt: skip
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
    given: dict[str, tuple[tuple[int | None, ...], str | None]] = {
        "input_rpn_match": ((None, 1), "int32"),
        "input_rpn_bbox": ((config.RPN_TRAIN_ANCHORS_PER_IMAGE, 4), None),
        "input_gt_class_ids": ((instances,), "int32"),
        "input_gt_boxes": ((instances, 4), "int32"),
        "input_gt_masks": ((*mask_shape, instances), "bool"),
    }
    if config.USE_RPN_ROIS:
        given["input_anchors"] = (None, 4), None
    else:
        given["input_roi"] = (config.POST_NMS_ROIS_TRAINING, 4), "int32"
    inputs = {"input_image": image, "input_image_meta": meta} | {
        name: keras.Input(shape, dtype=dtype, name=name) for name, (shape, dtype) in given.items()
    }
    pyramid = build_pyramid(build_backbone(image, config)[1:], config.TOP_DOWN_PYRAMID_SIZE)
    rpn_logits, rpn_class, rpn_bbox = _apply_rpn(config, pyramid)
    if config.USE_RPN_ROIS:
        propose = _proposals(config, config.POST_NMS_ROIS_TRAINING)
        rois = propose([rpn_class, rpn_bbox, inputs["input_anchors"]])
    else:
        rois = _normalised(inputs["input_roi"], meta)
    boxes = _normalised(inputs["input_gt_boxes"], meta)
    target_rois, target_classes, target_bbox, target_mask = DetectionTargetLayer(
        config, seed, name="proposal_targets"
    )([rois, inputs["input_gt_class_ids"], boxes, inputs["input_gt_masks"]])
    logits, probabilities, deltas = _classified(config, target_rois, pyramid, meta)
    # Only objects have a mask to learn from, and they come first.
    objects = target_rois[:, : positives_per_image(config)]
    masks = _mask_head(config)(objects, meta, pyramid[:4])
    return inputs, {
        "rpn_class_logits": rpn_logits, "rpn_class": rpn_class, "rpn_bbox": rpn_bbox,
        "mrcnn_class_logits": logits, "mrcnn_class": probabilities, "mrcnn_bbox": deltas,
        "mrcnn_mask": masks, "rpn_rois": rois, "output_rois": target_rois,
        "target_class_ids": target_classes, "target_bbox": target_bbox,
        "target_mask": target_mask,
        "active_class_ids": parse_image_meta_graph(meta)["active_class_ids"],
    }  # fmt: skip


def _normalised(boxes: Tensor, meta: Tensor) -> Tensor:
    """Turn boxes (N, R, 4) in pixels into fractions of the network's input; zeros stay zeros."""
    sides = parse_image_meta_graph(meta)["image_shape"][:, None, :2]
    return ops.where(nonzero_rows(boxes)[..., None], norm_boxes_graph(boxes, sides), 0.0)


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


def _classified(
    config: Config, rois: Tensor, pyramid: Sequence[Tensor], meta: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return fpn_classifier_graph(
        rois, pyramid[:4], meta, config.POOL_SIZE, config.NUM_CLASSES, config.TRAIN_BN,
        config.FPN_CLASSIF_FC_LAYERS_SIZE, config.ROI_CANONICAL_SIZE,
    )  # fmt: skip


def _mask_head(config: Config) -> Callable[..., Tensor]:
    return make_mask_head(
        config.MASK_POOL_SIZE, config.NUM_CLASSES, config.TRAIN_BN, config.MASK_FILTERS,
        config.ROI_CANONICAL_SIZE,
    )  # fmt: skip


def _masks_of(head: Callable[..., Tensor], config: Config) -> keras.Model:
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

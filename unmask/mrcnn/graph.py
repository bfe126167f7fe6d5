"""matterport's functions on tensors, under their old names and with their old arguments.

The networks here use what these are made of; programs that build networks of their own from
matterport's parts find the parts again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from unmask.mrcnn import rpn
from unmask.mrcnn.config import Config
from unmask.mrcnn.detection import refine_detections
from unmask.mrcnn.heads import BoxHead, MaskHead
from unmask.mrcnn.losses import bbox_loss, class_loss, mask_loss, rpn_bbox_loss, rpn_class_loss
from unmask.mrcnn.meta import split_meta
from unmask.mrcnn.targets import DetectionTargets
from unmask.mrcnn.tensors import clip_boxes, decode_boxes, encode_boxes, nonzero_rows, pairwise_iou

Tensor = Any

apply_box_deltas_graph = decode_boxes
box_refinement_graph = encode_boxes
clip_boxes_graph = clip_boxes
log2_graph = ops.log2
rpn_class_loss_graph = rpn_class_loss
mrcnn_class_loss_graph = class_loss
mrcnn_bbox_loss_graph = bbox_loss
mrcnn_mask_loss_graph = mask_loss


def rpn_bbox_loss_graph(
    config: Config, target_bbox: Tensor, rpn_match: Tensor, rpn_bbox: Tensor
) -> Tensor:
    """Return the RPN's box loss; `config` is not needed."""
    return rpn_bbox_loss(target_bbox, rpn_match, rpn_bbox)


def overlaps_graph(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Return the overlaps (n, m) of boxes (n, 4) and (m, 4)."""
    return pairwise_iou(boxes1[None], boxes2[None])[0]


def norm_boxes_graph(boxes: Tensor, shape: Any) -> Tensor:
    """Turn boxes in pixels (..., 4) into fractions of a height and width."""
    scale, shift = _frame(shape)
    return (ops.cast(boxes, "float32") - shift) / scale


def denorm_boxes_graph(boxes: Tensor, shape: Any) -> Tensor:
    """Turn fractions (..., 4) into whole pixels, int32."""
    scale, shift = _frame(shape)
    return ops.cast(ops.round(ops.cast(boxes, "float32") * scale + shift), "int32")


def trim_zeros_graph(boxes: Tensor, name: str = "trim_zeros") -> tuple[Tensor, Tensor]:
    """Return the rows of boxes (n, 4) that are not zeros, and which these are (n,) bool."""
    real = nonzero_rows(boxes)
    return ops.take(boxes, ops.nonzero(real)[0], axis=0), real


def batch_pack_graph(x: Tensor, counts: Sequence[int], num_rows: int) -> Tensor:
    """Join the first `counts[i]` rows of each item of a batch."""
    return ops.concatenate([x[i, : counts[i]] for i in range(num_rows)], axis=0)


def batch_slice(
    inputs: Any, graph_fn: Callable[..., Any], batch_size: int, names: Sequence[str] | None = None
) -> Any:
    """Apply a function for one item to each item of a batch, and stack what it returns."""
    inputs = inputs if isinstance(inputs, list) else [inputs]
    results = [graph_fn(*(x[i] for x in inputs)) for i in range(batch_size)]
    if isinstance(results[0], (tuple, list)):
        stacked = [ops.stack(part) for part in zip(*results, strict=True)]
        return stacked if len(stacked) > 1 else stacked[0]
    return ops.stack(results)


def parse_image_meta_graph(meta: Tensor) -> dict[str, Tensor]:
    """Return the parts of image vectors (N, 12 + classes) by name."""
    return split_meta(meta)._asdict()


def rpn_graph(feature_map: Tensor, anchors_per_location: int, anchor_stride: int) -> list[Tensor]:
    """Apply a new RPN to one feature map; see `build_rpn_model`."""
    depth = feature_map.shape[-1]
    return list(build_rpn_model(anchor_stride, anchors_per_location, depth)(feature_map))


def build_rpn_model(anchor_stride: int, anchors_per_location: int, depth: int) -> keras.Model:
    """Build the network that looks at each level of the pyramid.

    Args:
        anchor_stride: Cells from anchor to anchor.
        anchors_per_location: Anchors a cell.
        depth: Channels of the feature map.

    Returns:
        A model from (N, h, w, depth) to logits, probabilities and corrections of its anchors.
    """
    return rpn.build_rpn_model(
        _settings(
            RPN_ANCHOR_STRIDE=anchor_stride,
            RPN_ANCHOR_RATIOS=[1] * anchors_per_location,
            TOP_DOWN_PYRAMID_SIZE=depth,
        )
    )


def fpn_classifier_graph(
    rois: Tensor,
    feature_maps: Sequence[Tensor],
    image_meta: Tensor,
    pool_size: int,
    num_classes: int,
    train_bn: bool | None = True,
    fc_layers_size: int = 1024,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (N, R, C), probabilities and corrections (N, R, C, 4) of boxes.

    Args:
        rois: (N, R, 4) normalised.
        feature_maps: P2 to P5.
        image_meta: (N, 12 + classes).
        pool_size: Points a side.
        num_classes: Classes with the background.
        train_bn: As `Config.TRAIN_BN`.
        fc_layers_size: Width of the hidden layers.
    """
    head = BoxHead(
        _settings(
            POOL_SIZE=pool_size, NUM_CLASSES=num_classes, TRAIN_BN=train_bn,
            FPN_CLASSIF_FC_LAYERS_SIZE=fc_layers_size,
        )
    )  # fmt: skip
    return head(rois, image_meta, feature_maps)


def build_fpn_mask_graph(
    rois: Tensor,
    feature_maps: Sequence[Tensor],
    image_meta: Tensor,
    pool_size: int,
    num_classes: int,
    train_bn: bool | None = True,
) -> Tensor:
    """Return the masks (N, R, 2 * pool_size, 2 * pool_size, C) of boxes.

    Args:
        rois: As for `fpn_classifier_graph`, like all that follow.
        feature_maps: See there.
        image_meta: See there.
        pool_size: See there.
        num_classes: See there.
        train_bn: See there.
    """
    head = MaskHead(_settings(MASK_POOL_SIZE=pool_size, NUM_CLASSES=num_classes, TRAIN_BN=train_bn))
    return head(rois, image_meta, feature_maps)


def detection_targets_graph(
    proposals: Tensor, gt_class_ids: Tensor, gt_boxes: Tensor, gt_masks: Tensor, config: Config
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Do for one image what `DetectionTargets` does for a batch; masks (T, height, width)."""
    inputs = [x[None] for x in (proposals, gt_class_ids, gt_boxes, gt_masks)]
    rois, classes, deltas, masks = (part[0] for part in DetectionTargets(config)(inputs))
    missing = config.TRAIN_ROIS_PER_IMAGE - masks.shape[0]
    return rois, classes, deltas, ops.pad(masks, ((0, missing), (0, 0), (0, 0)))


def refine_detections_graph(
    rois: Tensor, probs: Tensor, deltas: Tensor, window: Tensor, config: Config
) -> Tensor:
    """Do for one image what `DetectionLayer` does for a batch; the window is normalised."""
    return refine_detections(
        rois[None], probs[None], deltas[None], window[None], config.DETECTION_MAX_INSTANCES,
        config.DETECTION_MIN_CONFIDENCE, config.DETECTION_NMS_THRESHOLD, config.BBOX_STD_DEV,
    )[0]  # fmt: skip


def _frame(shape: Any) -> tuple[Tensor, Tensor]:
    sides = ops.cast(ops.convert_to_tensor(shape), "float32")
    return ops.concatenate([sides, sides]) - 1.0, ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])


def _settings(**values: Any) -> Config:
    config = Config()
    for name, value in values.items():
        setattr(config, name, value)
    return config

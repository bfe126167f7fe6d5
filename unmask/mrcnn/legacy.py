"""Names that only programs written for matterport's package call; nothing else here needs them.

Their functions on tensors, under their old names and with their old arguments; boxes in NumPy;
proposals at random and what the heads should answer for them; batches to look at; tensors inside
a network.
`model.py` and `utils.py` export them, as matterport's do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from unmask.mrcnn import rpn
from unmask.mrcnn.boxes import (
    box_areas,
    clip_boxes,
    compute_iou,
    compute_overlaps,
    decode_boxes,
    encode_boxes,
    nonzero_rows,
    pairwise_iou,
)
from unmask.mrcnn.config import Config, mean_pixel
from unmask.mrcnn.data import BatchLoader
from unmask.mrcnn.dataset import Augmentation, Dataset
from unmask.mrcnn.heads import BoxHead, FoldBoxes, MaskHead, UnfoldBoxes
from unmask.mrcnn.images import expand_mask, resize, split_meta
from unmask.mrcnn.rpn import refine_detections
from unmask.mrcnn.targets import (
    DetectionTargets,
    bbox_loss,
    class_loss,
    mask_loss,
    positives_per_image,
    rpn_bbox_loss,
    rpn_class_loss,
)

Tensor = Any
Array = NDArray[Any]

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
    """Build the network from (N, h, w, depth) to logits, probabilities, corrections of anchors."""
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
    """Return the masks (N, R, 2 * pool_size, 2 * pool_size, C) of boxes, else the same."""
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


# === In NumPy ===


def non_max_suppression(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], threshold: float
) -> NDArray[np.int32]:
    """Drop each box (n, 4) that overlaps a better one above a threshold; indices of the rest."""
    boxes = np.asarray(boxes, np.float64)
    areas = box_areas(boxes)
    order = np.argsort(-np.asarray(scores), kind="stable")
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        overlaps = compute_iou(boxes[best], boxes[rest], float(areas[best]), areas[rest])
        order = rest[overlaps <= threshold]
    return np.array(kept, np.int32)


def apply_box_deltas(
    boxes: NDArray[np.floating], deltas: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Move and resize boxes (n, 4), by shifts in heights and widths and logarithms of growth."""
    boxes, deltas = np.asarray(boxes, np.float32), np.asarray(deltas, np.float32)
    size = boxes[:, 2:] - boxes[:, :2]
    center = boxes[:, :2] + 0.5 * size + deltas[:, :2] * size
    size = size * np.exp(deltas[:, 2:])
    start = center - 0.5 * size
    return np.concatenate([start, start + size], axis=1)


def box_refinement(box: NDArray[np.floating], gt_box: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the deltas from boxes (n, 4), none empty, to others; undoes `apply_box_deltas`.

    Example:
        >>> box_refinement(np.array([[0, 0, 10, 10]]), np.array([[5, 0, 15, 10]])).tolist()
        [[0.5, 0.0, 0.0, 0.0]]
    """
    box, gt_box = np.asarray(box, np.float32), np.asarray(gt_box, np.float32)
    size, gt_size = box[:, 2:] - box[:, :2], gt_box[:, 2:] - gt_box[:, :2]
    center, gt_center = box[:, :2] + 0.5 * size, gt_box[:, :2] + 0.5 * gt_size
    return np.concatenate([(gt_center - center) / size, np.log(gt_size / size)], axis=1)


def unmold_image(normalized_images: Array, config: Config) -> NDArray[np.uint8]:
    """Add the mean pixel again."""
    return (normalized_images + mean_pixel(config)).astype(np.uint8)


def generate_random_rois(
    image_shape: Sequence[int],
    count: int,
    gt_class_ids: Array,
    gt_boxes: Array,
    rng: np.random.Generator | None = None,
) -> NDArray[np.int32]:
    """Return boxes as a region proposal network could, most of them near objects.

    Args:
        image_shape: Height and width.
        count: How many.
        gt_class_ids: (n,); rows with 0 are padding.
        gt_boxes: (n, 4) pixels.
        rng: Chooses; without one the boxes differ from call to call.

    Returns:
        (count, 4) int32 pixels, none of them empty: nine of ten within three times an object's
        height and width around it, the others anywhere.
    """
    rng = rng or np.random.default_rng()
    height, width = image_shape[:2]
    rois = []
    objects = np.asarray(gt_boxes)[np.asarray(gt_class_ids) != 0]
    for y1, x1, y2, x2 in objects:
        region = (
            max(y1 - (y2 - y1), 0), max(x1 - (x2 - x1), 0),
            min(y2 + (y2 - y1), height), min(x2 + (x2 - x1), width),
        )  # fmt: skip
        rois.append(_random_boxes(region, int(0.9 * count / len(objects)), rng))
    rest = count - sum(len(boxes) for boxes in rois)
    return np.concatenate([*rois, _random_boxes((0, 0, height, width), rest, rng)])


def build_detection_targets(
    rpn_rois: Array,
    gt_class_ids: Array,
    gt_boxes: Array,
    gt_masks: Array,
    config: Config,
    rng: np.random.Generator | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Choose proposals and say what the heads should answer: `DetectionTargets` in NumPy.

    Args:
        rpn_rois: (N, 4) pixels.
        gt_class_ids: (n,); rows without a class of 1 or more are left out.
        gt_boxes: (n, 4) pixels.
        gt_masks: (H, W, n), or (h, w, n) mini masks where the configuration says so.
        config: Its `TRAIN_ROIS_PER_IMAGE`, `ROI_POSITIVE_RATIO`, `BBOX_STD_DEV`, `MASK_SHAPE`,
            `USE_MINI_MASK` and `NUM_CLASSES`.
        rng: Chooses; without one the choice differs from call to call.

    Returns:
        Of T = TRAIN_ROIS_PER_IMAGE: boxes (T, 4) int32, objects first; class numbers (T,); the
        corrections (T, classes, 4) and masks (T, height, width, classes), zeros but for the class.
        Backgrounds are repeated where there are too few.
    """
    rng = rng or np.random.default_rng()
    total, classes = config.TRAIN_ROIS_PER_IMAGE, config.NUM_CLASSES
    real = np.flatnonzero(np.asarray(gt_class_ids) > 0)
    boxes, masks = np.asarray(gt_boxes, np.float64)[real], np.asarray(gt_masks)[..., real]
    overlaps = compute_overlaps(rpn_rois, boxes)
    best = overlaps.max(axis=1, initial=0.0)
    objects = np.flatnonzero(best >= 0.5)
    objects = rng.permutation(objects)[: positives_per_image(config)]
    others = rng.permutation(np.flatnonzero(best < 0.5))
    others = np.resize(others, total - len(objects)) if len(others) else others

    rois = np.zeros((total, 4), np.int32)
    chosen = np.concatenate([objects, others]).astype(np.int64)
    rois[: len(chosen)] = rpn_rois[chosen]
    class_ids = np.zeros(total, np.int32)
    deltas = np.zeros((total, classes, 4), np.float32)
    drawn = np.zeros((total, *config.MASK_SHAPE, classes), np.float32)
    extent = np.concatenate([rois, boxes]).max(axis=0)[2:].astype(int)
    for i, owner in enumerate(overlaps[objects].argmax(axis=1) if len(real) else ()):
        y1, x1, y2, x2 = rois[i]
        class_ids[i] = number = gt_class_ids[real[owner]]
        own = boxes[owner : owner + 1]
        refinement = box_refinement(rois[i : i + 1].astype(np.float64), own)[0]
        deltas[i, number] = refinement / config.BBOX_STD_DEV
        mask = masks[..., owner : owner + 1]
        if config.USE_MINI_MASK:
            mask = expand_mask(own, mask, extent)
        piece = resize(mask[y1:y2, x1:x2, 0], config.MASK_SHAPE, preserve_range=True)
        drawn[i, :, :, number] = np.around(piece)
    return rois, class_ids, deltas, drawn


def _random_boxes(region: Sequence[int], count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    y1, x1, y2, x2 = region
    ys = np.sort(rng.integers(y1, y2, (count, 2)), axis=1)
    xs = np.sort(rng.integers(x1, x2, (count, 2)), axis=1)
    # The ends are exclusive, so a box of one pixel begins and ends on it.
    return np.stack([ys[:, 0], xs[:, 0], ys[:, 1] + 1, xs[:, 1] + 1], axis=1).astype(np.int32)


# In the order of matterport's generator.
INPUT_NAMES = (
    "input_image",
    "input_image_meta",
    "input_rpn_match",
    "input_rpn_bbox",
    "input_gt_class_ids",
    "input_gt_boxes",
    "input_gt_masks",
)


def data_generator(
    dataset: Dataset,
    config: Config,
    shuffle: bool = True,
    augment: bool = False,
    augmentation: Augmentation | None = None,
    random_rois: int = 0,
    batch_size: int = 1,
    detection_targets: bool = False,
    no_augmentation_sources: Collection[str] | None = None,
) -> Iterator[tuple[list[Array], list[Array]]]:
    """Yield batches without end, as matterport's programs look at them.

    `MaskRCNN.train` uses `BatchLoader` itself.

    Args:
        dataset: Prepared.
        config: Everything about targets.
        shuffle: Draw a new order for each pass over the images.
        augment: Mirror half of the images; older than `augmentation`.
        augmentation: As for `load_image_gt`.
        random_rois: Add so many proposals in pixels, near the objects and elsewhere.
        batch_size: Images a batch.
        detection_targets: With `random_rois`, what the heads should answer for them.
        no_augmentation_sources: Sources whose images stay as they are.

    Yields:
        Inputs: images, vectors, RPN matches (N, A, 1), RPN corrections, class numbers, boxes,
        masks; then the proposals (N, random_rois, 4), and those that were chosen of them
        (N, TRAIN_ROIS_PER_IMAGE, 4). Outputs: class numbers, corrections and masks of the chosen, a
        class each, as `build_detection_targets` returns them; else nothing.

    Raises:
        ValueError: `detection_targets` without `random_rois`.
    """
    if detection_targets and not random_rois:
        raise ValueError("detection_targets needs random_rois. Received: random_rois=0")
    loader = BatchLoader(
        dataset, config, steps=1, shuffle=shuffle, augment=augment, augmentation=augmentation,
        no_augmentation_sources=no_augmentation_sources or (),
    )  # fmt: skip
    for start in itertools.count(0, batch_size):
        items = [loader.item(start + i) for i in range(batch_size)]
        inputs = [[item[name] for item in items] for name in INPUT_NAMES]
        outputs: list[list[Array]] = []
        if random_rois:
            rng = np.random.default_rng(start)
            shape = items[0]["input_image"].shape
            truth = list(zip(*inputs[4:7], strict=True))
            rois = [generate_random_rois(shape, random_rois, c, b, rng) for c, b, _ in truth]
            inputs.append(rois)
            if detection_targets:
                answers = [
                    build_detection_targets(r, c, b, m, config, rng)
                    for r, (c, b, m) in zip(rois, truth, strict=True)
                ]
                chosen, classes, *others = (list(part) for part in zip(*answers, strict=True))
                inputs.append(chosen)
                outputs = [[c[:, None] for c in classes], *others]
        yield [np.stack(part) for part in inputs], [np.stack(part) for part in outputs]


def find_ancestor(tensor: Tensor, name: str) -> Tensor | None:
    """Return the tensor of a name that another is computed from; for `MaskRCNN.ancestor`."""
    wanted = name.removesuffix(":0")
    for found in _upstream(tensor):
        if wanted in (found.name, found._keras_history.operation.name):
            return found
    return None


def evaluate(
    model: keras.Model, inputs: Sequence[Array], outputs: Iterable[tuple[str, Any]]
) -> dict[str, Array]:
    """Return values inside a network; for `MaskRCNN.run_graph`.

    The layers of the heads see the boxes of all images one after another; their values are returned
    as (N, R, ...) like all others.
    """
    tensors = {name: _tensor(model, name, what) for name, what in outputs}
    probe = keras.Model(model.inputs, list(tensors.values()))
    probe.jit_compile = model.jit_compile
    values = probe.predict_on_batch(list(inputs))
    if len(tensors) == 1 and not isinstance(values, (list, tuple)):
        values = [values]
    return {
        name: _unfolded(np.asarray(value), tensor, len(inputs[0]))
        for (name, tensor), value in zip(tensors.items(), values, strict=True)
    }


def _tensor(model: keras.Model, name: str, what: Any) -> Tensor:
    if isinstance(what, str):
        what = model.get_layer(what).output
    if not hasattr(what, "_keras_history"):
        raise ValueError(
            f"outputs must be tensors of the network or names of its layers. "
            f"Received: {name!r}: {what!r}"
        )
    return what


def _unfolded(value: Array, tensor: Tensor, batch: int) -> Array:
    for found in _upstream(tensor, UnfoldBoxes):
        operation = found._keras_history.operation
        if isinstance(operation, FoldBoxes):
            return value.reshape(batch, operation.input.shape[1], *value.shape[1:])
    return value


def _upstream(tensor: Tensor, stop: type | tuple[()] = ()) -> Iterator[Tensor]:
    """Yield a tensor and all that lead to it, but nothing beyond layers of the kind `stop`."""
    seen: set[int] = set()
    waiting = [tensor]
    while waiting:
        here = waiting.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        yield here
        # Keras' record of what a tensor was computed from; it has no public name.
        operation, node, _ = here._keras_history
        if not isinstance(operation, stop):
            waiting += operation._inbound_nodes[node].input_tensors

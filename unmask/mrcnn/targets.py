"""What the network should have said, and the five losses: how far off its answer is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from unmask.mrcnn.boxes import (
    box_refinement,
    compute_overlaps,
    gather_rows,
    nonzero_rows,
    overlaps_graph,
    sample_boxes,
)
from unmask.mrcnn.config import Config
from unmask.mrcnn.images import expand_mask, resize

Tensor = Any
Array = NDArray[Any]

# Overlap with a crowd from which on nothing counts as background.
_CROWD = 0.001


def build_rpn_targets(
    image_shape: Sequence[int], anchors: Array, gt_class_ids: Array, gt_boxes: Array,
    config: Config, rng: np.random.Generator | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:  # fmt: skip
    """Say which anchors show an object, and how they would have to move.

    Args:
        image_shape: Not used.
        anchors: (A, 4) pixels.
        gt_class_ids: (n,), negative for crowds.
        gt_boxes: (n, 4) pixels; empty ones are left out.
        config: Its `RPN_TRAIN_ANCHORS_PER_IMAGE` and `RPN_BBOX_STD_DEV`.
        rng: Chooses where there are too many.

    Returns:
        (A,) int32: 1 for an object, -1 for background, 0 for neither. Then, for as many as are
        trained on, (n, 4): corrections of the anchors with a 1, in their order, and zeros.
    """
    rng = rng or np.random.default_rng()
    total = config.RPN_TRAIN_ANCHORS_PER_IMAGE
    match, owner, boxes = match_anchors(anchors, gt_class_ids, gt_boxes)
    for label in (1, -1):
        own = np.flatnonzero(match == label)
        extra = len(own) - (total // 2 if label == 1 else total - int(np.sum(match == 1)))
        if extra > 0:
            match[rng.choice(own, extra, replace=False)] = 0

    deltas = np.zeros((total, 4))
    positive = np.flatnonzero(match == 1)
    if len(positive):
        corrections = box_refinement(anchors[positive].astype(np.float64), boxes[owner[positive]])
        deltas[: len(positive)] = corrections / config.RPN_BBOX_STD_DEV
    return match, deltas


def match_anchors(
    anchors: Array, gt_class_ids: Array, gt_boxes: Array
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
    """Return all anchors' labels (A,), numbers of their best boxes (A,), and these boxes (m, 4)."""
    gt_boxes = np.asarray(gt_boxes, np.float64).reshape(-1, 4)
    solid = (gt_boxes[:, 2] > gt_boxes[:, 0]) & (gt_boxes[:, 3] > gt_boxes[:, 1])
    crowd, boxes = gt_boxes[solid & (gt_class_ids < 0)], gt_boxes[solid & (gt_class_ids > 0)]
    free = np.ones(len(anchors), bool)
    if len(crowd):
        free = compute_overlaps(anchors, crowd).max(axis=1) < _CROWD
    match = np.zeros(len(anchors), np.int32)
    if not len(boxes):
        match[free] = -1
        return match, np.zeros(len(anchors), np.int64), boxes
    overlaps = compute_overlaps(anchors, boxes)
    owner, best = overlaps.argmax(axis=1), overlaps.max(axis=1)
    match[(best < 0.3) & free] = -1
    # Every object gets its best anchors, however little they overlap.
    top = overlaps.max(axis=0)
    match[((overlaps == top) & (top > 0)).any(axis=1)] = 1
    match[best >= 0.7] = 1
    return match, owner, boxes


class DetectionTargetLayer(layers.Layer):
    """Chooses the proposals to train on and says what the heads should answer.

    Called with `[proposals (N, P, 4), class numbers (N, G), boxes (N, G, 4), masks (N, h, w, G)]`,
    boxes normalised and padded with zeros, it returns the chosen boxes (N, count, 4), objects
    first, then background, then zeros; their class numbers (N, count) int32 and corrections
    (N, count, 4), zeros but for objects; and masks (N, positives, height, width) of 0 and 1, for
    the places where objects can be. `seed` is that of the choice.
    """

    def __init__(self, config: Config, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self._count = config.TRAIN_ROIS_PER_IMAGE
        self._ratio = config.ROI_POSITIVE_RATIO
        self._positives = positives_per_image(config)
        self._std_dev = [float(value) for value in np.asarray(config.BBOX_STD_DEV)]
        self._side = int(config.MASK_SHAPE[0])
        self._mini, self._empty = config.USE_MINI_MASK, config.TRAIN_EMPTY_IMAGES
        self._add_true_boxes = config.TRAIN_GT_ROIS
        self._seeds = keras.random.SeedGenerator(seed)

    def call(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Choose and describe."""
        proposals, classes, gt_boxes, gt_masks = inputs
        if self._add_true_boxes:
            proposals = ops.concatenate([proposals, gt_boxes], axis=1)
        proposals = ops.stop_gradient(self._padded(proposals))
        overlaps, owner, crowded = self._overlaps(proposals, classes, gt_boxes)
        given = nonzero_rows(proposals)
        is_object = ops.logical_and(given, overlaps >= 0.5)
        is_background = ops.logical_and(given, ops.logical_and(overlaps < 0.5, crowded < _CROWD))
        chosen, objects, real = self._choose(is_object, is_background)

        rois = ops.where(real[..., None], gather_rows(proposals, chosen), 0.0)
        owner = ops.take_along_axis(owner, chosen, axis=1)
        own_boxes = gather_rows(gt_boxes, owner)
        own_classes = ops.take_along_axis(ops.cast(classes, "int32"), owner, axis=1)
        deltas = box_refinement(rois, own_boxes)
        deltas = deltas / ops.convert_to_tensor(self._std_dev, "float32")
        masks = self._masks(rois, own_boxes, owner, gt_masks)
        masks = ops.where(objects[:, : self._positives, None, None], masks, 0.0)
        return (
            ops.stop_gradient(rois),
            ops.where(objects, own_classes, 0),
            ops.stop_gradient(ops.where(objects[..., None], deltas, 0.0)),
            ops.stop_gradient(masks),
        )

    def _padded(self, proposals: Tensor) -> Tensor:
        missing = self._count - proposals.shape[1]
        return ops.pad(proposals, ((0, 0), (0, missing), (0, 0))) if missing > 0 else proposals

    def _overlaps(
        self, proposals: Tensor, classes: Tensor, gt_boxes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return each proposal's best overlap, whose it is, and the best overlap with a crowd."""
        given = nonzero_rows(gt_boxes)
        overlaps = overlaps_graph(proposals, gt_boxes)
        normal = ops.logical_and(given, classes > 0)[:, None]
        crowd = ops.logical_and(given, classes < 0)[:, None]
        own = ops.where(normal, overlaps, -1.0)
        owner = ops.cast(ops.argmax(own, axis=-1), "int32")
        return ops.max(own, axis=-1), owner, ops.max(ops.where(crowd, overlaps, 0.0), axis=-1)

    def _choose(self, is_object: Tensor, is_background: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the chosen rows (N, count), which of them show objects, and which are real."""
        luck = keras.random.uniform(ops.shape(is_object), dtype="float32", seed=self._seeds)
        _, objects = ops.top_k(ops.where(is_object, 1.0 + luck, 0.0), self._positives)
        _, background = ops.top_k(ops.where(is_background, 1.0 + luck, 0.0), self._count)
        number = ops.sum(ops.cast(is_object, "int32"), axis=1, keepdims=True)
        number = ops.minimum(number, self._positives)
        wanted = ops.cast(ops.cast(number, "float32") / self._ratio, "int32") - number
        if self._empty:
            wanted = ops.where(number > 0, wanted, self._count - self._positives)
        others = ops.sum(ops.cast(is_background, "int32"), axis=1, keepdims=True)
        others = ops.minimum(others, wanted)

        slot = ops.arange(self._count, dtype="int32")[None]
        first = slot < number
        rows = ops.where(
            first,
            ops.take_along_axis(objects, ops.minimum(slot + 0 * number, self._positives - 1), 1),
            ops.take_along_axis(background, ops.maximum(slot - number, 0), 1),
        )
        return rows, first, slot < number + others

    def _masks(self, rois: Tensor, own_boxes: Tensor, owner: Tensor, gt_masks: Tensor) -> Tensor:
        count = self._positives
        boxes, rois = own_boxes[:, :count], rois[:, :count]
        if self._mini:
            # A mini mask covers its box, so the proposal is expressed in fractions of the box.
            size = ops.maximum(boxes[..., 2:] - boxes[..., :2], keras.config.epsilon())
            corner = boxes[..., :2]
            rois = ops.concatenate(
                [(rois[..., :2] - corner) / size, (rois[..., 2:] - corner) / size], axis=-1
            )
        batch, height, width, instances = ops.shape(gt_masks)
        maps = ops.transpose(ops.cast(gt_masks, "float32"), (0, 3, 1, 2))
        image = ops.arange(batch, dtype="int32")[:, None]
        offset = (image * instances + owner[:, :count]) * (height * width)
        offset = ops.reshape(offset, (-1,))
        masks = sample_boxes(
            ops.reshape(maps, (-1, 1)), offset, ops.zeros_like(offset) + height,
            ops.zeros_like(offset) + width, ops.reshape(rois, (-1, 4)), self._side, clamp=False,
        )  # fmt: skip
        return ops.round(ops.reshape(masks, (-1, count, self._side, self._side)))

    def compute_output_shape(self, input_shape: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return the four shapes."""
        batch = input_shape[0][0]
        return (
            (batch, self._count, 4),
            (batch, self._count),
            (batch, self._count, 4),
            (batch, self._positives, self._side, self._side),
        )


def detection_targets_graph(
    proposals: Tensor, gt_class_ids: Tensor, gt_boxes: Tensor, gt_masks: Tensor, config: Config
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Do for one image what `DetectionTargetLayer` does for a batch; masks (T, height, width)."""
    inputs = [x[None] for x in (proposals, gt_class_ids, gt_boxes, gt_masks)]
    rois, classes, deltas, masks = (part[0] for part in DetectionTargetLayer(config)(inputs))
    missing = config.TRAIN_ROIS_PER_IMAGE - masks.shape[0]
    return rois, classes, deltas, ops.pad(masks, ((0, missing), (0, 0), (0, 0)))


def positives_per_image(config: Config) -> int:
    """Return how many of the trained proposals of an image may show objects."""
    return max(1, int(config.TRAIN_ROIS_PER_IMAGE * config.ROI_POSITIVE_RATIO))


def generate_random_rois(
    image_shape: Sequence[int], count: int, gt_class_ids: Array, gt_boxes: Array,
    rng: np.random.Generator | None = None,
) -> NDArray[np.int32]:  # fmt: skip
    """Return boxes (count, 4) in pixels as an RPN could, none of them empty.

    Nine of ten lie within three times an object's height and width around it, of boxes (n, 4) whose
    class number is not 0, the others anywhere in an image of a height and width.
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
    rpn_rois: Array, gt_class_ids: Array, gt_boxes: Array, gt_masks: Array, config: Config,
    rng: np.random.Generator | None = None,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Choose proposals and say what the heads should answer: `DetectionTargetLayer` in NumPy.

    Args:
        rpn_rois: (N, 4) pixels.
        gt_class_ids: (n,); rows without a class of 1 or more are left out.
        gt_boxes: (n, 4) pixels.
        gt_masks: (H, W, n), or (h, w, n) mini masks where the configuration says so.
        config: The settings.
        rng: Chooses.

    Returns:
        Boxes (T, 4), objects first; classes (T,); corrections (T, classes, 4) and masks (T, height,
        width, classes), zeros but for the class. Backgrounds are repeated if too few.
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
        deltas[i, number] = box_refinement(rois[i], boxes[owner]) / config.BBOX_STD_DEV
        mask = masks[..., owner : owner + 1]
        if config.USE_MINI_MASK:
            mask = expand_mask(boxes[owner], mask, extent)
        piece = resize(mask[y1:y2, x1:x2, 0], config.MASK_SHAPE, preserve_range=True)
        drawn[i, :, :, number] = np.around(piece)
    return rois, class_ids, deltas, drawn


def _random_boxes(region: Sequence[int], count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    y1, x1, y2, x2 = region
    ys = np.sort(rng.integers(y1, y2, (count, 2)), axis=1)
    xs = np.sort(rng.integers(x1, x2, (count, 2)), axis=1)
    # The ends are exclusive, so a box of one pixel begins and ends on it.
    return np.stack([ys[:, 0], xs[:, 0], ys[:, 1] + 1, xs[:, 1] + 1], axis=1).astype(np.int32)


LOSS_NAMES = tuple(Config.LOSS_WEIGHTS)


def all_losses(inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the five losses by name, of what the training network was given and returned."""
    match, classes = inputs["input_rpn_match"], outputs["target_class_ids"]
    losses = (
        rpn_class_loss_graph(match, outputs["rpn_class_logits"]),
        rpn_bbox_loss_graph(None, inputs["input_rpn_bbox"], match, outputs["rpn_bbox"]),
        mrcnn_class_loss_graph(classes, outputs["mrcnn_class_logits"], outputs["active_class_ids"]),
        mrcnn_bbox_loss_graph(outputs["target_bbox"], classes, outputs["mrcnn_bbox"]),
        mrcnn_mask_loss_graph(outputs["target_mask"], classes, outputs["mrcnn_mask"]),
    )
    return dict(zip(LOSS_NAMES, losses, strict=True))


def rpn_class_loss_graph(match: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of the anchors that are object (1) or background (-1), (N, A, 1)."""
    match = match[..., 0]
    truth = ops.cast(ops.equal(match, 1), "int32")
    entropy = ops.sparse_categorical_crossentropy(truth, logits, from_logits=True)
    return _mean(entropy, ops.not_equal(match, 0))


def rpn_bbox_loss_graph(
    config: Config | None, target_bbox: Tensor, rpn_match: Tensor, rpn_bbox: Tensor
) -> Tensor:
    """Smooth L1 of the anchors that are object; row k of `target_bbox` is for the k-th of them."""
    positive = ops.equal(rpn_match[..., 0], 1)
    rank = ops.cumsum(ops.cast(positive, "int32"), axis=1) - 1
    rank = ops.clip(rank, 0, target_bbox.shape[1] - 1)
    own = gather_rows(ops.cast(target_bbox, "float32"), rank)
    return _mean(ops.mean(smooth_l1_loss(own, rpn_bbox), axis=-1), positive)


def mrcnn_class_loss_graph(truth: Tensor, logits: Tensor, active: Tensor) -> Tensor:
    """Cross-entropy of the proposals whose predicted class the image's source knows (N, C)."""
    predicted = ops.argmax(logits, axis=-1)
    known = ops.take_along_axis(ops.cast(active, "float32"), predicted, axis=1)
    entropy = ops.sparse_categorical_crossentropy(truth, logits, from_logits=True)
    return _mean(entropy, known > 0)


def mrcnn_bbox_loss_graph(targets: Tensor, truth: Tensor, deltas: Tensor) -> Tensor:
    """Smooth L1 of the true class's correction (N, R, 4), objects only."""
    own = ops.take_along_axis(deltas, truth[:, :, None, None], axis=2)[:, :, 0]
    return _mean(ops.mean(smooth_l1_loss(targets, own), axis=-1), truth > 0)


def mrcnn_mask_loss_graph(targets: Tensor, truth: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy of the true class's mask (N, P, h, w), objects only; they are first."""
    truth = truth[:, : targets.shape[1]]
    own = ops.take_along_axis(masks, truth[:, :, None, None, None], axis=-1)[..., 0]
    entropy = ops.binary_crossentropy(targets, own)
    return _mean(ops.mean(entropy, axis=(2, 3)), truth > 0)


def decay_loss(weights: Sequence[keras.Variable], factor: float) -> Tensor:
    """Mean squares of the weights, gamma and beta of the normalisations left out."""
    decayed = [w for w in weights if w.path.rsplit("/", 1)[-1] not in ("gamma", "beta")]
    total = ops.zeros((), "float32")
    for weight in decayed:
        total = total + factor * ops.mean(ops.square(ops.cast(weight, "float32")))
    return total


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

"""From a data set to the arrays that the training network takes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError
from unmask.mrcnn.backbone import compute_backbone_shapes
from unmask.mrcnn.boxes import extract_bboxes, generate_pyramid_anchors, norm_boxes
from unmask.mrcnn.config import Config, mean_pixel
from unmask.mrcnn.dataset import Augmentation, Dataset, RandomFlip, augmented, check_augmentation
from unmask.mrcnn.images import compose_image_meta, minimize_mask, prepare_image, resize_mask
from unmask.mrcnn.targets import build_rpn_targets

Array = NDArray[Any]

_logger = logging.getLogger(__name__)

# Images that may fail to load before the training stops.
_TOLERATED_FAILURES = 5


class GroundTruth(NamedTuple):
    """One image as the network sees it, and what is on it."""

    image: Array  # (H, W, C), resized, the mean not subtracted
    image_meta: Array  # of `compose_image_meta`
    class_ids: Array  # (n,) int32
    boxes: Array  # (n, 4) int32 pixels
    masks: Array  # (H, W, n) bool, or (h, w, n) as mini masks


def mold_image(images: Array, config: Config) -> NDArray[np.float32]:
    """Subtract the mean pixel."""
    return np.asarray(images, np.float32) - mean_pixel(config)


def pixel_anchors(config: Config, image_shape: Sequence[int]) -> NDArray[np.float64]:
    """Return all anchors of an image shape, (A, 4) pixels."""
    return generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS,
        compute_backbone_shapes(config, image_shape),
        config.BACKBONE_STRIDES, config.RPN_ANCHOR_STRIDE,
    )  # fmt: skip


def load_image_gt(
    dataset: Dataset,
    config: Config,
    image_id: int,
    augment: bool = False,
    augmentation: Augmentation | None = None,
    use_mini_mask: bool = False,
    rng: np.random.Generator | None = None,
) -> GroundTruth:
    """Load an image with its objects, resized and augmented.

    Args:
        dataset: Prepared.
        config: Its resize mode and sizes.
        image_id: Number of the image.
        augment: Mirror the image with a probability of one half; older than `augmentation`.
        augmentation: A function `(image, masks) -> (image, masks)` that keeps their sizes, or an
            augmenter of imgaug.
        use_mini_mask: Crop the masks to their boxes and shrink them.
        rng: Where the crop of the mode "crop" is, and whether `augment` mirrors.

    Returns:
        The image and its objects; those that the augmentation or the crop removed are left out.

    Raises:
        DataError: The data set's masks do not fit its image or its class numbers.
        ImageError: The image cannot be used with these settings.
    """
    name = _name(dataset, image_id)
    shape, image, window, scale, padding, crop = prepare_image(
        dataset.load_image(image_id), config, config.IMAGE_RESIZE_MODE, name, rng
    )
    masks, class_ids = _checked(dataset, name, shape, *dataset.load_mask(image_id))
    masks = resize_mask(masks, scale, padding, crop)
    if augment:
        flip = RandomFlip(seed=int((rng or np.random.default_rng()).integers(2**32)))
        image, masks = augmented(flip, image, masks)
    if augmentation is not None:
        image, masks = augmented(augmentation, image, masks)
    present = masks.any(axis=(0, 1))
    masks, class_ids = masks[:, :, present], class_ids[present]
    boxes = extract_bboxes(masks)
    active = np.zeros(dataset.num_classes, np.int32)
    active[_known_classes(dataset, image_id)] = 1
    if use_mini_mask:
        masks = minimize_mask(boxes, masks, config.MINI_MASK_SHAPE)
    meta = compose_image_meta(image_id, shape, image.shape, window, scale, active)
    return GroundTruth(image, meta, class_ids, boxes, masks)


class BatchLoader(keras.utils.PyDataset):
    """Batches for training, in one thread beside it; no processes, so nothing can hang.

    The batches are a function of the seed and of their number alone. All images come once before
    the first one comes again.

    Args:
        dataset: Prepared.
        config: Its batch size and everything about targets.
        steps: Batches an epoch.
        shuffle: Draw a new order for each pass over the images.
        augment: As for `load_image_gt`.
        augmentation: The same.
        no_augmentation_sources: Sources whose images stay as they are.
        seed: Seed of the order and of the targets.
        first_epoch: Epoch to continue with.

    Raises:
        DataError: The data set is empty, not prepared, or its number of classes differs.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: Config,
        steps: int,
        *,
        shuffle: bool = True,
        augment: bool = False,
        augmentation: Augmentation | None = None,
        no_augmentation_sources: Collection[str] = (),
        seed: int = 0,
        first_epoch: int = 0,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        _check_dataset(dataset, config)
        check_augmentation(augmentation)
        self._dataset, self._config, self._steps = dataset, config, steps
        self._shuffle, self._seed = shuffle, seed
        self._augment, self._augmentation = augment, augmentation
        self._plain = frozenset(no_augmentation_sources)
        self._epoch, self._failures = first_epoch, 0
        # Where images keep their own sizes, the anchors follow from the image.
        fixed = config.IMAGE_RESIZE_MODE in ("square", "crop")
        self._anchors = (
            pixel_anchors(config, [int(n) for n in config.IMAGE_SHAPE]) if fixed else None
        )

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[dict[str, Array]]:
        """Return the inputs of one batch by name."""
        size = self._config.BATCH_SIZE
        start = (self._epoch * self._steps + index) * size
        items = [self.item(start + i) for i in range(size)]
        shapes = {item["input_image"].shape for item in items}
        if len(shapes) > 1:
            raise DataError(
                f"the images of a batch have different sizes in the mode "
                f"{self._config.IMAGE_RESIZE_MODE!r}: {sorted(shapes)}. Use 'square' or 'crop', or "
                "a batch of 1"
            )
        return ({name: np.stack([item[name] for item in items]) for name in items[0]},)

    def on_epoch_end(self) -> None:
        """Go on to the next batches."""
        self._epoch += 1

    def item(self, position: int) -> dict[str, Array]:
        """Return the inputs of one image of the endless sequence, or of another if it is no use."""
        rng = np.random.default_rng([self._seed, position])
        ids = self._dataset.image_ids
        number = position % len(ids)
        if self._shuffle:
            lap = np.random.default_rng([self._seed, position // len(ids), 1])
            number = int(lap.permutation(len(ids))[number])
        attempts = 20 * len(ids) + 100
        for _ in range(attempts):
            item = self._load(int(ids[number]), rng)
            if item is not None:
                return item
            number = int(rng.integers(len(ids)))
        raise DataError(f"no image with an object was found in {attempts} draws from {len(ids)}")

    def _load(self, image_id: int, rng: np.random.Generator) -> dict[str, Array] | None:
        info = self._dataset.image_info[image_id]
        plain = info["source"] in self._plain
        try:
            truth = load_image_gt(
                self._dataset, self._config, image_id,
                self._augment and not plain, None if plain else self._augmentation,
                self._config.USE_MINI_MASK, rng,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            self._failures += 1
            if self._failures > _TOLERATED_FAILURES:
                raise
            _logger.warning("image %d (%s) is left out: %s", image_id, info["path"], error)
            return None
        if not (truth.class_ids > 0).any() and not self._config.TRAIN_EMPTY_IMAGES:
            return None
        anchors = self._anchors
        if anchors is None:
            anchors = pixel_anchors(self._config, truth.image.shape)
        return make_inputs(truth, anchors, self._config, rng)


def make_inputs(
    truth: GroundTruth, anchors: Array, config: Config, rng: np.random.Generator
) -> dict[str, Array]:
    """Return the training network's inputs for one image, by name, without the batch dimension."""
    match, deltas = build_rpn_targets(
        truth.image.shape, anchors, truth.class_ids, truth.boxes, config, rng
    )
    class_ids, boxes, masks = truth.class_ids, truth.boxes, truth.masks
    most = config.MAX_GT_INSTANCES
    if len(class_ids) > most:
        chosen = rng.choice(len(class_ids), most, replace=False)
        class_ids, boxes, masks = class_ids[chosen], boxes[chosen], masks[:, :, chosen]
    free = most - len(class_ids)
    inputs = {
        "input_image": mold_image(truth.image, config),
        "input_image_meta": truth.image_meta.astype(np.float32),
        "input_rpn_match": match[:, None],
        "input_rpn_bbox": deltas.astype(np.float32),
        "input_gt_class_ids": np.pad(class_ids.astype(np.int32), (0, free)),
        "input_gt_boxes": np.pad(boxes.astype(np.int32), ((0, free), (0, 0))),
        "input_gt_masks": np.pad(masks, ((0, 0), (0, 0), (0, free))),
    }
    if config.USE_RPN_ROIS:
        inputs["input_anchors"] = norm_boxes(anchors, truth.image.shape)
    return inputs


def _name(dataset: Dataset, image_id: int) -> str:
    return f"image {image_id} ({dataset.image_info[image_id]['path']})"


def _known_classes(dataset: Dataset, image_id: int) -> list[int]:
    """Return the classes that an image's source knows."""
    source = dataset.image_info[image_id]["source"]
    if source not in dataset.source_class_ids:
        known = [name for name in dataset.source_class_ids if name]
        raise DataError(
            f"{_name(dataset, image_id)}: add_image was given a source that add_class was not. "
            f"Expected: one of {known}. Received: {source!r}"
        )
    return dataset.source_class_ids[source]


def _checked(
    dataset: Dataset, name: str, shape: Sequence[int], masks: Any, class_ids: Any
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Turn what users return from `load_mask` into bool masks and int32 numbers, or complain."""
    masks, class_ids = np.asarray(masks), np.asarray(class_ids)
    if masks.ndim != 3 or masks.shape[:2] != tuple(shape[:2]):
        # An empty answer may have any shape.
        if masks.size == 0 and class_ids.size == 0:
            return np.zeros((*shape[:2], 0), bool), np.zeros(0, np.int32)
        raise DataError(
            f"{name}: load_mask must return masks (H, W, n) of the image's size. "
            f"Received: image {tuple(shape)}, masks {masks.shape}"
        )
    if class_ids.shape != (masks.shape[-1],):
        raise DataError(
            f"{name}: load_mask must return a class number for each mask. "
            f"Received: {masks.shape[-1]} masks, class numbers {class_ids.shape}"
        )
    if len(class_ids) and (class_ids.max() >= dataset.num_classes or (class_ids == 0).any()):
        raise DataError(
            f"{name}: class numbers must lie between 1 and {dataset.num_classes - 1} (negative for "
            f"crowds; 0 is the background). Received: {class_ids.tolist()}"
        )
    return masks.astype(bool), class_ids.astype(np.int32)


def _check_dataset(dataset: Dataset, config: Config) -> None:
    dataset.check_prepared()
    if not len(dataset.image_ids):
        raise DataError(f"{type(dataset).__name__}: the data set has no images")
    if dataset.num_classes != config.NUM_CLASSES:
        raise DataError(
            f"{type(dataset).__name__}: the data set has {dataset.num_classes} classes with the "
            f"background ({dataset.class_names}), NUM_CLASSES is {config.NUM_CLASSES}"
        )
    for image_id in dataset.image_ids:
        _known_classes(dataset, int(image_id))

"""What users give, data sets and random changes of images, and the arrays that training takes."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unmask.errors import DataError
from unmask.image import load_image
from unmask.mrcnn.backbone import compute_backbone_shapes
from unmask.mrcnn.boxes import extract_bboxes, generate_pyramid_anchors, norm_boxes
from unmask.mrcnn.config import Config, mean_pixel
from unmask.mrcnn.images import (
    checked_image,
    compose_image_meta,
    minimize_mask,
    prepare_image,
    resize_mask,
)
from unmask.mrcnn.targets import build_detection_targets, build_rpn_targets, generate_random_rois

Array = NDArray[Any]

_logger = logging.getLogger(__name__)

# Images that may fail to load before the training stops.
_TOLERATED_FAILURES = 5


class Dataset:
    """Images and their objects; override `load_mask`, often `load_image` and `image_reference`.

    Call `add_class` and `add_image`, then `prepare` once. Class 0 is the background. A *source* is
    the name of a collection, such as "coco", so that several can be trained on together.

    Attributes:
        image_info: A dictionary an image with `id`, `source`, `path` and what else was given.
        class_info: A dictionary a class with `source`, `id` and `name`.

    Example:
        >>> data = Dataset()
        >>> data.add_class("shapes", 1, "square")
        >>> data.add_image("shapes", image_id="a", path="a.png", colour="red")
        >>> data.prepare()
        >>> data.class_names, data.num_images, data.image_info[0]["colour"]
        (['BG', 'square'], 1, 'red')
    """

    def __init__(self, class_map: Any = None) -> None:
        self.image_info: list[dict[str, Any]] = []
        self.class_info: list[dict[str, Any]] = [{"source": "", "id": 0, "name": "BG"}]
        self.source_class_ids: dict[str, list[int]] = {}
        self._prepared = False

    def add_class(self, source: str, class_id: int, class_name: str) -> None:
        """Add a class; one that is known already is ignored.

        Raises:
            ValueError: The source has a dot in its name, which separates it from the number.
        """
        if "." in source:
            raise ValueError(f"source must not contain a dot. Received: source={source!r}")
        if not any(c["source"] == source and c["id"] == class_id for c in self.class_info):
            self.class_info.append({"source": source, "id": class_id, "name": class_name})
            self._prepared = False

    def add_image(self, source: str, image_id: Any, path: Any, **kwargs: Any) -> None:
        """Add an image; further arguments are kept in `image_info`."""
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})
        self._prepared = False

    def image_reference(self, image_id: int) -> str:
        """Return a link or a description for humans; empty unless overridden."""
        return ""

    def prepare(self, class_map: Any = None) -> None:
        """Number the classes and images; call it after the last one is added."""
        self.num_classes = len(self.class_info)
        self.class_ids = np.arange(self.num_classes)
        self.class_names = [str(info["name"]).split(",")[0] for info in self.class_info]
        self.num_images = len(self.image_info)
        self.class_from_source_map = {
            f"{info['source']}.{info['id']}": i for i, info in enumerate(self.class_info)
        }
        self.image_from_source_map = {
            f"{info['source']}.{info['id']}": i for i, info in enumerate(self.image_info)
        }
        self.sources = list(dict.fromkeys(info["source"] for info in self.class_info))
        self.source_class_ids = {
            source: [
                i for i, info in enumerate(self.class_info) if i == 0 or info["source"] == source
            ]
            for source in self.sources
        }
        self._prepared = True

    @property
    def image_ids(self) -> NDArray[np.int64]:
        """Numbers of the images that were added so far."""
        return np.arange(len(self.image_info))

    def check_prepared(self) -> None:
        """Raise a `DataError` unless `prepare` was called after everything was added."""
        if not self._prepared:
            raise DataError(
                f"{type(self).__name__}: call prepare() after the classes and images are added"
            )

    def map_source_class_id(self, source_class_id: str) -> int:
        """Return the class number for "source.id"."""
        return self.class_from_source_map[source_class_id]

    def get_source_class_id(self, class_id: int, source: str) -> int:
        """Return the number that a class has in its source."""
        info = self.class_info[class_id]
        if info["source"] != source:
            raise ValueError(f"class {class_id} is of {info['source']!r}. Received: {source!r}")
        return int(info["id"])

    def source_image_link(self, image_id: int) -> Any:
        """Return the path or link of an image."""
        return self.image_info[image_id]["path"]

    def load_image(self, image_id: int) -> NDArray[np.uint8]:
        """Return an image (H, W, 3) uint8 RGB, turned upright, without its transparency.

        Raises:
            ImageError: The file cannot be used.
        """
        path = self.image_info[image_id]["path"]
        try:
            with Image.open(path) as picture:
                opaque = picture.convert("RGB") if picture.has_transparency_data else None
        except Exception:  # whatever is wrong with the file, the next line says it
            opaque = None
        return load_image(path if opaque is None else opaque)

    def load_mask(self, image_id: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the masks (H, W, n) bool and the class numbers (n,) int32; override it.

        A negative class number marks a crowd: a region where nothing is trained.
        """
        height, width = self.load_image(image_id).shape[:2]
        return np.zeros((height, width, 0), bool), np.zeros(0, np.int32)


Augmentation = Any
"""A function `(image, masks) -> (image, masks)`, or an augmenter of imgaug."""

# The augmenters of imgaug that move pixels and so move masks too; others would change their values.
_MASK_AUGMENTERS = frozenset(
    {
        "Sequential", "SomeOf", "OneOf", "Sometimes", "Fliplr", "Flipud", "CropAndPad", "Affine",
        "PiecewiseAffine",
    }
)  # fmt: skip


class RandomFlip:
    """Mirrors a share of images and masks; an `augmentation` for `MaskRCNN.train`.

    In a training the loader's seed and the image's place in it decide, not this object's seed.
    """

    def __init__(self, probability: float = 0.5, seed: int = 0) -> None:
        self._probability, self._rng = probability, np.random.default_rng(seed)

    def seeded(self, rng: np.random.Generator) -> RandomFlip:
        """Return one that mirrors as often, by a source of its own."""
        return RandomFlip(self._probability, int(rng.integers(2**32)))

    def __call__(self, image: Array, masks: Array) -> tuple[Array, Array]:
        """Return the image and its masks, mirrored or not."""
        flip = self._rng.random() < self._probability
        return (image[:, ::-1], masks[:, ::-1]) if flip else (image, masks)


# What imgaug asks while it augments masks, without an import of it: only what moves pixels acts.
_MASK_HOOKS = SimpleNamespace(
    is_activated=lambda images, augmenter, parents, default: (
        type(augmenter).__name__ in _MASK_AUGMENTERS
    ),
    is_propagating=lambda images, augmenter, parents, default: default,
    preprocess=lambda images, augmenter, parents: images,
    postprocess=lambda images, augmenter, parents: images,
)


def augmented(augmentation: Augmentation, image: Array, masks: Array) -> tuple[Array, Array]:
    """Return an image (H, W, C) and its masks (H, W, n) bool, both changed in the same way.

    Raises:
        DataError: A size changed.
    """
    if _is_augmenter(augmentation):
        # The same sample for image and masks.
        fixed = augmentation.to_deterministic()
        new_image, new_masks = fixed.augment_image(image), masks
        if masks.shape[-1]:
            new_masks = fixed.augment_image(masks.astype(np.uint8), hooks=_MASK_HOOKS)
    else:
        new_image, new_masks = augmentation(image, masks)
    if new_image.shape != image.shape or new_masks.shape != masks.shape:
        raise DataError(
            "the augmentation must not change sizes. "
            f"Received: image {image.shape} -> {new_image.shape}, "
            f"masks {masks.shape} -> {new_masks.shape}"
        )
    return np.ascontiguousarray(new_image), np.ascontiguousarray(new_masks).astype(bool)


def check_augmentation(augmentation: Any) -> None:
    """Raise a `TypeError` unless it is None or can be applied."""
    if not (augmentation is None or callable(augmentation) or _is_augmenter(augmentation)):
        raise TypeError(
            "augmentation must be a function (image, masks) -> (image, masks) or an augmenter of "
            f"imgaug. Received: augmentation={type(augmentation).__name__}"
        )


def _is_augmenter(augmentation: Any) -> bool:
    return hasattr(augmentation, "to_deterministic") and hasattr(augmentation, "augment_image")


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


def unmold_image(normalized_images: Array, config: Config) -> NDArray[np.uint8]:
    """Add the mean pixel again."""
    return (normalized_images + mean_pixel(config)).astype(np.uint8)


def pixel_anchors(config: Config, image_shape: Sequence[int]) -> NDArray[np.float64]:
    """Return all anchors of an image shape, (A, 4) pixels."""
    return generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS,
        compute_backbone_shapes(config, image_shape),
        config.BACKBONE_STRIDES, config.RPN_ANCHOR_STRIDE,
    )  # fmt: skip


def load_image_gt(
    dataset: Dataset, config: Config, image_id: int, augment: bool = False,
    augmentation: Augmentation | None = None, use_mini_mask: bool = False,
    rng: np.random.Generator | None = None,
) -> GroundTruth:  # fmt: skip
    """Load an image with its objects, resized and augmented; what is no longer seen is left out.

    Args:
        dataset: Prepared.
        config: Its resize mode and sizes.
        image_id: Number of the image.
        augment: Mirror the image with a probability of one half; older than `augmentation`.
        augmentation: A function `(image, masks) -> (image, masks)` that keeps their sizes, or an
            augmenter of imgaug.
        use_mini_mask: Crop the masks to their boxes and shrink them.
        rng: Where the crop of the mode "crop" is, and whether `augment` mirrors.

    Raises:
        DataError: The data set's masks do not fit its image or its class numbers.
        ImageError: The image cannot be used with these settings.
    """
    dataset.check_prepared()
    name = _name(dataset, image_id)
    rng = rng or np.random.default_rng()
    shape, image, window, scale, padding, crop = prepare_image(
        dataset.load_image(image_id), config, config.IMAGE_RESIZE_MODE, name, rng
    )
    masks, class_ids = _checked(dataset, name, shape, *dataset.load_mask(image_id))
    masks = resize_mask(masks, scale, padding, crop)
    if augment:
        image, masks = augmented(RandomFlip().seeded(rng), image, masks)
    if augmentation is not None:
        if isinstance(augmentation, RandomFlip):
            augmentation = augmentation.seeded(rng)
        image, masks = augmented(augmentation, image, masks)
        image = checked_image(image, config, name)
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
    """Batches for training, a function of the seed and of their number alone.

    All images come once before the first one comes again. There are no processes to hang.

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
        self, dataset: Dataset, config: Config, steps: int, *, shuffle: bool = True,
        augment: bool = False, augmentation: Augmentation | None = None,
        no_augmentation_sources: Collection[str] = (), seed: int = 0, first_epoch: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(workers=1, use_multiprocessing=False)
        _check_dataset(dataset, config)
        check_augmentation(augmentation)
        self._dataset, self._config, self._steps = dataset, config, steps
        self._shuffle, self._seed = shuffle, seed
        self._augment, self._augmentation = augment, augmentation
        self._plain = frozenset(no_augmentation_sources)
        self._epoch, self._broken = first_epoch, set[int]()
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
        if image_id in self._broken:
            return None
        info = self._dataset.image_info[image_id]
        plain = info["source"] in self._plain
        try:
            truth = load_image_gt(
                self._dataset, self._config, image_id,
                self._augment and not plain, None if plain else self._augmentation,
                self._config.USE_MINI_MASK, rng,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            self._broken.add(image_id)
            if len(self._broken) > _TOLERATED_FAILURES:
                name = _name(self._dataset, image_id)
                raise DataError(
                    f"{name}: {error}; {len(self._broken)} images are broken"
                ) from error
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


# In the order of matterport's generator.
_INPUT_NAMES = (
    "input_image", "input_image_meta", "input_rpn_match", "input_rpn_bbox", "input_gt_class_ids",
    "input_gt_boxes", "input_gt_masks",
)  # fmt: skip


def data_generator(
    dataset: Dataset, config: Config, shuffle: bool = True, augment: bool = False,
    augmentation: Augmentation | None = None, random_rois: int = 0, batch_size: int = 1,
    detection_targets: bool = False, no_augmentation_sources: Collection[str] | None = None,
) -> Iterator[tuple[list[Array], list[Array]]]:  # fmt: skip
    """Yield batches without end, for looking at them; `MaskRCNN.train` uses `BatchLoader`.

    Args:
        dataset: Prepared.
        config: Everything about targets.
        shuffle: Draw a new order for each pass over the images.
        augment: As for `load_image_gt`, like `augmentation`.
        augmentation: See there.
        random_rois: Add so many proposals in pixels, near the objects and elsewhere.
        batch_size: Images a batch.
        detection_targets: With `random_rois`, what the heads should answer for them.
        no_augmentation_sources: Sources whose images stay as they are.

    Yields:
        Inputs: `_INPUT_NAMES`, proposals (N, random_rois, 4), and those that were chosen of them
        (N, TRAIN_ROIS_PER_IMAGE, 4). Outputs: what `build_detection_targets` says of the chosen.

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
        inputs = [[item[name] for item in items] for name in _INPUT_NAMES]
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

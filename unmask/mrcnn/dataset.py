"""What users give: a data set to derive from, and random changes of its images and masks."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unmask.errors import DataError
from unmask.image import load_image

Array = NDArray[Any]


class Dataset:
    """Images and their objects; override `load_mask`, often `load_image` and `image_reference`.

    Call `add_class` and `add_image`, then `prepare` once. Class 0 is the background. A *source* is
    the name of a collection, such as "coco", so that several can be trained on together.

    Args:
        class_map: Not used, as with matterport's.

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
        """Number the classes and images; call it after the last one is added.

        Args:
            class_map: Not used, as with matterport's.
        """
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
        """Read an image.

        Returns:
            (H, W, 3) uint8 RGB, turned upright; grey becomes RGB and transparency is dropped.

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
    """Mirrors images and masks left to right; an `augmentation` for `MaskRCNN.train`.

    Args:
        probability: Share of the images that are mirrored.
        seed: Seed of the choice.
    """

    def __init__(self, probability: float = 0.5, seed: int = 0) -> None:
        self._probability, self._rng = probability, np.random.default_rng(seed)
        self._lock = threading.Lock()

    def __call__(self, image: Array, masks: Array) -> tuple[Array, Array]:
        """Return the image and its masks, mirrored or not."""
        with self._lock:
            flip = self._rng.random() < self._probability
        return (image[:, ::-1], masks[:, ::-1]) if flip else (image, masks)


class _MaskHooks:
    """What imgaug asks while it augments: only what moves pixels acts on masks.

    It has the methods of `imgaug.HooksImages`, so that imgaug need not be imported for it.
    """

    def is_activated(self, images: Any, augmenter: Any, parents: Any, default: bool) -> bool:
        """Return whether an augmenter acts at all."""
        return type(augmenter).__name__ in _MASK_AUGMENTERS

    def is_propagating(self, images: Any, augmenter: Any, parents: Any, default: bool) -> bool:
        """Return whether an augmenter passes images on to those that it holds."""
        return default

    def preprocess(self, images: Any, augmenter: Any, parents: Any) -> Any:
        """Return the images as they are."""
        return images

    def postprocess(self, images: Any, augmenter: Any, parents: Any) -> Any:
        """Return the images as they are."""
        return images


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
            new_masks = fixed.augment_image(masks.astype(np.uint8), hooks=_MaskHooks())
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

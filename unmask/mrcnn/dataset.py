"""The data set class that users derive from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unmask.errors import DataError
from unmask.image import load_image


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

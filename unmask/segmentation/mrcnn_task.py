"""Training of Mask R-CNNs that find face masks: the paper's, and a small one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.stream import Sampler
from unmask.mrcnn.config import Config
from unmask.mrcnn.dataset import Dataset
from unmask.mrcnn.h5 import CLASS_LAYERS
from unmask.mrcnn.model import BatchLoader, MaskRCNN
from unmask.segmentation import detector
from unmask.segmentation.data import compose_scenes, gather_photos
from unmask.segmentation.evaluate import evaluate_photos
from unmask.segmentation.paper import PaperConfig
from unmask.segmentation.regions import find_regions
from unmask.segmentation.scenes import SceneComposer
from unmask.segmentation.sources import Example
from unmask.segmentation.task import SegmenterRecipe, SegmenterTask
from unmask.training.precision import precision
from unmask.weights import load_arrays, load_weights

# Pieces of a true mask with fewer pixels are too small to be worth a box.
_LEAST_PIXELS = 24


@dataclass(frozen=True, kw_only=True)
class MaskRCNNRecipe(SegmenterRecipe):
    """A recipe for a detector.

    Attributes:
        network: "paper", see `paper.PaperConfig`, or "lite", see `detector.LiteConfig`.
        side: Side of the network's input in training, in pixels, a multiple of 64.
        scenes: Whether it learns from composed scenes; else from the photos as they are, each as
            often a pass as its weight says, rounded up, and as often mirrored.
        first_weights: A U-Net's file, whose encoder the small network takes; or an `.h5` file in
            matterport's layout such as `mask_rcnn_coco.h5`, of which it takes the layers that
            it has too, but those whose size depends on the classes. Without it everything is random
            at first, and the batch normalisation is trained too.
    """

    network: Literal["lite", "paper"] = "lite"
    side: int = 256
    scenes: bool = True
    first_weights: Path | None = None

    def settings(self, *, training: bool) -> Config:
        """Return the network's settings."""
        settings = PaperConfig() if self.network == "paper" else detector.LiteConfig()
        if training or self.network == "paper":
            settings.IMAGE_MIN_DIM = settings.IMAGE_MAX_DIM = self.side
        settings.IMAGES_PER_GPU = self.batch_size if training else 1
        # Few photos say little about means and variances; a file has better ones.
        settings.TRAIN_BN = None if self.first_weights is None else False
        return settings


class MaskRCNNTask(SegmenterTask):
    """Trains a Mask R-CNN; what is kept is the network that detects."""

    recipe_type = MaskRCNNRecipe
    stage = "segmentation"
    recipe: MaskRCNNRecipe

    @classmethod
    def parameters(cls, recipe: MaskRCNNRecipe) -> int:
        """Return how many numbers the kept network has."""
        settings = recipe.settings(training=False)
        return int(MaskRCNN("inference", settings, "logs").keras_model.count_params())

    def prepare(self) -> None:
        """Read the photos and find the faces."""
        super().prepare()
        recipe, data = self.recipe, self.places.data
        self._instances = InstanceDataset()
        if recipe.scenes:
            scenes = compose_scenes(data, recipe, self.places.out)
            self._instances.add_scenes(scenes, recipe.batch_size, recipe.side)
        else:
            photos = gather_photos(data, recipe.photos, "train", self.places.out)
            self._instances.add_photos(photos.examples, photos.weights)

    def build(self) -> keras.Model:
        """Build the network that is trained, and the one that detects."""
        recipe, out = self.recipe, self.places.out
        self._model = MaskRCNN("training", recipe.settings(training=True), out, recipe.seed)
        with precision("float32"):
            self._detector = MaskRCNN("inference", recipe.settings(training=False), out)
        self.network = self._detector.keras_model
        if recipe.first_weights is not None:
            self.start_from(recipe.first_weights)
        return self._model.keras_model

    def start_from(self, path: Path) -> None:
        """Start from a kept file, or from one as for the recipe's `first_weights`."""
        trained = self._model.keras_model
        if path.suffix.lower() in (".h5", ".hdf5"):
            self._model.load_weights(path, by_name=True, exclude=CLASS_LAYERS)
        elif self.recipe.network == "lite" and not _is_detector(path):
            detector.load_encoder(trained, path)
        else:
            load_weights(self.network, path)
            detector.copy_weights(self.network, trained)

    def sampler(self) -> Sampler:
        """Return what makes the network's inputs."""
        recipe = self.recipe
        return InstanceSampler(self._instances, recipe.settings(training=True), recipe)

    def validate(self) -> dict[str, float]:
        """Hand the weights to the network that detects, and measure it."""
        detector.copy_weights(self._model.keras_model, self.network)
        return super().validate()

    def measure(self, photos: Sequence[Example]) -> float:
        """Return the mean IoU of all masks found in a photo with the true one."""
        find = partial(detector.find_masks, self._detector)
        return evaluate_photos(find, photos).pixels.iou


class InstanceDataset(Dataset):
    """Photos or scenes with a mask for each masked face, for Mask R-CNNs.

    Attributes:
        first_scene: Number of the scene that the first image shows now, and so on.

    Example:
        >>> data = InstanceDataset()
        >>> data.num_classes, data.class_names
        (2, ['BG', 'mask'])
    """

    def __init__(self) -> None:
        super().__init__()
        self.add_class("masks", 1, "mask")
        self._examples: list[Example] = []
        self._composer: SceneComposer | None = None
        self.first_scene = 0
        self._last: tuple[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] | None = None
        self.prepare()

    def add_photos(
        self, examples: Sequence[Example], times: Sequence[float] | NDArray[np.float64]
    ) -> None:
        """Add labelled photos, and each mirrored too.

        Args:
            examples: The photos.
            times: How often to add each, rounded up.
        """
        for example, often in zip(examples, times, strict=True):
            for copy in range(2 * int(np.ceil(often))):
                self.add_image(
                    "masks", f"{example.name}{copy}", example.name,
                    example=len(self._examples), mirrored=bool(copy % 2),
                )  # fmt: skip
            self._examples.append(example)
        self.prepare()

    def add_scenes(self, composer: SceneComposer, count: int, size: int) -> None:
        """Add images that show composed scenes, other ones whenever `first_scene` changes.

        Args:
            composer: Makes them; one a data set.
            count: Images.
            size: Side in pixels.
        """
        self._composer = composer
        for index in range(count):
            self.add_image("masks", f"scene{index}", None, scene=index, size=size)
        self.prepare()

    def load_image(self, image_id: int) -> NDArray[np.uint8]:
        """Return the photo or the scene."""
        return self._picture(image_id)[0]

    def load_mask(self, image_id: int) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """Return a mask for each connected region, as the U-Net's answer is split too."""
        mask = self._picture(image_id)[1]
        regions = find_regions(
            mask.astype(np.float32), (mask.shape[0], mask.shape[1]), min_pixels=_LEAST_PIXELS
        )
        masks = [region.mask for region in regions]
        stacked = np.stack(masks, axis=-1) if masks else np.zeros((*mask.shape, 0), bool)
        return stacked, np.ones(len(masks), np.int32)

    def _picture(self, image_id: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        info: Mapping[str, Any] = self.image_info[image_id]
        if "example" in info:
            example = self._examples[info["example"]]
            turn = slice(None, None, -1 if info["mirrored"] else 1)
            return np.ascontiguousarray(example.image[:, turn]), example.mask[:, turn]
        # Image and mask are asked for one after the other; the scene is made once.
        number = self.first_scene + info["scene"]
        if self._last is None or self._last[0] != number:
            assert self._composer is not None  # add_scenes
            self._last = number, self._composer.scene(number, info["size"])
        return self._last[1]


class InstanceSampler:
    """Batches for the training network.

    Args:
        dataset: What is shown; scenes in their order, photos in a new one each pass.
        settings: Of the network.
        recipe: Of the training.
    """

    def __init__(self, dataset: InstanceDataset, settings: Config, recipe: MaskRCNNRecipe) -> None:
        self._dataset, self._size = dataset, recipe.batch_size
        self._loader = BatchLoader(
            dataset, settings, steps=1, shuffle=not recipe.scenes, seed=recipe.seed
        )

    def __call__(self, number: int) -> tuple[dict[str, NDArray[Any]]]:
        """Return the network's inputs by name."""
        self._dataset.first_scene = number * self._size
        return self._loader[number]


def _is_detector(path: Path) -> bool:
    return any(name.startswith("mrcnn_") for name in load_arrays(path)[0])

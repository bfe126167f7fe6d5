"""What is trained, on what: the U-Net, the teacher that labels photos for it, and Mask R-CNNs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import eq
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from unmask.data.stream import Sampler
from unmask.errors import DataError, WeightsError
from unmask.metrics import iou
from unmask.mrcnn.config import Config
from unmask.mrcnn.data import BatchLoader, Dataset
from unmask.mrcnn.h5 import CLASS_LAYERS
from unmask.mrcnn.model import MaskRCNN
from unmask.segmentation import STRIDE, detector
from unmask.segmentation.data import Example, Pixels, gather_photos, validation_photos
from unmask.segmentation.evaluate import evaluate_photos
from unmask.segmentation.finder import WORKING_SIDE, mask_rcnn_names, probability_map
from unmask.segmentation.lite import BLOCKS, WIDTHS, build_unet
from unmask.segmentation.paper import PaperConfig
from unmask.segmentation.regions import find_regions
from unmask.segmentation.scenes import SceneComposer, SceneRecipe, SceneSampler, compose_scenes
from unmask.segmentation.teacher import build_decoder, build_distillation, build_teacher
from unmask.training.task import Task, on_bytes, precision
from unmask.weights import load_arrays, load_weights, save_arrays, save_weights

# Pieces of a true mask with fewer pixels are too small to be worth a box.
_LEAST_PIXELS = 24


@dataclass(frozen=True, kw_only=True)
class SegmenterRecipe(SceneRecipe):
    """What the trainings of networks that find masks in photos have in common.

    Attributes:
        validation_photos: How many validation photos decide which weights are kept, evenly spread
            over those of the first folder in `photos`; 0 for all. At the end all of them are
            measured.
    """

    validation_photos: int = 0


class SegmenterTask(Task):
    """Keeps the weights with the best mean IoU on whole photos."""

    monitor: ClassVar[str | None] = "val_iou"
    recipe: SegmenterRecipe

    def prepare(self) -> None:
        """Read the validation photos."""
        self._photos = validation_photos(self.places.data, self.recipe.photos, self.places.out)
        count = self.recipe.validation_photos or len(self._photos)
        step = max(1.0, len(self._photos) / count)
        self._some = [self._photos[int(i * step)] for i in range(min(count, len(self._photos)))]

    def measure(self, photos: Sequence[Example]) -> float:
        """Return the mean IoU of `network` on whole photos."""
        raise NotImplementedError

    def validate(self) -> dict[str, float]:
        """Return the IoU on as many photos as the recipe says."""
        return {"val_iou": self.measure(self._some)}

    def finish(self, path: Path) -> None:
        """Note the kept file's IoU on all photos, where fewer chose it."""
        if len(self._some) < len(self._photos):
            own = self.network.get_weights()
            load_weights(self.network, path)
            value = self.measure(self._photos)
            self.network.set_weights(own)
            arrays, metadata = load_arrays(path)
            save_arrays(path, arrays, {**metadata, "val_iou_all": f"{value:.8g}"})


# === Pixel by pixel ===


@dataclass(frozen=True, kw_only=True)
class SegmentationRecipe(SegmenterRecipe):
    """A recipe for pixel by pixel segmentation.

    Attributes:
        network: "unet", or "teacher" for a decoder on a frozen InceptionV3.
        widths: The U-Net's channels, see `build_unet`.
        blocks: The U-Net's residual blocks.
        sides: Sides of the scenes in pixels, in turn, multiples of 32. Batches of smaller ones have
            as many more scenes. One side where InceptionV3 takes part.
        features: InceptionV3's weights, a file or "imagenet", which Keras downloads; see
            `unmask.inception.build_inception`.
        distillation: Weight of the difference to InceptionV3's features in the U-Net's loss.
    """

    network: Literal["unet", "teacher"] = "unet"
    widths: tuple[int, ...] = WIDTHS
    blocks: tuple[int, ...] = BLOCKS
    sides: tuple[int, ...] = (WORKING_SIDE,)
    features: str = ""
    distillation: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no training could use."""
        super().__post_init__()
        if not self.sides or min(self.sides) < STRIDE or any(s % STRIDE for s in self.sides):
            raise ValueError(f"sides must be multiples of {STRIDE}. Received: sides={self.sides}")
        if self.fixed_side and len(self.sides) != 1:
            raise ValueError(f"InceptionV3 takes one side. Received: sides={self.sides}")
        # Keras infers from two batches which sizes vary, wherever a training goes on.
        if len(self.sides) > 1 and any(map(eq, self.sides, self.sides[1:] + self.sides[:1])):
            raise ValueError(f"neighbouring sides must differ. Received: sides={self.sides}")

    @property
    def fixed_side(self) -> int | None:
        """The side that InceptionV3 is built for; None where it does not take part."""
        return self.sides[0] if self.network == "teacher" or self.distillation else None


class SegmentationTask(SegmenterTask):
    """Trains the U-Net, alone or with InceptionV3's features, or the teacher's decoder."""

    recipe_type = SegmentationRecipe
    stage = "segmentation"
    recipe: SegmentationRecipe

    def __init__(self, recipe: Any, places: Any) -> None:
        super().__init__(recipe, places)
        self.loss = MaskLoss()

    @classmethod
    def parameters(cls, recipe: SegmentationRecipe) -> int:
        """Return how many numbers the kept network has."""
        if recipe.network == "teacher":
            return int(build_decoder(recipe.sides[0]).count_params())
        return int(build_unet(recipe.widths, recipe.blocks).count_params())

    def prepare(self) -> None:
        """Read the photos and find the faces."""
        recipe = self.recipe
        if recipe.fixed_side and not recipe.features:
            raise DataError(
                "features: the teacher and distillation need InceptionV3's weights, a file or "
                '"imagenet". Received: features=""'
            )
        super().prepare()
        scenes = compose_scenes(self.places.data, recipe, self.places.out)
        self._sampler = SceneSampler(scenes, recipe.sides, recipe.batch_size)

    def build(self) -> keras.Model:
        """Build what is kept, and around it what is trained, from uint8 photos."""
        recipe, side = self.recipe, self.recipe.fixed_side
        if recipe.network == "teacher":
            assert side is not None
            learner = self._segmenter = build_teacher(recipe.features, side)
            self.network = learner.get_layer("decoder")
        else:
            learner = self.network = self._segmenter = build_unet(recipe.widths, recipe.blocks)
            if side is not None:
                learner = build_distillation(learner, recipe.features, side, recipe.distillation)
        self._learner = learner
        return on_bytes(learner)

    def frozen(self) -> Sequence[keras.Variable]:
        """Return InceptionV3's variables."""
        if self.recipe.fixed_side is None:
            return ()
        return self._learner.get_layer("inception_pyramid").variables

    def sampler(self) -> Sampler:
        """Return what composes scenes."""
        return self._sampler

    def measure(self, photos: Sequence[Example]) -> float:
        """Return the mean IoU on whole photos, each looked at once."""
        square = self.recipe.sides[0] if self.recipe.network == "teacher" else None
        values = []
        for example in photos:
            probability = probability_map(
                self._segmenter, example.image, square or WORKING_SIDE, square=square is not None
            )
            height, width = example.mask.shape
            found = cv2.resize(probability, (width, height)) > 0.5
            values.append(iou(found, example.mask > 0))
        return float(np.mean(values))


class MaskLoss(keras.losses.Loss):
    """Binary cross-entropy that cares for borders, plus soft Dice over the batch.

    Dice is taken over all pixels of a batch: a single picture without a mask has no overlap to
    speak of, and small masks would otherwise count as much as large ones.

    Args:
        border_gain: Weight added near the border.
        border_width: Size of the neighbourhood that counts as near, odd, in pixels.
        dice: Weight of the Dice term.

    Example:
        >>> truth = ops.ones((1, 8, 8, 1))
        >>> float(MaskLoss()(truth, truth)) < 1e-3
        True
    """

    def __init__(self, border_gain: float = 2.0, border_width: int = 5, dice: float = 0.5) -> None:
        super().__init__(name="mask_loss", reduction="mean")
        self.border_gain, self.border_width, self.dice = border_gain, border_width, dice

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of a batch."""
        truth = ops.cast(y_true, "float32")
        weight = border_weight(truth, self.border_gain, self.border_width)
        entropy = ops.binary_crossentropy(truth, y_pred) * weight
        overlap = ops.sum(truth * y_pred)
        dice = 1.0 - (2.0 * overlap + 1.0) / (ops.sum(truth) + ops.sum(y_pred) + 1.0)
        return ops.mean(entropy) + self.dice * dice


def border_weight(truth: keras.KerasTensor, gain: float, width: int) -> keras.KerasTensor:
    """Return 1 far from borders of masks (B, H, W, 1), 1 + `gain` within half a width of them."""
    grown = ops.max_pool(truth, width, strides=1, padding="same")
    shrunk = -ops.max_pool(-truth, width, strides=1, padding="same")
    return 1.0 + gain * (grown - shrunk)


# === A mask in each box ===


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
        config: Other settings of the training network, by their names in `Config`; 1 for true.
    """

    network: Literal["lite", "paper"] = "lite"
    side: int = 256
    scenes: bool = True
    first_weights: Path | None = None
    config: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no training could use."""
        super().__post_init__()
        for name in self.config:
            if type(getattr(Config, name, None)) not in (int, bool):
                raise ValueError(f"config: no whole number of Config. Received: {name}")

    def settings(self, *, training: bool) -> Config:
        """Return the network's settings."""
        settings = PaperConfig() if self.network == "paper" else detector.LiteConfig()
        if training or self.network == "paper":
            settings.IMAGE_MIN_DIM = settings.IMAGE_MAX_DIM = self.side
        settings.IMAGES_PER_GPU = self.batch_size if training else 1
        # Few photos say little about means and variances; a file has better ones.
        settings.TRAIN_BN = None if self.first_weights is None else False
        for name, value in self.config.items() if training else ():
            setattr(settings, name, type(getattr(settings, name))(value))
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
        elif self.recipe.network == "lite" and not mask_rcnn_names(path):
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

    def keep(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the network that detects in float32."""
        # While it is trained, its statistics can exceed what float16 holds.
        save_weights(self.network, path, metadata, dtype="float32")

    def finish(self, path: Path) -> None:
        """Note the IoU on all photos, and store the network in float16 if that holds its values."""
        super().finish(path)
        metadata = load_weights(self.network, path)
        with contextlib.suppress(WeightsError):
            save_weights(self.network, path, metadata)

    def measure(self, photos: Sequence[Example]) -> float:
        """Return the mean IoU of all masks found in a photo with the true one."""
        find = partial(detector.find_masks, self._detector)
        return evaluate_photos(find, photos).pixels.iou


class InstanceDataset(Dataset):
    """Photos or scenes with a mask for each masked face, scenes from number `first_scene` on."""

    def __init__(self) -> None:
        super().__init__()
        self.add_class("masks", 1, "mask")
        self._examples: list[Example] = []
        self._composer: SceneComposer | None = None
        self.first_scene = 0
        self._last: tuple[int, tuple[Pixels, Pixels]] | None = None
        self.prepare()

    def add_photos(
        self, examples: Sequence[Example], times: Sequence[float] | NDArray[np.float64]
    ) -> None:
        """Add labelled photos, each so many times, rounded up, and as often mirrored."""
        for example, often in zip(examples, times, strict=True):
            for copy in range(2 * int(np.ceil(often))):
                self.add_image(
                    "masks", f"{example.name}{copy}", example.name,
                    example=len(self._examples), mirrored=bool(copy % 2),
                )  # fmt: skip
            self._examples.append(example)
        self.prepare()

    def add_scenes(self, composer: SceneComposer, count: int, size: int) -> None:
        """Add so many images of composed scenes, others whenever `first_scene` changes."""
        self._composer = composer
        for index in range(count):
            self.add_image("masks", f"scene{index}", None, scene=index, size=size)
        self.prepare()

    def load_image(self, image_id: int) -> Pixels:
        """Return the photo or the scene."""
        return self._picture(image_id)[0]

    def load_mask(self, image_id: int) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """Return a mask for each connected region, as the U-Net's answer is split too."""
        mask = self._picture(image_id)[1]
        size = mask.shape[0], mask.shape[1]
        regions = find_regions(mask.astype(np.float32), size, min_pixels=_LEAST_PIXELS)
        masks = [region.mask for region in regions]
        stacked = np.stack(masks, axis=-1) if masks else np.zeros((*mask.shape, 0), bool)
        return stacked, np.ones(len(masks), np.int32)

    def _picture(self, image_id: int) -> tuple[Pixels, Pixels]:
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
    """Batches for the training network: scenes in their order, photos in a new one each pass."""

    def __init__(self, dataset: InstanceDataset, settings: Config, recipe: MaskRCNNRecipe) -> None:
        self._dataset, self._size = dataset, recipe.batch_size
        self._loader = BatchLoader(
            dataset, settings, steps=1, shuffle=not recipe.scenes, seed=recipe.seed
        )

    def __call__(self, number: int) -> tuple[dict[str, NDArray[Any]]]:
        """Return the network's inputs by name."""
        self._dataset.first_scene = number * self._size
        return self._loader[number]

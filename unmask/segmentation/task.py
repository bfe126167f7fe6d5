"""Training of the U-Net, and of the teacher that labels photos for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import keras
import numpy as np
from keras import ops

from unmask.data.stream import Sampler
from unmask.errors import DataError
from unmask.metrics import iou
from unmask.segmentation.data import (
    SceneRecipe,
    SceneSampler,
    compose_scenes,
    validation_photos,
)
from unmask.segmentation.model import LITE, STRIDE, build_unet
from unmask.segmentation.predict import WORKING_SIDE, probability_map
from unmask.segmentation.sources import Example
from unmask.segmentation.teacher import (
    build_decoder,
    build_distillation,
    build_teacher,
    decoder_of,
)
from unmask.training.task import Task
from unmask.weights import load_arrays, load_weights, save_arrays


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
    widths: tuple[int, ...] = LITE["widths"]
    blocks: tuple[int, ...] = LITE["blocks"]
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
        if len(self.sides) > 1 and self.sides[0] == self.sides[1]:
            raise ValueError(f"the first two sides must differ. Received: sides={self.sides}")

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
            self.network = decoder_of(learner)
        else:
            learner = self.network = self._segmenter = build_unet(recipe.widths, recipe.blocks)
            if side is not None:
                learner = build_distillation(learner, recipe.features, side, recipe.distillation)
        photo = keras.Input((side, side, 3), dtype="uint8", name="uint8_photo")
        scaled = keras.layers.Rescaling(1 / 255, dtype="float32", name="scale")(photo)
        self._learner = learner
        return keras.Model(photo, learner(scaled), name="training")

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
        border_gain: See `border_weight`.
        border_width: See `border_weight`.
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
    """Weigh pixels near a mask's border more.

    Args:
        truth: (B, H, W, 1) of 0 and 1.
        gain: Weight added near the border.
        width: Size of the neighbourhood, odd, in pixels: half of it lies on either side.

    Returns:
        (B, H, W, 1): 1 far from borders, 1 + `gain` near them.
    """
    grown = ops.max_pool(truth, width, strides=1, padding="same")
    shrunk = -ops.max_pool(-truth, width, strides=1, padding="same")
    return 1.0 + gain * (grown - shrunk)

"""A small Mask R-CNN for face masks: its settings, its data, its training and its use.

The alternative to the U-Net: boxes first, then a mask inside each. It has the U-Net's encoder, so
that it can start from a trained one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.mrcnn.callbacks import StopOnNaN
from unmask.mrcnn.config import Config
from unmask.mrcnn.dataset import Dataset
from unmask.mrcnn.model import BatchLoader, MaskRCNN
from unmask.segmentation.data import build_composer
from unmask.segmentation.evaluate import evaluate_photos
from unmask.segmentation.model import LITE, build_unet, encoder_maps
from unmask.segmentation.regions import MaskRegion, find_regions
from unmask.segmentation.scenes import SceneComposer
from unmask.segmentation.sources import Example, labelme_examples, png_examples
from unmask.training.callbacks import CosineByTime, CsvHistory, StopAfterMinutes
from unmask.training.precision import precision
from unmask.weights import load_arrays, load_weights, save_weights

ENCODER = "mask_encoder"
"""Name of the backbone inside the network."""

# Pieces of a true mask with fewer pixels are too small to be worth a box.
_LEAST_PIXELS = 24

# Scenes of a pass; far more than a training of an hour draws.
_SCENES = 50_000


def unet_encoder(image: Any, stage5: bool = True, train_bn: bool | None = False) -> list[Any]:
    """Apply the encoder of the U-Net; a `Config.BACKBONE`.

    Args:
        image: (N, H, W, 3), pixels from -127.5 to 127.5.
        stage5: Not used: the deepest map is always there.
        train_bn: As `Config.TRAIN_BN`.

    Returns:
        Five feature maps at 1/2 to 1/32 of the resolution.
    """
    unet = build_unet(**LITE)
    encoder = keras.Model(unet.input, encoder_maps(unet), name=ENCODER)
    photo = keras.layers.Rescaling(1 / 255, offset=0.5, name="photo_range")(image)
    return list(encoder(photo))


class LiteConfig(Config):
    """A network of a tenth of the published size's channels for photos of 320 pixels."""

    NAME = "masks"
    BACKBONE = staticmethod(unet_encoder)
    NUM_CLASSES = 2
    MEAN_PIXEL = np.full(3, 127.5)
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 320
    IMAGES_PER_GPU = 8
    TOP_DOWN_PYRAMID_SIZE = 64
    RPN_FILTERS = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 256
    MASK_FILTERS = 64
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    # Face masks from the front are wider than high, from the side about square.
    RPN_ANCHOR_RATIOS = (0.7, 1.1, 1.7)
    PRE_NMS_LIMIT = 1000
    POST_NMS_ROIS_TRAINING = 200
    POST_NMS_ROIS_INFERENCE = 100
    TRAIN_ROIS_PER_IMAGE = 48
    MAX_GT_INSTANCES = 8
    DETECTION_MAX_INSTANCES = 30
    # Photos are small here, so that boxes have to be read from finer maps.
    ROI_CANONICAL_SIZE = 448.0
    # A face without a mask is what false alarms are learnt from.
    TRAIN_EMPTY_IMAGES = True
    # Minutes are short: the heads learn from the first step on.
    TRAIN_GT_ROIS = True


class InstanceDataset(Dataset):
    """Photos and scenes with a mask for each masked face, for `MaskRCNN.train`.

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
        self._last: tuple[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] | None = None
        self.prepare()

    def add_labelme(self, folder: Path, split: str) -> None:
        """Add one split of a Labelme folder; see `sources.labelme_examples`."""
        self._add(labelme_examples(folder, split), folder)

    def add_pairs(self, folder: Path, split: str | None) -> None:
        """Add one split of a folder of photos with PNG labels; see `sources.png_examples`."""
        self._add(png_examples(folder, split), folder)

    def add_scenes(self, composer: SceneComposer, count: int, size: int) -> None:
        """Add composed scenes; each is made when it is asked for.

        Args:
            composer: Makes them; one a data set.
            count: Scenes.
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

    def _add(self, examples: Sequence[Example], folder: Path) -> None:
        for example in examples:
            self.add_image(
                "masks", example.name, folder / example.name, example=len(self._examples)
            )
            self._examples.append(example)
        self.prepare()

    def _picture(self, image_id: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        info = self.image_info[image_id]
        if "example" in info:
            example = self._examples[info["example"]]
            return example.image, example.mask
        # Image and mask are asked for one after the other; the scene is made once.
        last = self._last
        if last is None or last[0] != image_id:
            assert self._composer is not None  # add_scenes
            last = image_id, self._composer.scene(info["scene"], info["size"])
            self._last = last
        return last[1]


@dataclass(frozen=True)
class DetectorTraining:
    """Everything that a training of the detector depends on.

    Attributes:
        data: Folder with `masks_labelme`, `mask_segmentation` and face folders, as for the U-Net.
        out: Folder for the weights, the history and what an interrupted training needs.
        further: More folders of real photos, NAME.jpg + NAME.png with 2 where a mask is.
        minutes: Wall-clock budget, interrupted calls included; the learning rate falls over it.
        seed: Seed of the scenes, of the proposals and of the first weights.
        encoder: Weights of a trained U-Net whose encoder is the start; without it everything is
            random at first, and the batch normalisation is trained too.
        rate: Highest learning rate.
        weight_decay: Decoupled weight decay.
        average: Momentum of the running average of the weights, which is what is kept.
        steps: Steps between two validations.
        side: Side of the scenes in pixels, a multiple of 64.
        batch: Scenes a step.
        policy: Keras dtype policy.
    """

    data: Path
    out: Path
    further: Sequence[Path] = ()
    minutes: float = 25.0
    seed: int = 0
    encoder: Path | None = None
    rate: float = 1e-3
    weight_decay: float = 1e-3
    average: float = 0.99
    steps: int = 100
    side: int = 256
    batch: int = 8
    policy: str = "mixed_bfloat16"


def lite_config(side: int = 320, batch: int = 1, train_bn: bool | None = False) -> Config:
    """Return the settings of the small network at another size.

    Args:
        side: Longer side of a photo in the network, a multiple of 64.
        batch: Photos a batch.
        train_bn: As `Config.TRAIN_BN`.
    """
    config = LiteConfig()
    config.IMAGE_MIN_DIM = config.IMAGE_MAX_DIM = side
    config.IMAGES_PER_GPU, config.TRAIN_BN = batch, train_bn
    return config


def build_detector(side: int = 320) -> MaskRCNN:
    """Build the small network for detecting, with untrained weights.

    `unmask.weights.load_weights(detector.keras_model, path)` loads trained ones.
    """
    return MaskRCNN("inference", lite_config(side), "logs")


def train(config: DetectorTraining) -> Path:
    """Train, or continue an interrupted training in the same folder.

    Args:
        config: The settings.

    Returns:
        The safetensors file with the best averaged weights by IoU on the validation photos.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    best = config.out / "detector.safetensors"
    keras.utils.set_random_seed(config.seed)
    settings = lite_config(config.side, config.batch, None if config.encoder is None else False)
    with precision(config.policy):
        model = MaskRCNN("training", settings, config.out, config.seed).keras_model
    if config.encoder is not None:
        load_encoder(model, config.encoder)
    model.compile(
        optimizer=keras.optimizers.AdamW(
            config.rate, weight_decay=config.weight_decay, global_clipnorm=5.0,
            use_ema=True, ema_momentum=config.average,
        ),
        jit_compile=False,
    )  # fmt: skip
    budget = StopAfterMinutes(config.minutes, config.out / "clock.json")
    scenes = InstanceDataset()
    composer = build_composer(config.data, config.seed, further=config.further)
    scenes.add_scenes(composer, _SCENES, config.side)
    loader = BatchLoader(
        scenes, settings, config.steps, shuffle=False, seed=config.seed, first_epoch=budget.epochs
    )
    callbacks = [
        budget,
        StopOnNaN(),
        CosineByTime(budget, peak=config.rate),
        # Before the averages are swapped in, so that the training goes on with its own weights.
        keras.callbacks.BackupAndRestore(str(config.out / "backup")),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        KeepBest(best, labelme_examples(config.data / "masks_labelme", "val"), build_detector()),
        CsvHistory(config.out / "history.csv"),
    ]
    model.fit(loader, epochs=10_000, callbacks=callbacks, shuffle=False, verbose=2)
    return best


class KeepBest(keras.callbacks.Callback):
    """Log the mean IoU on whole photos as `val_iou` and keep the best weights.

    Args:
        path: The safetensors file.
        examples: Labelled photos.
        detector: A network for detecting with the layers of the trained one; it gets the weights.
    """

    def __init__(self, path: Path, examples: Sequence[Example], detector: MaskRCNN) -> None:
        super().__init__()
        self._path, self._examples, self._detector = path, list(examples), detector
        self._best = -1.0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, and write the file when it was the best so far."""
        copy_weights(self.model, self._detector.keras_model)
        find = partial(find_masks, self._detector)
        value = evaluate_photos(find, self._examples).pixels.iou
        if logs is not None:
            logs["val_iou"] = value
        if self._best < 0 and epoch > 0 and self._path.is_file():
            # A training that goes on must not replace a better file by a worse one.
            self._best = float(load_arrays(self._path)[1]["val_iou"])
        if value > self._best:
            self._best = value
            noted = {"stage": "segmentation", "epoch": str(epoch + 1), "val_iou": f"{value:.6g}"}
            save_weights(self._detector.keras_model, self._path, noted)


def load_encoder(model: keras.Model, path: Path) -> None:
    """Start a detector's backbone from a trained U-Net.

    Raises:
        WeightsError: The file is not one of a U-Net of the same size.
    """
    unet = build_unet(**LITE)
    load_weights(unet, path)
    copy_weights(unet, model.get_layer(ENCODER))


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of all layers of `target`, found by their names, from `source`."""
    for layer in target.layers:
        if layer.weights:
            layer.set_weights(source.get_layer(layer.name).get_weights())


def find_masks(detector: MaskRCNN, photo: NDArray[np.uint8]) -> list[MaskRegion]:
    """Find the face masks in a photo, as `predict.find_masks` does with the U-Net.

    Args:
        detector: As `build_detector` returns it, or another one for detecting masks.
        photo: (H, W, 3) uint8 RGB, any size.

    Returns:
        The masks, largest first; empty when there is none.
    """
    result = detector.detect([photo])[0]
    regions = []
    for i, score in enumerate(result["scores"]):
        mask = result["masks"][:, :, i]
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
            box = (float(left), float(top), float(right), float(bottom))
            patch = mask[top:bottom, left:right].copy()
            regions.append(MaskRegion(box, float(score), patch, photo.shape[:2]))
    return sorted(regions, key=lambda region: -region.area)

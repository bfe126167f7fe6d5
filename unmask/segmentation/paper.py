"""The paper's Mask R-CNN, of published size, fine-tuned from COCO on labelled photos alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from unmask.mrcnn.callbacks import StopOnNaN
from unmask.mrcnn.config import Config
from unmask.mrcnn.h5 import CLASS_LAYERS, stored_backbone
from unmask.mrcnn.model import BatchLoader, MaskRCNN, RandomFlip
from unmask.segmentation.detector import InstanceDataset, KeepBest
from unmask.segmentation.sources import labelme_examples
from unmask.training.callbacks import CsvHistory, StopAfterMinutes
from unmask.training.precision import precision


class PaperConfig(Config):
    """The paper's settings; what it does not say is as in the published code.

    Reference:
        Modak et al., "A Deep Learning Framework to Reconstruct Face under Mask", 2022: ResNet-50,
        256 x 256 pixels, batches of 2, learning rate 0.00025.
    """

    NAME = "paper"
    BACKBONE = "resnet50"
    NUM_CLASSES = 2
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256
    IMAGES_PER_GPU = 2
    LEARNING_RATE = 2.5e-4


@dataclass(frozen=True)
class PaperTraining:
    """Everything that a training by the paper's recipe depends on.

    Attributes:
        data: Folder with `masks_labelme`.
        out: Folder for the weights, the history and what an interrupted training needs.
        further: More folders of real photos, NAME.jpg + NAME.png with 2 where a mask is.
        iterations: Steps, rounded up to whole multiples of `steps`.
        minutes: Wall-clock budget that ends the training earlier, interrupted calls included.
        seed: Seed of the order, of the proposals and of the first weights.
        init: A `.h5` file to start from, such as the published `mask_rcnn_coco.h5`, whose backbone
            the network takes then (that file's is a ResNet-101). Without it everything is random at
            first, and the batch normalisation is trained too.
        rate: Learning rate.
        steps: Steps between two validations.
        policy: Keras dtype policy.
        network: The settings.
    """

    data: Path
    out: Path
    further: Sequence[Path] = ()
    iterations: int = 10_000
    minutes: float = math.inf
    seed: int = 0
    init: Path | None = None
    rate: float = PaperConfig.LEARNING_RATE
    steps: int = 500
    policy: str = "mixed_bfloat16"
    network: type[Config] = PaperConfig


def build_detector(backbone: str = "resnet50") -> MaskRCNN:
    """Build the paper's network for detecting, with untrained weights.

    Args:
        backbone: "resnet50" or "resnet101".
    """
    settings = PaperConfig()
    settings.BACKBONE = backbone
    return MaskRCNN("inference", settings, "logs")


def start_training(config: PaperTraining) -> MaskRCNN:
    """Build the network that is trained, with its first weights.

    Args:
        config: The settings.

    Returns:
        The network. From a file it has all but the layers whose size depends on the classes.

    Raises:
        WeightsError: `init` is missing, unreadable or of another network.
    """
    settings = config.network()
    # Two photos say little about means and variances; a file has better ones.
    settings.TRAIN_BN = None if config.init is None else False
    if config.init is not None and isinstance(settings.BACKBONE, str):
        settings.BACKBONE = stored_backbone(config.init)
    keras.utils.set_random_seed(config.seed)
    with precision(config.policy):
        model = MaskRCNN("training", settings, config.out, config.seed)
    if config.init is not None:
        model.load_weights(config.init, exclude=CLASS_LAYERS)
    return model


def train(config: PaperTraining) -> Path:
    """Train, or continue an interrupted training in the same folder.

    Args:
        config: The settings.

    Returns:
        The safetensors file with the best weights by IoU on the validation photos.

    Raises:
        WeightsError: `init` is missing, unreadable or of another network.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    best = config.out / "detector.safetensors"
    model = start_training(config)
    photos = InstanceDataset()
    photos.add_labelme(config.data / "masks_labelme", "train")
    for folder in config.further:
        photos.add_pairs(folder, None)
    budget = StopAfterMinutes(config.minutes, config.out / "clock.json")
    loader = BatchLoader(
        photos, model.config, config.steps,
        augmentation=RandomFlip(seed=config.seed), seed=config.seed, first_epoch=budget.epochs,
    )  # fmt: skip
    callbacks = [
        budget,
        StopOnNaN(),
        keras.callbacks.BackupAndRestore(str(config.out / "backup")),
        KeepBest(
            best,
            labelme_examples(config.data / "masks_labelme", "val"),
            MaskRCNN("inference", model.config, config.out),
        ),
        CsvHistory(config.out / "history.csv"),
    ]
    model.compile(config.rate, model.config.LEARNING_MOMENTUM)
    model.keras_model.fit(
        loader, epochs=-(-config.iterations // config.steps), callbacks=callbacks, shuffle=False,
        verbose=2,
    )  # fmt: skip
    return best

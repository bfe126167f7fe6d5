"""Training of the segmenter within a time budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import keras
import numpy as np

from unmask.metrics import iou
from unmask.segmentation.data import DEFAULT_SHAPES, MaskDataset, build_composer
from unmask.segmentation.imitation import DIFFERENCE, MASK, ImitationDataset, build_imitator
from unmask.segmentation.losses import MaskLoss
from unmask.segmentation.model import LITE, build_unet
from unmask.segmentation.predict import WORKING_SIDE, probability_map
from unmask.segmentation.scenes import SceneMix
from unmask.segmentation.sources import Example, labelme_examples
from unmask.segmentation.teacher import build_teacher, decoder_of
from unmask.training.callbacks import CosineByTime, CsvHistory, SaveBest, StopAfterMinutes
from unmask.training.precision import precision
from unmask.weights import load_weights

# Arguments of `TrainConfig` for the teacher: real photos matter most when little is trained.
TEACHER: dict[str, Any] = {
    "family": "teacher",
    "rate": 1.5e-3,
    "shapes": ((WORKING_SIDE, 8),),
    "mix": SceneMix(real=0.65, single=0.15, group=0.15),
}

# The same for a U-Net that imitates InceptionV3.
IMITATION: dict[str, Any] = {"shapes": ((288, 10),)}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training of the segmenter depends on.

    Attributes:
        data: Folder with `masks_labelme`, `mask_segmentation`, `faces_wide`, `faces_male` and
            `faces_female`; only the first is required to hold labels, and one face folder.
        out: Folder for the weights, the history and what an interrupted training needs.
        further: More folders of real photos, NAME.jpg + NAME.png with 2 where a mask is.
        minutes: Wall-clock budget, interrupted calls included; the learning rate falls over it.
        seed: Seed of the scenes and of the first weights.
        init: Weights to start from instead of random ones; for a teacher, of its decoder.
        rate: Highest learning rate.
        weight_decay: Decoupled weight decay.
        average: Momentum of the running average of the weights, which is what is kept.
        steps: Steps between two validations.
        shapes: (side, scenes) of the batches, in turn. Exactly one with a `backbone`, whose input
            has a fixed side.
        mix: How often each kind of scene appears; the default of `SceneMix` when None.
        family: "unet", or "teacher" for a decoder on a frozen InceptionV3. See `TEACHER`.
        network: Arguments of `build_unet`.
        backbone: InceptionV3's weights, see `unmask.inception.build_inception`: a teacher's
            encoder, or what a U-Net learns to imitate beside its task (None: nothing).
        imitation: Weight of the difference to the backbone's features in a U-Net's loss.
        policy: Keras dtype policy; "mixed_bfloat16" is 1.7 times faster on recent CPUs.
    """

    data: Path
    out: Path
    further: Sequence[Path] = ()
    minutes: float = 25.0
    seed: int = 0
    init: Path | None = None
    rate: float = 2.5e-3
    weight_decay: float = 1e-3
    average: float = 0.99
    steps: int = 100
    shapes: Sequence[tuple[int, int]] = DEFAULT_SHAPES
    mix: SceneMix | None = None
    family: Literal["unet", "teacher"] = "unet"
    network: Mapping[str, Any] = field(default_factory=lambda: dict(LITE))
    backbone: str | Path | None = None
    imitation: float = 0.5
    policy: str = "mixed_bfloat16"


class ValidateOnPhotos(keras.callbacks.Callback):
    """Log the mean IoU on whole labelled photos as `val_iou`.

    Args:
        segmenter: The network, or the part of the trained one, that finds masks.
        examples: The photos.
        square: Side of the network's square input in pixels; None when it takes any.
    """

    def __init__(
        self, segmenter: keras.Model, examples: Sequence[Example], square: int | None = None
    ) -> None:
        super().__init__()
        self._segmenter, self._examples, self._square = segmenter, list(examples), square

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, and add the value to the logs for the callbacks that follow."""
        if logs is not None:
            logs["val_iou"] = float(np.mean([self._iou(e) for e in self._examples]))

    def _iou(self, example: Example) -> float:
        probability = probability_map(
            self._segmenter,
            example.image,
            self._square or WORKING_SIDE,
            square=self._square is not None,
        )
        height, width = example.mask.shape
        found = cv2.resize(probability, (width, height)) > 0.5
        return iou(found, example.mask > 0)


def train(config: TrainConfig) -> Path:
    """Train, or continue an interrupted training in the same folder.

    Args:
        config: The settings.

    Returns:
        The safetensors file with the best averaged weights by IoU on the validation photos; of a
        teacher, the decoder's alone.

    Raises:
        ValueError: There is a backbone and batches of more than one side.
        WeightsError: `init` or `backbone` is missing, unreadable or of another network.
    """
    teacher = config.family == "teacher"
    fixed = teacher or config.backbone is not None
    if fixed and len(config.shapes) != 1:
        raise ValueError(f"a backbone has one side. Received: shapes={config.shapes}")
    side = config.shapes[0][0] if fixed else None
    config.out.mkdir(parents=True, exist_ok=True)
    best = config.out / "segmentation.safetensors"
    keras.utils.set_random_seed(config.seed)
    model, segmenter, kept = _build(config, side)
    if config.init is not None:
        load_weights(kept, config.init)
    imitating = model is not segmenter
    model.compile(
        optimizer=keras.optimizers.AdamW(
            config.rate, weight_decay=config.weight_decay, global_clipnorm=1.0,
            use_ema=True, ema_momentum=config.average,
        ),
        loss={MASK: MaskLoss(), DIFFERENCE: "mae"} if imitating else MaskLoss(),
        loss_weights={MASK: 1.0, DIFFERENCE: config.imitation} if imitating else None,
        jit_compile=False,
    )  # fmt: skip
    budget = StopAfterMinutes(config.minutes, config.out / "clock.json")
    composer = build_composer(config.data, config.seed, further=config.further, mix=config.mix)
    scenes = MaskDataset(composer, config.steps, config.shapes, budget.epochs)
    dataset = ImitationDataset(scenes) if imitating else scenes
    photos = labelme_examples(config.data / "masks_labelme", "val")
    callbacks = [
        budget,
        CosineByTime(budget, peak=config.rate),
        # Before the averages are swapped in, so that the training goes on with its own weights.
        keras.callbacks.BackupAndRestore(str(config.out / "backup")),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        ValidateOnPhotos(segmenter, photos, side if teacher else None),
        SaveBest(best, "val_iou", "max", _metadata(config), part=kept),
        CsvHistory(config.out / "history.csv"),
    ]
    model.fit(dataset, epochs=10_000, callbacks=callbacks, shuffle=False, verbose=2)
    return best


def _build(config: TrainConfig, side: int | None) -> tuple[keras.Model, keras.Model, keras.Model]:
    """Return what is trained, the part of it that finds masks, and the part that is kept."""
    with precision(config.policy):
        if config.family == "teacher":
            assert side is not None
            teacher = build_teacher(config.backbone, side)
            return teacher, teacher, decoder_of(teacher)
        unet = build_unet(**config.network)
        if side is None:
            return unet, unet, unet
        return build_imitator(unet, config.backbone, side), unet, unet


def _metadata(config: TrainConfig) -> Mapping[str, str]:
    return {
        "stage": "segmentation",
        "family": config.family,
        "seed": str(config.seed),
        "minutes": str(config.minutes),
    }

"""Training of the verifier within a time budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from unmask.segmentation.data import build_composer, read_faces
from unmask.segmentation.model import LITE, build_unet
from unmask.segmentation.scenes import SceneMix
from unmask.segmentation.sources import FacePool
from unmask.segmentation.verifier import VERIFIER, build_verifier
from unmask.segmentation.verifier_data import RegionBatches, stored_regions
from unmask.training.callbacks import CosineByTime, CsvHistory, StopAfterMinutes
from unmask.training.precision import precision
from unmask.weights import load_weights, save_weights

# Real photos, and bare faces with scarves and hands.
_MIX = SceneMix(real=0.5, single=0.35, group=0.1, masked=0.4)


@dataclass(frozen=True)
class VerifierTraining:
    """Everything that a training of the verifier depends on.

    Attributes:
        data: Folder as for the segmenter, see `train.TrainConfig`.
        out: Folder for the weights, the history and what an interrupted training needs.
        segmenter: Weights of the small U-Net whose findings are verified.
        init: Weights of a verifier to start from; random ones when None.
        further: More folders of real photos, NAME.jpg + NAME.png with 2 where a mask is.
        minutes: Wall-clock budget of the steps, interrupted calls included; gathering the regions
            comes on top. The learning rate falls over it.
        seed: Seed of everything random.
        network: Arguments of `build_verifier`.
        per_folder: Most faces to take from each face folder.
        scenes: Composed scenes.
        rate: Highest learning rate.
        weight_decay: Decoupled weight decay.
        average: Momentum of the running average of the weights, which is what is kept.
        smoothing: Labels become `s / 2` and `1 - s / 2`.
        batch: Regions a step.
        steps: Steps between two notes in the history.
        policy: Keras dtype policy.
    """

    data: Path
    out: Path
    segmenter: Path
    init: Path | None = None
    further: Sequence[Path] = ()
    minutes: float = 10.0
    seed: int = 0
    network: Mapping[str, Any] = field(default_factory=lambda: dict(VERIFIER))
    per_folder: int = 1600
    scenes: int = 5000
    rate: float = 2e-3
    weight_decay: float = 0.02
    average: float = 0.99
    smoothing: float = 0.02
    batch: int = 64
    steps: int = 100
    policy: str = "mixed_bfloat16"


def train(config: VerifierTraining) -> Path:
    """Train, or continue an interrupted training in the same folder.

    Args:
        config: The settings.

    Returns:
        The safetensors file with the averaged weights at the end; no validation chose among them.

    Raises:
        WeightsError: `segmenter` or `init` is missing, unreadable or of another network.
        DataError: The labelled photos or the faces are missing.
    """
    keras.utils.set_random_seed(config.seed)
    segmenter = build_unet(**LITE)
    load_weights(segmenter, config.segmenter)
    config.out.mkdir(parents=True, exist_ok=True)
    views = stored_regions(
        segmenter,
        build_composer(config.data, config.seed, further=config.further, mix=_MIX),
        FacePool(read_faces(config.data, "train", config.per_folder), config.seed),
        config.out / "regions.npz",
        scenes=config.scenes,
        seed=config.seed,
    )
    with precision(config.policy):
        model = build_verifier(**config.network)
    if config.init is not None:
        load_weights(model, config.init)
    model.compile(
        optimizer=keras.optimizers.AdamW(
            config.rate, weight_decay=config.weight_decay, use_ema=True, ema_momentum=config.average
        ),
        loss=keras.losses.BinaryCrossentropy(label_smoothing=config.smoothing),
        metrics=["accuracy"],
        jit_compile=False,
    )
    budget = StopAfterMinutes(config.minutes, config.out / "clock.json")
    batches = RegionBatches(
        views,
        batch_size=config.batch,
        steps=config.steps,
        seed=config.seed,
        first_epoch=budget.epochs,
    )
    callbacks = [
        budget,
        CosineByTime(budget, peak=config.rate),
        keras.callbacks.BackupAndRestore(str(config.out / "backup"), delete_checkpoint=False),
        # `fit` itself puts the averaged weights into the network when it ends.
        keras.callbacks.SwapEMAWeights(),
        CsvHistory(config.out / "history.csv"),
    ]
    model.fit(batches, epochs=100_000, callbacks=callbacks, shuffle=False, verbose=2)
    metadata = {
        "stage": "verifier",
        "seed": str(config.seed),
        "minutes": str(config.minutes),
        "steps": str(int(model.optimizer.iterations)),
        "regions": str(len(views.labels)),
    }
    path = config.out / "verifier.safetensors"
    save_weights(model, path, metadata)
    return path

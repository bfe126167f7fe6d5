"""Adversarial training of the landmark-guided generator."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from unmask.errors import DataError, WeightsError
from unmask.inpainting import losses
from unmask.inpainting.data import InpaintingData
from unmask.inpainting.discriminator import build_discriminator
from unmask.inpainting.features import CompressedVgg
from unmask.inpainting.framing import WINDOW_SIDE
from unmask.inpainting.generator import LITE, build_generator
from unmask.inpainting.losses import LossWeights
from unmask.inpainting.prior import LinearPrior
from unmask.io import write_text_atomic
from unmask.training.callbacks import cosine_rate
from unmask.training.faces import FaceRecord, read_face_folder
from unmask.training.gradients import GradientStep
from unmask.training.precision import precision
from unmask.weights import load_arrays, load_weights, save_arrays, save_weights

_LOG = logging.getLogger(__name__)

_HISTORY = "history.jsonl"


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training.

    Attributes:
        folders: Face folders as `read_face_folder` takes them.
        prior: File of the linear prior.
        features: `.npz` of the compressed VGG-19.
        out: Folder for checkpoints, history and the weights.
        gender: Train on these faces only; None for all.
        minutes: Wall-clock budget of this call.
        side: Side of the training images, at most 192.
        batch_size: Images a step. The paper: 4.
        rate: Peak learning rate of the generator. The paper: 1e-4.
        discriminator_rate: The same for the discriminator. The paper: 1e-5.
        discriminator_width: Channels of its first layer. The paper: 64.
        init: Weights to start the generator from; None for none.
        init_discriminator: The same for the discriminator.
        average: Decay of the running average of the generator's weights.
        weights: Weights of the loss terms.
        policy: Keras dtype policy of the two networks.
        seed: Seed of initialisation and data.
        checkpoint_minutes: How often to write a checkpoint.
    """

    folders: Sequence[Path]
    prior: Path
    features: Path
    out: Path
    gender: str | None = None
    minutes: float = 30.0
    side: int = WINDOW_SIDE
    batch_size: int = 8
    rate: float = 2e-4
    discriminator_rate: float = 2e-4
    discriminator_width: int = 48
    init: Path | None = None
    init_discriminator: Path | None = None
    average: float = 0.99
    weights: LossWeights = field(default_factory=LossWeights)
    policy: str = "mixed_bfloat16"
    seed: int = 0
    checkpoint_minutes: float = 4.0


class Trainer:
    """The two networks, their optimisers and the averaged weights of one training.

    Args:
        config: The settings.
    """

    def __init__(self, config: TrainConfig) -> None:
        keras.utils.set_random_seed(config.seed)
        self.config, self.step, self.seconds = config, 0, 0.0
        # Without its loss term the discriminator is left as it is, which saves its time.
        self._adversarial = config.weights.adversarial > 0
        with precision(config.policy):
            self.generator = build_generator(**LITE)
            self.discriminator = build_discriminator(config.discriminator_width, attention=False)
        self.features = CompressedVgg(config.features)
        if config.init is not None:
            load_weights(self.generator, config.init)
        if config.init_discriminator is not None:
            load_weights(self.discriminator, config.init_discriminator)
        state = [*self.generator.weights, *self.discriminator.weights, *self.features.model.weights]
        self._generator_step = GradientStep(
            self._generator_loss, self.generator.trainable_weights, state,
            keras.optimizers.Adam(config.rate, beta_1=0.0, beta_2=0.9),
        )  # fmt: skip
        self._discriminator_step = GradientStep(
            self._discriminator_loss, self.discriminator.trainable_weights, state,
            keras.optimizers.Adam(config.discriminator_rate, beta_1=0.0, beta_2=0.9),
        )  # fmt: skip
        self.averaged = [np.array(v.numpy(), np.float32) for v in self.generator.weights]

    def train_step(self, batch: tuple[Any, ...], rate_share: float) -> dict[str, float]:
        """Update the generator, then the discriminator, and the running average.

        Args:
            batch: Arrays of an `InpaintingBatch`.
            rate_share: Factor on both learning rates.

        Returns:
            The unweighted loss terms.
        """
        self._generator_step.optimizer.learning_rate = self.config.rate * rate_share
        self._discriminator_step.optimizer.learning_rate = (
            self.config.discriminator_rate * rate_share
        )
        _, (terms, completed) = self._generator_step(*batch)
        scores: dict[str, Any] = {}
        if self._adversarial:
            _, scores = self._discriminator_step(completed, *batch)
        self.step += 1
        self._average()
        return {name: float(value) for name, value in {**terms, **scores}.items()}

    def save(self, path: Path) -> None:
        """Write everything that a resumed training needs, atomically."""
        arrays = {name: np.asarray(v.numpy(), np.float32) for name, v in self._variables().items()}
        arrays |= {f"average/{i}": value for i, value in enumerate(self.averaged)}
        progress = {"step": self.step, "seconds": self.seconds}
        save_arrays(path, arrays, {"progress": json.dumps(progress)})

    def restore(self, path: Path) -> None:
        """Take up a training that `save` wrote.

        Raises:
            WeightsError: The file belongs to another configuration.
        """
        arrays, metadata = load_arrays(path)
        variables = self._variables()
        wanted = {name: tuple(v.shape) for name, v in variables.items()}
        wanted |= {f"average/{i}": value.shape for i, value in enumerate(self.averaged)}
        if wanted != {name: array.shape for name, array in arrays.items()}:
            raise WeightsError(f"{path}: a checkpoint of another configuration")
        for name, variable in variables.items():
            variable.assign(arrays[name])
        for i, value in enumerate(self.averaged):
            value[...] = arrays[f"average/{i}"]
        progress = json.loads(metadata["progress"])
        self.step, self.seconds = int(progress["step"]), float(progress["seconds"])

    def averaged_generator(self) -> keras.Model:
        """Return a float32 generator that holds the averaged weights."""
        model = build_generator(**LITE)
        for variable, value in zip(model.weights, self.averaged, strict=True):
            variable.assign(value)
        return model

    def _variables(self) -> dict[str, keras.Variable]:
        groups = {
            "generator": self.generator.weights,
            "discriminator": self.discriminator.weights,
            "generator_optimizer": self._generator_step.optimizer.variables,
            "discriminator_optimizer": self._discriminator_step.optimizer.variables,
        }
        return {f"{group}/{i}": v for group, vs in groups.items() for i, v in enumerate(vs)}

    def _generator_loss(
        self, image: Any, mask: Any, landmark_map: Any, coarse: Any, truth: Any, valid: Any
    ) -> tuple[Any, Any]:
        output = self.generator([image, mask, landmark_map, coarse], training=True)
        scored = mask * valid
        completed = losses.composite(output, truth, scored)
        perceived, _ = self.features(completed)
        wanted, _ = self.features(truth)
        _, output_styles = self.features(completed * scored)
        _, truth_styles = self.features(truth * scored)
        terms = {
            "pixel": losses.pixel_loss(completed, truth, scored),
            "perceptual": losses.perceptual_loss(perceived, wanted),
            "style": losses.style_loss(output_styles, truth_styles),
            "tv": losses.total_variation_loss(completed),
        }
        if self._adversarial:
            fake = self.discriminator([completed, landmark_map], training=False)
            patches = losses.soft_patch_mask(scored, tuple(fake.shape[1:3]))
            terms["adversarial"] = losses.adversarial_loss(fake, patches)
        total = sum(getattr(self.config.weights, name) * value for name, value in terms.items())
        return total, (terms, completed)

    def _discriminator_loss(
        self, completed: Any, image: Any, mask: Any, landmark_map: Any, coarse: Any, truth: Any,
        valid: Any,
    ) -> tuple[Any, Any]:  # fmt: skip
        real = self.discriminator([truth, landmark_map], training=True)
        fake = self.discriminator([completed, landmark_map], training=True)
        patches = losses.soft_patch_mask(mask * valid, tuple(fake.shape[1:3]))
        loss = losses.discriminator_loss(real, fake, patches)
        inside = ops.sum(fake * patches) / (ops.sum(patches) + 1e-6)
        return loss, {"discriminator": loss, "real": ops.mean(real), "fake": inside}

    def _average(self) -> None:
        # Short trainings would never leave the start with the full decay.
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        for value, variable in zip(self.averaged, self.generator.weights, strict=True):
            # The mean of unit vectors is shorter than one: singular vectors are taken as they are.
            kept = decay if variable.trainable else 0.0
            value *= kept
            value += (1 - kept) * np.asarray(variable.numpy(), np.float32)


def load_records(
    folders: Sequence[Path], split: str, gender: str | None = None
) -> list[FaceRecord]:
    """Read the faces of one split, of one gender where asked for.

    Raises:
        DataError: None is left.
    """
    records = [r for folder in folders for r in read_face_folder(folder, split=split)]
    kept = [r for r in records if gender is None or r.gender == gender]
    if not kept:
        raise DataError(
            f"no {gender or ''} faces in the {split} split of {list(map(str, folders))}"
        )
    return kept


def train(config: TrainConfig, report: Callable[[str], None] = _LOG.info) -> Path:
    """Train until the budget is used up, resuming from `out/checkpoint.safetensors` if present.

    Args:
        config: The settings.
        report: Called with a line of progress every 50 steps.

    Returns:
        The generator's averaged weights, `out/generator.safetensors`.
    """
    prior = LinearPrior.load(config.prior)
    records = load_records(config.folders, "train", config.gender)
    data = InpaintingData(records, prior, seed=config.seed)
    trainer = Trainer(config)
    checkpoint = config.out / "checkpoint.safetensors"
    if checkpoint.is_file():
        trainer.restore(checkpoint)
    history = _read_history(config)
    budget = 60 * config.minutes
    began = last_save = time.monotonic()
    before = trainer.seconds
    recent: list[dict[str, float]] = []
    for batch in data.batches(config.batch_size, side=config.side, first=trainer.step):
        # The rate falls over the whole budget, what earlier calls have used of it included.
        share = min(1.0, trainer.seconds / budget)
        if share >= 1.0:
            break
        recent.append(trainer.train_step(batch.arrays(), cosine_rate(share, 1.0, 0.05)))
        now = time.monotonic()
        trainer.seconds = before + now - began
        if len(recent) == 50:
            history.append(_mean(recent, trainer))
            report(json.dumps(history[-1]))
            recent = []
        if now - last_save > 60 * config.checkpoint_minutes:
            _write(trainer, history, config)
            last_save = now
    _write(trainer, history, config)
    return config.out / "generator.safetensors"


def _read_history(config: TrainConfig) -> list[dict[str, float]]:
    path = config.out / _HISTORY
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _mean(rows: list[dict[str, float]], trainer: Trainer) -> dict[str, float]:
    mean = {key: round(float(np.mean([row[key] for row in rows])), 5) for key in rows[0]}
    return {"step": trainer.step, "seconds": round(trainer.seconds), **mean}


def _write(trainer: Trainer, history: list[dict[str, float]], config: TrainConfig) -> None:
    trainer.save(config.out / "checkpoint.safetensors")
    noted = {"steps": str(trainer.step), "seconds": f"{trainer.seconds:.0f}"}
    model = trainer.averaged_generator()
    save_weights(model, config.out / "generator.safetensors", noted)
    save_weights(trainer.discriminator, config.out / "discriminator.safetensors", noted)
    lines = [json.dumps(row) + "\n" for row in history]
    write_text_atomic(config.out / _HISTORY, "".join(lines))
    settings = {key: str(value) for key, value in asdict(config).items()}
    write_text_atomic(config.out / "config.json", json.dumps(settings, indent=2))

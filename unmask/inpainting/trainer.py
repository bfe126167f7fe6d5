"""One adversarial training step, and everything that it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np
from keras import ops

from unmask.errors import WeightsError
from unmask.inpainting import losses
from unmask.inpainting.data import Variety
from unmask.inpainting.features import load_features
from unmask.inpainting.framing import WINDOW_SIDE
from unmask.inpainting.losses import LossWeights
from unmask.inpainting.networks import NETWORKS, Networks
from unmask.training.gradients import GradientStep
from unmask.training.precision import precision
from unmask.weights import load_arrays, load_weights, save_arrays

Schedule = Literal["joint", "alternating"]


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training.

    Attributes:
        folders: Face folders as `read_face_folder` takes them.
        prior: File of the linear prior.
        coarse: File of the network that corrects the prior's guess; None to train on the linear
            guess alone.
        features: Feature network for the losses, as `load_features` takes it.
        out: Folder for checkpoints, history, sample sheets and the weights.
        networks: The pair of networks to train.
        gender: Train on these faces only; None for all.
        gender_weights: File of a gender network that names the faces of unknown gender, so that
            they count; None to leave them so.
        minutes: Wall-clock budget of all calls with this folder together; the learning rate
            falls over it.
        steps: The same in steps, in place of minutes. Only then is an interrupted training the
            same as an uninterrupted one to the last digit, because time is not repeatable.
        side: Side of the training images, at most 192.
        batch_size: Images a step. The paper: 4.
        rate: Peak learning rate of the generator. The paper: 1e-4.
        discriminator_rate: The same for the discriminator. The paper: 1e-5.
        init: Weights to start the generator from; None for none.
        init_discriminator: The same for the discriminator.
        average: Decay of the running average of the generator's weights.
        weights: Weights of the loss terms.
        parser: Keras file of a frozen face-parsing network, from images in [0, 1] to class
            probabilities (B, h, w, K); needed for a `weights.parsing` above 0.
        published_targets: See `discriminator_loss`.
        schedule: "joint": each network learns from the other as it was before the step, as in
            LaFIn's and AOT-GAN's codes, which compute both losses before they update anything.
            "alternating": the discriminator learns first, and the generator from the updated one
            (Goodfellow et al., 2014, Algorithm 1), which costs one more forward pass of the
            generator. Without an adversarial loss there is nothing to schedule.
        variety: Holes other than masks, and predicted landmarks.
        policy: Keras dtype policy of the two networks.
        seed: Seed of initialisation and data.
        checkpoint_minutes: How often to write a checkpoint.
        sheet_minutes: How often to draw a sample sheet; None for never.
        history_steps: Steps whose loss terms are averaged in one row of the history.
        tensorboard: Whether to write event files too.
    """

    folders: Sequence[Path]
    prior: Path
    features: str | Path
    out: Path
    networks: Networks = NETWORKS["lite"]
    gender: str | None = None
    gender_weights: Path | None = None
    minutes: float = 30.0
    steps: int | None = None
    side: int = WINDOW_SIDE
    batch_size: int = 8
    rate: float = 2e-4
    discriminator_rate: float = 2e-4
    init: Path | None = None
    init_discriminator: Path | None = None
    average: float = 0.99
    weights: LossWeights = field(default_factory=LossWeights)
    parser: Path | None = None
    published_targets: bool = False
    schedule: Schedule = "joint"
    variety: Variety = field(default_factory=Variety)
    coarse: Path | None = None
    policy: str = "mixed_bfloat16"
    seed: int = 0
    checkpoint_minutes: float = 4.0
    sheet_minutes: float | None = 10.0
    history_steps: int = 50
    tensorboard: bool = False


class Trainer:
    """The two networks, their optimisers and the averaged weights of one training.

    Nothing in a step is random; samples depend on the seed and the number of the step, so the
    step is all the random state that a checkpoint needs.

    Args:
        config: The settings.

    Attributes:
        step: Steps taken.
        seconds: Time spent on them, that of earlier processes included.
        recent: What a `History` keeps between two of its rows; stored along.

    Raises:
        ValueError: The schedule is unknown, the parsing loss has a weight but no parser is given,
            or the networks are those of the detail phase.
        WeightsError: A file of weights is missing or does not fit.
    """

    def __init__(self, config: TrainConfig) -> None:
        if config.schedule not in get_args(Schedule):
            raise ValueError(
                f"schedule must be 'joint' or 'alternating'. Received: schedule={config.schedule!r}"
            )
        self._check(config)
        keras.utils.set_random_seed(config.seed)
        self.config, self.step, self.seconds = config, 0, 0.0
        self.recent: list[dict[str, float]] = []
        # Without its loss term the discriminator is left as it is, which saves its time.
        self._adversarial = config.weights.adversarial > 0
        with precision(config.policy):
            self.generator = config.networks.generator()
            self.discriminator = config.networks.discriminator()
        self.features = load_features(config.features)
        self.parser = _load_parser(config)
        if config.init is not None:
            load_weights(self.generator, config.init)
        if config.init_discriminator is not None:
            load_weights(self.discriminator, config.init_discriminator)
        state = [*self.generator.weights, *self.discriminator.weights, *self.features.model.weights]
        state += [] if self.parser is None else self.parser.weights
        beta_1, beta_2 = config.networks.betas
        self._generator_step = GradientStep(
            self._generator_loss, self.generator.trainable_weights, state,
            keras.optimizers.Adam(config.rate, beta_1=beta_1, beta_2=beta_2),
        )  # fmt: skip
        self._discriminator_step = GradientStep(
            self._discriminator_loss if config.schedule == "joint" else self._opening_loss,
            self.discriminator.trainable_weights, state,
            keras.optimizers.Adam(config.discriminator_rate, beta_1=beta_1, beta_2=beta_2),
        )  # fmt: skip
        self._averaged_generator: keras.Model | None = None
        self.averaged = [np.array(v.numpy(), np.float32) for v in self.generator.weights]

    def _check(self, config: TrainConfig) -> None:
        """Refuse what another trainer is for."""
        if config.networks.detail or config.weights.matching:
            raise ValueError(
                "the networks and the term of the detail phase are for `DetailTrainer`. Received: "
                f"networks={config.networks.name}, weights.matching={config.weights.matching}"
            )

    def train_step(self, batch: tuple[Any, ...], rate_share: float) -> dict[str, float]:
        """Update the two networks, in the order of the schedule, and the running average.

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
        scores: dict[str, Any] = {}
        if self._adversarial and self.config.schedule == "alternating":
            _, scores = self._discriminator_step(*batch)
        _, (terms, completed) = self._generator_step(*batch)
        if self._adversarial and self.config.schedule == "joint":
            _, scores = self._discriminator_step(completed, *batch)
        self.step += 1
        self._average()
        return {name: float(value) for name, value in {**terms, **scores}.items()}

    def save(self, path: Path) -> None:
        """Write everything that a resumed training needs, atomically."""
        arrays = {name: np.asarray(v.numpy(), np.float32) for name, v in self._variables().items()}
        arrays |= {f"average/{i}": value for i, value in enumerate(self.averaged)}
        progress = {"step": self.step, "seconds": self.seconds, "recent": self.recent}
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
        self.recent = progress.get("recent", [])

    def averaged_generator(self) -> keras.Model:
        """Return a float32 generator with the averaged weights; the next call updates it."""
        if self._averaged_generator is None:
            self._averaged_generator = self.config.networks.generator()
        for variable, value in zip(self._averaged_generator.weights, self.averaged, strict=True):
            variable.assign(value)
        return self._averaged_generator

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
        batch = (image, mask, landmark_map, coarse, truth, valid)
        completed, scored = self._complete(*batch, training=True), mask * valid
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
        if self.parser is not None:
            seen = self.parser(completed, training=False)
            terms["parsing"] = losses.parsing_loss(seen, self.parser(truth, training=False))
        return losses.total_loss(terms, self.config.weights), (terms, completed)

    def _complete(
        self, image: Any, mask: Any, landmark_map: Any, coarse: Any, truth: Any, valid: Any,
        *, training: bool,
    ) -> Any:  # fmt: skip
        inputs = [image, mask, landmark_map, coarse][: len(self.generator.inputs)]
        output = self.generator(inputs, training=training)
        return losses.composite(output, truth, mask * valid)

    def _opening_loss(self, *batch: Any) -> tuple[Any, Any]:
        """Return the discriminator's loss where it learns first: no completion is there yet."""
        # Not training: the generator's singular vectors move in its own update only.
        completed = self._complete(*batch, training=False)
        return self._discriminator_loss(completed, *batch)

    def _discriminator_loss(
        self, completed: Any, image: Any, mask: Any, landmark_map: Any, coarse: Any, truth: Any,
        valid: Any,
    ) -> tuple[Any, Any]:  # fmt: skip
        real = self.discriminator([truth, landmark_map], training=True)
        fake = self.discriminator([completed, landmark_map], training=True)
        patches = losses.soft_patch_mask(mask * valid, tuple(fake.shape[1:3]))
        loss = losses.discriminator_loss(
            real, fake, patches, published_targets=self.config.published_targets
        )
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


def _load_parser(config: TrainConfig) -> keras.Model | None:
    if config.weights.parsing == 0:
        return None
    if config.parser is None:
        raise ValueError(
            f"the parsing loss needs a parser. Received: weights.parsing={config.weights.parsing}, "
            "parser=None"
        )
    if not config.parser.is_file():
        raise WeightsError(f"{config.parser}: no such file")
    parser = keras.models.load_model(config.parser, compile=False)
    parser.trainable = False
    return parser

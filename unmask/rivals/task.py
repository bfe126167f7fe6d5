"""Training the compared systems small: DeepFill v2, EdgeConnect, Pluralistic.

AOT-GAN and the paper's generator are trained by the task "inpainting".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import keras
import numpy as np

from unmask.data.faces import gather_faces
from unmask.inpainting.coarse import load_coarse
from unmask.inpainting.data import InpaintingSampler, SampleSettings
from unmask.inpainting.features import load_features
from unmask.rivals.completion import SIDE
from unmask.rivals.edgeconnect import SIGMA, find_edges
from unmask.rivals.objectives import TERMS, make_objective
from unmask.rivals.trained import build_networks
from unmask.training.adversarial import AdversarialModel
from unmask.training.helpers import find_beside
from unmask.training.optimizers import PairAdam
from unmask.training.recipe import Recipe
from unmask.training.task import Task
from unmask.weights import find, load_metadata


@dataclass(frozen=True, kw_only=True)
class RivalRecipe(Recipe):
    """A small training of a compared system.

    Attributes:
        system: Which; EdgeConnect's network for edges is a phase of its own, before the other.
        width: Channels of the first layer.
        depth: Number of EdgeConnect's residual blocks.
        discriminator_width: Channels of the discriminator's first layer.
        discriminator_rate: The discriminator's highest learning rate.
        losses: Weight of each of the objective's terms, see `unmask.rivals.objectives`.
        features: As for the task "inpainting"; for EdgeConnect's terms "perceptual" and "style".
        samples: What is seen; landmarks are not.

    Raises:
        ValueError: Settings contradict each other.
    """

    system: Literal["deepfill2", "edgeconnect-edges", "edgeconnect", "pluralistic"]
    width: int
    depth: int = 8
    discriminator_width: int
    discriminator_rate: float = 1e-4
    losses: Mapping[str, float] = field(default_factory=dict)
    features: str = "imagenet"
    samples: SampleSettings = field(default_factory=SampleSettings)

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        super().__post_init__()
        names = TERMS[self.system]
        weights = self.losses.values()
        if self.optimizer.name != "adam":
            raise ValueError("optimizer.name must be 'adam'")
        if self.samples.predicted:
            raise ValueError("samples.predicted must be 0: landmarks are not seen")
        if not set(self.losses) <= set(names) or min(weights, default=-1) < 0 or not any(weights):
            raise ValueError(
                f"losses must be weights of at least 0 of {', '.join(names)}, and one of them "
                f"above. Received: {dict(self.losses)}"
            )


class RivalTask(Task):
    """Trains a compared system by a `RivalRecipe`."""

    recipe_type: ClassVar[type[Recipe]] = RivalRecipe
    stage: ClassVar[str] = "inpainting"
    recipe: RivalRecipe

    @classmethod
    def parameters(cls, recipe: RivalRecipe) -> int:
        """Return how many numbers of the networks are trained."""
        trained = build_networks(recipe.system, recipe.width, recipe.depth).trainable_variables
        return sum(int(np.prod(variable.shape)) for variable in trained)

    def prepare(self) -> None:
        """Read which faces there are."""
        self._faces = gather_faces(self.places.data, self.recipe.faces, split="train")

    def build(self) -> keras.Model:
        """Build the networks and what joins them."""
        recipe, features = self.recipe, None
        self.network = build_networks(recipe.system, recipe.width, recipe.depth)
        if recipe.losses.get("perceptual") or recipe.losses.get("style"):
            features = load_features(find_beside(recipe.features, self.places.data))
        objective = make_objective(
            recipe.system, self.network, recipe.discriminator_width, features
        )
        self._learner = objective.learner
        self._frozen = [*objective.frozen, *([features.model] if features else [])]
        weights = {name: weight for name, weight in recipe.losses.items() if weight}
        return AdversarialModel(
            objective.learner, objective.discriminator, partial(objective.generator_loss, weights),
            objective.discriminator_loss, [*weights, "discriminator"], self._frozen,
        )  # fmt: skip

    def make_optimizer(self, model: keras.Model) -> keras.optimizers.Optimizer:
        """Return Adam, with a rate of its own for the discriminator."""
        settings = self.recipe.optimizer
        factor = self.recipe.discriminator_rate / settings.learning_rate
        return PairAdam(settings, len(self._learner.trainable_variables), factor)

    def sampler(self) -> RivalSampler:
        """Return what makes training batches."""
        recipe = self.recipe
        in_window = recipe.samples.framing == "window"
        samples = InpaintingSampler(
            self._faces, recipe.samples, batch_size=recipe.batch_size, seed=recipe.seed,
            coarse=partial(load_coarse, find("lite", "prior").path, None) if in_window else None,
        )  # fmt: skip
        return RivalSampler(samples, recipe)

    def keep(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the networks, and how many seconds they have learnt with the phase before."""
        before = load_metadata(self.init).get("seconds", "0") if self.init else "0"
        seconds = float(metadata["seconds"]) + float(before)
        super().keep(path, {**metadata, "seconds": f"{seconds:.8g}"})

    def frozen(self) -> Sequence[keras.Variable]:
        """Return the weights of the networks that do not learn."""
        return [variable for model in self._frozen for variable in model.variables]


class RivalSampler:
    """Batch `number` of endless, repeatable samples, with what a system needs besides.

    Args:
        samples: Makes faces and holes.
        recipe: Says which system it is.
    """

    def __init__(self, samples: InpaintingSampler, recipe: RivalRecipe) -> None:
        self._samples, self._recipe = samples, recipe

    def __call__(self, number: int) -> tuple[dict[str, Any]]:
        """Return a batch, as `keras.Model.fit` takes one without labels."""
        recipe, (found,) = self._recipe, self._samples(number)
        batch: dict[str, Any] = {n: found[n] for n in ("image", "truth", "mask", "valid")}
        side = recipe.samples.side
        if recipe.system.startswith("edgeconnect"):
            shown = np.zeros((side, side), bool)
            edges = [
                find_edges(image / np.float32(255), shown, SIGMA * side / SIDE)[1]
                for image in batch["truth"]
            ]
            batch["edges"] = np.stack(edges)[..., None].astype(np.uint8)
        if recipe.system == "pluralistic":
            shape = (recipe.batch_size, side // 32, side // 32, 4 * recipe.width, 2)
            chance = np.random.default_rng([recipe.seed, number, 3])
            batch["noise"] = chance.standard_normal(shape, np.float32)
        return (batch,)

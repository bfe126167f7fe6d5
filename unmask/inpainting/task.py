"""Training the generators: the paper's, lite's phases, AOT-GAN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import gather_faces
from unmask.data.record import FaceSet
from unmask.errors import DataError
from unmask.inpainting import lite, paper
from unmask.inpainting.coarse import load_coarse
from unmask.inpainting.data import Completion, InpaintingBatch, InpaintingSampler, SampleSettings
from unmask.inpainting.features import load_features
from unmask.inpainting.objective import LossSettings, Objective
from unmask.inpainting.predict import complete_faces, correct_coarse
from unmask.rivals import aot
from unmask.training.adversarial import AdversarialModel
from unmask.training.helpers import find_beside, lite_predictor, load_parser, name_genders
from unmask.training.optimizers import PairAdam, make_optimizer
from unmask.training.recipe import Recipe
from unmask.training.task import Task
from unmask.weights import find, load_weights

_SHEET_FACES, _SHEET_SEED = 6, 4321
_RED = np.array([1, 0, 0], np.float32)


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """The generator; the defaults are the paper's.

    Attributes:
        kind: "landmark-guided"; "refiner" for the second stage, which corrects what the shipped
            generator of the recipe's gender completes; or "aot-gan" for the plain AOT-GAN, which
            ignores landmarks and has only `width` and `depth`.
        width: Channels of the first layer.
        blocks: "dilated" for the paper's residual blocks; "aot" for AOT-GAN's in their place.
        depth: Number of blocks.
        attention: Whether long-short attention joins trunk and encoder, as in the paper's.
        coarse: Whether it is lite's, which paints on the coarse completion and has no attention.

    Raises:
        ValueError: There is no such landmark-guided generator.
    """

    kind: Literal["landmark-guided", "refiner", "aot-gan"] = "landmark-guided"
    width: int = 64
    blocks: Literal["dilated", "aot"] = "dilated"
    depth: int = 7
    attention: bool = True
    coarse: bool = False

    def __post_init__(self) -> None:
        """Refuse mixtures of the paper's and lite's."""
        if self.attention == self.coarse or (self.coarse and self.blocks == "aot"):
            raise ValueError(
                "a generator either has attention (the paper's) or paints on the coarse completion "
                f"with dilated blocks (lite's). Received: attention={self.attention}, "
                f"coarse={self.coarse}, blocks={self.blocks!r}"
            )
        if self.kind == "refiner" and not self.coarse:
            raise ValueError("a refiner paints on a completion. Received: coarse=False")

    def build(self) -> keras.Model:
        """Build it."""
        builder = paper.build_generator
        if self.kind == "aot-gan":
            builder = aot.build_aot_generator
        elif self.kind == "refiner":
            builder = lite.build_refiner
        elif self.coarse:
            builder = lite.build_generator
        elif self.blocks == "aot":
            builder = aot.build_aot_variant
        return builder(self.width, self.depth)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorSettings:
    """The discriminator; the defaults are the paper's.

    Attributes:
        kind: "published": LaFIn's, with spectral normalisation. "aot-gan": AOT-GAN's. "detail":
            lite's, quick, without normalisation; judges holes and shows its features.
        width: Channels of the first layer.
        attention: What the published one always has; recipes may say so.
        learning_rate: Its highest learning rate; it follows the generator's schedule.
    """

    kind: Literal["published", "aot-gan", "detail"] = "published"
    width: int = 64
    attention: Literal[True] = True
    learning_rate: float = 1e-5

    def build(self) -> keras.Model:
        """Build it."""
        builders = {
            "published": paper.build_discriminator,
            "aot-gan": aot.build_aot_discriminator,
            "detail": lite.build_detail_discriminator,
        }
        return builders[self.kind](self.width)


@dataclass(frozen=True, kw_only=True)
class InpaintingRecipe(Recipe):
    """A training of a generator, with or without a discriminator.

    Attributes:
        gender: Whose faces to train on; all when empty.
        name_genders: Whether a gender network names the faces of unknown gender first, so that
            they count; where a gender is asked for.
        generator: What is kept.
        discriminator: What it trains against where a loss needs it.
        losses: What both are trained towards.
        samples: What they see.
        features: Deep features for the perceptual and the style loss: an .npz of a compressed
            VGG-19, a file of VGG-19's weights (torchvision's .pth, Keras' .h5), or "imagenet",
            which Keras downloads. A file is looked for inside the data folders too.
        normalise_features: Whether VGG-19 sees colours with ImageNet's mean and deviation, as it
            was trained; LaFIn's code passes images in [0, 1] as they are.
        prior: File of the linear prior; the shipped one when absent.
        coarse: File of the network that corrects it; the shipped one when absent.
        landmark_network: Weights for `samples.predicted`; the shipped ones when absent.
        gender_network: Weights for `name_genders`; the shipped ones when absent.
        parser: Weights for `losses.parsing`, what `unmask train lite/parsing` keeps; the shipped
            ones when absent.

    Raises:
        ValueError: Settings contradict each other.
    """

    gender: Literal["", "male", "female"] = ""
    name_genders: bool = True
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    discriminator: DiscriminatorSettings = field(default_factory=DiscriminatorSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    samples: SampleSettings = field(default_factory=SampleSettings)
    features: str = "imagenet"
    normalise_features: bool = True
    prior: Path | None = None
    coarse: Path | None = None
    landmark_network: Path | None = None
    gender_network: Path | None = None
    parser: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        super().__post_init__()
        losses, detail = self.losses, self.discriminator.kind == "detail"
        checks = {
            "optimizer.name must be 'adam'": self.optimizer.name == "adam",
            "a generator that paints on the coarse completion needs samples.framing 'window'": (
                self.samples.framing == "window" or not self.generator.coarse
            ),
            "losses.as_pasted needs a generator that paints on the coarse completion": (
                self.generator.coarse or not losses.as_pasted
            ),
            "a refiner needs a gender, and no losses.as_pasted: what it changes counts in full": (
                self.generator.kind != "refiner" or bool(self.gender and not losses.as_pasted)
            ),
            "losses.matching needs the 'detail' discriminator": detail or not losses.matching,
            "losses.parsing needs a samples.side that is a multiple of 32": (
                self.samples.side % 32 == 0 or not losses.parsing
            ),
        }
        for message, holds in checks.items():
            if not holds:
                raise ValueError(message)


class InpaintingTask(Task):
    """Trains a generator by an `InpaintingRecipe`."""

    recipe_type: ClassVar[type[Recipe]] = InpaintingRecipe
    stage: ClassVar[str] = "inpainting"
    recipe: InpaintingRecipe

    @classmethod
    def parameters(cls, recipe: InpaintingRecipe) -> int:
        """Return how many numbers of the generator are trained."""
        trained = recipe.generator.build().trainable_variables
        return sum(int(np.prod(variable.shape)) for variable in trained)

    def prepare(self) -> None:
        """Read which faces there are."""
        self._faces = self._read_faces("train")

    def build(self) -> keras.Model:
        """Build the networks and what joins them."""
        recipe, losses = self.recipe, self.recipe.losses
        self.network = recipe.generator.build()
        self._discriminator = recipe.discriminator.build() if losses.has_adversary else None
        features = parser = None
        self._frozen: list[keras.Model] = []
        if losses.needs_features:
            source = find_beside(recipe.features, self.places.data)
            features = load_features(source, normalise=recipe.normalise_features)
            self._frozen.append(features.model)
        if losses.parsing:
            parser = load_parser(recipe.parser)
            self._frozen.append(parser)
        objective = Objective(losses, self.network, self._discriminator, features, parser)
        return AdversarialModel(
            self.network, self._discriminator, objective.generator_loss,
            objective.discriminator_loss, losses.logged, self._frozen,
        )  # fmt: skip

    def make_optimizer(self, model: keras.Model) -> keras.optimizers.Optimizer:
        """Return Adam, with a rate of its own for the discriminator."""
        settings = self.recipe.optimizer
        if self._discriminator is None:
            return make_optimizer(settings)
        factor = self.recipe.discriminator.learning_rate / settings.learning_rate
        return PairAdam(settings, len(self.network.trainable_variables), factor)

    def sampler(self) -> InpaintingSampler:
        """Return what makes training batches."""
        recipe = self.recipe
        return self._sampler(self._faces, recipe.samples, recipe.batch_size, recipe.seed)

    def sheet(self) -> NDArray[np.uint8]:
        """Draw some faces of the validation split; of the others where there is none."""
        if not hasattr(self, "_shown"):
            self._shown = self._choose_shown()
        as_used = self.recipe.generator.kind != "refiner"
        return draw_sheet(self.network, self._shown, as_used=as_used)

    def frozen(self) -> Sequence[keras.Variable]:
        """Return the weights of the networks that the losses look through."""
        return [variable for model in self._frozen for variable in model.variables]

    def _choose_shown(self) -> InpaintingBatch:
        try:
            faces = self._read_faces("val")
        except DataError:
            faces = self._faces
        records = faces.records[:: max(len(faces) // _SHEET_FACES, 1)][:_SHEET_FACES]
        few = FaceSet(records, np.ones(len(records)))
        steady = replace(self.recipe.samples.steady(), profile_oversampling=1.0)
        return self._sampler(few, steady, len(few), _SHEET_SEED, shuffle=False)(0)[0]

    def _read_faces(self, split: str) -> FaceSet:
        recipe = self.recipe
        faces = gather_faces(self.places.data, recipe.faces, split=split)
        if not recipe.gender:
            return faces
        if recipe.name_genders:
            faces = name_genders(faces, self.places.out / "genders.json", recipe.gender_network)
        wanted = [i for i, record in enumerate(faces.records) if record.gender == recipe.gender]
        if not wanted:
            places = ", ".join(map(str, self.places.data))
            raise DataError(f"no {recipe.gender} faces of the split {split!r} in {places}")
        return FaceSet(tuple(faces.records[i] for i in wanted), faces.weights[wanted])

    def _sampler(
        self, faces: FaceSet, settings: SampleSettings, batch_size: int, seed: int,
        *, shuffle: bool = True,
    ) -> InpaintingSampler:  # fmt: skip
        recipe = self.recipe
        return InpaintingSampler(
            faces, settings, batch_size=batch_size, seed=seed, shuffle=shuffle,
            coarse=self._completion() if settings.framing == "window" else None,
            gender=recipe.gender,
            predictor=lite_predictor(recipe.landmark_network) if settings.predicted else None,
        )  # fmt: skip

    def _completion(self) -> Callable[[], Completion]:
        """Return what loads what the generator paints on, or what is beyond the photo's edge."""
        recipe = self.recipe
        prior = recipe.prior or find("lite", "prior").path
        if not recipe.generator.coarse:
            return partial(load_coarse, prior)
        network = recipe.coarse or find("lite", "coarse").path
        if recipe.generator.kind == "refiner":
            generator = find("lite", f"inpainting_{recipe.gender}").path
            return partial(load_first_stage, prior, network, recipe.gender, generator)
        return partial(load_coarse, prior, network)


def load_first_stage(prior: Path, coarse: Path, gender: str, generator: Path) -> Completion:
    """Load what completes the faces of one gender as photos' are: what a refiner corrects."""
    model = lite.build_generator()
    load_weights(model, generator)
    return partial(complete_faces, {gender: model}, load_coarse(prior, coarse))


def draw_sheet(
    generator: keras.Model, batch: InpaintingBatch, *, as_used: bool = True
) -> NDArray[np.uint8]:
    """Draw a row a face: what is known, the coarse completion if any, the result, the truth.

    The result of a generator that paints on the coarse completion is `as_used` by `unmask.run`, or
    all of it. B faces of side S make (B * S, 3 or 4 columns of S, 3) uint8.
    """
    image, truth = (batch[name].astype(np.float32) / 255.0 for name in ("image", "truth"))
    mask, points = (batch[name].astype(np.float32) for name in ("mask", "landmark_map"))
    inputs, columns = [image, mask, points], []
    if "coarse" in batch:
        columns = [batch["coarse"].astype(np.float32) / 255.0]
    guided = len(generator.inputs) == 4
    output = np.asarray(generator.predict_on_batch(inputs + columns * guided), np.float32)
    if guided and as_used:
        output = correct_coarse(output, columns[0], mask[..., 0] > 0)
    # The landmarks that the generator is told, in red.
    known = np.where(points > 0, _RED, image * (1 - mask) + mask)
    columns = [known, *columns, output * mask + image * (1 - mask), truth]
    pixels = np.clip(np.concatenate(columns, axis=2) * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.concatenate(list(pixels))

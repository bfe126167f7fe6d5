"""Training the network that corrects the linear first guess."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import ops

from unmask.data.faces import gather_faces
from unmask.data.stream import default_workers
from unmask.inpainting.coarse import COARSE, GENDERS, build_coarse, load_first_guess
from unmask.inpainting.coarse_data import (
    CoarseSampler,
    SampleFile,
    as_inputs,
    draw_samples,
    read_samples,
)
from unmask.inpainting.data import InpaintingSampler, SampleSettings
from unmask.inpainting.framing import WINDOW_SIDE
from unmask.inpainting.prior import PRIOR_SIDE
from unmask.training.helpers import LandmarkPredictor, name_genders
from unmask.training.recipe import Recipe
from unmask.training.task import Task
from unmask.weights import find

_AT_ONCE = 50


@dataclass(frozen=True, kw_only=True)
class CoarseAugmentation:
    """How a sample differs from showing to showing, beside being mirrored; see `CoarseSampler`."""

    blind: float = 0.05
    nameless: float = 0.3
    exposure: float = 0.12
    cast: float = 0.05
    saturation: float = 0.2


@dataclass(frozen=True, kw_only=True)
class CoarseRecipe(Recipe):
    """A training of the coarse network.

    Attributes:
        width: As for `build_coarse`.
        blocks: As for `build_coarse`.
        training_samples: Samples to draw first; more than there are faces gives a face several
            masks. Drawing does not count as training time.
        validation_samples: The same of the validation split.
        samples: What they hold, in the window.
        augmentation: How they differ from showing to showing.
        name_genders: Whether a gender network names the faces of unknown gender first.
        prior: File of the linear prior; the shipped one when absent.
        landmark_network: Weights for `samples.predicted`; the shipped ones when absent.
        gender_network: Weights for `name_genders`; the shipped ones when absent.
    """

    width: int = COARSE["width"]
    blocks: tuple[int, int, int] = (2, 2, 3)
    training_samples: int = 30_000
    validation_samples: int = 600
    samples: SampleSettings = field(
        default_factory=lambda: SampleSettings(framing="window", side=WINDOW_SIDE)
    )
    augmentation: CoarseAugmentation = field(default_factory=CoarseAugmentation)
    name_genders: bool = True
    prior: Path | None = None
    landmark_network: Path | None = None
    gender_network: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what the network cannot see."""
        super().__post_init__()
        if (self.samples.framing, self.samples.side) != ("window", WINDOW_SIDE):
            raise ValueError(f"samples must be the window of side {WINDOW_SIDE}")


@keras.saving.register_keras_serializable(package="unmask")
class HoleError(keras.losses.Loss):
    """Root of the mean squared error inside each hole.

    The root lets hard faces count less than the squared error would, nearer to how the mean PSNR
    counts them.

    Args:
        name: Name of the loss.
    """

    def __init__(self, name: str = "hole_error") -> None:
        super().__init__(name=name)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One loss a face.

        Args:
            y_true: (B, h, w, 1) weight of each pixel, 0 to 255.
            y_pred: (B, h, w, 3) error.
        """
        return ops.sqrt(_squared_error(y_true, y_pred) + 1e-6)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"name": self.name}


def hole_psnr(y_true: Any, y_pred: Any) -> Any:
    """PSNR in dB inside each hole; arguments as for `HoleError`."""
    return -10.0 / math.log(10.0) * ops.log(_squared_error(y_true, y_pred) + 1e-6)


def _squared_error(weight: Any, error: Any) -> Any:
    weight = ops.cast(weight, "float32") / 255.0
    squares = ops.sum(weight * ops.square(error), axis=(1, 2, 3))
    return squares / (3.0 * ops.sum(weight, axis=(1, 2, 3)) + 1e-3)


def trained_model(network: keras.Model) -> keras.Model:
    """Return what is trained: bytes in, mirrored and recoloured on the device, errors out.

    Args:
        network: A network of `build_coarse`.

    Returns:
        A model from the inputs of `coarse_data.as_inputs` by name to the network's error
        (B, 64, 64, 3), float32.
    """

    def given(name: str, *shape: int, dtype: str = "uint8") -> Any:
        return keras.Input(shape, dtype=dtype, name=name)

    cells = (PRIOR_SIDE, PRIOR_SIDE)
    images = {name: given(name, *cells, 3) for name in ("guess", "truth")}
    masks = {"hole": given("hole", *cells, 1)}
    masks["landmark_map"] = given("landmark_map", WINDOW_SIDE, WINDOW_SIDE, 1)
    gender = given("gender", len(GENDERS), dtype="bool")
    mirrored = given("mirrored", 1, dtype="bool")
    colours = given("colours", 3, 3, dtype="float32")
    flip = ops.reshape(mirrored, (-1, 1, 1, 1))

    def turned(x: Any, scale: float) -> Any:
        return ops.cast(ops.where(flip, ops.flip(x, axis=2), x), "float32") / scale

    matrix = ops.reshape(colours, (-1, 1, 3, 3))
    guess, truth = (
        ops.clip(ops.matmul(turned(x, 255.0), matrix), 0.0, 1.0) for x in images.values()
    )
    hole, marks = turned(masks["hole"], 255.0), turned(masks["landmark_map"], 1.0)
    completed = network([guess, hole, marks, ops.cast(gender, "float32")])
    inputs = {**images, **masks, "gender": gender, "mirrored": mirrored, "colours": colours}
    return keras.Model(inputs, completed - truth, name="coarse_training")


class CoarseTask(Task):
    """Trains the coarse network by a `CoarseRecipe`."""

    recipe_type: ClassVar[type[Recipe]] = CoarseRecipe
    stage: ClassVar[str] = "coarse"
    monitor: ClassVar[str | None] = "psnr"
    mode: ClassVar[Literal["min", "max"]] = "max"
    loss = HoleError()
    metrics = (hole_psnr,)
    recipe: CoarseRecipe

    @classmethod
    def parameters(cls, recipe: CoarseRecipe) -> int:
        """Return how many numbers the network has."""
        return int(build_coarse(recipe.width, recipe.blocks).count_params())

    def prepare(self) -> None:
        """Draw the samples that are missing."""
        self._training = self._draw("train", self.recipe.training_samples)
        self._validation = read_samples(self._draw("val", self.recipe.validation_samples))

    def build(self) -> keras.Model:
        """Build the network and what feeds it."""
        self.network = build_coarse(self.recipe.width, self.recipe.blocks)
        self._model = trained_model(self.network)
        return self._model

    def sampler(self) -> CoarseSampler:
        """Return what chooses batches of samples."""
        recipe, changes = self.recipe, vars(self.recipe.augmentation)
        return CoarseSampler(
            self._training, batch_size=recipe.batch_size, seed=recipe.seed, **changes
        )

    def validate(self) -> dict[str, float]:
        """Return the mean PSNR inside the holes of the validation samples."""
        figures: list[float] = []
        for file in self._validation:
            for start in range(0, len(file), _AT_ONCE):
                inputs, weight = as_inputs(np.array(file[start : start + _AT_ONCE]))
                error = self._model.predict_on_batch(inputs)
                figures.extend(ops.convert_to_numpy(hole_psnr(weight, error)).tolist())
        return {"psnr": float(np.mean(figures))}

    def _draw(self, split: str, count: int) -> list[Path]:
        recipe = self.recipe
        faces = gather_faces(self.places.data, recipe.faces, split=split)
        if recipe.name_genders:
            faces = name_genders(faces, self.places.out / "genders.json", recipe.gender_network)
        samples = recipe.samples
        sampler = InpaintingSampler(
            faces, samples, batch_size=1, seed=recipe.seed,
            guess=partial(load_first_guess, recipe.prior or find("lite", "prior").path),
            predictor=LandmarkPredictor(recipe.landmark_network) if samples.predicted else None,
        )  # fmt: skip
        folder = self.places.out / "samples" / split
        folder.mkdir(parents=True, exist_ok=True)
        return draw_samples(SampleFile(sampler, folder, count), default_workers())

"""Training the coarse completion's network, on samples of 64 x 64 that are drawn once and kept.

Drawing a mask and solving for the linear completion takes ten times as long as a training step for
that sample, so each is drawn in advance and seen several times, changed on the device.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from unmask.data.cache import ByName, cached_rows, digest
from unmask.data.faces import gather_faces
from unmask.data.record import digest_of
from unmask.data.stream import Stream, default_workers
from unmask.image import LUMA
from unmask.inpainting.coarse import COARSE_SIDE, GENDERS, load_coarse
from unmask.inpainting.data import InpaintingBatch, InpaintingSampler, SampleSettings
from unmask.inpainting.lite import build_coarse
from unmask.inpainting.window import WINDOW_SIDE
from unmask.training.helpers import lite_predictor, name_genders
from unmask.training.recipe import Recipe
from unmask.training.task import Task
from unmask.weights import file_sha256, find

_AT_ONCE = 50
_CELLS = (COARSE_SIDE, COARSE_SIDE)
SAMPLE = np.dtype(
    [
        ("truth", np.uint8, (*_CELLS, 3)),
        ("linear", np.uint8, (*_CELLS, 3)),
        ("hole", np.uint8, (*_CELLS, 1)),
        ("valid", np.uint8, (*_CELLS, 1)),
        ("landmarks", np.uint8, (WINDOW_SIDE * WINDOW_SIDE // 8,)),
        ("gender", np.uint8),
    ]
)
"""A sample: pixels and shares of 0 to 255, the bits of a landmark map, and 0 for an unknown gender,
1 for male, 2 for female."""


@dataclass(frozen=True, kw_only=True)
class CoarseAugmentation:
    """How a sample differs from showing to showing, beside being mirrored.

    Attributes:
        blind: Share of the samples that lose their landmarks.
        nameless: Share of the samples that lose their gender. Else it would tell from which
            collection a face comes, and photos would be completed like those of the collection
            with the labels.
        exposure: Spread of the exposure, in natural logarithms.
        cast: Spread of each channel's gain, in natural logarithms.
        saturation: Largest change of the saturation.
    """

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

    width: int = 64
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


def hole_error(y_true: Any, y_pred: Any) -> Any:
    """Return the root of the mean squared error inside each hole, one figure a face.

    The root lets hard faces count less than the squared error would, nearer to how the mean PSNR
    counts them.

    Args:
        y_true: (B, h, w, 1) weight of each pixel, 0 to 255.
        y_pred: (B, h, w, 3) error.
    """
    return ops.sqrt(_squared_error(y_true, y_pred) + 1e-6)


def hole_psnr(y_true: Any, y_pred: Any) -> Any:
    """PSNR in dB inside each hole; arguments as for `hole_error`."""
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
        A model from the inputs of `as_inputs` by name to the network's error
        (B, 64, 64, 3), float32.
    """

    def given(name: str, *shape: int, dtype: str = "uint8") -> Any:
        return keras.Input(shape, dtype=dtype, name=name)

    inputs = {
        "linear": given("linear", *_CELLS, 3),
        "truth": given("truth", *_CELLS, 3),
        "hole": given("hole", *_CELLS, 1),
        "landmark_map": given("landmark_map", WINDOW_SIDE, WINDOW_SIDE, 1),
        "gender": given("gender", len(GENDERS), dtype="bool"),
        "mirrored": given("mirrored", 1, dtype="bool"),
        "colours": given("colours", 3, 3, dtype="float32"),
    }
    flip = ops.reshape(inputs["mirrored"], (-1, 1, 1, 1))
    matrix = ops.reshape(inputs["colours"], (-1, 1, 3, 3))

    def turned(name: str) -> Any:
        x = inputs[name]
        return ops.cast(ops.where(flip, ops.flip(x, axis=2), x), "float32")

    def recoloured(name: str) -> Any:
        return ops.clip(ops.matmul(turned(name) / 255.0, matrix), 0.0, 1.0)

    linear, truth = recoloured("linear"), recoloured("truth")
    gender = ops.cast(inputs["gender"], "float32")
    completed = network([linear, turned("hole") / 255.0, turned("landmark_map"), gender])
    return keras.Model(inputs, completed - truth, name="coarse_training")


class CoarseTask(Task):
    """Trains the coarse network by a `CoarseRecipe`."""

    recipe_type: ClassVar[type[Recipe]] = CoarseRecipe
    stage: ClassVar[str] = "coarse"
    monitor: ClassVar[str | None] = "psnr"
    mode: ClassVar[Literal["min", "max"]] = "max"
    loss = staticmethod(hole_error)
    metrics = (hole_psnr,)
    recipe: CoarseRecipe

    @classmethod
    def parameters(cls, recipe: CoarseRecipe) -> int:
        """Return how many numbers the network has."""
        return int(build_coarse(recipe.width, recipe.blocks).count_params())

    def prepare(self) -> None:
        """Draw the samples that are missing."""
        self._training = self._draw("train", self.recipe.training_samples)
        self._validation = self._draw("val", self.recipe.validation_samples)

    def build(self) -> keras.Model:
        """Build the network and what feeds it."""
        self.network = build_coarse(self.recipe.width, self.recipe.blocks)
        self._model = trained_model(self.network)
        return self._model

    def sampler(self) -> CoarseSampler:
        """Return what chooses batches of samples."""
        recipe = self.recipe
        return CoarseSampler(self._training, recipe.batch_size, recipe.seed, recipe.augmentation)

    def validate(self) -> dict[str, float]:
        """Return the mean PSNR inside the holes of the validation samples."""
        figures: list[float] = []
        for start in range(0, len(self._validation), _AT_ONCE):
            inputs, weight = as_inputs(np.array(self._validation[start : start + _AT_ONCE]))
            error = self._model.predict_on_batch(inputs)
            figures.extend(ops.convert_to_numpy(hole_psnr(weight, error)).tolist())
        return {"psnr": float(np.mean(figures))}

    def _draw(self, split: str, count: int) -> NDArray[Any]:
        recipe = self.recipe
        faces = gather_faces(self.places.data, recipe.faces, split=split)
        if recipe.name_genders:
            faces = name_genders(faces, self.places.out / "genders.json", recipe.gender_network)
        samples = recipe.samples
        if split == "val":  # as photos are, where all landmarks are predicted
            samples = replace(samples.steady(), predicted=float(samples.predicted > 0), loose=0.0)
        sampler = InpaintingSampler(
            faces, samples, batch_size=1, seed=recipe.seed,
            coarse=partial(load_coarse, recipe.prior or find("lite", "prior").path),
            predictor=lite_predictor(recipe.landmark_network) if samples.predicted else None,
        )  # fmt: skip
        origin = {
            "seed": recipe.seed, "samples": repr(samples), "faces": digest_of(faces.records),
            "genders": digest(str(record.gender).encode() for record in faces.records),
            "prior": file_sha256(recipe.prior or find("lite", "prior").path),
            "landmarks": file_sha256(recipe.landmark_network or find("lite", "landmarks").path),
        }  # fmt: skip
        return draw_samples(sampler, self.places.out / "samples" / f"{split}.npy", count, origin)


# === Samples ===


def draw_samples(
    sampler: InpaintingSampler, path: Path, count: int, origin: Mapping[str, Any]
) -> NDArray[Any]:
    """Draw samples of the usual window into a file, those alone that are missing.

    Returns:
        (count,) of `SAMPLE`, memory-mapped: the system reads what is asked for.

    Raises:
        DataError: As `unmask.data.cache.cached_rows`.
    """

    def make(first: int) -> Iterator[NDArray[Any]]:
        draw = partial(_draw_sample, sampler)
        with Stream(draw, first=first, workers=default_workers()) as stream:
            yield from itertools.islice(stream, count - first)

    return cached_rows(path, (count,), SAMPLE, origin, make)


def _draw_sample(sampler: InpaintingSampler, number: int) -> NDArray[Any]:
    return _small(sampler.sample(number), sampler.record(number).gender)


class CoarseSampler(ByName):
    """Batch `number` of samples chosen at random, as the trained model takes them.

    Args:
        samples: (N,) of `SAMPLE`.
        batch_size: Samples a batch.
        seed: Seed of the choice.
        augmentation: How they are changed.
    """

    def __init__(
        self, samples: NDArray[Any], batch_size: int, seed: int, augmentation: CoarseAugmentation
    ) -> None:
        self._samples, self._batch_size, self._seed = samples, batch_size, seed
        self._augmentation = augmentation

    def __call__(self, number: int) -> tuple[dict[str, NDArray[Any]], NDArray[np.uint8]]:
        """Return the inputs of `trained_model` and the weight of each pixel."""
        rng, count = np.random.default_rng([self._seed, number]), self._batch_size
        chosen = rng.integers(0, len(self._samples), count)
        inputs, weight = as_inputs(np.array(self._samples[chosen]))
        inputs["landmark_map"][rng.random(count) < self._augmentation.blind] = 0
        inputs["gender"][rng.random(count) < self._augmentation.nameless] = 0
        inputs["mirrored"] = rng.random((count, 1)) < 0.5
        inputs["colours"] = _random_colours(count, rng, self._augmentation)
        return inputs, weight


def as_inputs(samples: NDArray[Any]) -> tuple[dict[str, NDArray[Any]], NDArray[np.uint8]]:
    """Return samples, unchanged, as inputs of `trained_model`, and the weight of each pixel."""
    count = len(samples)
    bits = np.unpackbits(samples["landmarks"], axis=1)
    inputs = {
        "linear": samples["linear"],
        "hole": samples["hole"],
        "landmark_map": bits.reshape(count, WINDOW_SIDE, WINDOW_SIDE, 1),
        "gender": samples["gender"][:, None] == 1 + np.arange(len(GENDERS)),
        "truth": samples["truth"],
        "mirrored": np.zeros((count, 1), bool),
        "colours": np.tile(np.eye(3, dtype=np.float32), (count, 1, 1)),
    }
    share = samples["hole"].astype(np.uint16) * samples["valid"]
    return inputs, ((share + 127) // 255).astype(np.uint8)


def _random_colours(
    count: int, rng: np.random.Generator, augmentation: CoarseAugmentation
) -> NDArray[np.float32]:
    """Return (count, 3, 3) matrices that change the colours of RGB rows.

    The linear completion follows such changes: it and the truth may be changed alike.
    """
    exposure = rng.normal(0, augmentation.exposure, (count, 1))
    gains = np.exp(exposure + rng.normal(0, augmentation.cast, (count, 3)))
    most = augmentation.saturation
    kept = rng.uniform(1 - most, 1 + most, (count, 1, 1))
    grey = np.repeat(np.array(LUMA)[:, None], 3, axis=1)
    mixed = kept * np.eye(3) + (1 - kept) * grey
    return (mixed * gains[:, None, :]).astype(np.float32)


def _small(sample: InpaintingBatch, gender: str | None) -> NDArray[Any]:
    def shrunk(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        floats = array.astype(np.float32)
        small = cv2.resize(floats, _CELLS, interpolation=cv2.INTER_AREA)
        return (small + 0.5).astype(np.uint8).reshape(*_CELLS, -1)

    result = np.zeros((), SAMPLE)
    result["truth"], result["linear"] = shrunk(sample["truth"]), shrunk(sample["coarse"])
    result["hole"], result["valid"] = shrunk(255 * sample["mask"]), shrunk(255 * sample["valid"])
    result["landmarks"] = np.packbits(sample["landmark_map"])
    result["gender"] = 1 + GENDERS.index(gender) if gender in GENDERS else 0
    return result

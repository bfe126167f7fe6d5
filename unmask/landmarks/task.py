"""What is trained for the landmarks: hourglasses, on varied faces, towards the least error."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.landmarks.augment import Augmentation
from unmask.landmarks.data import LandmarkSampler, gather_landmarks, validation_faces
from unmask.landmarks.lite import build_lite
from unmask.landmarks.losses import landmark_loss
from unmask.landmarks.paper import build_fan
from unmask.landmarks.predict import predict_landmarks
from unmask.metrics import nme
from unmask.training.recipe import Recipe
from unmask.training.task import Task, on_bytes
from unmask.weights import load_arrays, load_weights, save_weights


@dataclass(frozen=True, kw_only=True)
class Hourglasses:
    """Which network, and its sizes; the defaults are the shipped one.

    Attributes:
        name: "paper" of `unmask.landmarks.paper`, or "lite" of `unmask.landmarks.lite`.
        stacks: Number of hourglasses; 1 in the lite network.
        width: Channels of the feature maps.
        depth: Halvings inside an hourglass.
    """

    name: Literal["paper", "lite"] = "lite"
    stacks: int = 1
    width: int = 128
    depth: int = 3

    def __post_init__(self) -> None:
        """Refuse a lite network of several hourglasses."""
        if self.name == "lite" and self.stacks != 1:
            raise ValueError(f"stacks must be 1 in the lite network. Received: {self.stacks}")

    def build(self) -> keras.Model:
        """Build it, with untrained weights."""
        if self.name == "lite":
            return build_lite(width=self.width, depth=self.depth)
        return build_fan(self.stacks, width=self.width, depth=self.depth)


@dataclass(frozen=True, kw_only=True)
class LandmarkRecipe(Recipe):
    """How a landmark network is trained.

    Attributes:
        network: The network.
        augmentation: How strongly training faces vary.
        coordinate_weight: Weight of the coordinate loss beside the Adaptive Wing loss.
        profile_oversampling: How often a turned head is shown, for each time that it would be.
        validation_count: Validation faces, each measured with and without a mask.
    """

    network: Hourglasses = field(default_factory=Hourglasses)
    augmentation: Augmentation = field(default_factory=Augmentation)
    coordinate_weight: float = 1.0
    profile_oversampling: float = 1.0
    validation_count: int = 120


class LandmarkTask(Task):
    """Trains hourglasses; keeps the weights with the lowest mean of bare and masked error."""

    recipe_type = LandmarkRecipe
    stage = "landmarks"
    monitor = "val_error"
    mode: ClassVar[Literal["min", "max"]] = "min"
    recipe: LandmarkRecipe
    _validation: list[tuple[NDArray[np.uint8], NDArray[np.float32]]]

    @classmethod
    def parameters(cls, recipe: LandmarkRecipe) -> int:
        """Count the network's trainable parameters, as PyTorch and the paper do."""
        variables = recipe.network.build().trainable_variables
        return sum(int(np.prod(variable.shape)) for variable in variables)

    def prepare(self) -> None:
        """Read the faces, and cut those to validate with."""
        recipe = self.recipe
        self._faces, held_out = gather_landmarks(self.places.data, recipe.faces)
        count, seed = recipe.validation_count, recipe.seed
        self._validation = [
            validation_faces(held_out, masked=masked, count=count, seed=seed)
            for masked in (False, True)
        ]

    def build(self) -> keras.Model:
        """Build the network, with a loss for each hourglass."""
        self.network = self.recipe.network.build()
        loss = partial(landmark_loss, coordinate_weight=self.recipe.coordinate_weight)
        self.loss = [loss] * len(self.network.outputs)
        return on_bytes(self.network)

    def start_from(self, path: Path) -> None:
        """Start from a kept file; one of fewer hourglasses is repeated, see `add_hourglasses`."""
        stacks = _stacks(path)
        if self.recipe.network.name == "lite" or stacks >= self.recipe.network.stacks:
            super().start_from(path)
            return
        smaller = replace(self.recipe.network, stacks=stacks).build()
        load_weights(smaller, path)
        add_hourglasses(smaller, self.network)

    def sampler(self) -> LandmarkSampler:
        """Make batches of varied faces."""
        recipe = self.recipe
        return LandmarkSampler(
            faces=self._faces,
            batch_size=recipe.batch_size,
            augmentation=recipe.augmentation,
            stacks=recipe.network.stacks,
            profile_oversampling=recipe.profile_oversampling,
            seed=recipe.seed,
        )

    def validate(self) -> dict[str, float]:
        """Measure the inter-ocular errors in percent, bare, masked, and their mean."""
        bare, masked = (_error(self.network, *faces) for faces in self._validation)
        return {"val_nme": bare, "val_nme_masked": masked, "val_error": (bare + masked) / 2}

    def keep(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the network in float32."""
        # Statistics of the residual sums can exceed what float16 holds while it is trained.
        save_weights(self.network, path, {"stage": self.stage, **metadata}, dtype="float32")

    def finish(self, path: Path) -> None:
        """Store the kept network compactly."""
        store_compactly(path, self.recipe.network)


def add_hourglasses(smaller: keras.Model, larger: keras.Model) -> None:
    """Give a network of several hourglasses the weights of one that has fewer.

    The further hourglasses begin as copies of the last, and what was found before does not reach
    them yet: copies of the first repeat its answer, and training can only improve on it.
    Hourglasses that are trained one after the other cost a fraction of all at once.

    Args:
        smaller: A network of `unmask.landmarks.paper.build_fan`.
        larger: The same with more hourglasses; its weights are replaced.

    Example:
        >>> sizes = {"width": 16, "depth": 1, "size": 16}
        >>> one, two = build_fan(1, **sizes), build_fan(2, **sizes)
        >>> add_hourglasses(one, two)
        >>> image = np.ones((1, 16, 16, 3), np.float32)
        >>> (wanted,) = keras.tree.flatten(one(image))
        >>> [bool(np.allclose(answer, wanted, atol=1e-5)) for answer in two(image)]
        [True, True]
    """
    last = str(len(smaller.outputs) - 1)
    known = {layer.name: layer for layer in smaller.layers}
    for layer in larger.layers:
        name = layer.name if layer.name in known else re.sub(r"\d+", last, layer.name, count=1)
        values = [np.zeros_like(value) for value in layer.get_weights()]
        # What carries an answer on to the next hourglass has no source. Of the two further channels
        # that a later hourglass sees, the boundary's coordinates, nothing is made at first.
        for value, source in zip(
            values, known[name].get_weights() if name in known else (), strict=False
        ):
            value[tuple(map(slice, source.shape))] = source
        layer.set_weights(values)


def _stacks(path: Path) -> int:
    """Return how many hourglasses a kept file has."""
    arrays, _ = load_arrays(path)
    return sum(re.fullmatch(r"l\d+/kernel", name) is not None for name in arrays)


def store_compactly(path: Path, network: Hourglasses) -> None:
    """Rewrite a network's safetensors file in float16 without changing what the network computes.

    The convolution before the last batch normalisation has no scale of its own, and training lets
    it grow until the variance does not fit; dividing both by the same power of two is exact. The
    file stays as it is if float16 cannot hold another value.
    """
    model = network.build()
    metadata = load_weights(model, path)
    for i in range(len(model.outputs)):
        convolution, norm = model.get_layer(f"conv_last{i}"), model.get_layer(f"bn_end{i}")
        largest = float(keras.ops.max(norm.moving_variance))
        scale = 2.0 ** -max(0, math.ceil(math.log2(largest) / 2))
        for variable in (convolution.kernel, convolution.bias, norm.moving_mean):
            variable.assign(variable * scale)
        norm.moving_variance.assign(norm.moving_variance * scale**2)
    with contextlib.suppress(WeightsError):
        save_weights(model, path, metadata)


def _error(network: keras.Model, images: NDArray[np.uint8], points: NDArray[np.float32]) -> float:
    return 100 * float(nme(predict_landmarks(network, images).points, points).mean())

"""Backbone features, computed once for each image and kept in a file.

The backbone is frozen, so a training epoch on cached features costs seconds, and a search over
heads that took days takes minutes. Augmentation happens before the backbone, therefore each face
is cached several times, each time augmented differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from unmask.data.cache import ByName, cached_rows, digest
from unmask.gender.augment import Augmentation, vary
from unmask.gender.data import Views
from unmask.gender.lite import Scaling
from unmask.io import PathLike


@dataclass(frozen=True)
class Features(ByName):
    """Cached outputs of a feature network."""

    values: NDArray[np.float16]  # (N, C, features) float16, memory-mapped: C copies of each face
    labels: NDArray[np.float32]  # (N,) float32, 1 for male and 0 for female

    def flat(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return all copies as float32 (N * C, ...) and their labels (N * C, 1), in memory."""
        values = self.values.reshape(-1, *self.values.shape[2:]).astype(np.float32)
        return values, np.repeat(self.labels, self.values.shape[1])[:, None]


@dataclass(frozen=True)
class FeatureSampler:
    """Makes batches of features: every copy of every face once an epoch, in random order."""

    features: Features
    weights: NDArray[np.float64]  # (N,) weight of each face's loss
    batch_size: int  # features a batch; one may hold the end of an epoch and the start of the next
    seed: int = 0  # seed of the order

    def __call__(self, number: int) -> tuple[NDArray[np.float32], ...]:
        """Return features (B, features), labels (B, 1) and weights (B,)."""
        count, copies = self.features.values.shape[:2]
        places = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        epochs, within = np.divmod(places, count * copies)
        chosen = np.empty(self.batch_size, np.int64)
        for epoch in np.unique(epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(count * copies)
            chosen[epochs == epoch] = order[within[epochs == epoch]]
        faces, copy = np.divmod(chosen, copies)
        values = self.features.values[faces, copy].astype(np.float32)
        weights = self.weights[faces] / self.weights.mean()
        return values, self.features.labels[faces, None], weights.astype(np.float32)


@dataclass(frozen=True)
class Copies:
    """Which copies of a face are cached.

    Attributes:
        bare: Copies without a mask.
        masked: Copies with a drawn mask, each with another one as long as there are enough.
        augmentation: How every copy is varied.
        seed: Seed of the augmentation.
    """

    bare: int = 1
    masked: int = 1
    augmentation: Augmentation = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse to cache nothing."""
        if min(self.bare, self.masked) < 0 or self.bare + self.masked < 1:
            raise ValueError(
                "bare and masked must not be negative, and not both 0. "
                f"Received: bare={self.bare}, masked={self.masked}"
            )

    def image(self, views: Views, face: int, copy: int) -> NDArray[np.uint8]:
        """Return one copy of one face, (side, side, 3) uint8."""
        variant = 0 if copy < self.bare else 1 + (copy - self.bare) % views.masks
        rng = np.random.default_rng([self.seed, face, copy])
        return vary(views.pixels[face, variant], views.framing, rng, self.augmentation)


def cached_features(
    network: keras.Model,
    views: Views,
    copies: Copies,
    path: PathLike,
    *,
    scaling: Scaling = "paper",
    faces_at_once: int = 16,
) -> Features:
    """Open cached features, or compute them first; an interrupted computation goes on.

    Args:
        network: From (B, size, size, 3) to the features; the windows are resized to its size.
        views: The faces.
        copies: Which copies of each face.
        path: A `.npy` file, float16; a note of the same name, `.json`, tells what it was made of.
        scaling: What the network sees, as in `unmask.gender.lite.look_through`.
        faces_at_once: Faces whose copies go through the network together.

    Returns:
        The features, memory-mapped.

    Raises:
        DataError: The file holds other features or cannot be written.
        ValueError: Masked copies are wanted of faces without masks.
    """
    if copies.masked and not views.masks:
        raise ValueError(f"the views have no masks. Received: masked={copies.masked}")
    path = Path(path)
    count, each = len(views.labels), copies.bare + copies.masked

    def make(first: int) -> Iterator[NDArray[np.float16]]:
        extractor = _extractor(network, views.framing.side, scaling)
        console = Console(stderr=True)
        starts = range(first, count, faces_at_once)
        for start in track(starts, path.stem, console=console, disable=not console.is_terminal):
            faces = range(start, min(start + faces_at_once, count))
            images = [copies.image(views, face, copy) for face in faces for copy in range(each)]
            outputs: Any = extractor.predict_on_batch(np.stack(images).astype(np.float32) / 255.0)
            # Large activations must not become infinite.
            limited = np.clip(outputs, -65504, 65504).astype(np.float16)
            yield limited.reshape(len(faces), each, *limited.shape[1:])

    origin = {
        **asdict(copies),
        "scaling": scaling,
        "views": digest([np.ascontiguousarray(views.pixels[:: max(1, count // 16)]).tobytes()]),
        "network": digest(np.ascontiguousarray(v).tobytes() for v in network.get_weights()),
        "dtype_policy": network.dtype_policy.name,
    }
    shape = (count, each, *network.output_shape[1:])
    return Features(cached_rows(path, shape, np.float16, origin, make), views.labels)


def _extractor(network: keras.Model, side: int, scaling: Scaling) -> keras.Model:
    inputs = keras.Input((side, side, 3), name="window")
    x = inputs
    if side != network.input_shape[1]:
        x = keras.layers.Resizing(*network.input_shape[1:3], name="enlarge")(x)
    if scaling == "inception":
        x = keras.layers.Rescaling(2.0, -1.0, name="scaling")(x)
    return keras.Model(inputs, network(x, training=False), name="features")

"""Backbone features, computed once for each image and kept in a file.

The backbone is frozen, so a training epoch on cached features costs seconds, and a search over
heads that took days takes minutes. Augmentation happens before the backbone, therefore each face
is cached several times, each time augmented differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from unmask.data.cache import ByName, cached_rows, digest
from unmask.data.record import Order
from unmask.gender.augment import Augmentation, vary
from unmask.gender.data import Views
from unmask.gender.lite import Scaling, features_of
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
    """Makes batches of features, each of any copy of its face."""

    features: Features
    order: Order  # which face is shown when
    batch_size: int
    seed: int = 0  # seed of the copies

    def __call__(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return features (B, features) and labels (B, 1)."""
        faces = self.order.batch(number, self.batch_size)
        rng, copies = np.random.default_rng([self.seed, number]), self.features.values.shape[1]
        chosen = rng.integers(copies, size=self.batch_size)
        values = self.features.values[faces, chosen].astype(np.float32)
        return values, self.features.labels[faces, None]


def cached_features(
    network: keras.Model,
    views: Views,
    path: PathLike,
    *,
    bare: int = 1,
    masked: int = 1,
    augmentation: Augmentation = "none",
    seed: int = 0,
    scaling: Scaling = "paper",
    faces_at_once: int = 16,
) -> Features:
    """Open cached features, or compute them first; an interrupted computation goes on.

    Args:
        network: From (B, size, size, 3) to the features; the windows are resized to its size.
        views: The faces.
        path: A `.npy` file, float16; a note of the same name, `.json`, tells what it was made of.
        bare: Copies of each face without a mask.
        masked: Copies with a drawn mask, each with another one as long as there are enough.
        augmentation: How every copy is varied.
        seed: Seed of the augmentation.
        scaling: What the network sees, as in `unmask.gender.lite.look_through`.
        faces_at_once: Faces whose copies go through the network together.

    Returns:
        The features, memory-mapped.

    Raises:
        DataError: The file holds other features or cannot be written.
        ValueError: There are no copies, or masked ones are wanted of faces without masks.
    """
    if min(bare, masked) < 0 or bare + masked < 1 or (masked and not views.masks):
        raise ValueError(
            "bare and masked must not be negative, and not both 0, and masked copies need masks. "
            f"Received: bare={bare}, masked={masked}, masks={views.masks}"
        )
    path = Path(path)
    count, each = len(views.labels), bare + masked

    def image(face: int, copy: int) -> NDArray[np.uint8]:
        variant = 0 if copy < bare else 1 + (copy - bare) % views.masks
        rng = np.random.default_rng([seed, face, copy])
        return vary(views.pixels[face, variant], views.framing, rng, augmentation)

    def make(first: int) -> Iterator[NDArray[np.float16]]:
        side = views.framing.side
        inputs = keras.Input((side, side, 3), name="window")
        extractor = keras.Model(inputs, features_of(inputs, network, scaling), name="features")
        console = Console(stderr=True)
        starts = range(first, count, faces_at_once)
        for start in track(starts, path.stem, console=console, disable=not console.is_terminal):
            faces = range(start, min(start + faces_at_once, count))
            images = np.stack([image(face, copy) for face in faces for copy in range(each)])
            outputs: Any = extractor.predict_on_batch(images.astype(np.float32) / 255.0)
            # Large activations must not become infinite.
            limited = np.clip(outputs, -65504, 65504).astype(np.float16)
            yield limited.reshape(len(faces), each, *limited.shape[1:])

    origin = {
        "bare": bare,
        "masked": masked,
        "augmentation": augmentation,
        "seed": seed,
        "scaling": scaling,
        "views": digest([np.ascontiguousarray(views.pixels[:: max(1, count // 16)]).tobytes()]),
        "network": digest(np.ascontiguousarray(v).tobytes() for v in network.get_weights()),
        "dtype_policy": network.dtype_policy.name,
    }
    shape = (count, each, *network.output_shape[1:])
    return Features(cached_rows(path, shape, np.float16, origin, make), views.labels)

"""Backbone features, computed once for each image and kept in a file.

The backbone is frozen, so a training epoch on cached features costs seconds, and a search over
heads that took days takes minutes. Augmentation happens before the backbone, therefore each face
is cached several times, each time augmented differently.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from unmask.errors import DataError
from unmask.gender.cache import check_origin, digest
from unmask.gender.data import Views, augment
from unmask.gender.model import Scaling


@dataclass(frozen=True)
class Features:
    """Cached outputs of a feature network.

    Attributes:
        values: (N, C, ...) float16, memory-mapped: C copies of each face.
        labels: (N,) float32, 1 for male and 0 for female.
    """

    values: NDArray[np.float16]
    labels: NDArray[np.float32]

    def flat(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return all copies as float32 (N * C, ...) and their labels (N * C, 1), in memory."""
        values = self.values.reshape(-1, *self.values.shape[2:]).astype(np.float32)
        return values, np.repeat(self.labels, self.values.shape[1])[:, None]


@dataclass(frozen=True)
class Copies:
    """Which copies of a face are cached.

    Attributes:
        bare: Copies without a mask.
        masked: Copies with a drawn mask, each with another one as long as there are enough.
        augmented: Whether every copy is augmented; else it is the plain view.
        seed: Seed of the augmentation.
    """

    bare: int = 1
    masked: int = 1
    augmented: bool = False
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
        masks = views.pixels.shape[1] - 1
        variant = 0 if copy < self.bare or not masks else 1 + (copy - self.bare) % masks
        if not self.augmented:
            return views.window(face, variant)
        return augment(views.pixels[face, variant], np.random.default_rng([self.seed, face, copy]))


def cached_features(
    network: keras.Model,
    views: Views,
    copies: Copies,
    path: str | os.PathLike[str],
    *,
    scaling: Scaling = "paper",
    faces_at_once: int = 16,
) -> Features:
    """Open cached features, or compute them first; an interrupted computation goes on.

    Args:
        network: From (B, size, size, 3) to the features; the windows are enlarged to its size.
        views: The faces.
        copies: Which copies of each face.
        path: A `.npy` file, float16; a note of the same name, `.json`, tells what it was made of.
        scaling: What the network sees, as in `unmask.gender.model.build_classifier`.
        faces_at_once: Faces whose copies go through the network together.

    Returns:
        The features, memory-mapped.

    Raises:
        DataError: The file holds other features.
    """
    path = Path(path)
    shape = (len(views.labels), copies.bare + copies.masked, *network.output_shape[1:])
    weights = digest(np.ascontiguousarray(value).tobytes() for value in network.get_weights())
    check_origin(path, {**asdict(copies), "scaling": scaling, "network": weights})
    if not path.is_file():
        _compute(_extractor(network, views, scaling), views, copies, path, shape, faces_at_once)
    return Features(_open(path, shape, "r"), views.labels)


def _extractor(network: keras.Model, views: Views, scaling: Scaling) -> keras.Model:
    side = views.window(0, 0).shape[0]
    inputs = keras.Input((side, side, 3), name="window")
    x = keras.layers.Resizing(*network.input_shape[1:3], name="enlarge")(inputs)
    if scaling == "inception":
        x = keras.layers.Rescaling(2.0, -1.0, name="scaling")(x)
    return keras.Model(inputs, network(x, training=False), name="features")


def _compute(
    extractor: keras.Model,
    views: Views,
    copies: Copies,
    path: Path,
    shape: tuple[int, ...],
    step: int,
) -> None:
    # The unfinished file and the number of faces in it stay when the process is stopped.
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished, counter = path.with_suffix(".unfinished"), path.with_suffix(".count")
    done = 0
    if unfinished.is_file() and counter.is_file():
        done = int(counter.read_text(encoding="ascii"))
        values = _open(unfinished, shape, "r+")
    else:
        values = np.lib.format.open_memmap(unfinished, "w+", np.float16, shape)
    console = Console(stderr=True)
    starts = range(done, shape[0], step)
    for start in track(starts, path.stem, console=console, disable=not console.is_terminal):
        faces = range(start, min(start + step, shape[0]))
        images = [copies.image(views, face, copy) for face in faces for copy in range(shape[1])]
        outputs: Any = extractor.predict_on_batch(np.stack(images).astype(np.float32) / 255.0)
        # Large activations must not become infinite.
        limited = np.clip(outputs, -65504, 65504).astype(np.float16)
        values[faces.start : faces.stop] = limited.reshape(len(faces), *shape[1:])
        counter.write_text(str(faces.stop), encoding="ascii")
    del values  # writes what is not on the disk yet
    unfinished.replace(path)
    counter.unlink()


def _open(path: Path, shape: tuple[int, ...], mode: Any) -> NDArray[np.float16]:
    try:
        stored = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if stored.shape != shape or stored.dtype != np.float16:
        raise DataError(f"{path}: holds {stored.dtype} {stored.shape}, expected float16 {shape}")
    return stored

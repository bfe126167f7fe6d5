"""Training material for the coarse network: samples of 64 x 64 pixels, drawn once and kept.

Drawing a mask and solving for the linear guess takes ten times as long as a training step for
that sample. So the samples are drawn first, in files that an interrupted drawing goes on from, and
each is seen several times, changed on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.stream import Stream
from unmask.errors import DataError
from unmask.image import LUMA
from unmask.inpainting.coarse import GENDERS
from unmask.inpainting.data import InpaintingBatch, InpaintingSampler
from unmask.inpainting.framing import WINDOW_SIDE
from unmask.inpainting.prior import PRIOR_SIDE
from unmask.io import atomic_path

_CELLS = (PRIOR_SIDE, PRIOR_SIDE)
SAMPLE = np.dtype(
    [
        ("truth", np.uint8, (*_CELLS, 3)),
        ("guess", np.uint8, (*_CELLS, 3)),
        ("hole", np.uint8, (*_CELLS, 1)),
        ("valid", np.uint8, (*_CELLS, 1)),
        ("landmarks", np.uint8, (WINDOW_SIDE * WINDOW_SIDE // 8,)),
        ("gender", np.uint8),
    ]
)
"""A sample: pixels and shares of 0 to 255, the bits of a landmark map, and 0 for an unknown gender,
1 for male, 2 for female."""


class SampleFile:
    """Draws the files of samples that are missing; can be sent to worker processes.

    Args:
        sampler: Makes the samples, in the usual window.
        folder: Where the files are.
        count: Samples in all.
        per_file: Samples a file.
    """

    def __init__(
        self, sampler: InpaintingSampler, folder: Path, count: int, *, per_file: int = 250
    ) -> None:
        self._sampler, self._folder, self._count = sampler, folder, count
        self._per_file = per_file

    def __len__(self) -> int:
        """Return the number of files."""
        return -(-self._count // self._per_file)

    def __call__(self, number: int) -> Path | None:
        """Return file `number`, drawn if it was missing; None beyond the last."""
        if number >= len(self):
            return None
        path = self._folder / f"samples-{number:05d}.npy"
        if not path.is_file():
            first = number * self._per_file
            numbers = range(first, min(first + self._per_file, self._count))
            samples = np.stack([self._draw(n) for n in numbers])
            with atomic_path(path) as temporary, temporary.open("wb") as handle:
                np.save(handle, samples, allow_pickle=False)
        return path

    def _draw(self, number: int) -> NDArray[Any]:
        gender = self._sampler.record(number).gender
        code = 1 + GENDERS.index(gender) if gender in GENDERS else 0
        return _small(self._sampler.sample(number), code)


def draw_samples(files: SampleFile, workers: int) -> list[Path]:
    """Return all files of samples, in worker processes where there are any."""
    with Stream(files, workers=workers) as stream:
        return [path for path, _ in zip(stream, range(len(files)), strict=False)]


def read_samples(paths: Sequence[Path]) -> list[NDArray[Any]]:
    """Open files of samples; the system reads what is asked for, and shares it among processes.

    Raises:
        DataError: A file cannot be read.
    """
    files = []
    for path in paths:
        try:
            files.append(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: not a file of samples ({error}); delete it") from error
        if files[-1].dtype != SAMPLE:
            raise DataError(f"{path}: not a file of samples of this version; delete it")
    return files


class CoarseSampler:
    """Batch `number` of samples chosen at random, as the trained model takes them.

    Args:
        paths: Files of samples.
        batch_size: Samples a batch.
        seed: Seed of the choice.
        blind: Share of the samples that lose their landmarks, because `unmask.run` may be called
            without any.
        nameless: Share of the samples that lose their gender. Else it would tell from which
            collection a face comes, and photos would be completed like those of the collection
            with the labels.
        exposure: Spread of the exposure, in natural logarithms.
        cast: Spread of each channel's gain, in natural logarithms.
        saturation: Largest change of the saturation.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        batch_size: int,
        seed: int,
        blind: float,
        nameless: float,
        exposure: float,
        cast: float,
        saturation: float,
    ) -> None:
        self._paths, self._batch_size, self._seed = tuple(paths), batch_size, seed
        self._blind, self._nameless = blind, nameless
        self._colours = (exposure, cast, saturation)
        self._files: list[NDArray[Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open files."""
        return {**vars(self), "_files": None}

    def __call__(self, number: int) -> tuple[dict[str, NDArray[Any]], NDArray[np.uint8]]:
        """Return the inputs of `trained_model` and the weight of each pixel."""
        self._files = self._files or read_samples(self._paths)
        rng, count = np.random.default_rng([self._seed, number]), self._batch_size
        bounds = np.cumsum([len(file) for file in self._files])
        chosen = rng.integers(0, bounds[-1], count)
        places = np.searchsorted(bounds, chosen, side="right")
        rows = [self._files[p][c - bounds[p]] for p, c in zip(places, chosen, strict=True)]
        inputs, weight = as_inputs(np.stack(rows))
        inputs["landmark_map"][rng.random(count) < self._blind] = 0
        inputs["gender"][rng.random(count) < self._nameless] = 0
        inputs["mirrored"] = rng.random((count, 1)) < 0.5
        inputs["colours"] = random_colours(count, rng, *self._colours)
        return inputs, weight


def as_inputs(samples: NDArray[Any]) -> tuple[dict[str, NDArray[Any]], NDArray[np.uint8]]:
    """Return samples, unchanged, as inputs of `trained_model`, and the weight of each pixel."""
    count = len(samples)
    bits = np.unpackbits(samples["landmarks"], axis=1)
    inputs = {
        "guess": samples["guess"],
        "hole": samples["hole"],
        "landmark_map": bits.reshape(count, WINDOW_SIDE, WINDOW_SIDE, 1),
        "gender": samples["gender"][:, None] == 1 + np.arange(len(GENDERS)),
        "truth": samples["truth"],
        "mirrored": np.zeros((count, 1), bool),
        "colours": np.tile(np.eye(3, dtype=np.float32), (count, 1, 1)),
    }
    share = samples["hole"].astype(np.uint16) * samples["valid"]
    return inputs, ((share + 127) // 255).astype(np.uint8)


def random_colours(
    count: int, rng: np.random.Generator, exposure: float, cast: float, saturation: float
) -> NDArray[np.float32]:
    """Return (count, 3, 3) matrices that change the colours of RGB rows; see `CoarseSampler`.

    The linear guess follows such changes, so that guess and truth may be changed alike.
    """
    gains = np.exp(rng.normal(0, exposure, (count, 1)) + rng.normal(0, cast, (count, 3)))
    kept = rng.uniform(1 - saturation, 1 + saturation, (count, 1, 1))
    grey = np.repeat(np.array(LUMA)[:, None], 3, axis=1)
    mixed = kept * np.eye(3) + (1 - kept) * grey
    return (mixed * gains[:, None, :]).astype(np.float32)


def _small(sample: InpaintingBatch, gender: int) -> NDArray[Any]:
    def shrunk(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        floats = array.astype(np.float32)
        small = cv2.resize(floats, _CELLS, interpolation=cv2.INTER_AREA)
        return (small + 0.5).astype(np.uint8).reshape(*_CELLS, -1)

    result = np.zeros((), SAMPLE)
    result["truth"], result["guess"] = shrunk(sample["truth"]), shrunk(sample["coarse"])
    result["hole"], result["valid"] = shrunk(255 * sample["mask"]), shrunk(255 * sample["valid"])
    result["landmarks"] = np.packbits(sample["landmark_map"])
    result["gender"] = gender
    return result

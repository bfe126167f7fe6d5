"""Training material for the coarse network: samples of 64 x 64 pixels, drawn once and kept.

Drawing a mask and solving for the linear guess takes ten times as long as a training step for
that sample. So the samples are drawn first, in files that an interrupted drawing goes on from, and
each is seen several times, mirrored or not.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord
from unmask.errors import DataError
from unmask.inpainting.coarse import GENDERS, gender_code
from unmask.inpainting.data import InpaintingBatch, InpaintingData, Variety
from unmask.inpainting.framing import WINDOW_SIDE
from unmask.inpainting.prior import PRIOR_SIDE, LinearPrior
from unmask.io import atomic_path

Samples = Mapping[str, NDArray[np.uint8]]
"""Arrays of N samples by name: `truth`, `guess` (N, 64, 64, 3), `hole`, `valid` (N, 64, 64) in 0 to
255, `landmarks` (N, 4608) bits of a 192 x 192 map, `gender` (N,): 0 unknown, 1 male, 2 female."""

_PER_FILE = 500
# Some samples lose their landmarks, because `unmask.run` may be called without any.
_BLIND = 0.05
# And some their gender: else it would tell from which collection a face comes, and real photos
# would be completed like those of the collection with the labels.
_NAMELESS = 0.3
# Spread of the exposure and of each channel's gain, in natural logarithms, and of the saturation.
_EXPOSURE, _CAST, _SATURATION = 0.12, 0.05, 0.2
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def draw_samples(
    records: Sequence[FaceRecord],
    prior: LinearPrior,
    folder: Path,
    count: int,
    *,
    seed: int,
    variety: Variety,
) -> Iterator[Path]:
    """Draw samples into files, those that exist already left out.

    Args:
        records: The faces.
        prior: The linear model.
        folder: Where the files are.
        count: Samples in all, shared by the genders as the faces are.
        seed: Seed of the samples.
        variety: Holes other than masks, and predicted landmarks.

    Yields:
        The files, one by one.

    Raises:
        DataError: There is no face, or one has not 98 landmarks.
    """
    if not records:
        raise DataError("no faces to train on")
    folder.mkdir(parents=True, exist_ok=True)
    for code, gender in enumerate((None, *GENDERS)):
        group = [r for r in records if (r.gender if r.gender in GENDERS else None) == gender]
        wanted = round(count * len(group) / len(records))
        data: InpaintingData | None = None
        for start in range(0, wanted, _PER_FILE):
            path = folder / f"{gender or 'unknown'}-{seed}-{start:06d}.npz"
            if not path.is_file():
                data = data or InpaintingData(group, prior, seed=seed, variety=variety)
                numbers = range(start, min(start + _PER_FILE, wanted))
                _write(path, [_small(data.sample(n), code) for n in numbers])
            yield path


def read_samples(paths: Sequence[Path]) -> dict[str, NDArray[np.uint8]]:
    """Read files of `draw_samples` into memory, about 20 kB a sample.

    Raises:
        DataError: A file cannot be read.
    """
    parts = []
    for path in paths:
        try:
            with np.load(path, allow_pickle=False) as content:
                parts.append({name: content[name] for name in _NAMES})
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not a file of samples ({error}); delete it") from error
    return {name: np.concatenate([part[name] for part in parts]) for name in _NAMES}


class CoarseBatches(keras.utils.PyDataset):
    """Batches for `keras.Model.fit`.

    Args:
        samples: As `read_samples` returns them.
        batch_size: Samples a batch.
        steps: Batches an epoch; None for every sample once, in order and unmirrored.
        seed: Seed of the choice.
        first_epoch: Epochs that an earlier process has finished.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        *,
        steps: int | None = None,
        seed: int = 0,
        first_epoch: int = 0,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=8)
        self._samples, self._batch_size, self._steps = samples, batch_size, steps
        self._seed, self._epoch = seed, first_epoch

    def __len__(self) -> int:
        """Return the number of batches an epoch."""
        return self._steps or -(-len(self._samples["gender"]) // self._batch_size)

    def __getitem__(
        self, index: int
    ) -> tuple[tuple[NDArray[np.float32], ...], NDArray[np.float32]]:
        """Return the network's inputs, and truth and weight (B, 64, 64, 4) in one array."""
        count = len(self._samples["gender"])
        if self._steps is None:
            rows = np.arange(index * self._batch_size, min((index + 1) * self._batch_size, count))
            return _batch(self._samples, rows)
        rng = np.random.default_rng([self._seed, self._epoch, index])
        inputs, wanted = _batch(self._samples, rng.integers(0, count, self._batch_size))
        mirrored = rng.random(self._batch_size) < 0.5
        for array in (*inputs[:3], wanted):
            array[mirrored] = array[mirrored][:, :, ::-1]
        inputs[2][rng.random(self._batch_size) < _BLIND] = 0.0
        inputs[3][rng.random(self._batch_size) < _NAMELESS] = 0.0
        colours = _random_colours(self._batch_size, rng)
        for array in (inputs[0], wanted[..., :3]):
            array[:] = np.clip(np.einsum("nhwc,ncd->nhwd", array, colours), 0.0, 1.0)
        return inputs, wanted

    def on_epoch_end(self) -> None:
        """Go on with other samples."""
        self._epoch += 1


def _random_colours(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return (N, 3, 3) matrices that change exposure, colour cast and saturation of RGB rows.

    The linear guess follows such changes, so that guess and truth may be changed alike.
    """
    gains = np.exp(rng.normal(0, _EXPOSURE, (count, 1)) + rng.normal(0, _CAST, (count, 3)))
    saturation = rng.uniform(1 - _SATURATION, 1 + _SATURATION, (count, 1, 1))
    grey = np.repeat(_LUMA[:, None], 3, axis=1)
    mixed = saturation * np.eye(3) + (1 - saturation) * grey
    return (mixed * gains[:, None, :]).astype(np.float32)


def _batch(
    samples: Samples, rows: NDArray[np.integer]
) -> tuple[tuple[NDArray[np.float32], ...], NDArray[np.float32]]:
    def pixels(name: str) -> NDArray[np.float32]:
        return samples[name][rows].astype(np.float32) / np.float32(255)

    hole = pixels("hole")[..., None]
    bits = np.unpackbits(samples["landmarks"][rows], axis=1)
    marks = bits.reshape(-1, WINDOW_SIDE, WINDOW_SIDE, 1).astype(np.float32)
    codes = np.stack([gender_code(gender) for gender in (None, *GENDERS)])
    inputs = pixels("guess"), hole, marks, codes[samples["gender"][rows]]
    return inputs, np.concatenate([pixels("truth"), hole * pixels("valid")[..., None]], axis=-1)


_NAMES = ("truth", "guess", "hole", "valid", "landmarks", "gender")


def _small(sample: InpaintingBatch, gender: int) -> dict[str, NDArray[np.uint8]]:
    def shrunk(array: NDArray[np.float32]) -> NDArray[np.uint8]:
        size = (PRIOR_SIDE, PRIOR_SIDE)
        small = cv2.resize(array, size, interpolation=cv2.INTER_AREA)
        return (small * 255.0 + 0.5).astype(np.uint8)

    return {
        "truth": shrunk(sample.truth),
        "guess": shrunk(sample.coarse),
        "hole": shrunk(sample.mask),
        "valid": shrunk(sample.valid),
        "landmarks": np.packbits(sample.landmark_map[..., 0] > 0),
        "gender": np.array(gender, np.uint8),
    }


def _write(path: Path, samples: Sequence[Samples]) -> None:
    arrays = {name: np.stack([sample[name] for sample in samples]) for name in _NAMES}
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)
        os.fsync(handle.fileno())

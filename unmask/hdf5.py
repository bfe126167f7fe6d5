"""Weights from Keras HDF5 files, without running or following anything that the file says.

Only the tensors are read. The architecture in the file (`model_config`, which can name any Python
class) is ignored, links that lead elsewhere are refused, and a tensor's shape is known before
memory is reserved for it.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError

_MAX_NAMES = 100_000
_MAX_TENSOR_BYTES = 1 << 30


@dataclass(frozen=True)
class KerasWeights:
    """The tensors of an open file.

    Attributes:
        path: The file.
        shapes: Shape of each tensor by layer and by weight name (as in the file, e.g.
            `"dense/kernel:0"`), both in the file's order; layers without weights are there too.
    """

    path: Path
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]]
    _datasets: Mapping[tuple[str, str], h5py.Dataset]

    def read(self, layer: str, weight: str) -> NDArray[np.float32]:
        """Return one tensor.

        Raises:
            WeightsError: Its data cannot be read or is not finite.
        """
        try:
            values: NDArray[np.float32] = self._datasets[layer, weight][()].astype(np.float32)
        except OSError as error:
            raise WeightsError(
                f"{self.path}: {layer}: {weight}: cannot be read ({error})"
            ) from None
        if not np.isfinite(values).all():
            raise WeightsError(f"{self.path}: {layer}: {weight}: has values that are not finite")
        return values


@contextmanager
def open_keras_weights(path: str | os.PathLike[str]) -> Iterator[KerasWeights]:
    """Open a file written by Keras 1 or 2: `model.save("x.hdf5")` or `save_weights("x.h5")`.

    Args:
        path: The file.

    Yields:
        Its tensors, to be read inside the `with` block.

    Raises:
        WeightsError: The file is missing, is not HDF5, has another layout, or a tensor is not
            stored as plain numbers in the file itself.

    Example:
        >>> with open_keras_weights("model.hdf5") as weights:  # doctest: +SKIP
        ...     kernel = weights.read("dense", "dense/kernel:0")
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise WeightsError(f"{path}: not a readable HDF5 file ({error})") from error
    with file:
        root = _member(path, file, "model_weights") if "model_weights" in file else file
        if not isinstance(root, h5py.Group):
            raise WeightsError(f"{path}: model_weights: not a group")
        shapes: dict[str, dict[str, tuple[int, ...]]] = {}
        datasets: dict[tuple[str, str], h5py.Dataset] = {}
        for layer in _names(path, root, "layer_names"):
            group = _member(path, root, layer)
            if not isinstance(group, h5py.Group):
                raise WeightsError(f"{path}: {layer}: not a group")
            shapes[layer] = {}
            for weight in _names(path, group, "weight_names"):
                dataset = _tensor(path, group, weight)
                datasets[layer, weight] = dataset
                shapes[layer][weight] = tuple(int(side) for side in dataset.shape)
        yield KerasWeights(path, shapes, datasets)


def _names(path: Path, group: h5py.Group, attribute: str) -> list[str]:
    """Read a list of names: bytes or str, whole or cut into `attribute0`, `attribute1`, ..."""
    parts = [attribute] if attribute in group.attrs else []
    if not parts:
        parts = list(
            itertools.takewhile(
                lambda part: part in group.attrs, (f"{attribute}{i}" for i in itertools.count())
            )
        )
    if not parts:
        raise WeightsError(f"{path}: {group.name} has no attribute {attribute}")
    return [name for part in parts for name in _decoded(path, group, part)]


def _decoded(path: Path, group: h5py.Group, attribute: str) -> list[str]:
    shape = group.attrs.get_id(attribute).shape
    if shape is None:  # how Keras writes an empty list in some versions
        return []
    if math.prod(shape) > _MAX_NAMES:
        raise WeightsError(f"{path}: {group.name}: {attribute} has more than {_MAX_NAMES} names")
    raw = np.ravel(group.attrs[attribute]).tolist()
    if not all(isinstance(name, (bytes, str)) for name in raw):
        raise WeightsError(
            f"{path}: {group.name}: {attribute} must be names. Received: {raw[:3]!r}"
        )
    # Strange bytes give strange names, which no tensor has.
    return [n.decode("utf-8", "replace") if isinstance(n, bytes) else n for n in raw]


def _member(path: Path, group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Walk down to a member without following soft or external links."""
    member: Any = group
    for part in filter(None, name.split("/")):
        link = member.get(part, getlink=True) if isinstance(member, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            reason = "does not exist" if link is None else "is a link to somewhere else"
            raise WeightsError(f"{path}: {group.name}: {name} {reason}")
        member = member[part]
    return member


def _tensor(path: Path, group: h5py.Group, name: str) -> h5py.Dataset:
    """Return a dataset whose numbers lie in this file and fit into memory."""
    dataset = _member(path, group, name)
    where = f"{path}: {group.name}: {name}"
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise WeightsError(f"{where}: not a tensor")
    if dataset.external or dataset.is_virtual:
        raise WeightsError(f"{where}: its data lies in another file")
    if dataset.dtype.kind not in "fiu":
        raise WeightsError(f"{where}: must hold numbers. Received: dtype={dataset.dtype}")
    for shape in (dataset.shape, dataset.chunks or ()):
        if math.prod(shape) * dataset.dtype.itemsize > _MAX_TENSOR_BYTES:
            raise WeightsError(f"{where}: larger than {_MAX_TENSOR_BYTES >> 20} MiB: {shape}")
    return dataset

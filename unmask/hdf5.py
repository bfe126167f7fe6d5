"""Weights from Keras HDF5 files, without running or following anything that the file says.

Only the tensors are read. The architecture in the file (`model_config`, which can name any Python
class) is ignored, links that lead elsewhere are refused, and what the tensors would fill is
compared with the file's size before memory is reserved. Damage can send the HDF5 library into an
endless loop or a crash, so a process of its own reads each file first, with a time limit.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.io import PathLike

if TYPE_CHECKING:
    import keras

_MAX_NAMES = 100_000
_MAX_NAME_BYTES = 1 << 24

# Trained weights hardly shrink when they are packed; what claims to unpack to more is a trap.
_MAX_EXPANSION = 20
_FREE_BYTES = 64 << 20

# The time limit of the first reading: the start of a process, and a slow disk.
_SECONDS = 20.0
_BYTES_PER_SECOND = 5e6
_REHEARSAL = (
    "import sys; sys.path[:] = sys.argv[2:]; from unmask.hdf5 import _rehearse as r; r(sys.argv[1])"
)


@dataclass(frozen=True)
class KerasWeights:
    """The tensors of an open file.

    Attributes:
        path: The file.
        shapes: Shape of each tensor by layer and by weight name (as in the file, e.g.
            `"dense/kernel:0"`), both in the file's order; layers without weights are there too.
        numbered: Whether it is Keras 3's layout, which counts the layers of each class, and the
            weights of each layer (`"conv2d_1"`, `"vars/0"`), instead of naming them.
    """

    path: Path
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]]
    numbered: bool
    _datasets: Mapping[tuple[str, str], h5py.Dataset]

    def read(self, layer: str, weight: str) -> NDArray[np.float32]:
        """Return one tensor.

        Raises:
            WeightsError: Its data cannot be read or is not finite.
        """
        where = f"{self.path}: {layer}: {weight}"
        with _refusing(where), np.errstate(over="ignore"):
            values: NDArray[np.float32] = self._datasets[layer, weight][()].astype(np.float32)
        if not np.isfinite(values).all():
            raise WeightsError(f"{where}: has values that are not finite")
        return values


@contextmanager
def open_keras_weights(path: PathLike) -> Iterator[KerasWeights]:
    """Open a weight file of Keras.

    Keras 1 and 2 write `model.save("x.hdf5")` and `save_weights("x.h5")`, Keras 3
    `save_weights("x.weights.h5")`.

    Args:
        path: The file.

    Yields:
        Its tensors, to be read inside the `with` block.

    Raises:
        WeightsError: The file is missing, is damaged or not HDF5, has another layout, or a tensor
            is not stored as plain numbers in the file itself.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    _check_elsewhere(path)
    with _opened(path) as weights:
        yield weights


def assign_keras_weights(model: keras.Model, path: PathLike) -> None:
    """Assign a weight file to the same network, as `model.load_weights` does.

    The network is built, and no network of networks.

    Raises:
        WeightsError: The file cannot be read, belongs to another network, or has values that are
            not finite. Nothing has been assigned then.
    """
    layers = {name: layer for name, layer in _numbered(model.layers) if layer.weights}
    with open_keras_weights(path) as file:
        held = {name: list(weights) for name, weights in file.shapes.items() if weights}
        # The older layout has its layers in the network's order, whatever their names are.
        found = list(layers if file.numbered and held.keys() == layers.keys() else held)
        wanted = [[tuple(weight.shape) for weight in layer.weights] for layer in layers.values()]
        stored = [[file.shapes[name][weight] for weight in held[name]] for name in found]
        if wanted != stored:
            pairs = enumerate(zip(stored, wanted, strict=False))
            at = next((i for i, (theirs, ours) in pairs if theirs != ours), -1)
            raise WeightsError(
                f"{path}: belongs to another network than {model.name}: {len(found)} layers with "
                f"weights, {len(layers)} here; {found[at] if found else 'none'} does not fit"
            )
        values = [[file.read(name, weight) for weight in held[name]] for name in found]
    for layer, arrays in zip(layers.values(), values, strict=True):
        layer.set_weights(arrays)


def _numbered(layers: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Name layers as Keras 3's files do: conv2d, conv2d_1, ... in the network's order."""
    counts: Counter[str] = Counter()
    for layer in layers:
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(layer).__name__).lower()
        yield (f"{kind}_{counts[kind]}" if counts[kind] else kind), layer
        counts[kind] += 1


@contextmanager
def _opened(path: Path) -> Iterator[KerasWeights]:
    with _refusing(f"{path}: not a readable HDF5 file"):
        file = h5py.File(path, "r")
    try:
        with _refusing(f"{path}: damaged"):
            weights = _index(path, file)
        yield weights
    finally:
        with contextlib.suppress(Exception):  # a damaged file may not even close
            file.close()


@contextmanager
def _refusing(where: str) -> Iterator[None]:
    """Turn whatever h5py makes of broken bytes (it raises nearly everything) into one error."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(f"{where} ({type(error).__name__}: {_printable(str(error))})") from error


def _check_elsewhere(path: Path) -> None:
    """Have another process read the file first; one that hangs or crashes it is refused."""
    limit = _SECONDS + path.stat().st_size / _BYTES_PER_SECOND
    command = [sys.executable, "-I", "-c", _REHEARSAL, str(path.absolute()), *sys.path]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"{path}: damaged: not read after {limit:.0f} s") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise WeightsError(
            f"{path}: damaged: reading it ends a process with status {done.returncode} {said}"
        )


def _rehearse(path: str) -> None:
    # What is wrong in a civil way is told by the process that asked.
    with contextlib.suppress(WeightsError), _opened(Path(path)) as weights:
        for layer, held in weights.shapes.items():
            for weight in held:
                with contextlib.suppress(WeightsError):
                    weights.read(layer, weight)


def _index(path: Path, file: h5py.File) -> KerasWeights:
    root = _group(path, file, "model_weights") if "model_weights" in file else file
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    datasets: dict[tuple[str, str], h5py.Dataset] = {}
    room = _FREE_BYTES + _MAX_EXPANSION * path.stat().st_size
    numbered = "layers" in root and _names(path, root, "layer_names") is None
    for layer, group, weights in (_layers_by_number if numbered else _layers_by_name)(path, root):
        if layer in shapes:
            raise WeightsError(f"{path}: layer_names has {layer} twice")
        shapes[layer] = {}
        for weight in weights:
            dataset = _tensor(path, group, weight)
            room -= _claimed(dataset)
            if room < 0 or len(datasets) >= _MAX_NAMES:
                raise WeightsError(
                    f"{path}: {layer}: {weight}: the tensors so far are larger than a file of "
                    f"{path.stat().st_size} bytes can hold. Received: shape={dataset.shape}"
                )
            datasets[layer, weight] = dataset
            shapes[layer][weight] = tuple(int(side) for side in dataset.shape)
    return KerasWeights(path, shapes, numbered, datasets)


def _layers_by_name(path: Path, root: h5py.Group) -> Iterator[tuple[str, h5py.Group, list[str]]]:
    """Yield each layer of a file of Keras 1 or 2: its name, its group and its weights' names."""
    layers = _names(path, root, "layer_names")
    if layers is None:
        raise WeightsError(f"{path}: neither layer_names nor layers: not a weight file of Keras")
    for layer in layers:
        group = _group(path, root, layer)
        yield layer, group, _names(path, group, "weight_names") or []


def _layers_by_number(path: Path, root: h5py.Group) -> Iterator[tuple[str, h5py.Group, list[str]]]:
    """Yield the same of a file of Keras 3: layers/CLASS_NUMBER/vars/NUMBER."""
    layers = _group(path, root, "layers")
    for layer in layers:
        group = _group(path, layers, layer)
        stored = _group(path, group, "vars") if "vars" in group else ()
        yield layer, group, [f"vars/{n}" for n in sorted(stored, key=lambda n: (len(n), n))]


def _group(path: Path, parent: h5py.Group, name: str) -> h5py.Group:
    group = _member(path, parent, name)
    if not isinstance(group, h5py.Group):
        raise WeightsError(f"{path}: {name}: not a group")
    return group


def _names(path: Path, group: h5py.Group, attribute: str) -> list[str] | None:
    """Read a list of names: bytes or str, whole or cut into `attribute0`, `attribute1`, ..."""
    parts = [attribute] if attribute in group.attrs else []
    if not parts:
        parts = list(
            itertools.takewhile(
                lambda part: part in group.attrs, (f"{attribute}{i}" for i in itertools.count())
            )
        )
    if not parts:
        return None
    return [name for part in parts for name in _decoded(path, group, part)]


def _decoded(path: Path, group: h5py.Group, attribute: str) -> list[str]:
    stored = group.attrs.get_id(attribute)
    if stored.shape is None:  # how Keras writes an empty list in some versions
        return []
    count = math.prod(stored.shape)
    if count > _MAX_NAMES or count * stored.dtype.itemsize > _MAX_NAME_BYTES:
        raise WeightsError(f"{path}: {group.name}: {attribute} has more than {_MAX_NAMES} names")
    raw = np.ravel(group.attrs[attribute]).tolist()
    if not all(isinstance(name, (bytes, str)) for name in raw):
        raise WeightsError(
            f"{path}: {group.name}: {attribute} must be names. Received: {raw[:3]!r}"
        )
    return [_printable(name) for name in raw]


def _printable(name: bytes | str) -> str:
    # Strange bytes give strange names, which no tensor has; h5py's own stand-ins cannot be printed.
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "replace")


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
    """Return a dataset of plain numbers that lie in this file."""
    dataset = _member(path, group, name)
    where = f"{path}: {group.name}: {name}"
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise WeightsError(f"{where}: not a tensor")
    if dataset.external or dataset.is_virtual:
        raise WeightsError(f"{where}: its data lies in another file")
    if dataset.dtype.kind not in "fiu":
        raise WeightsError(f"{where}: must hold numbers. Received: dtype={dataset.dtype}")
    return dataset


def _claimed(dataset: h5py.Dataset) -> int:
    """Return the bytes that a tensor fills when it is read, as it is stored or as float32."""
    elements = max(math.prod(dataset.shape), math.prod(dataset.chunks or ()))
    return int(elements * max(dataset.dtype.itemsize, 4))

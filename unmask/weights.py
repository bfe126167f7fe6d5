"""Weight files: safetensors that hold numbers and nothing that runs.

A weight file is one safetensors archive with a tensor for each variable of a network, named by
the variable's path, stored as float16, or as 8-bit integers with a scale for each output channel
(`NAME` and `NAME.scale`), which reading undoes. The manifest `weights/manifest.toml` says which
preset uses which files, with their SHA-256 sums, so that a wrong file is an error before anything
is built.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError, WeightsError
from unmask.inference import is_onnx
from unmask.io import PathLike, write_bytes_atomic
from unmask.paths import path_inside

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

if TYPE_CHECKING:
    import keras

_SCALE = ".scale"
# Vectors (biases, means, variances) stay as they are: they are few, and need their digits.
_LEAST_DIMENSIONS, _LARGEST_CODE = 2, 127


@dataclass(frozen=True)
class LoadReport:
    """What became of a published weight file.

    Attributes:
        loaded: Names in the file that found their variable.
        missing: Variables of the network that the file does not have.
        unused: Names in the file that no variable asked for.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """Summarise in one line."""
        return f"{len(self.loaded)} loaded, {len(self.missing)} missing, {len(self.unused)} unused"


@dataclass(frozen=True)
class WeightFile:
    """One entry of the manifest.

    Attributes:
        preset: The preset that uses it.
        stage: The stage or part, e.g. "landmarks" or "inpainting_male".
        path: Where it should be on this machine.
        sha256: Its expected hexadecimal SHA-256 sum.
        size: Its expected size in bytes.
        licence: Terms of use that come with its training data.
        card: The model card beside it.
        recipe: The recipe that made it, "" where none is named.
    """

    preset: str
    stage: str
    path: Path
    sha256: str
    size: int
    licence: str
    card: Path
    recipe: str = ""

    @property
    def is_onnx(self) -> bool:
        """Whether it is for ONNX Runtime."""
        return is_onnx(self.path)


def save_arrays(
    path: PathLike,
    arrays: Mapping[str, NDArray[np.generic]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays to a safetensors file, atomically and with their own dtypes.

    Raises:
        OSError: The file cannot be written; the error names it.
    """
    from safetensors.numpy import save

    # np.ascontiguousarray would turn scalars into arrays of length 1.
    contiguous = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    # Its own `save_file` puts a file that only its owner may read in the place of the locked one.
    write_bytes_atomic(path, save(contiguous, metadata=dict(metadata or {})))


def load_arrays(
    path: PathLike,
) -> tuple[dict[str, NDArray[np.generic]], dict[str, str]]:
    """Read all arrays and the metadata of a safetensors file; 8-bit ones become float32.

    Raises:
        WeightsError: The file is missing or is not a safetensors archive.
    """
    with _opened(path) as archive:
        names = sorted(archive.keys())
        arrays = {name: _tensor(archive, name, names) for name in _without_scales(names)}
        return arrays, dict(archive.metadata() or {})


def load_metadata(path: PathLike) -> dict[str, str]:
    """Read the metadata of a safetensors file, and none of its arrays.

    Raises:
        WeightsError: The file is missing or is not a safetensors archive.
    """
    with _opened(path) as archive:
        return dict(archive.metadata() or {})


@contextlib.contextmanager
def _opened(path: PathLike) -> Iterator[Any]:
    """Open a safetensors file."""
    from safetensors import SafetensorError, safe_open

    _require_file(Path(path))
    try:
        with safe_open(str(path), framework="numpy") as archive:
            yield archive
    except WeightsError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        # The last two for types that NumPy has not, such as bfloat16.
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error


def code(name: str, value: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
    """Return an array as it is stored in 8 bits; one with a single axis stays as it is.

    There are integers under its name, and under the name with ".scale" a scale for each output
    channel.

    Example:
        >>> sorted(code("kernel", np.eye(2, dtype=np.float32)))
        ['kernel', 'kernel.scale']
    """
    if value.ndim < _LEAST_DIMENSIONS:
        return {name: value}
    axis = value.ndim - (1 if value.shape[-1] > 1 else 2)  # depthwise kernels end in 1
    others = tuple(i for i in range(value.ndim) if i != axis)
    scale = np.abs(value).max(axis=others, keepdims=True) / np.float32(_LARGEST_CODE)
    codes = np.rint(value / np.where(scale > 0, scale, np.float32(1)))
    if not np.isfinite(codes).all():
        return {name: value}  # refused by the caller
    return {name: codes.astype(np.int8), name + _SCALE: scale}


def save_weights(
    model: keras.Model,
    path: PathLike,
    metadata: Mapping[str, str] | None = None,
    *,
    dtype: str = "float16",
) -> None:
    """Write a network's variables to a safetensors file.

    Args:
        model: A built network whose layers have explicit names.
        path: The file to write, replaced atomically.
        metadata: Strings to keep beside the tensors.
        dtype: Stored type; "float16" halves the file and costs about 1e-3 relative accuracy, "int8"
            halves it again: each output channel of a kernel has 255 steps.

    Raises:
        WeightsError: A value does not fit the stored type or two variables share a path.

    Example:
        >>> import keras
        >>> inputs = keras.Input((3,))
        >>> model = keras.Model(inputs, keras.layers.Dense(2, name="out")(inputs))
        >>> save_weights(model, "out/tiny.safetensors", {"stage": "example"})
        >>> load_weights(model, "out/tiny.safetensors")
        {'stage': 'example'}
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for variable in _stored_variables(model):
        value = np.asarray(variable.numpy(), dtype=np.float32)
        if variable.path in arrays:
            raise WeightsError(f"{path}: two variables are named {variable.path}")
        stored: dict[str, NDArray[np.generic]] = {variable.path: value}
        if dtype == "int8":
            stored = code(variable.path, value)
        else:
            with np.errstate(over="ignore"):  # reported below, with the variable's name
                stored[variable.path] = value.astype(dtype)
        if not all(np.isfinite(part).all() for part in stored.values()):
            raise WeightsError(f"{path}: {variable.path} has values that {dtype} cannot hold")
        arrays |= stored
    save_arrays(path, arrays, metadata)


def load_weights(model: keras.Model, path: PathLike) -> dict[str, str]:
    """Assign a safetensors file to a network, after checking all names and shapes.

    Args:
        model: The network, built.
        path: A file written by `save_weights` from a network of the same structure.

    Returns:
        The file's metadata.

    Raises:
        WeightsError: The file is missing or unreadable, its names or shapes are not the network's,
            or it has values that are not finite. Nothing has been assigned then.
    """
    variables = {variable.path: variable for variable in _stored_variables(model)}
    with _opened(path) as archive:
        names = sorted(archive.keys())
        _check_names(path, set(variables), set(_without_scales(names)))
        for name, variable in variables.items():
            shape = tuple(archive.get_slice(name).get_shape())
            if shape != tuple(variable.shape):
                raise WeightsError(
                    f"{path}: tensor {name} has shape {shape}, "
                    f"the network needs {tuple(variable.shape)}"
                )
        values = {name: _tensor(archive, name, names) for name in variables}
        metadata = dict(archive.metadata() or {})
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise WeightsError(f"{path}: tensor {name} has values that are not finite")
    for name, variable in variables.items():
        variable.assign(values[name].astype(np.float32))
    return metadata


def file_sha256(path: PathLike) -> str:
    """Return the hexadecimal SHA-256 sum of a file."""
    with Path(path).open("rb") as handle:
        digest = hashlib.sha256()
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def default_weights_dir() -> Path:
    """Return the folder with `manifest.toml`: `UNMASK_WEIGHTS`, the package's or the checkout's."""
    if chosen := os.environ.get("UNMASK_WEIGHTS"):
        return Path(chosen)
    inside = Path(__file__).parent / "_weights"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "weights"


def read_manifest(weights_dir: PathLike | None = None) -> list[WeightFile]:
    """Read the `manifest.toml` of a folder, the shipped one when None, in its order.

    Raises:
        WeightsError: The manifest is missing, not TOML, or an entry lacks a field or leads out
            of the folder.
    """
    folder = Path(weights_dir) if weights_dir is not None else default_weights_dir()
    path = folder / "manifest.toml"
    _require_file(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WeightsError(f"{path}: not a TOML file ({error})") from error
    rows = content.get("file", [])
    if not isinstance(rows, list):
        raise WeightsError(f"{path}: file: must be an array of tables ([[file]])")
    return [_entry(folder, path, i, row) for i, row in enumerate(rows)]


def verify(entry: WeightFile) -> None:
    """Check that a weight file is present and is the one that the manifest means.

    Raises:
        WeightsError: The file is missing, or its size or SHA-256 sum differs.
    """
    _require_file(entry.path)
    size = entry.path.stat().st_size
    if size != entry.size:
        raise WeightsError(f"{entry.path}: {size} bytes, the manifest says {entry.size}")
    actual = file_sha256(entry.path)
    if actual != entry.sha256:
        raise WeightsError(f"{entry.path}: SHA-256 {actual}, the manifest says {entry.sha256}")


def find(
    preset: str,
    stage: str,
    weights_dir: PathLike | None = None,
    *,
    onnx: bool = False,
) -> WeightFile:
    """Return the verified manifest entry of one stage of a preset.

    Args:
        preset: Name of the preset.
        stage: Its stage.
        weights_dir: As for `read_manifest`.
        onnx: Whether the network for ONNX Runtime is meant.

    Raises:
        WeightsError: The preset has no such file, or the file is missing or altered.
    """
    entries = read_manifest(weights_dir)
    for entry in entries:
        if (entry.preset, entry.stage) == (preset, stage) and entry.is_onnx == onnx:
            verify(entry)
            return entry
    known = ", ".join(sorted({f"{e.preset}/{e.stage}" for e in entries})) or "none"
    raise WeightsError(
        f"no weights for {preset}/{stage} in the manifest (it has: {known}). Weights that do not"
        " ship with the package go, with a manifest.toml of their own, into a folder that is given"
        " as weights_dir"
    )


def _tensor(archive: Any, name: str, names: list[str]) -> NDArray[np.generic]:
    value: NDArray[np.generic] = archive.get_tensor(name)
    if name + _SCALE not in names:
        return value
    scale = archive.get_tensor(name + _SCALE)
    fits = scale.ndim == value.ndim and all(
        n in (1, m) for n, m in zip(scale.shape, value.shape, strict=True)
    )
    if value.dtype != np.int8 or scale.dtype != np.float32 or not fits:
        raise ValueError(
            f"{name}: not 8-bit integers with a scale. "
            f"Received: {value.dtype}{value.shape}, {scale.dtype}{scale.shape}"
        )
    product: NDArray[np.generic] = value * scale
    return product


def _without_scales(names: list[str]) -> list[str]:
    return [n for n in names if not (n.endswith(_SCALE) and n.removesuffix(_SCALE) in names)]


def _stored_variables(model: keras.Model) -> list[keras.Variable]:
    # Dropout's seed state is a variable too, but it belongs to the run and not to the network.
    return [v for v in model.weights if not v.path.endswith("seed_generator_state")]


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")


def _check_names(path: PathLike, wanted: set[str], present: set[str]) -> None:
    missing, unused = sorted(wanted - present), sorted(present - wanted)
    if missing or unused:
        raise WeightsError(
            f"{path}: written for another network; missing {missing[:3]}"
            f" ({len(missing)} in all), not needed {unused[:3]} ({len(unused)} in all)"
        )


def _entry(folder: Path, manifest: Path, index: int, row: object) -> WeightFile:
    fields = {
        "preset": str, "stage": str, "path": str, "sha256": str,
        "size": int, "licence": str, "card": str,
    }  # fmt: skip
    if not isinstance(row, dict):
        raise WeightsError(f"{manifest}: file[{index}]: must be a table")
    for name, kind in fields.items():
        if not isinstance(row.get(name), kind):
            raise WeightsError(
                f"{manifest}: file[{index}].{name}: must be a {kind.__name__}. "
                f"Received: {row.get(name)!r}"
            )
    where = f"{manifest}: file[{index}]"
    try:
        paths = {n: path_inside(folder, row[n], f"{where}.{n}") for n in ("path", "card")}
    except DataError as error:
        raise WeightsError(str(error)) from error
    recipe = str(row.get("recipe", ""))
    return WeightFile(**{name: row[name] for name in fields} | paths | {"recipe": recipe})

"""Published PyTorch checkpoints: reading them and assigning their tensors to a network of ours.

A stage that can load a published network says which published tensor each variable is; everything
else is the same for all of them and is here.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError, require
from unmask.io import PathLike
from unmask.weights import LoadReport

if TYPE_CHECKING:
    import keras

Tensors: TypeAlias = Mapping[str, NDArray[np.generic]]
"""Arrays by published name, in PyTorch's layout."""
Loaded: TypeAlias = "tuple[keras.Model, LoadReport]"

# Leaf of a variable's path -> of the tensor's name; the first one that the file has. Spectral
# normalisation keeps the kernel that is trained under another name.
_LEAVES = {
    "kernel": ("weight_orig", "weight_bar", "weight"),
    "bias": ("bias",),
    "gamma": ("gamma", "weight"),
    "beta": ("bias",),
    "moving_mean": ("running_mean",),
    "moving_variance": ("running_var",),
    "alpha": ("weight", "alpha"),
    "left": ("weight_u",),
    "right": ("weight_v",),
}
_MAX_BLOCKS = 64
# A tensor may have a second name, but a small file cannot stand for many numbers.
_MAX_SHARING = 4
_FREE_BYTES = 1 << 20


def read_state_dict(
    path: PathLike, wrappers: Collection[str] = ("state_dict",)
) -> dict[str, NDArray[np.generic]]:
    """Read the tensors of a `.pth` or `.pt` file. Nothing in the file is executed.

    Args:
        path: A state dict as `torch.save` writes it, bare or inside a dictionary.
        wrappers: Keys under which the state dict may be.

    Returns:
        Arrays by published name, without the `module.` of a training on several GPUs, in PyTorch's
        layout; what is no tensor is left out.

    Raises:
        MissingPackageError: PyTorch is not installed.
        WeightsError: The file is missing, unreadable or holds no state dict; its tensors claim more
            numbers than it has.
    """
    require("reading .pth files", "'unmask[convert]'", "torch")
    import torch

    content = _load(path)
    for key in wrappers:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds no state dict but {type(content).__name__}")
    held = {str(name): value for name, value in content.items() if torch.is_tensor(value)}
    room = _FREE_BYTES + _MAX_SHARING * Path(path).stat().st_size
    for name, value in held.items():
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise WeightsError(
                f"{path}: {name}: must be plain numbers. "
                f"Received: {value.dtype}, {value.layout}, {value.device}"
            )
        room -= value.numel() * value.element_size()
        if room < 0:
            raise WeightsError(
                f"{path}: {name}: the tensors so far are larger than the file. "
                f"Received: shape={tuple(value.shape)}, stride={value.stride()}"
            )
    return without_wrapper({name: _array(path, name, value) for name, value in held.items()})


def without_wrapper(tensors: Tensors) -> dict[str, NDArray[np.generic]]:
    """Drop the `module.` that training on several GPUs puts before all names."""
    prefix = "module." if all(name.startswith("module.") for name in tensors) else ""
    return {name.removeprefix(prefix): value for name, value in tensors.items()}


def _load(path: PathLike) -> Any:
    import torch

    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        zipped = zipfile.is_zipfile(path)
        if zipped:
            _check_stored(path)
        # Without mmap, PyTorch believes what the file says of the lengths of its own parts, and
        # reads beyond them. Files from before version 1.6 are no archives and know no mmap.
        return torch.load(os.fspath(path), map_location="cpu", weights_only=True, mmap=zipped)
    except WeightsError:
        raise
    except Exception as error:  # torch passes on whatever pickle and zip make of broken bytes
        raise WeightsError(f"{path}: not a readable PyTorch weight file ({error})") from error


def _check_stored(path: PathLike) -> None:
    """Refuse a packed archive: PyTorch writes none, and a small one could unpack to much."""
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if part.compress_type != zipfile.ZIP_STORED:
                raise WeightsError(f"{path}: {part.filename} is compressed, as PyTorch writes none")


def _array(path: PathLike, name: str, value: Any) -> NDArray[np.generic]:
    # NumPy has no bfloat16, and no numbers that are still tracked for gradients.
    value = value.detach()
    value = value.float() if value.is_floating_point() else value
    try:
        return np.array(value.resolve_conj().resolve_neg().numpy())
    except (TypeError, RuntimeError) as error:
        raise WeightsError(f"{path}: {name}: cannot be read as numbers ({error})") from error


def shape_of(tensors: Tensors, name: str, axes: int, source: str) -> tuple[int, ...]:
    """Return the shape of a tensor that tells a network's size.

    Raises:
        WeightsError: It has another number of axes, or one without length.
    """
    shape = np.shape(tensors[name])
    if len(shape) != axes or not all(shape):
        raise WeightsError(f"{source}: {name} must have {axes} axes. Received: shape={shape}")
    return shape


def check_enough(tensors: Tensors, needed: int, source: str) -> None:
    """Compare what is there with a lower bound of a network's parameters, before it is built.

    Raises:
        WeightsError: The tensors are too few or too small; building would only fill the memory.
    """
    found = sum(int(np.size(value)) for value in tensors.values())
    if found < needed:
        raise WeightsError(
            f"{source}: not a complete network: one of the size that its tensors tell has more "
            f"than {needed:,} weights. Received: {found:,}"
        )


def width_of(tensors: Tensors, name: str, weights: int, source: str, *, axes: int = 4) -> int:
    """Return the length of a tensor's first axis, from which the network's size follows.

    Args:
        tensors: Arrays by published name.
        name: The tensor.
        weights: The network has more than this times the square of that length.
        source: What error messages call the tensors' origin.
        axes: The number of the tensor's axes.

    Raises:
        WeightsError: As `shape_of` and `check_enough`.
    """
    width = shape_of(tensors, name, axes, source)[0]
    check_enough(tensors, weights * width**2, source)
    return width


def depth_of(tensors: Tensors, ends: str | tuple[str, ...], source: str) -> int:
    """Return the number of blocks: of names that end like this.

    Raises:
        WeightsError: There are more than any network has.
    """
    depth = sum(name.endswith(ends) for name in tensors)
    if depth > _MAX_BLOCKS:
        raise WeightsError(f"{source}: more than {_MAX_BLOCKS} blocks. Received: {depth}")
    return depth


def by_module(
    tensors: Tensors, module_of: Callable[[str], str] = str
) -> Callable[[keras.Variable], str]:
    """Return what names variables as PyTorch does: the module, a dot, and what it calls the tensor.

    Args:
        tensors: Arrays by published name.
        module_of: From a layer's name to the module's; `str` where layers bear the modules' names.
    """

    def name_of(variable: keras.Variable) -> str:
        layer, *inner, leaf = variable.path.split("/")
        # A layer inside a layer is attention's own convolution.
        module = ".".join([module_of(layer), *(f"{name}_conv" for name in inner)])
        names = [f"{module}.{known}" for known in _LEAVES[leaf]]
        return next((name for name in names if name in tensors), names[-1])

    return name_of


def assign_tensors(
    model: keras.Model,
    tensors: Tensors,
    published_name: Callable[[Any], str],
    *,
    source: str = "state dict",
) -> LoadReport:
    """Assign published tensors to a network, after checking all names and shapes.

    Args:
        model: The network, built.
        tensors: Arrays by published name, in PyTorch's layout.
        published_name: Gives the published name of a variable of `model`, see `by_module`.
        source: What error messages call the tensors' origin.

    Returns:
        What was loaded, and the names that no variable asked for, but for second names of a loaded
        tensor: the same values, and the same last part of the name.

    Raises:
        WeightsError: A tensor is missing, has another shape, or holds NaN or infinity. Nothing has
            been assigned then.

    Example:
        >>> import keras
        >>> inputs = keras.Input((3,))
        >>> model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, name="fc")(inputs))
        >>> weight = np.arange(6.0).reshape(2, 3)
        >>> str(assign_tensors(model, {"fc.weight": weight}, lambda variable: "fc.weight"))
        '1 loaded, 0 missing, 0 unused'
    """
    wanted = {published_name(variable): variable for variable in model.weights}
    missing = sorted(wanted.keys() - tensors.keys())
    if missing:
        raise WeightsError(
            f"{source}: not a complete {model.name}; {missing[0]} is missing "
            f"({len(missing)} tensors in all)"
        )
    values = {}
    for name, variable in wanted.items():
        shape = tuple(variable.shape)
        tensor = np.asarray(tensors[name])
        if tensor.dtype.kind not in "fiu":
            raise WeightsError(f"{source}: {name} must hold numbers. Received: {tensor.dtype}")
        values[name] = to_keras(tensor, shape)
        if values[name].shape != shape:
            raise WeightsError(
                f"{source}: {name} has the shape {np.shape(tensors[name])}, "
                f"which makes {values[name].shape}; the network needs {shape}"
            )
        if not np.isfinite(values[name]).all():
            raise WeightsError(f"{source}: {name} has values that are not finite")
    for name, variable in wanted.items():
        variable.assign(values[name])
    unused = sorted(tensors.keys() - wanted.keys())
    return LoadReport(
        loaded=tuple(sorted(wanted)),
        missing=(),
        unused=tuple(name for name in unused if not _is_second(name, wanted, tensors)),
    )


def _is_second(name: str, loaded: Collection[str], tensors: Tensors) -> bool:
    leaf, value = name.rsplit(".", 1)[-1], tensors[name]
    return any(
        other.rsplit(".", 1)[-1] == leaf and np.array_equal(tensors[other], value)
        for other in loaded
    )


def to_keras(value: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Bring a tensor from PyTorch's layout into that of Keras, float32.

    Convolutions go from (out, in, height, width) to (height, width, in, out), transposed ones from
    (in, out, ...) to (..., out, in), which is the same exchange; depthwise ones, which the
    variable's `shape` tells apart, keep their channels first, (channels, 1, height, width) to
    (height, width, channels, 1). Dense kernels go from (out, in) to (in, out).

    Example:
        >>> to_keras(np.zeros((8, 4, 3, 3)), (3, 3, 4, 8)).shape
        (3, 3, 4, 8)
    """
    converted: NDArray[np.float32] = np.asarray(value, np.float32)
    if converted.ndim == 2:
        return converted.T
    if converted.ndim != 4:
        return converted
    depthwise = converted.transpose(2, 3, 0, 1)
    if converted.shape[1] == 1 and depthwise.shape == shape:
        return depthwise
    return converted.transpose(2, 3, 1, 0)

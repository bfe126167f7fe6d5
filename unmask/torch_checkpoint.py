"""Published PyTorch checkpoints: reading them and assigning their tensors to a network of ours.

A stage that can load a published network says which published tensor each variable is; everything
else is the same for all of them and is here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unmask.errors import MissingPackageError, WeightsError
from unmask.weights import LoadReport

if TYPE_CHECKING:
    import keras


def read_state_dict(
    path: str | os.PathLike[str], wrappers: Collection[str] = ("state_dict",)
) -> dict[str, NDArray[np.generic]]:
    """Read the tensors of a `.pth` or `.pt` file. Nothing in the file is executed.

    Args:
        path: A state dict as `torch.save` writes it, bare or inside a dictionary.
        wrappers: Keys under which the state dict may be.

    Returns:
        Arrays by published name, in PyTorch's layout; what is no tensor is left out.

    Raises:
        MissingPackageError: PyTorch is not installed.
        WeightsError: The file is missing, unreadable or holds no state dict.

    Example:
        >>> tensors = read_state_dict("WFLW_4HG.pth")  # doctest: +SKIP
    """
    try:
        import torch
    except ImportError as error:
        raise MissingPackageError(
            "reading .pth files needs PyTorch: pip install 'unmask[convert]'"
        ) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file") from error
    except Exception as error:  # torch passes on whatever pickle and zip make of broken bytes
        raise WeightsError(f"{path}: not a readable PyTorch weight file ({error})") from error
    for key in wrappers:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds no state dict but {type(content).__name__}")
    return {name: value.numpy() for name, value in content.items() if torch.is_tensor(value)}


def assign_tensors(
    model: keras.Model,
    tensors: Mapping[str, NDArray[np.generic]],
    published_name: Callable[[Any], str],
    *,
    source: str = "state dict",
) -> LoadReport:
    """Assign published tensors to a network, after checking all names and shapes.

    Args:
        model: The network, built.
        tensors: Arrays by published name, in PyTorch's layout.
        published_name: Gives the published name of a variable of `model`.
        source: What error messages call the tensors' origin.

    Returns:
        What was loaded, and the names that no variable asked for.

    Raises:
        WeightsError: A tensor is missing or has another shape. Nothing has been assigned then.

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
        values[name] = to_keras(np.asarray(tensors[name]), shape)
        if values[name].shape != shape:
            raise WeightsError(
                f"{source}: {name} has the shape {np.shape(tensors[name])}, "
                f"which makes {values[name].shape}; the network needs {shape}"
            )
    for name, variable in wanted.items():
        variable.assign(values[name])
    unused = tuple(sorted(tensors.keys() - wanted.keys()))
    return LoadReport(loaded=tuple(sorted(wanted)), missing=(), unused=unused)


def to_keras(value: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Bring a tensor from PyTorch's layout into that of Keras.

    Convolutions go from (out, in, height, width) to (height, width, in, out), transposed ones from
    (in, out, ...) to (..., out, in), which is the same exchange; depthwise ones keep their channels
    first, (channels, 1, height, width) to (height, width, channels, 1). Dense kernels go from
    (out, in) to (in, out).

    Args:
        value: The tensor.
        shape: Shape of the variable it is for, which tells depthwise kernels apart.

    Returns:
        A float32 array; its shape is not `shape` if the tensor does not fit.

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

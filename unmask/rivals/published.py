"""Published weights of the rivals: which tensor of a file each variable is.

The rivals' layers bear the names of the published modules, so that no table of names is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.torch_checkpoint import assign_tensors, check_enough, read_state_dict, shape_of
from unmask.weights import LoadReport

Tensors: TypeAlias = Mapping[str, NDArray[np.generic]]
Loaded: TypeAlias = "tuple[keras.Model, LoadReport]"

_MAX_BLOCKS = 64
# Leaf of a variable's path -> of the tensor's name; the first one that the file has.
_LEAVES = {
    "kernel": ("weight_orig", "weight_bar", "weight"),
    "bias": ("bias",),
    "left": ("weight_u",),
    "right": ("weight_v",),
    "gamma": ("gamma", "weight"),
    "beta": ("bias",),
    "alpha": ("alpha",),
}


def read_published(path: Path, wrappers: Collection[str] = ()) -> dict[str, NDArray[np.generic]]:
    """Read a state dict, without the `module.` that training on several GPUs puts before names."""
    tensors = read_state_dict(path, wrappers)
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def assign_published(
    model: keras.Model,
    tensors: Tensors,
    name_of: Callable[[Any, Tensors], str] | None = None,
    *,
    source: str,
) -> LoadReport:
    """Assign published tensors to a network whose layers bear the published names.

    Args:
        model: The network.
        tensors: Arrays by published name, in PyTorch's layout.
        name_of: Gives the published name of a variable where the layer's name does not.
        source: What error messages call the tensors' origin.

    Returns:
        What was loaded. A second name of a loaded tensor (the same values, and the same last part
        of the name) is not reported as unused.

    Raises:
        WeightsError: A tensor is missing or has another shape. Nothing has been assigned then.
    """
    name_of = name_of or _name_of
    report = assign_tensors(model, tensors, lambda v: name_of(v, tensors), source=source)
    unused = (name for name in report.unused if not _is_second(name, report.loaded, tensors))
    return replace(report, unused=tuple(unused))


def width_of(tensors: Tensors, name: str, weights: int, source: str, *, axes: int = 4) -> int:
    """Return the length of a tensor's first axis, from which the network's size follows.

    Args:
        tensors: Arrays by published name.
        name: The tensor.
        weights: The network has more than this times the square of that length.
        source: What error messages call the tensors' origin.
        axes: The number of the tensor's axes.

    Raises:
        WeightsError: It has another number of axes, or the tensors cannot fill such a network.
    """
    width = shape_of(tensors, name, axes, source)[0]
    check_enough(tensors, weights * width**2, source)
    return width


def depth_of(tensors: Tensors, ends: tuple[str, ...], source: str) -> int:
    """Return the number of blocks: of names that end like this.

    Raises:
        WeightsError: There are more than any of these networks has.
    """
    depth = sum(name.endswith(ends) for name in tensors)
    if depth > _MAX_BLOCKS:
        raise WeightsError(f"{source}: more than {_MAX_BLOCKS} blocks. Received: {depth}")
    return depth


def _name_of(variable: Any, tensors: Tensors) -> str:
    layer, *inner, leaf = variable.path.split("/")
    module = ".".join([layer, *(f"{name}_conv" for name in inner)])  # attention's own convolution
    names = [f"{module}.{known}" for known in _LEAVES[leaf]]
    return next((name for name in names if name in tensors), names[-1])


def _is_second(name: str, loaded: Collection[str], tensors: Tensors) -> bool:
    leaf, value = name.rsplit(".", 1)[-1], tensors[name]
    return any(
        other.rsplit(".", 1)[-1] == leaf and np.array_equal(tensors[other], value)
        for other in loaded
    )

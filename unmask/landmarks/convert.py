"""Reading AdaptiveWingLoss's published PyTorch weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.landmarks.model import build_fan
from unmask.weights import LoadReport

_LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_BOOKKEEPING = "num_batches_tracked"  # PyTorch's step counters, which no network needs


def load_published(path: str | os.PathLike[str]) -> tuple[keras.Model, LoadReport]:
    """Build the network that a published checkpoint belongs to and load it.

    Args:
        path: ``WFLW_4HG.pth`` or another checkpoint of AdaptiveWingLoss's FAN (RGB, without ReLU at
            the end): a state dict, bare or under ``state_dict``, with or without ``module.``
            before the names.

    Returns:
        The float32 network, and what was loaded; PyTorch's batch counters are not reported.

    Raises:
        ImportError: PyTorch is not installed.
        WeightsError: The file is missing, unreadable or of another network, or it lacks a tensor
            or holds one of another shape.

    Example:
        >>> model, report = load_published("WFLW_4HG.pth")  # doctest: +SKIP
        >>> str(report)  # doctest: +SKIP
        '953 loaded, 0 missing, 0 unused'
    """
    return convert_state_dict(_read(path), source=str(path))


def convert_state_dict(
    state: Mapping[str, NDArray[np.generic]], *, source: str = "state dict"
) -> tuple[keras.Model, LoadReport]:
    """Build a network from tensors under their published names.

    The number of hourglasses, of points and the width are read from the tensors.

    Args:
        state: Arrays by PyTorch name and in PyTorch's layout, with or without ``module.``.
        source: What error messages call the tensors' origin.

    Returns:
        The float32 network, and what was loaded.

    Raises:
        WeightsError: The tensors are of another network, or one is missing or has another shape.
    """
    tensors = {
        name.removeprefix("module."): value
        for name, value in state.items()
        if not name.endswith(_BOOKKEEPING)
    }
    model = build_fan(**_arguments(tensors, source))
    wanted = {_published_name(variable): variable for variable in model.weights}
    missing = sorted(wanted.keys() - tensors.keys())
    if missing:
        raise WeightsError(
            f"{source}: not a complete FAN; {missing[0]} is missing ({len(missing)} tensors in all)"
        )
    values = {name: _to_keras(np.asarray(tensors[name])) for name in wanted}
    for name, variable in wanted.items():
        if values[name].shape != tuple(variable.shape):
            raise WeightsError(
                f"{source}: {name} has the shape {tensors[name].shape}, "
                f"which makes {values[name].shape}; the network needs {tuple(variable.shape)}"
            )
    for name, variable in wanted.items():
        variable.assign(values[name])
    unused = tuple(sorted(tensors.keys() - wanted.keys()))
    return model, LoadReport(loaded=tuple(sorted(wanted)), missing=(), unused=unused)


def _arguments(tensors: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Sizes of the network, from the heads ``l0``, ``l1``, ..."""
    stacks = 0
    while f"l{stacks}.weight" in tensors:
        stacks += 1
    if not stacks:
        raise WeightsError(f"{source}: not AdaptiveWingLoss's FAN; l0.weight is missing")
    outputs, width = tensors["l0.weight"].shape[:2]
    return {"stacks": stacks, "points": int(outputs) - 1, "width": int(width)}


def _published_name(variable: Any) -> str:
    """PyTorch's name of a variable: its layer's underscores that were dots become dots again."""
    layer, leaf = variable.path.split("/")[-2:]
    return f"{_with_dots(layer)}.{_LEAVES[leaf]}"


def _with_dots(layer: str) -> str:
    """``m0_b1_4_bn1`` to ``m0.b1_4.bn1``: dots stand around modules, not inside their names."""
    owner, _, rest = layer.partition("_")
    if owner == "top":  # top_m_0_bn1
        module, part = layer.rsplit("_", 1)
        return f"{module}.{part}"
    if owner == "conv" or not rest or layer.startswith(("conv_last", "bn_end")):
        return layer
    if rest == "coordconv_conv":
        return f"{owner}.coordconv.conv"
    if owner.startswith("m"):  # hourglass: m0_b2_plus_1_conv3
        block, part = rest.rsplit("_", 1)
        return f"{owner}.{block}.{part}"
    return f"{owner}.{rest.replace('_', '.')}"  # stem: conv2_downsample_0, conv1_conv


def _to_keras(value: NDArray[np.generic]) -> NDArray[np.float32]:
    """(out, in, height, width) to (height, width, in, out)."""
    converted: NDArray[np.float32] = value.astype(np.float32)
    return converted.transpose(2, 3, 1, 0) if converted.ndim == 4 else converted


def _read(path: str | os.PathLike[str]) -> dict[str, NDArray[np.generic]]:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "reading .pth files needs PyTorch: pip install 'unmask[convert]'"
        ) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file") from error
    except Exception as error:  # torch passes on whatever pickle and zip make of broken bytes
        raise WeightsError(f"{path}: not a readable PyTorch weight file ({error})") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: holds no state dict but {type(state).__name__}")
    return {name: value.numpy() for name, value in state.items() if torch.is_tensor(value)}

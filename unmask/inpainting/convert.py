"""Reading LaFIn's published PyTorch weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.inpainting.discriminator import build_discriminator
from unmask.inpainting.generator import build_generator
from unmask.weights import LoadReport

# Layer of ours -> module of the published network ("fushion" is its spelling).
_MODULES = {
    "encoder1": "encoder1.1",
    "encoder2": "encoder2.0",
    "encoder3": "encoder3.0",
    "fusion1": "fushion1.0",
    "fusion2": "fushion2.0",
    "decoder1": "decoder1.0",
    "decoder2": "decoder2.0",
    "decoder3": "decoder3.1",
    "attention": "auto_attn",
    "attention_conv1": "auto_attn.model.conv1",
    "attention_conv2": "auto_attn.model.conv2",
    "attention_shortcut": "auto_attn.model.bypass",
    **{f"conv{i}": f"conv{i}.0" for i in range(1, 6)},
}
_BLOCK_PARTS = {"conv1": "conv_block.1", "conv2": "conv_block.5"}
_LEAVES = {"kernel": "weight", "bias": "bias", "left": "weight_u", "right": "weight_v"}
# The published modules reach the same tensors under second names.
_ALIASES = {
    "auto_attn.model.model.1.": "auto_attn.model.conv1.",
    "auto_attn.model.model.3.": "auto_attn.model.conv2.",
    "auto_attn.model.shortcut.0.": "auto_attn.model.bypass.",
    "features.0.": "conv1.0.",
}


def load_published(path: str | os.PathLike[str]) -> tuple[keras.Model, LoadReport]:
    """Build the network that a checkpoint of LaFIn's inpainting model belongs to and load it.

    Args:
        path: `InpaintingModel_gen.pth` or `InpaintingModel_dis.pth`: a state dict, bare or under
            `generator` or `discriminator`.

    Returns:
        The float32 generator or discriminator, and what was loaded. The tensors of a
        discriminator's `auto_attn.model` are reported as unused: the published forward pass does
        not use them either.

    Raises:
        ImportError: PyTorch is not installed.
        WeightsError: The file is missing, unreadable or of another network, or it lacks a tensor
            or holds one of another shape.

    Example:
        >>> model, report = load_published("InpaintingModel_gen.pth")  # doctest: +SKIP
        >>> str(report)  # doctest: +SKIP
        '60 loaded, 0 missing, 0 unused'
    """
    return convert_state_dict(_read(path), source=str(path))


def convert_state_dict(
    state: Mapping[str, NDArray[np.generic]], *, source: str = "state dict"
) -> tuple[keras.Model, LoadReport]:
    """Build the network that published tensors belong to and load it.

    Width and number of blocks are read from the tensors.

    Args:
        state: Arrays by PyTorch name and in PyTorch's layout.
        source: What error messages call the tensors' origin.

    Returns:
        The float32 generator or discriminator, and what was loaded.

    Raises:
        WeightsError: The tensors are of another network, or one is missing or has another shape.
    """
    if "encoder1.1.weight" in state:
        blocks = sum(name.endswith("conv_block.1.weight") for name in state)
        model = build_generator(width=len(state["encoder1.1.weight"]), blocks=blocks)
    elif "conv1.0.weight_orig" in state:
        attention = "auto_attn.query_conv.weight" in state
        model = build_discriminator(len(state["conv1.0.weight_orig"]), attention=attention)
    else:
        raise WeightsError(
            f"{source}: neither LaFIn's generator (encoder1.1.weight is missing) "
            "nor its discriminator (conv1.0.weight_orig is missing)"
        )
    return model, assign_published(model, state, source=source)


def assign_published(
    model: keras.Model, state: Mapping[str, NDArray[np.generic]], *, source: str = "state dict"
) -> LoadReport:
    """Assign published tensors to a network, after checking all names and shapes.

    Args:
        model: A generator without coarse input, or a discriminator, of this package.
        state: Arrays by PyTorch name and in PyTorch's layout.
        source: What error messages call the tensors' origin.

    Returns:
        What was loaded; second names of a loaded tensor are not reported.

    Raises:
        WeightsError: A tensor is missing or has another shape. Nothing has been assigned then.
    """
    wanted = {_published_name(variable, state): variable for variable in model.weights}
    missing = sorted(wanted.keys() - state.keys())
    if missing:
        raise WeightsError(
            f"{source}: not a complete {model.name}; {missing[0]} is missing "
            f"({len(missing)} tensors in all)"
        )
    values = {name: _to_keras(np.asarray(state[name])) for name in wanted}
    for name, variable in wanted.items():
        if values[name].shape != tuple(variable.shape):
            raise WeightsError(
                f"{source}: {name} has the shape {np.shape(state[name])}, "
                f"which makes {values[name].shape}; the network needs {tuple(variable.shape)}"
            )
    for name, variable in wanted.items():
        variable.assign(values[name])
    unused = (name for name in state if name not in wanted and _main_name(name) not in wanted)
    return LoadReport(loaded=tuple(sorted(wanted)), missing=(), unused=tuple(sorted(unused)))


def _published_name(variable: Any, state: Mapping[str, Any]) -> str:
    layer, *inner, leaf = variable.path.split("/")
    if leaf in ("gamma", "alpha"):
        return f"auto_attn.{leaf}"
    if inner:  # the query convolution inside the attention layer
        return f"auto_attn.query_conv.{_LEAVES[leaf]}"
    if layer.startswith("middle"):
        block, part = layer.removeprefix("middle").split("_")
        module = f"middle.{block}.{_BLOCK_PARTS[part]}"
    else:
        module = _MODULES[layer]
    name = f"{module}.{_LEAVES[leaf]}"
    # PyTorch's spectral norm keeps the kernel that is trained under another name.
    return f"{name}_orig" if leaf == "kernel" and f"{name}_orig" in state else name


def _main_name(name: str) -> str:
    for alias, main in _ALIASES.items():
        if name.startswith(alias):
            return name.replace(alias, main, 1)
    return name


def _to_keras(value: NDArray[np.generic]) -> NDArray[np.float32]:
    """(out, in, height, width) to (height, width, in, out); transposed kernels are (in, out, ...).

    Both are the same exchange of axes, because Keras keeps (out, in) for transposed ones too.
    """
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
    for key in ("generator", "discriminator"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds no state dict but {type(content).__name__}")
    return {name: value.numpy() for name, value in content.items() if torch.is_tensor(value)}

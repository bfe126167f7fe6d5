"""Reading the published PyTorch weights of LaFIn's inpainting model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.inpainting.paper import build_discriminator, build_generator
from unmask.torch_checkpoint import assign_tensors, check_enough, read_state_dict, shape_of
from unmask.weights import LoadReport

# Layer of ours -> module of LaFIn's networks ("fushion" is its spelling).
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
_BLOCK_PARTS = {
    "conv1": "conv_block.1",
    "conv2": "conv_block.5",
}
_LEAVES = {"kernel": "weight", "bias": "bias", "left": "weight_u", "right": "weight_v"}
_MAX_BLOCKS = 64
# All of these networks have more than this times the square of their width, and in each block.
_OUTER_WEIGHTS = 200
_BLOCK_WEIGHTS = 256
# The published modules reach the same tensors under second names.
_ALIASES = {
    "auto_attn.model.model.1.": "auto_attn.model.conv1.",
    "auto_attn.model.model.3.": "auto_attn.model.conv2.",
    "auto_attn.model.shortcut.0.": "auto_attn.model.bypass.",
    "features.0.": "conv1.0.",
}


def load_published(path: str | os.PathLike[str]) -> tuple[keras.Model, LoadReport]:
    """Build the network that a published inpainting checkpoint belongs to and load it.

    Args:
        path: LaFIn's `InpaintingModel_gen.pth` or `InpaintingModel_dis.pth`: a state dict, bare or
            under `generator` or `discriminator`.

    Returns:
        The float32 generator or discriminator, and what was loaded. The tensors of a LaFIn
        discriminator's `auto_attn.model` are reported as unused: the published forward pass does
        not use them either.

    Raises:
        MissingPackageError: PyTorch is not installed.
        WeightsError: The file is missing, unreadable or of another network, or it lacks a tensor
            or holds one of another shape.

    Example:
        >>> model, report = load_published("InpaintingModel_gen.pth")  # doctest: +SKIP
        >>> str(report)  # doctest: +SKIP
        '60 loaded, 0 missing, 0 unused'
    """
    return convert_state_dict(
        read_state_dict(path, ("generator", "discriminator")), source=str(path)
    )


def convert_state_dict(
    state: Mapping[str, NDArray[np.generic]], *, source: str = "state dict"
) -> tuple[keras.Model, LoadReport]:
    """Build the network that published tensors belong to and load it.

    Which network it is, its width and its number of blocks are read from the tensors.

    Args:
        state: Arrays by PyTorch name and in PyTorch's layout.
        source: What error messages call the tensors' origin.

    Returns:
        The float32 generator or discriminator, and what was loaded.

    Raises:
        WeightsError: The tensors are of another network, or one is missing or has another shape.
    """
    model = _build(state, source)
    if model is None:
        raise WeightsError(
            f"{source}: neither LaFIn's generator (encoder1.1.weight is missing) nor its "
            "discriminator (conv1.0.weight_orig is missing)"
        )
    return model, assign_published(model, state, source=source)


def _build(state: Mapping[str, NDArray[np.generic]], source: str) -> keras.Model | None:
    """Build the network with the sizes of the tensors; None if they are of no known one."""
    if "encoder1.1.weight" in state:
        width, depth = _sizes(state, "encoder1.1.weight", "conv_block.1.weight", source)
        return build_generator(width=width, depth=depth)
    if "conv1.0.weight_orig" in state:
        width, _ = _sizes(state, "conv1.0.weight_orig", None, source)
        return build_discriminator(width)
    return None


def _sizes(
    state: Mapping[str, NDArray[np.generic]], first: str, block: str | None, source: str
) -> tuple[int, int]:
    """Return width and number of blocks, and refuse what the tensors cannot fill."""
    width = shape_of(state, first, 4, source)[0]
    depth = sum(name.endswith(block) for name in state) if block else 0
    if depth > _MAX_BLOCKS:
        raise WeightsError(f"{source}: more than {_MAX_BLOCKS} blocks. Received: {depth}")
    check_enough(state, (_OUTER_WEIGHTS + _BLOCK_WEIGHTS * depth) * width**2, source)
    return width, depth


def assign_published(
    model: keras.Model, state: Mapping[str, NDArray[np.generic]], *, source: str = "state dict"
) -> LoadReport:
    """Assign published tensors to a network, after checking all names and shapes.

    Args:
        model: A network of this package as `convert_state_dict` builds it.
        state: Arrays by PyTorch name and in PyTorch's layout.
        source: What error messages call the tensors' origin.

    Returns:
        What was loaded; second names of a loaded tensor are not reported.

    Raises:
        WeightsError: A tensor is missing or has another shape. Nothing has been assigned then.
    """
    report = assign_tensors(
        model, state, lambda variable: _published_name(variable, state), source=source
    )
    loaded = set(report.loaded)
    unused = tuple(name for name in report.unused if _main_name(name) not in loaded)
    return replace(report, unused=unused)


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

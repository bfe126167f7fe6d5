"""Reading the published PyTorch weights of LaFIn's inpainting model."""

from __future__ import annotations

from unmask.errors import WeightsError
from unmask.inpainting.paper import build_discriminator, build_generator
from unmask.io import PathLike
from unmask.torch_checkpoint import (
    Loaded,
    Tensors,
    assign_tensors,
    by_module,
    depth_of,
    read_state_dict,
    width_of,
)

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
_BLOCK_PARTS = {"conv1": "conv_block.1", "conv2": "conv_block.5"}
# All of these networks have more than this times the square of their width, and in each block.
_OUTER_WEIGHTS = 200
_BLOCK_WEIGHTS = 256


def load_published(path: PathLike) -> Loaded:
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


def convert_state_dict(state: Tensors, *, source: str = "state dict") -> Loaded:
    """Do the same with tensors, which error messages call `source`; their sizes tell the network's.

    Raises:
        WeightsError: The tensors are of another network, or one is missing or has another shape.
    """
    if "encoder1.1.weight" in state:
        depth = depth_of(state, "conv_block.1.weight", source)
        weights = _OUTER_WEIGHTS + _BLOCK_WEIGHTS * depth
        model = build_generator(width_of(state, "encoder1.1.weight", weights, source), depth)
    elif "conv1.0.weight_orig" in state:
        width = width_of(state, "conv1.0.weight_orig", _OUTER_WEIGHTS, source)
        model = build_discriminator(width)
    else:
        raise WeightsError(
            f"{source}: neither LaFIn's generator (encoder1.1.weight is missing) nor its "
            "discriminator (conv1.0.weight_orig is missing)"
        )
    return model, assign_tensors(model, state, by_module(state, _module_of), source=source)


def _module_of(layer: str) -> str:
    if not layer.startswith("middle"):
        return _MODULES[layer]
    block, part = layer.removeprefix("middle").split("_")
    return f"middle.{block}.{_BLOCK_PARTS[part]}"

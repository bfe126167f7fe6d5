"""Reading the published PyTorch weights of AdaptiveWingLoss and of LaFIn's landmark predictor."""

from __future__ import annotations

from typing import Any

from unmask.errors import WeightsError
from unmask.io import PathLike
from unmask.landmarks.lafin import build_mobilenet
from unmask.landmarks.paper import build_fan
from unmask.torch_checkpoint import (
    Loaded,
    Tensors,
    assign_tensors,
    by_module,
    check_enough,
    read_state_dict,
    shape_of,
    without_wrapper,
)

_WRAPPERS = ("state_dict", "detector")
_MAX_STACKS = 16
_FAN_WEIGHTS = 64  # A FAN has more than this times the square of its width in each hourglass.
_BOOKKEEPING = "num_batches_tracked"  # PyTorch's step counters, which no network needs


def load_published(path: PathLike) -> Loaded:
    """Load a published checkpoint as `unmask.inpainting.convert.load_published` does.

    It is ``WFLW_4HG.pth`` or another of AdaptiveWingLoss's FAN (RGB, without ReLU at the end), or
    LaFIn's ``landmark_detector.pth``: a state dict, bare or under ``state_dict`` or ``detector``.
    PyTorch's batch counters are not reported.
    """
    return convert_state_dict(read_state_dict(path, _WRAPPERS), source=str(path))


def convert_state_dict(state: Tensors, *, source: str = "state dict") -> Loaded:
    """Do the same with tensors, which error messages call `source`; their sizes tell the network's.

    Raises:
        WeightsError: The tensors are of another network, or one is missing or has another shape.
    """
    needed = {name: value for name, value in state.items() if not name.endswith(_BOOKKEEPING)}
    tensors = without_wrapper(needed)
    if "l0.weight" in tensors:
        model = build_fan(**_fan_sizes(tensors, source))
        return model, assign_tensors(model, tensors, by_module(tensors, _fan_module), source=source)
    if "fc_landmark.weight" in tensors:
        outputs, _ = shape_of(tensors, "fc_landmark.weight", 2, source)
        if outputs % 2:
            raise WeightsError(
                f"{source}: fc_landmark.weight must have two rows a point. Received: {outputs}"
            )
        model = build_mobilenet(points=outputs // 2)
        names = by_module(tensors, _mobilenet_module)
        return model, assign_tensors(model, tensors, names, source=source)
    raise WeightsError(
        f"{source}: neither AdaptiveWingLoss's FAN (l0.weight is missing) "
        "nor LaFIn's landmark predictor (fc_landmark.weight is missing)"
    )


def _fan_sizes(tensors: Tensors, source: str) -> dict[str, Any]:
    """Arguments of the network, from the heads ``l0``, ``l1``, ..."""
    stacks = 1
    while f"l{stacks}.weight" in tensors:
        stacks += 1
    outputs, width, *_ = shape_of(tensors, "l0.weight", 4, source)
    if stacks > _MAX_STACKS or outputs < 2 or width % 16:
        raise WeightsError(
            f"{source}: a FAN has up to {_MAX_STACKS} hourglasses, heads of 2 maps or more and a "
            f"width that 16 divides. Received: {stacks}, {outputs} and {width}"
        )
    check_enough(tensors, _FAN_WEIGHTS * stacks * width**2, source)
    return {"stacks": stacks, "points": outputs - 1, "width": width}


def _mobilenet_module(layer: str) -> str:
    """``features_2_conv_0`` to ``features.2.conv.0``; only the trunk has numbered modules."""
    if layer.startswith("features_"):
        return layer.replace("_", ".")
    return layer.replace("last_block_", "last_block.")


def _fan_module(layer: str) -> str:
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

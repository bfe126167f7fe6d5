"""Presets: which networks, of which size, work together.

`lite` ships with the package. `paper` has the sizes of the paper's networks; a checkout has weights
for it that were trained for minutes, the package none. Their authors publish better ones elsewhere
and under their own terms.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from unmask.errors import WeightsError

if TYPE_CHECKING:
    import keras


GENDERS = ("female", "male")
"""The genders that have weights of their own; a gender network says how likely the second is."""


@dataclass(frozen=True)
class Builder:
    """Where a network's build function is, and what it is called with.

    Attributes:
        module: Module of the stage, imported only when the network is built.
        function: Name of the build function.
        arguments: Its keyword arguments, or the name of a mapping of them in the same module.
    """

    module: str
    function: str
    arguments: str | Mapping[str, Any]

    def build(self) -> keras.Model:
        """Import the stage and build its network, with untrained weights."""
        module = importlib.import_module(self.module)
        if isinstance(self.arguments, str):
            return getattr(module, self.function)(**getattr(module, self.arguments))
        return getattr(module, self.function)(**self.arguments)


@dataclass(frozen=True)
class Preset:
    """A set of networks that work together.

    Attributes:
        name: Its name.
        networks: The builder of each stage that is a network. The linear prior is a stage with a
            weight file, but is no network.
        files: The stages that need a weight file.
        helpers: The builder of each network that only a training looks through: no photo needs its
            file.
    """

    name: str
    networks: Mapping[str, Builder]
    files: tuple[str, ...]
    helpers: Mapping[str, Builder] = field(default_factory=dict)


def _preset(
    name: str, networks: dict[str, Builder], *extra_files: str, **helpers: Builder
) -> Preset:
    files = (*extra_files, *networks)
    return Preset(name, MappingProxyType(networks), files, MappingProxyType(helpers))


_PAPER, _LITE = "unmask.inpainting.paper", "unmask.inpainting.lite"

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "lite": _preset(
            "lite",
            {
                "segmentation": Builder("unmask.segmentation.lite", "build_unet", "LITE"),
                "verifier": Builder("unmask.segmentation.lite", "build_verifier", "VERIFIER"),
                "loops": Builder("unmask.segmentation.lite", "build_unet", "LOOPS"),
                "landmarks": Builder("unmask.landmarks.lite", "build_lite", {}),
                "gender": Builder("unmask.gender.lite", "build_lite", {}),
                "coarse": Builder(_LITE, "build_coarse", {}),
                "inpainting_female": Builder(_LITE, "build_generator", {}),
                "inpainting_male": Builder(_LITE, "build_generator", {}),
            },
            "prior",
            parsing=Builder("unmask.parsing.lite", "build_parser", "LITE"),
        ),
        # The build functions' own defaults are the published sizes.
        "paper": _preset(
            "paper",
            {
                "segmentation": Builder("unmask.segmentation.paper", "build_mask_rcnn", {}),
                "landmarks": Builder("unmask.landmarks.paper", "build_fan", {}),
                "gender": Builder("unmask.gender.paper", "build_classifier", {}),
                "inpainting_female": Builder(_PAPER, "build_generator", {}),
                "inpainting_male": Builder(_PAPER, "build_generator", {}),
            },
        ),
    }
)
"""The known presets by name."""


def get_preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises:
        WeightsError: There is none of that name.

    Example:
        >>> get_preset("lite").files[0]
        'prior'
    """
    if name not in PRESETS:
        raise WeightsError(
            f"unknown preset; the known ones are {', '.join(PRESETS)}. Received: preset={name!r}"
        )
    return PRESETS[name]


def build_stage(preset: str, stage: str) -> keras.Model:
    """Build the network of one stage in the size of a preset, with untrained weights.

    It is float32 unless a Keras dtype policy says otherwise.

    Raises:
        WeightsError: The preset is unknown or has no such network.

    Example:
        >>> build_stage("lite", "gender").output_shape
        (None, 1)
    """
    networks = {**get_preset(preset).networks, **get_preset(preset).helpers}
    if stage not in networks:
        raise WeightsError(
            f"preset {preset!r} has the networks {', '.join(networks)}. Received: stage={stage!r}"
        )
    return networks[stage].build()

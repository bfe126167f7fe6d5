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
from typing import TYPE_CHECKING

from unmask.errors import WeightsError

if TYPE_CHECKING:
    import keras


GENDERS = ("female", "male")
"""The genders that have weights of their own; a gender network says how likely the second is."""


@dataclass(frozen=True)
class Preset:
    """A set of networks that work together.

    Attributes:
        name: Its name.
        networks: The stages that are networks, and the function that builds each, "module:name".
            The linear prior is a stage with a weight file, but is no network.
        files: The stages that need a weight file.
        helpers: The same of networks that only a training looks through: no photo needs their
            files.
    """

    name: str
    networks: Mapping[str, str]
    files: tuple[str, ...]
    helpers: Mapping[str, str] = field(default_factory=dict)


def _preset(name: str, networks: dict[str, str], *extra_files: str, **helpers: str) -> Preset:
    files = (*extra_files, *networks)
    return Preset(name, MappingProxyType(networks), files, MappingProxyType(helpers))


# The functions' own defaults are the sizes that ship and the published ones.
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "lite": _preset(
            "lite",
            {
                "segmentation": "unmask.segmentation.lite:build_unet",
                "verifier": "unmask.segmentation.lite:build_verifier",
                "loops": "unmask.segmentation.lite:build_loops",
                "landmarks": "unmask.landmarks.lite:build_lite",
                "gender": "unmask.gender.lite:build_lite",
                "coarse": "unmask.inpainting.lite:build_coarse",
                "inpainting_female": "unmask.inpainting.lite:build_generator",
                "inpainting_male": "unmask.inpainting.lite:build_generator",
            },
            "prior",
            parsing="unmask.parsing.lite:build_parser",
        ),
        "paper": _preset(
            "paper",
            {
                "segmentation": "unmask.segmentation.paper:build_mask_rcnn",
                "landmarks": "unmask.landmarks.paper:build_fan",
                "gender": "unmask.gender.paper:build_classifier",
                "inpainting_female": "unmask.inpainting.paper:build_generator",
                "inpainting_male": "unmask.inpainting.paper:build_generator",
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
    module, _, function = networks[stage].partition(":")
    return getattr(importlib.import_module(module), function)()

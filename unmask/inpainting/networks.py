"""The pairs of generator and discriminator that can be trained, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import keras

from unmask.inpainting.aot import AOT, build_aot_discriminator, build_aot_generator
from unmask.inpainting.discriminator import build_detail_discriminator, build_discriminator
from unmask.inpainting.generator import LITE, PAPER, build_generator


@dataclass(frozen=True)
class Networks:
    """What is trained together.

    Attributes:
        name: Name of the pair; noted in the weight files.
        generator: Builds the generator.
        discriminator: Builds the discriminator.
        betas: Adam's decay rates as published for the pair.
        detail: Whether they train with the losses of `unmask.inpainting.detail`.
    """

    name: str
    generator: Callable[[], keras.Model]
    discriminator: Callable[[], keras.Model]
    betas: tuple[float, float] = (0.0, 0.9)
    detail: bool = False


# The lite generators train beside a narrower discriminator without attention: half of the time.
_LITE_DISCRIMINATOR = partial(build_discriminator, 48, attention=False)

_ALL = (
    Networks("lite", partial(build_generator, **LITE), _LITE_DISCRIMINATOR),
    Networks(
        "lite-aot", partial(build_generator, **{**LITE, "blocks": "aot"}), _LITE_DISCRIMINATOR
    ),
    Networks(
        "lite-detail",
        partial(build_generator, **LITE),
        build_detail_discriminator,
        (0.5, 0.99),
        True,
    ),
    Networks("lite-plain", partial(build_generator, **{**PAPER, "width": 32}), _LITE_DISCRIMINATOR),
    Networks("paper", partial(build_generator, **PAPER), build_discriminator),
    Networks(
        "paper-aot", partial(build_generator, **{**PAPER, "blocks": "aot"}), build_discriminator
    ),
    Networks("aot-gan", partial(build_aot_generator, **AOT), build_aot_discriminator, (0.5, 0.999)),
)

NETWORKS: Mapping[str, Networks] = MappingProxyType({pair.name: pair for pair in _ALL})
"""`lite` and `lite-aot` (width 32, two blocks, painting on the first guess), `lite-detail` (the
generator of `lite` in its last phase), `lite-plain` (as published but for the width of 32, without
a guess), `paper` and `paper-aot` (as published, and with AOT blocks), `aot-gan` (the plain network,
which ignores landmarks)."""

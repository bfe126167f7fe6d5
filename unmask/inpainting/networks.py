"""The networks that can be trained, as recipes describe them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

import keras

from unmask.inpainting.discriminator import build_detail_discriminator, build_discriminator
from unmask.inpainting.generator import LITE, PAPER, BlockType, build_generator
from unmask.rivals.aot import AOT, build_aot_discriminator, build_aot_generator


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """The generator; the defaults are the paper's.

    Attributes:
        kind: "landmark-guided", or "aot-gan" for the plain AOT-GAN, which ignores landmarks and
            has only `width` and `depth`.
        width: Channels of the first layer.
        blocks: See `build_generator`.
        depth: Number of blocks.
        attention: See `build_generator`.
        coarse: Whether it paints on a first guess.
    """

    kind: Literal["landmark-guided", "aot-gan"] = "landmark-guided"
    width: int = 64
    blocks: BlockType = "dilated"
    depth: int = 7
    attention: bool = True
    coarse: bool = False

    def build(self) -> keras.Model:
        """Build it."""
        if self.kind == "aot-gan":
            return build_aot_generator(self.width, self.depth)
        return build_generator(
            self.width, self.blocks, self.depth, attention=self.attention, coarse=self.coarse
        )


@dataclass(frozen=True, kw_only=True)
class DiscriminatorSettings:
    """The discriminator; the defaults are the paper's.

    Attributes:
        kind: "published": LaFIn's, with spectral normalisation. "aot-gan": AOT-GAN's. "detail":
            quick, without normalisation; judges holes and shows its features.
        width: Channels of the first layer.
        attention: Whether the published one has self-attention.
        learning_rate: Its highest learning rate; it follows the generator's schedule.
    """

    kind: Literal["published", "aot-gan", "detail"] = "published"
    width: int = 64
    attention: bool = True
    learning_rate: float = 1e-5

    def build(self) -> keras.Model:
        """Build it."""
        if self.kind == "published":
            return build_discriminator(self.width, self.attention)
        return {"aot-gan": build_aot_discriminator, "detail": build_detail_discriminator}[
            self.kind
        ](self.width)


GENERATORS: Mapping[str, Callable[[], keras.Model]] = MappingProxyType(
    {
        "lite": partial(build_generator, **LITE),
        "paper": partial(build_generator, **PAPER),
        "paper-aot": partial(build_generator, **{**PAPER, "blocks": "aot"}),
        "aot-gan": partial(build_aot_generator, **AOT),
    }
)
"""By name: `lite` (width 32, two blocks, on the first guess), `paper` and `paper-aot` (as
published, and with AOT blocks), `aot-gan` (the plain network, which ignores landmarks)."""

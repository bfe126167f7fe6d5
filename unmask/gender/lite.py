"""Our gender network, and what we change about the paper's.

What differs from `unmask.gender.paper`:

- a residual network of plain convolutions, 1.96 M parameters instead of 31.5 M, trained as a whole:
  it needs no pretrained backbone, and depthwise convolutions are slower on a CPU;
- it looks at a window of the canonical crop, so that what fills the border around a tight photo
  cannot matter;
- `look_through` puts the same window, or ImageNet's scaling, before the paper's classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import keras

from unmask.blocks import conv_block, residual_block
from unmask.face import CROP_SIZE
from unmask.gender.paper import probability

View: TypeAlias = Literal["window", "whole"]
Scaling: TypeAlias = Literal["paper", "inception"]

_MOMENTUM = 0.98  # of the batch statistics


@dataclass(frozen=True)
class Framing:
    """A square window of the canonical crop, in its pixels."""

    left: int
    top: int
    side: int
    margin: int  # pixels around it that stored views have too

    @property
    def inside(self) -> slice:
        """Rows, and columns, of a stored view that are the window."""
        return slice(self.margin, self.margin + self.side)

    @property
    def stored_side(self) -> int:
        """Side of a stored view."""
        return self.side + 2 * self.margin

    def cut(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Cut the window out of whole crops, inside a network."""
        right, bottom = CROP_SIZE - self.left - self.side, CROP_SIZE - self.top - self.side
        margins = ((self.top, bottom), (self.left, right))
        return keras.layers.Cropping2D(margins, name="view")(x)


FRAMINGS: dict[View, Framing] = {
    # Tight face photos cover about this much of the crop; the rest would be fill.
    "window": Framing(48, 66, 160, 24),
    # As in the paper, whose pictures have the side of the crop.
    "whole": Framing(0, 0, CROP_SIZE, 0),
}


def build_lite(
    *,
    widths: Sequence[int] = (32, 64, 128, 256),
    blocks: Sequence[int] = (1, 1, 1, 1),
    dropout: float = 0.3,
    cropped: bool = False,
    name: str = "gender_compact",
) -> keras.Model:
    """Builds the network that ships with the package; the defaults are its sizes.

    Args:
        widths: Filters of each stage. The first stage works at a quarter of the window's
            resolution, every further one at half of the one before.
        blocks: Residual blocks of each stage, as many entries as `widths`.
        dropout: Dropped share of the pooled features.
        cropped: Whether the input is the window already (as in training) and not the whole
            canonical crop. The variables are the same in both cases.
        name: Name of the model.

    Returns:
        A model from float32 images in [0, 1], (B, 256, 256, 3) or, if `cropped`,
        (B, 160, 160, 3), to (B, 1) float32, the probability of "male".

    Raises:
        ValueError: If `widths` and `blocks` differ in length.

    Example:
        >>> build_lite().output_shape
        (None, 1)
    """
    if len(widths) != len(blocks):
        raise ValueError(
            "`widths` and `blocks` must have the same length. "
            f"Received: widths={tuple(widths)}, blocks={tuple(blocks)}"
        )
    inputs, x = _window(FRAMINGS["window"], cropped)
    x = keras.layers.Rescaling(4.0, -2.0, name="centre")(x)
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        # The first convolution sees overlapping 6x6 patches every 4 pixels: it keeps the fine
        # texture, and nothing has to be computed at the full resolution.
        kernel, stride = (6, 4) if stage == 1 else (3, 2)
        x = conv_block(
            x, width, f"stage{stage}_down", kernel=kernel, stride=stride, momentum=_MOMENTUM
        )
        for block in range(1, count + 1):
            x = residual_block(x, width, f"stage{stage}_block{block}", momentum=_MOMENTUM)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, probability(x), name=name)


def look_through(
    classifier: keras.Model,
    view: View = "whole",
    scaling: Scaling = "paper",
    *,
    cropped: bool = False,
) -> keras.Model:
    """Put a window and a scaling before the paper's classifier, whose variables are shared.

    The view is enlarged or shrunk to its size. The scaling "paper" leaves values in [0, 1],
    "inception" maps them to [-1, 1], as the ImageNet weights were trained. Input and output are
    those of `build_lite`; the side of a window, if `cropped`, is the view's.

    Raises:
        ValueError: The view or the scaling is unknown.
    """
    for name, value, known in (
        ("view", view, tuple(FRAMINGS)),
        ("scaling", scaling, ("paper", "inception")),
    ):
        if value not in known:
            raise ValueError(f"`{name}` must be one of {known}. Received: {name}={value!r}")
    trunk, head = classifier.get_layer("inception_v3"), classifier.get_layer("gender_head")
    inputs, x = _window(FRAMINGS[view], cropped)
    return keras.Model(inputs, head(features_of(x, trunk, scaling)), name=classifier.name)


def features_of(view: keras.KerasTensor, trunk: keras.Model, scaling: Scaling) -> keras.KerasTensor:
    """Return what a frozen trunk makes of a view in [0, 1], resized and scaled for it."""
    height, width = trunk.input_shape[1:3]
    if view.shape[1] != height:
        view = keras.layers.Resizing(height, width, name="enlarge")(view)
    if scaling == "inception":
        view = keras.layers.Rescaling(2.0, -1.0, name="scaling")(view)
    return trunk(view, training=False)


def _window(framing: Framing, cropped: bool) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return a network's input, and the window in it."""
    side = framing.side if cropped else CROP_SIZE
    inputs = keras.Input((side, side, 3), name="image")
    return inputs, inputs if side == framing.side else framing.cut(inputs)

"""The gender classifiers: the paper's head on InceptionV3, and the compact network that ships."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import keras

from unmask.face import CROP_SIZE
from unmask.gender.framing import FRAMINGS
from unmask.inception import build_inception

Scaling = Literal["paper", "inception"]

# Arguments of `build_compact` for the shipped weights.
LITE: dict[str, Any] = {"widths": (32, 64, 128, 256), "blocks": (1, 1, 1, 1), "dropout": 0.3}

# The part of the canonical crop that the compact network looks at.
VIEW = FRAMINGS["window"].view


def build_head(
    units: int = 1536,
    hidden: int = 2048,
    activation: str = "relu",
    dropout: float = 0.05,
    *,
    features: int = 2048,
    name: str = "gender_head",
) -> keras.Model:
    """Builds the paper's dense head on pooled backbone features.

    BatchNorm, Dense(hidden, relu), then two Dense(units), with BatchNorm after each, dropout and
    one sigmoid unit. With the defaults it has exactly the 9,720,321 trainable parameters of the
    paper's table; `units=320` gives the 4,964,545 of the authors' published notebook, and
    `units=1548, hidden=0` the 5,581,541 of the best trial that it saved.

    Args:
        units: Width of the two tuned layers (the notebook searches 32 to 2048).
        hidden: Width of the first layer; 0 for none.
        activation: Activation of the two tuned layers: `"relu"`, `"tanh"` or `"sigmoid"` in the
            notebook's search.
        dropout: Dropped share before the last layer. The paper does not state it; the notebook
            searches 0 to 0.1, so the default is the middle.
        features: Length of the pooled feature vector.
        name: Name of the model.

    Returns:
        A model from (B, features) float32 to (B, 1) float32, the probability of "male".

    Example:
        >>> import math
        >>> head = build_head(units=320)
        >>> sum(math.prod(variable.shape) for variable in head.trainable_variables)
        4964545

    Reference:
        "A Deep Learning Framework to Reconstruct Face under Mask", gender classification; the
        form of the head is that of the authors' notebook.
    """
    inputs = keras.Input((features,), name="features")
    x = keras.layers.BatchNormalization(name="bn_in")(inputs)
    if hidden:
        x = keras.layers.Dense(hidden, activation="relu", name="dense_hidden")(x)
        x = keras.layers.BatchNormalization(name="bn_hidden")(x)
    for index in (1, 2):
        x = keras.layers.Dense(units, activation=activation, name=f"dense_{index}")(x)
        x = keras.layers.BatchNormalization(name=f"bn_{index}")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    outputs = _probability(x)
    return keras.Model(inputs, outputs, name=name)


def build_classifier(
    backbone: str = "inception_v3",
    *,
    weights: str | os.PathLike[str] | None = None,
    units: int = 1536,
    hidden: int = 2048,
    activation: str = "relu",
    dropout: float = 0.05,
    scaling: Scaling = "paper",
    size: int = CROP_SIZE,
    view: tuple[int, int, int] | None = None,
    cropped: bool = False,
    name: str = "gender_classifier",
) -> keras.Model:
    """Builds the paper's classifier: a frozen InceptionV3 and the dense head.

    Args:
        backbone: `"inception_v3"`, the paper's.
        weights: Backbone weights: `"imagenet"` (Keras downloads them), a path (see
            `unmask.inception.build_inception`), or None for random ones.
        units: See `build_head`.
        hidden: See `build_head`.
        activation: See `build_head`.
        dropout: See `build_head`.
        scaling: What the backbone sees. `"paper"`: the values in [0, 1] as they come, as in the
            authors' notebook, whose weights expect it. `"inception"`: mapped to [-1, 1], as the
            ImageNet weights were trained.
        size: Side of the backbone's square input in pixels.
        view: Window of the canonical crop that the backbone looks at, resized to `size`: left,
            top, side, in pixels of the 256x256 crop. When None, as in the paper, the backbone sees
            the whole input.
        cropped: Whether the input is that window already and not the whole canonical crop. The
            variables are the same in both cases.
        name: Name of the model.

    Returns:
        A model from (B, size, size, 3) float32 in [0, 1], or with a `view` (B, 256, 256, 3), or
        that window if `cropped`, to (B, 1) float32, the probability of "male". Only the head is
        trainable.

    Raises:
        ValueError: If the backbone or the scaling is unknown, or `cropped` lacks a view.

    Example:
        >>> model = build_classifier(units=320)
        >>> model.output_shape
        (None, 1)

    Reference:
        "A Deep Learning Framework to Reconstruct Face under Mask", gender classification.
    """
    if backbone != "inception_v3":
        raise ValueError(f'`backbone` must be "inception_v3". Received: backbone={backbone!r}')
    if scaling not in ("paper", "inception"):
        raise ValueError(f'`scaling` must be "paper" or "inception". Received: scaling={scaling!r}')
    if cropped and view is None:
        raise ValueError("`cropped` needs a `view`. Received: view=None")
    side = size if view is None else view[2] if cropped else CROP_SIZE
    inputs = keras.Input((side, side, 3), name="image")
    trunk = build_inception(size, weights)
    trunk.trainable = False
    head = build_head(units, hidden, activation, dropout, features=trunk.output_shape[-1])
    x = inputs
    if view is not None:
        window = x if cropped else _window(x, view)
        x = window
        if view[2] != size:
            x = keras.layers.Resizing(size, size, name="enlarge")(window)
    if scaling == "inception":
        x = keras.layers.Rescaling(2.0, -1.0, name="scaling")(x)
    # training=False: frozen batch statistics too, also while the head is being trained.
    outputs = head(trunk(x, training=False))
    return keras.Model(inputs, outputs, name=name)


def build_compact(
    *,
    widths: Sequence[int] = (32, 64, 128, 256),
    blocks: Sequence[int] = (1, 1, 1, 1),
    dropout: float = 0.3,
    view: tuple[int, int, int] = VIEW,
    cropped: bool = False,
    name: str = "gender_compact",
) -> keras.Model:
    """Builds a small residual network that needs no pretrained backbone.

    It looks only at a window of the canonical crop, so that what fills the border around a tight
    photo cannot matter. Plain convolutions: depthwise ones are slower on a CPU.

    Args:
        widths: Filters of each stage. The first stage works at a quarter of the window's
            resolution, every further one at half of the one before.
        blocks: Residual blocks of each stage, as many entries as `widths`.
        dropout: Dropped share of the pooled features.
        view: Window of the canonical crop: left, top, side, in pixels.
        cropped: Whether the input is that window already (as in training) and not the whole
            canonical crop. The variables are the same in both cases.
        name: Name of the model.

    Returns:
        A model from float32 images in [0, 1], (B, 256, 256, 3) or, if `cropped`,
        (B, side, side, 3), to (B, 1) float32, the probability of "male".

    Raises:
        ValueError: If `widths` and `blocks` differ in length or the window leaves the crop.

    Example:
        >>> build_compact(**LITE).output_shape
        (None, 1)
    """
    if len(widths) != len(blocks):
        raise ValueError(
            "`widths` and `blocks` must have the same length. "
            f"Received: widths={tuple(widths)}, blocks={tuple(blocks)}"
        )
    side = view[2]
    if cropped:
        x = inputs = keras.Input((side, side, 3), name="image")
    else:
        inputs = keras.Input((CROP_SIZE, CROP_SIZE, 3), name="image")
        x = _window(inputs, view)
    x = keras.layers.Rescaling(4.0, -2.0, name="centre")(x)
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        # The first convolution sees overlapping 6x6 patches every 4 pixels: it keeps the fine
        # texture, and nothing has to be computed at the full resolution.
        kernel, stride = (6, 4) if stage == 1 else (3, 2)
        x = _conv_bn(x, width, kernel, stride=stride, name=f"stage{stage}_down")
        x = keras.layers.Activation("relu", name=f"stage{stage}_down_relu")(x)
        for block in range(1, count + 1):
            x = _residual_block(x, width, name=f"stage{stage}_block{block}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, _probability(x), name=name)


def _window(x: keras.KerasTensor, view: tuple[int, int, int]) -> keras.KerasTensor:
    (left, top, side), whole = view, x.shape[1]
    if min(left, top) < 0 or side < 1 or max(left, top) + side > whole:
        raise ValueError(f"`view` must lie inside the {whole} px crop. Received: view={view}")
    margins = ((top, whole - top - side), (left, whole - left - side))
    return keras.layers.Cropping2D(margins, name="view")(x)


def _residual_block(x: keras.KerasTensor, width: int, *, name: str) -> keras.KerasTensor:
    y = _conv_bn(x, width, 3, name=f"{name}_a")
    y = keras.layers.Activation("relu", name=f"{name}_a_relu")(y)
    # The block starts as the identity, which keeps large learning rates stable.
    y = _conv_bn(y, width, 3, name=f"{name}_b", gamma="zeros")
    y = keras.layers.Add(name=f"{name}_add")([x, y])
    return keras.layers.Activation("relu", name=f"{name}_relu")(y)


def _conv_bn(
    x: keras.KerasTensor,
    width: int,
    kernel: int,
    *,
    name: str,
    stride: int = 1,
    gamma: str = "ones",
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(
        width,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return keras.layers.BatchNormalization(
        momentum=0.98, epsilon=1e-3, gamma_initializer=gamma, name=f"{name}_bn"
    )(x)


def _probability(x: keras.KerasTensor) -> keras.KerasTensor:
    # float32 also under mixed precision: bfloat16 has too few digits for a probability.
    return keras.layers.Dense(1, activation="sigmoid", dtype="float32", name="male")(x)

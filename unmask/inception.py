"""InceptionV3 as a frozen feature network, with weights from Keras or from a folded archive."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.hdf5 import assign_keras_weights
from unmask.io import PathLike
from unmask.npz import read_numbers

# The last layers at strides 2, 4, 8 and 16. The stem is a chain, so that its ReLUs are in order.
_PYRAMID = ("activation_02", "activation_04", "mixed2", "mixed7")


def build_inception(size: int, weights: PathLike | None = None) -> keras.Model:
    """Builds InceptionV3 without its classifier, with average pooling.

    Args:
        size: Side of the square input in pixels, at least 75.
        weights: `"imagenet"` (Keras downloads them), the path of a Keras weights file of
            `keras.applications.InceptionV3(include_top=False)`, the path of a `.npz` archive (see
            `assign_folded`), or None for random ones.

    Returns:
        A model from (B, size, size, 3), for ImageNet weights in [-1, 1], to (B, 2048). Its layers
        have the same names every time.

    Raises:
        WeightsError: The file is missing, unreadable or of another network, or cannot be
            downloaded.
    """
    options = {"include_top": False, "pooling": "avg", "input_shape": (size, size, 3)}
    try:
        source = keras.applications.InceptionV3(
            **options, weights="imagenet" if weights == "imagenet" else None
        )
    except Exception as error:  # what Keras raises without a network has no class of its own
        if weights != "imagenet" or isinstance(error, ValueError):
            raise
        raise WeightsError(
            f"InceptionV3's ImageNet weights cannot be downloaded; give their file. ({error})"
        ) from error
    if weights is not None and weights != "imagenet":
        _read_into(source, Path(weights))
    return _with_stable_names(source)


def assign_folded(model: keras.Model, path: PathLike) -> None:
    """Assign an archive in which batch normalisation is folded into 8-bit convolutions.

    The archive has `NN_kernel_int8` (height, width, in, out), `NN_kernel_scale` (out,) and
    `NN_bias` (out,) for convolution NN in the order of `keras.applications.InceptionV3`. A kernel
    that it lacks becomes zero: its branch knows nothing until it is trained.

    Raises:
        WeightsError: The file is missing or unreadable, lacks a bias, or a shape is wrong. Nothing
            has been assigned then.
    """
    convolutions = in_order_of_creation(model, keras.layers.Conv2D)
    normalisations = in_order_of_creation(model, keras.layers.BatchNormalization)
    values = _read_folded(Path(path), [tuple(c.kernel.shape) for c in convolutions])
    pairs = zip(convolutions, normalisations, values, strict=True)
    for convolution, normalisation, (kernel, bias) in pairs:
        convolution.set_weights([kernel])
        # A batch normalisation that only adds the bias.
        variance = np.full_like(bias, 1.0 - normalisation.epsilon)
        normalisation.set_weights([bias, np.zeros_like(bias), variance])


def train_after(trunk: keras.Model, name: str) -> None:
    """Make the convolutions after a layer trainable, in place, and nothing else.

    Batch statistics stay as they are: call the trunk, of `build_inception`, with `training=False`.

    Raises:
        ValueError: The trunk has no such layer.

    Example:
        >>> trunk = build_inception(75)
        >>> train_after(trunk, "mixed9")
        >>> len(trunk.trainable_weights)
        9
    """
    below = {layer.name for layer in keras.Model(trunk.input, trunk.get_layer(name).output).layers}
    trunk.trainable = True
    for layer in trunk.layers:
        layer.trainable = isinstance(layer, keras.layers.Conv2D) and layer.name not in below


def build_pyramid(trunk: keras.Model) -> keras.Model:
    """Cut what `build_inception` returned down to the maps that a decoder needs.

    They are four, at about 1/2, 1/4, 1/8 and 1/16 of the resolution, each the last one before the
    next reduction: the third and the fifth ReLU, `mixed2` and `mixed7`, with 64, 192, 288 and 768
    channels.
    """
    maps = [trunk.get_layer(name).output for name in _PYRAMID]
    return keras.Model(trunk.input, maps, name="inception_pyramid")


def in_order_of_creation(
    model: keras.Model, kind: type[keras.layers.Layer]
) -> list[keras.layers.Layer]:
    """Return the layers of one kind of a model of `keras.applications` as they were created.

    Keras numbers layers as they are created; `model.layers` is sorted by depth instead.
    """

    def number(layer: keras.layers.Layer) -> int:
        found = re.search(r"_(\d+)$", layer.name.removeprefix("batch_normalization"))
        return int(found.group(1)) if found else 0

    return sorted((layer for layer in model.layers if isinstance(layer, kind)), key=number)


def _read_into(source: keras.Model, path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    if path.suffix == ".npz":
        assign_folded(source, path)
    else:
        assign_keras_weights(source, path)


def _read_folded(
    path: Path, shapes: list[tuple[int, ...]]
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return kernel and bias of every convolution."""
    archive = read_numbers(path)
    return [_read_convolution(archive, path, index, shape) for index, shape in enumerate(shapes)]


def _read_convolution(
    archive: Mapping[str, NDArray[Any]], path: Path, index: int, shape: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    name = f"{index:02d}"
    expected = {"bias": shape[-1:], "kernel_scale": shape[-1:], "kernel_int8": shape}
    if f"{name}_kernel_int8" not in archive:
        expected = {"bias": shape[-1:]}
    parts = {}
    for part, wanted in expected.items():
        key = f"{name}_{part}"
        if key not in archive:
            raise WeightsError(f"{path}: {key} is missing")
        parts[part] = archive[key].astype(np.float32)
        if parts[part].shape != wanted:
            raise WeightsError(
                f"{path}: {key} has shape {parts[part].shape}, the network needs {wanted}"
            )
    if "kernel_int8" not in parts:
        return np.zeros(shape, np.float32), parts["bias"]
    return parts["kernel_int8"] * parts["kernel_scale"], parts["bias"]


def _with_stable_names(source: keras.Model) -> keras.Model:
    # Keras numbers these layers by what was built before them in the process; weights are stored
    # by name, so they are numbered from zero here.
    counters: dict[str, int] = {}

    def renamed(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if not config["name"].startswith("mixed"):
            kind = type(layer).__name__.lower()
            index = counters[kind] = counters.get(kind, -1) + 1
            config["name"] = f"{kind}_{index:02d}"
        return type(layer).from_config(config)

    trunk = keras.models.clone_model(source, clone_function=renamed)
    trunk.name = "inception_v3"
    trunk.set_weights(source.get_weights())
    return trunk

"""Reading the weights that the paper's authors published, `gender_class_modelKT.hdf5`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import keras

from unmask.errors import WeightsError
from unmask.face import CROP_SIZE
from unmask.gender.paper import build_classifier, build_head
from unmask.hdf5 import KerasWeights, open_keras_weights
from unmask.inception import in_order_of_creation
from unmask.io import PathLike
from unmask.weights import LoadReport

# Our layers of the head, in the order of the published Sequential, and the tensors of each.
_HEAD = ("bn_in", "dense_hidden", "bn_hidden", "dense_1", "bn_1", "dense_2", "bn_2", "male")
_FEATURES = 2048
_DENSE = ("kernel", "bias")
_NORMALISATION = ("gamma", "beta", "moving_mean", "moving_variance")

# Layer and weight in the file.
_Name = tuple[str, str]
# A variable of ours and what the file calls it.
_Pairs = list[tuple[keras.Variable, _Name]]


def load_published(
    path: PathLike,
    *,
    activation: str = "relu",
    size: int = CROP_SIZE,
) -> tuple[keras.Model, LoadReport]:
    """Build the paper's classifier and load a Keras 2 HDF5 file of the authors' layout into it.

    The file holds a `Sequential` of `inception_v3`, `flatten` and the head. The widths of the head
    are read from its tensors; nothing but tensors is read.

    Args:
        path: `gender_class_modelKT.hdf5`, or another file that the authors' notebook wrote.
        activation: Activation of the two tuned layers, which the tensors do not tell.
        size: Side of the input.

    Returns:
        The network with the authors' input scaling (the backbone sees [0, 1]), and what was
        loaded. Without a backbone in the file, its variables are reported as missing.

    Raises:
        WeightsError: The file is missing, unreadable or of another network.
    """
    with open_keras_weights(path) as file:
        backbone = _backbone_layer(file)
        layers = [layer for layer, held in file.shapes.items() if held and layer != backbone]
        named = dict(zip(_head_layers(file, layers), layers, strict=True))
        hidden, units = _widths(file, layers)
        head = build_head(units, hidden, activation)
        loaded = _assign(file, _pair_head(file, named, head))
        source = None
        if backbone is not None:
            # Keras' own model numbers its layers as the file does; ours has fixed names.
            source = keras.applications.InceptionV3(
                include_top=False, pooling="avg", input_shape=(size, size, 3), weights=None
            )
            loaded |= _assign(file, _pair_backbone(file, backbone, source))
        model = build_classifier(units=units, hidden=hidden, activation=activation, size=size)
        model.get_layer("gender_head").set_weights(head.get_weights())
        trunk = model.get_layer("inception_v3")
        missing: tuple[str, ...] = ()
        if source is None:
            missing = tuple(sorted(f"inception_v3/{v.path}" for v in trunk.weights))
        else:
            trunk.set_weights(source.get_weights())
        names = {(layer, weight) for layer, held in file.shapes.items() for weight in held}
        return model, LoadReport(
            loaded=_joined(loaded), missing=missing, unused=_joined(names - loaded)
        )


def _backbone_layer(file: KerasWeights) -> str | None:
    """Return the layer with convolutions, if there is one."""
    found = [
        layer
        for layer, held in file.shapes.items()
        if any(len(shape) == 4 for shape in held.values())
    ]
    if len(found) > 1:
        raise WeightsError(f"{file.path}: more than one layer has convolutions: {found[:3]}")
    return found[0] if found else None


def _widths(file: KerasWeights, layers: Sequence[str]) -> tuple[int, int]:
    """Return the widths of the first layer, 0 for none, and of the tuned ones, from the kernels.

    All kernels are compared with them: the head that is built next is as large as the file's.
    """
    kernels = []
    for layer in layers[1::2]:
        shape = file.shapes[layer].get(_leaves(file, layer).get("kernel", ""), ())
        if len(shape) != 2:
            raise WeightsError(f"{file.path}: {layer}: not a dense layer; its kernel is {shape}")
        kernels.append(shape)
    *first, units = (shape[1] for shape in kernels[:-2])
    widths = [_FEATURES, *first, units, units, 1]
    needed = list(pairwise(widths))
    if kernels != needed or 0 in widths:
        raise WeightsError(f"{file.path}: the head's kernels must be {needed}. Received: {kernels}")
    return (first[0] if first else 0), units


def _head_layers(file: KerasWeights, layers: Sequence[str]) -> list[str]:
    """Return our names of the head's layers; not every head has the hidden one."""
    short = [name for name in _HEAD if "hidden" not in name]
    for names in (list(_HEAD), short):
        if len(names) == len(layers):
            return names
    raise WeightsError(
        f"{file.path}: the head must have {len(_HEAD)} or {len(short)} layers with weights. "
        f"Received: {len(layers)} ({', '.join(layers[:10])})"
    )


def _pair_head(file: KerasWeights, layers: Mapping[str, str], head: keras.Model) -> _Pairs:
    return [
        pair
        for ours, theirs in layers.items()
        for pair in _pair_layer(
            file,
            theirs,
            _leaves(file, theirs),
            head.get_layer(ours),
            _NORMALISATION if ours.startswith("bn") else _DENSE,
        )
    ]


def _pair_backbone(file: KerasWeights, backbone: str, source: keras.Model) -> _Pairs:
    """Pair the n-th convolution (normalisation) of the file with the n-th of Keras' model."""
    inner: dict[str, dict[str, str]] = {}
    for weight in file.shapes[backbone]:
        owner, _, leaf = weight.rpartition("/")
        inner.setdefault(owner, {})[_without_number(leaf)] = weight
    pairs: _Pairs = []
    for kind, leaves in (
        (keras.layers.Conv2D, ("kernel",)),
        (keras.layers.BatchNormalization, ("beta", "moving_mean", "moving_variance")),
    ):
        ours = in_order_of_creation(source, kind)
        theirs = sorted((name for name in inner if leaves[0] in inner[name]), key=_number)
        if len(theirs) != len(ours):
            raise WeightsError(
                f"{file.path}: {backbone}: InceptionV3 has {len(ours)} tensors {leaves[0]}. "
                f"Received: {len(theirs)}"
            )
        for layer, name in zip(ours, theirs, strict=True):
            pairs += _pair_layer(file, backbone, inner[name], layer, leaves)
    return pairs


def _pair_layer(
    file: KerasWeights,
    theirs: str,
    held: dict[str, str],
    layer: keras.layers.Layer,
    leaves: Sequence[str],
) -> _Pairs:
    pairs: _Pairs = []
    for leaf in leaves:
        if leaf not in held:
            raise WeightsError(f"{file.path}: {theirs}: {leaf} of {layer.name} is missing")
        variable: Any = getattr(layer, leaf)
        shape = file.shapes[theirs][held[leaf]]
        if shape != tuple(variable.shape):
            raise WeightsError(
                f"{file.path}: {theirs}: {held[leaf]} has shape {shape}, "
                f"the network needs {tuple(variable.shape)}"
            )
        pairs.append((variable, (theirs, held[leaf])))
    return pairs


def _assign(file: KerasWeights, pairs: _Pairs) -> set[_Name]:
    for variable, name in pairs:
        variable.assign(file.read(*name))
    return {name for _, name in pairs}


def _leaves(file: KerasWeights, layer: str) -> dict[str, str]:
    """Return the layer's tensors by their last name: `"kernel"` to `"dense/kernel:0"`."""
    return {_without_number(weight.rpartition("/")[2]): weight for weight in file.shapes[layer]}


def _without_number(leaf: str) -> str:
    return leaf.partition(":")[0]


def _number(name: str) -> int:
    found = re.search(r"_(\d+)$", name)
    return int(found.group(1)) if found else 0


def _joined(names: set[_Name]) -> tuple[str, ...]:
    return tuple(sorted("/".join(name) for name in names))

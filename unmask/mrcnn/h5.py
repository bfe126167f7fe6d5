"""Reading and writing weight files in matterport's layout (HDF5 of Keras 2).

A group for each layer, named like it, with an attribute `weight_names`; the root, or the group
`model_weights` of a whole saved model, has the attribute `layer_names`. A file is read only as
numbers: links to other files are refused, and shapes are compared before anything is allocated.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.io import atomic_path
from unmask.mrcnn.backbone import BLOCKS
from unmask.weights import LoadReport

if TYPE_CHECKING:
    import h5py

_logger = logging.getLogger(__name__)

_BACKBONE_LAYER = re.compile(r"(res|bn)\d.*|conv1|bn_conv1")

CLASS_LAYERS = ("mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask")
"""Layers whose size depends on the number of classes: what to exclude from a file for others."""


def load_h5(
    model: keras.Model,
    path: str | os.PathLike[str],
    exclude: Collection[str] = (),
    *,
    complete: bool = False,
) -> LoadReport:
    """Assign a weight file to a network, layer by layer, by name.

    Args:
        model: The network, built.
        path: The file.
        exclude: Names of layers that are left alone.
        complete: Whether a layer that the file does not have is an error.

    Returns:
        Which layers were loaded, which the file does not have, and which it has in vain.

    Raises:
        WeightsError: The file cannot be read or links to others; it belongs to another backbone;
            nothing in it fits; a shape differs. Nothing has been assigned then.
    """
    import h5py

    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such file")
    layers = {layer.name: layer for layer in layers_with_weights(model)}
    _check_exclude(exclude, path, layers)
    try:
        with h5py.File(path, "r") as file:
            groups = dict(_layer_groups(file, path))
            stored = {name: g for name, g in groups.items() if name not in exclude}
            wanted = {name: layer for name, layer in layers.items() if name not in exclude}
            _check_backbone(path, set(wanted), set(stored))
            found = [name for name in wanted if name in stored]
            if not found:
                raise WeightsError(f"{path}: none of its layers has the name of a layer here")
            absent = [name for name in wanted if name not in stored]
            if complete and absent:
                raise WeightsError(
                    f"{path}: {len(absent)} layers are not in the file: {absent[:3]}. "
                    "by_name=True loads what there is"
                )
            plan = [pair for name in found for pair in _pairs(path, stored[name], wanted[name])]
            values = [dataset[()] for _, dataset in plan]
    except OSError as error:
        raise WeightsError(f"{path}: not a readable HDF5 file ({error})") from error
    for (variable, _), value in zip(plan, values, strict=True):
        variable.assign(np.asarray(value, np.float32))
    report = LoadReport(
        loaded=tuple(found),
        missing=tuple(absent),
        unused=tuple(name for name in stored if name not in wanted),
    )
    if report.unused or report.missing:
        _logger.warning(
            "%s: %s; missing %s, unused %s",
            path, report, list(report.missing[:5]), list(report.unused[:5]),
        )  # fmt: skip
    return report


def save_h5(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Write a network's weights in the layout that matterport's programs read.

    Args:
        model: The network, built.
        path: The file, replaced atomically.
    """
    import h5py

    layers = list(layers_with_weights(model))
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["layer_names"] = _bytes([layer.name for layer in layers])
        file.attrs["backend"] = np.bytes_(b"tensorflow")
        file.attrs["keras_version"] = np.bytes_(b"2.0.8")
        for layer in layers:
            group = file.create_group(layer.name)
            named = [(weight_name(layer, w), w) for w in layer.weights]
            group.attrs["weight_names"] = _bytes([name for name, _ in named])
            for name, weight in named:
                group.create_dataset(name, data=np.asarray(weight.numpy(), np.float32))


def stored_backbone(path: str | os.PathLike[str]) -> str:
    """Return which ResNet a file was written for.

    Args:
        path: A `.h5` file in matterport's layout, or of a ResNet with the same names.

    Returns:
        "resnet50" or "resnet101".

    Raises:
        WeightsError: The file cannot be read, or has no such network in it.
    """
    import h5py

    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            names = {name for name, _ in _layer_groups(file, path)}
    except OSError as error:
        raise WeightsError(f"{path}: not a readable HDF5 file ({error})") from error
    found = _resnet(names)
    if found not in BLOCKS:
        raise WeightsError(f"{path}: holds no ResNet of 50 or 101 layers: {found}")
    return found


def layers_with_weights(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers that a weight file has a group for; nested networks count as one."""
    return (layer for layer in model.layers if layer.weights)


def weight_name(layer: keras.layers.Layer, weight: keras.Variable) -> str:
    """Return a weight's name in the file, such as "conv1/kernel:0"."""
    parts = weight.path.split("/")
    owner = parts[-2] if isinstance(layer, keras.Model) else layer.name
    return f"{owner}/{parts[-1]}:0"


def _pairs(
    path: str | os.PathLike[str], group: h5py.Group, layer: keras.layers.Layer
) -> list[tuple[keras.Variable, h5py.Dataset]]:
    """Find the data set of each weight of a layer: by its name, or else by its place."""
    names = _texts(group, "weight_names")
    by_name = {_short(name): name for name in names}
    wanted = [_short(weight_name(layer, w)) for w in layer.weights]
    if not isinstance(layer, keras.Model):
        by_name = {name.rsplit("/", 1)[-1]: full for name, full in by_name.items()}
        wanted = [name.rsplit("/", 1)[-1] for name in wanted]
    if len(names) != len(wanted):
        raise WeightsError(
            f"{path}: layer {layer.name} has {len(names)} weights, the network needs {len(wanted)}"
        )
    order = [by_name[n] for n in wanted] if set(wanted) == set(by_name) else names
    pairs = []
    for weight, name in zip(layer.weights, order, strict=True):
        dataset = _dataset(path, group, name)
        if tuple(dataset.shape) != tuple(weight.shape):
            raise WeightsError(
                f"{path}: layer {layer.name}: {name} has the shape {tuple(dataset.shape)}, the "
                f"network needs {tuple(weight.shape)}. {_hint(layer.name)}"
            )
        if dataset.dtype.kind != "f":
            raise WeightsError(f"{path}: {layer.name}: {name} holds {dataset.dtype}, not numbers")
        pairs.append((weight, dataset))
    return pairs


def _hint(layer: str) -> str:
    if layer.startswith("mrcnn_"):
        return f"A file for another number of classes loads with exclude={list(CLASS_LAYERS)}"
    return f"A layer that is to be trained anew is left out with exclude=[{layer!r}]"


def _dataset(path: str | os.PathLike[str], group: h5py.Group, name: str) -> h5py.Dataset:
    import h5py

    _check_links(path, group, name)
    dataset = group.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise WeightsError(f"{path}: {group.name}: there is no data set {name}")
    if dataset.external or dataset.is_virtual:
        raise WeightsError(f"{path}: {group.name}: {name} keeps its numbers in another file")
    return dataset


def _layer_groups(
    file: h5py.File, path: str | os.PathLike[str]
) -> Iterator[tuple[str, h5py.Group]]:
    """Yield name and group of each layer that has weights."""
    import h5py

    root: h5py.Group = file
    if not _has(file, "layer_names") and "model_weights" in file:
        _check_links(path, file, "model_weights")
        root = file["model_weights"]
    if not _has(root, "layer_names"):
        raise WeightsError(
            f"{path}: no layer_names: not a weight file in the layout of Keras 2 "
            "(a `.weights.h5` or `.keras` file is read by Keras itself)"
        )
    for name in _texts(root, "layer_names"):
        _check_links(path, root, name)
        group = root.get(name)
        if not isinstance(group, h5py.Group):
            raise WeightsError(f"{path}: there is no group for the layer {name}")
        if _has(group, "weight_names") and _texts(group, "weight_names"):
            yield name, group


def _check_links(path: str | os.PathLike[str], group: h5py.Group, name: str) -> None:
    """Refuse links on the way to a name: they could lead to any file of the machine."""
    import h5py

    at: Any = group
    for part in name.strip("/").split("/"):
        link = at.get(part, getlink=True) if isinstance(at, h5py.Group) else None
        if link is None:
            raise WeightsError(f"{path}: {group.name}: there is nothing named {name}")
        if not isinstance(link, h5py.HardLink):
            raise WeightsError(f"{path}: {group.name}: {name} is a link, which is not followed")
        at = at[part]


def _check_exclude(
    exclude: Collection[str], path: str | os.PathLike[str], layers: Collection[str]
) -> None:
    if isinstance(exclude, str):
        raise ValueError(f"exclude must be a list of layer names. Received: exclude={exclude!r}")
    # matterport's programs pass "mrcnn_bbox", which is a layer without weights.
    unknown = [name for name in exclude if name not in layers and name != "mrcnn_bbox"]
    if unknown:
        raise WeightsError(
            f"{path}: exclude names layers that the network does not have: {unknown}. "
            f"The layers with weights are {list(layers)[:3]} ... {list(layers)[-3:]}"
        )


def _check_backbone(
    path: str | os.PathLike[str], network: Collection[str], file: Collection[str]
) -> None:
    ours = {name for name in network if _BACKBONE_LAYER.fullmatch(name)}
    theirs = {name for name in file if _BACKBONE_LAYER.fullmatch(name)}
    if ours & theirs and ours != theirs:
        raise WeightsError(
            f"{path}: written for another backbone ({_resnet(theirs)}, here it is {_resnet(ours)}):"
            f" only in the file {sorted(theirs - ours)[:3]}, only here {sorted(ours - theirs)[:3]}."
            " Set Config.BACKBONE to match"
        )


def _resnet(names: Collection[str]) -> str:
    # The fourth stage has 6 blocks in a resnet50 and 23 in a resnet101.
    blocks = {name[4] for name in names if re.match(r"res4[a-z]_", name)}
    return {6: "resnet50", 23: "resnet101"}.get(len(blocks), f"{len(blocks)} blocks in stage 4")


def _has(group: h5py.Group, name: str) -> bool:
    return name in group.attrs or f"{name}0" in group.attrs


def _texts(group: h5py.Group, name: str) -> list[str]:
    """Read an attribute of names: bytes or str, in one piece or, when long, in several."""
    if name in group.attrs:
        values = list(np.asarray(group.attrs[name]).ravel())
    else:
        values, i = [], 0
        while f"{name}{i}" in group.attrs:
            values += list(np.asarray(group.attrs[f"{name}{i}"]).ravel())
            i += 1
    return [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values]


def _short(name: str) -> str:
    """Keep the last two parts of a weight's name, without the ":0"."""
    return "/".join(name.split(":")[0].split("/")[-2:])


def _bytes(names: list[str]) -> NDArray[np.bytes_]:
    return np.array([name.encode("utf-8") for name in names])

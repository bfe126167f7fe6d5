"""Weight files in matterport's layout (HDF5 of Keras 2), and where a training keeps them.

Shapes are compared before any number is read, and numbers are assigned only when all of them are
there. A run is a folder, `NAME20240131T1530`, and in it a file an epoch, `mask_rcnn_NAME_0007.h5`.
"""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.hdf5 import open_keras_weights
from unmask.io import PathLike, atomic_path
from unmask.mrcnn.backbone import BLOCKS
from unmask.weights import LoadReport

_logger = logging.getLogger(__name__)

_BACKBONE_LAYER = re.compile(r"(res|bn)\d.*|conv1|bn_conv1")

CLASS_LAYERS = ("mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask")
"""Layers whose size depends on the number of classes: what to exclude from a file for others."""


def load_h5(
    model: keras.Model, path: PathLike, exclude: Collection[str] = (), *, complete: bool = False
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
        WeightsError: The file cannot be read or links to others; it is to be complete and belongs
            to another backbone; nothing in it fits; a shape differs. Nothing has been assigned
            then.
    """
    layers = {layer.name: layer for layer in layers_with_weights(model)}
    _check_exclude(exclude, path, [layer.name for layer in model.layers])
    wanted = {name: layer for name, layer in layers.items() if name not in exclude}
    with open_keras_weights(path) as file:
        stored = {name: held for name, held in file.shapes.items() if held and name not in exclude}
        if complete:
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
        values = [file.read(layer, weight) for _, layer, weight in plan]
    for (variable, *_), value in zip(plan, values, strict=True):
        variable.assign(value)
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


def save_h5(model: keras.Model, path: PathLike) -> None:
    """Write a network's weights in the layout that matterport's programs read, atomically."""
    import h5py

    layers = list(layers_with_weights(model))
    # The temporary file is locked already.
    with atomic_path(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
        file.attrs["layer_names"] = _bytes([layer.name for layer in layers])
        file.attrs["backend"] = np.bytes_(b"tensorflow")
        file.attrs["keras_version"] = np.bytes_(b"2.0.8")
        for layer in layers:
            group = file.create_group(layer.name)
            named = [(weight_name(layer, w), w) for w in layer.weights]
            group.attrs["weight_names"] = _bytes([name for name, _ in named])
            for name, weight in named:
                group.create_dataset(name, data=np.asarray(weight.numpy(), np.float32))


def stored_backbone(path: PathLike) -> str:
    """Return which ResNet a file was written for, "resnet50" or "resnet101".

    Raises:
        WeightsError: The file cannot be read, or has no such network in it.
    """
    with open_keras_weights(path) as file:
        names = {name for name, held in file.shapes.items() if held}
    found = _resnet(names)
    if found not in BLOCKS:
        raise WeightsError(f"{path}: holds no ResNet of 50 or 101 layers: {found}")
    return found


def layers_with_weights(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers that a weight file has a group for; nested networks count as one."""
    return (layer for layer in model.layers if layer.weights)


def weight_name(layer: keras.layers.Layer, weight: keras.Variable) -> str:
    """Return a weight's name in the file, such as "conv1/kernel:0".

    Of a layer made of others, such as attention, the name has them too: "attention/query/kernel:0".
    """
    parts = weight.path.split("/")
    if isinstance(layer, keras.Model):
        return f"{parts[-2]}/{parts[-1]}:0"
    below = parts[parts.index(layer.name) + 1 :] if layer.name in parts else parts[-1:]
    return "/".join([layer.name, *below]) + ":0"


def _pairs(
    path: PathLike, held: Mapping[str, tuple[int, ...]], layer: keras.layers.Layer
) -> list[tuple[keras.Variable, str, str]]:
    """Find each weight's layer and tensor in the file: by its name, or else by its place."""
    names = list(held)
    wanted = [weight_name(layer, w) for w in layer.weights]
    if isinstance(layer, keras.Model):
        count = 2
    else:  # the name of the layer may differ; one made of others needs all below it
        count = max((name.count("/") for name in wanted), default=1)
    by_name = {_last(name, count): name for name in names}
    wanted = [_last(name, count) for name in wanted]
    if len(names) != len(wanted):
        raise WeightsError(
            f"{path}: layer {layer.name} has {len(names)} weights, the network needs {len(wanted)}"
        )
    order = [by_name[n] for n in wanted] if set(wanted) == set(by_name) else names
    pairs = []
    for weight, name in zip(layer.weights, order, strict=True):
        if held[name] != tuple(weight.shape):
            raise WeightsError(
                f"{path}: layer {layer.name}: {name} has the shape {held[name]}, the "
                f"network needs {tuple(weight.shape)}. {_hint(layer.name)}"
            )
        pairs.append((weight, layer.name, name))
    return pairs


def _hint(layer: str) -> str:
    if layer.startswith("mrcnn_"):
        return f"A file for another number of classes loads with exclude={list(CLASS_LAYERS)}"
    return f"A layer that is to be trained anew is left out with exclude=[{layer!r}]"


def _check_exclude(exclude: Collection[str], path: PathLike, layers: Collection[str]) -> None:
    if isinstance(exclude, str):
        raise ValueError(f"exclude must be a list of layer names. Received: exclude={exclude!r}")
    # matterport's programs pass "mrcnn_bbox", which is a layer without weights.
    unknown = [name for name in exclude if name not in layers and name != "mrcnn_bbox"]
    if unknown:
        raise WeightsError(
            f"{path}: exclude names layers that the network does not have: {unknown}. "
            f"Its layers are {list(layers)[:3]} ... {list(layers)[-3:]}"
        )


def _check_backbone(path: PathLike, network: Collection[str], file: Collection[str]) -> None:
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


def _last(name: str, count: int) -> str:
    """Keep the last parts of a weight's name, without the ":0"."""
    return "/".join(name.split(":")[0].split("/")[-count:])


def _bytes(names: list[str]) -> NDArray[np.bytes_]:
    return np.array([name.encode("utf-8") for name in names])


_TIME = "%Y%m%dT%H%M"
_RUN = re.compile(r"(.+)(\d{8}T\d{4})")
_FILE = re.compile(r"mask_rcnn_(.+)_(\d{4,})\.h5")

# Name, time of the run, epoch.
Checkpoint = tuple[str, datetime.datetime, int]


def read_checkpoint_path(path: PathLike) -> Checkpoint | None:
    """Return whose checkpoint a path is, of which run and epoch; None for any other file."""
    path = Path(path).absolute()
    run, file = _RUN.fullmatch(path.parent.name), _FILE.fullmatch(path.name)
    if not run or not file:
        return None
    try:
        time = datetime.datetime.strptime(run[2], _TIME)
    except ValueError:  # digits that are no date
        return None
    return file[1], time, int(file[2])


def run_folder(model_dir: PathLike, name: str, time: datetime.datetime) -> Path:
    """Return the folder of a run."""
    return Path(model_dir) / f"{name}{time:{_TIME}}"


def checkpoint_pattern(folder: Path, name: str) -> str:
    """Return the path of a run's checkpoints, to be completed by `format(epoch=...)`."""
    path = str(folder / f"mask_rcnn_{name}_")
    return path.replace("{", "{{").replace("}", "}}") + "{epoch:04d}.h5"


def last_checkpoint(model_dir: PathLike, name: str) -> Path:
    """Return the checkpoint with the highest epoch of the newest run that has any.

    Raises:
        FileNotFoundError: There is none.
    """
    found = []
    for file in Path(model_dir).glob("*/mask_rcnn_*.h5"):
        # Names are compared whole: one configuration's may begin with another's.
        checkpoint = read_checkpoint_path(file)
        if checkpoint is None or checkpoint[0] != name or not file.is_file():
            continue
        if file.parent == run_folder(model_dir, name, checkpoint[1]):
            found.append((*checkpoint[1:], file))
    if not found:
        raise FileNotFoundError(
            f"no checkpoint of {name!r} under {model_dir}: no "
            f"{name}YYYYMMDDTHHMM/mask_rcnn_{name}_NNNN.h5"
        )
    return max(found)[-1]

"""A preset's networks as files for other programs: ONNX, LiteRT, SavedModel, Keras."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unmask.errors import UnmaskError, require
from unmask.inference import tensorflow_function
from unmask.io import PathLike, atomic_path, write_bytes_atomic
from unmask.manifest import write_manifest
from unmask.presets import build_stage, get_preset
from unmask.weights import find, load_weights

if TYPE_CHECKING:
    import keras

Format = Literal["onnx", "litert", "saved_model", "keras"]

# Side of what a .tflite takes where the network takes any.
_SIDE = 256
_OPSET = 18
# In float32: where a landmark lies between two pixels, a rounded kernel would move it to the other.
_EXACT = ("landmarks",)
# Smaller tensors are left as they are: they are shapes and biases.
_LEAST_HALVED = 256
_LARGEST_INT16 = 32_767


def export_preset(
    form: Format,
    out: PathLike,
    *,
    preset: str = "lite",
    weights_dir: PathLike | None = None,
) -> Iterator[Path]:
    """Write the networks of a preset for other programs.

    With "onnx", `out` becomes a folder of weights: `Unmasker(runtime="onnx", weights_dir=out)`
    needs no Keras. Kernels are stored as 16-bit integers with a scale for each output channel,
    but for those that find landmarks.

    Args:
        form: What to write.
        out: Folder, filled with `PRESET/STAGE.onnx`, `.tflite`, `.keras` or a SavedModel's folder.
            A network for photos of any size takes 256 x 256 pixels as a `.tflite`.
        preset: The preset.
        weights_dir: Folder of its weights; the shipped one when None.

    Yields:
        What was written, one network after the other.

    Raises:
        UnmaskError: A package for the format is missing, or the backend is not TensorFlow.
        WeightsError: The preset or its weights cannot be used.
    """
    writer = _WRITERS[form]
    folder = Path(out) / preset
    folder.mkdir(parents=True, exist_ok=True)
    for stage in get_preset(preset).files:
        entry = find(preset, stage, weights_dir)
        if stage in get_preset(preset).networks:
            model = build_stage(preset, stage)
            load_weights(model, entry.path)
            yield writer(model, folder / stage)
        elif form == "onnx":  # the linear prior is no network
            _copy(entry.path, folder / entry.path.name)
        if form == "onnx":
            _copy(entry.card, folder / f"{stage}.md")
    if form == "onnx":
        write_manifest(out)


def _copy(source: Path, target: Path) -> None:
    if not (target.exists() and source.samefile(target)):
        shutil.copyfile(source, target)


def _write_onnx(model: keras.Model, path: Path) -> Path:
    require("export", "'unmask[export]'", "onnx", "tf2onnx")
    import onnx
    import tf2onnx

    function, signature = _function(model)
    converted, _ = tf2onnx.convert.from_function(function, signature, opset=_OPSET)
    if path.name not in _EXACT:
        _halve(converted)
    target = path.with_suffix(".onnx")
    with atomic_path(target) as temporary:
        onnx.save(converted, str(temporary))
    return target


def _write_litert(model: keras.Model, path: Path) -> Path:
    import tensorflow as tf

    target = path.with_suffix(".tflite")
    # By way of a SavedModel: from the function alone the converter makes a file without weights.
    with tempfile.TemporaryDirectory() as folder:
        _write_saved_model(_of_one_size(model), Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        try:
            content = converter.convert()
        except Exception as error:  # pages of the converter's own notes
            reason = str(error).strip().splitlines()[0]
            raise UnmaskError(f"{target}: cannot be converted ({reason})") from error
    write_bytes_atomic(target, content)
    return target


def _of_one_size(model: keras.Model) -> keras.Model:
    """Return a network that takes squares of `_SIDE` pixels where it took any size.

    The converter loses the number of channels where sizes are enlarged that it does not know.
    """
    import keras

    shapes = [tuple(side or _SIDE for side in one.shape[1:]) for one in model.inputs]
    inputs = [
        keras.Input(shape, dtype=one.dtype, name=one.name)
        for shape, one in zip(shapes, model.inputs, strict=True)
    ]
    return keras.Model(inputs, model(inputs if len(inputs) > 1 else inputs[0]))


def _write_saved_model(model: keras.Model, path: Path) -> Path:
    model.export(str(path), verbose=False)
    return path


def _write_keras(model: keras.Model, path: Path) -> Path:
    target = path.with_suffix(".keras")
    with atomic_path(target) as temporary:
        whole = temporary.with_suffix(".keras")
        model.save(whole)
        whole.replace(temporary)
    return target


_WRITERS: dict[str, Callable[[Any, Path], Path]] = {
    "onnx": _write_onnx,
    "litert": _write_litert,
    "saved_model": _write_saved_model,
    "keras": _write_keras,
}


def _function(model: keras.Model) -> tuple[Any, list[Any]]:
    """Return the network as a TensorFlow function of its last output, and what it takes."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise UnmaskError(f"export needs KERAS_BACKEND=tensorflow, not {keras.backend.backend()}")
    function = tensorflow_function(model)
    return function, list(function.input_signature)


def _halve(model: Any) -> None:
    """Store kernels as 16-bit integers and a scale for each first index, and undo it where used.

    In a channel float16 is a twentieth as exact, and moved masks by a pixel here and there.
    """
    import onnx

    graph = model.graph
    for tensor in list(graph.initializer):
        value = onnx.numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or value.ndim < 2 or value.size < _LEAST_HALVED:
            continue
        name = tensor.name
        largest = np.abs(value).max(axis=tuple(range(1, value.ndim)), keepdims=True)
        scale = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(_LARGEST_INT16)
        parts = {
            f"{name}_int16": np.round(value / scale).astype(np.int16),
            f"{name}_scale": scale,
        }
        graph.initializer.remove(tensor)
        graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in parts.items())
        whole, scales = parts
        make, wide = onnx.helper.make_node, f"{name}_float"
        graph.node.insert(0, make("Mul", [wide, scales], [name]))
        graph.node.insert(0, make("Cast", [whole], [wide], to=onnx.TensorProto.FLOAT))

"""Looking into a network: which tensors lead to another, and what they are for an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.mrcnn.heads import FoldBoxes, UnfoldBoxes

Array = NDArray[Any]
Tensor = Any


def find_ancestor(tensor: Tensor, name: str) -> Tensor | None:
    """Return the tensor of a name among those that another is computed from.

    Args:
        tensor: A tensor of a network, such as `layer.output`.
        name: Name of a layer or of its output, with or without ":0".

    Returns:
        The tensor; None if there is none. What happens inside a layer has no names in Keras 3.
    """
    wanted = name.removesuffix(":0")
    for found in _upstream(tensor):
        if wanted in (found.name, found._keras_history.operation.name):
            return found
    return None


def evaluate(
    model: keras.Model, inputs: Sequence[Array], outputs: Iterable[tuple[str, Any]]
) -> dict[str, Array]:
    """Return values inside a network.

    Args:
        model: The network.
        inputs: Its inputs.
        outputs: Pairs of a name and a tensor of the network or the name of a layer.

    Returns:
        Arrays by name. The layers of the heads see the boxes of all images one after another; their
        values are returned as (N, R, ...) like all others.

    Raises:
        ValueError: An output is no tensor of the network.
    """
    tensors = {name: _tensor(model, name, what) for name, what in outputs}
    probe = keras.Model(model.inputs, list(tensors.values()))
    probe.jit_compile = model.jit_compile
    values = probe.predict_on_batch(list(inputs))
    if len(tensors) == 1 and not isinstance(values, (list, tuple)):
        values = [values]
    return {
        name: _unfolded(np.asarray(value), tensor, len(inputs[0]))
        for (name, tensor), value in zip(tensors.items(), values, strict=True)
    }


def _tensor(model: keras.Model, name: str, what: Any) -> Tensor:
    if isinstance(what, str):
        what = model.get_layer(what).output
    if not hasattr(what, "_keras_history"):
        raise ValueError(
            f"outputs must be tensors of the network or names of its layers. "
            f"Received: {name!r}: {what!r}"
        )
    return what


def _unfolded(value: Array, tensor: Tensor, batch: int) -> Array:
    for found in _upstream(tensor, UnfoldBoxes):
        operation = found._keras_history.operation
        if isinstance(operation, FoldBoxes):
            return value.reshape(batch, operation.input.shape[1], *value.shape[1:])
    return value


def _upstream(tensor: Tensor, stop: type | tuple[()] = ()) -> Iterator[Tensor]:
    """Yield a tensor and all that lead to it, but nothing beyond layers of the kind `stop`."""
    seen: set[int] = set()
    waiting = [tensor]
    while waiting:
        here = waiting.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        yield here
        # Keras' record of what a tensor was computed from; it has no public name.
        operation, node, _ = here._keras_history
        if not isinstance(operation, stop):
            waiting += operation._inbound_nodes[node].input_tensors

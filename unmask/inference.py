"""How a network runs: with Keras, compiled once for all sizes, or with ONNX Runtime alone."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.io import PathLike

if TYPE_CHECKING:
    import keras

Network: TypeAlias = "keras.Model | OnnxNetwork"
"""What `forward` runs."""

# Nearer to 0 or to 1 a float32 has no digits left.
_LEAST = 1e-7

_ATTRIBUTE = "_unmask_forward"


def forward(model: Network, *inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute a network's output at inference, the last one where it has several.

    On TensorFlow the network is compiled once, for every size: half the time of calling the model
    layer by layer, and no further compilation for the next photo, which Keras' `predict_on_batch`
    would begin with. Other backends go through `predict_on_batch`.

    Args:
        model: A Keras network, or one that ONNX Runtime runs.
        *inputs: One float32 array for each of its inputs.

    Returns:
        The output as a float32 array.

    Example:
        >>> import keras
        >>> x = keras.Input((None, None, 3))
        >>> model = keras.Model(x, keras.layers.Conv2D(1, 1, kernel_initializer="ones")(x))
        >>> forward(model, np.ones((2, 4, 6, 3), np.float32))[0, 0, 0]
        array([3.], dtype=float32)
    """
    if isinstance(model, OnnxNetwork):
        return model(*inputs)
    import keras

    if keras.backend.backend() != "tensorflow":
        given = list(inputs) if len(inputs) > 1 else inputs[0]
        return np.asarray(_last(model.predict_on_batch(given)), np.float32)
    function = getattr(model, _ATTRIBUTE, None)
    if function is None:
        function = tensorflow_function(model)
        # On the model itself: it lives as long, and changes of the weights are seen.
        object.__setattr__(model, _ATTRIBUTE, function)
    return np.asarray(function(*inputs), np.float32)


def mean_probability(views: NDArray[np.floating]) -> NDArray[np.float32]:
    """Join probabilities of several views of the same things, (V, ...) to (...), by mean logits.

    Example:
        >>> mean_probability(np.array([[0.2], [0.8]]))
        array([0.5], dtype=float32)
    """
    from scipy.special import expit, logit

    inside = np.clip(np.asarray(views, np.float64), _LEAST, 1 - _LEAST)
    return np.asarray(expit(logit(inside).mean(0)), np.float32)


def tensorflow_function(model: keras.Model) -> Any:
    """Return a network, at inference, as a TensorFlow function to its last output."""
    import tensorflow as tf

    signature = [tf.TensorSpec(x.shape, x.dtype, name=x.name) for x in model.inputs]

    def call(*inputs: Any) -> Any:
        return _last(model(list(inputs) if len(inputs) > 1 else inputs[0], training=False))

    return tf.function(call, input_signature=signature, autograph=False)


def _last(outputs: Any) -> Any:
    return outputs[-1] if isinstance(outputs, (list, tuple)) else outputs


# === ONNX Runtime ===


class OnnxNetwork:
    """A network in an ONNX file, called with arrays.

    Args:
        path: A file of `unmask export onnx`.

    Attributes:
        inputs: Names of the inputs.
        input_shape: Shape of the first input, None where it may vary.

    Raises:
        WeightsError: The file is missing or no ONNX model, or ONNX Runtime is not installed.

    Example:
        >>> network = OnnxNetwork("onnx/lite/gender.onnx")           # doctest: +SKIP
        >>> network(np.zeros((1, 256, 256, 3), np.float32)).shape    # doctest: +SKIP
        (1, 1)
    """

    def __init__(self, path: PathLike) -> None:
        if not has_onnxruntime():
            raise WeightsError(f"{path}: needs ONNX Runtime; pip install 'unmask[onnx]'")
        if not Path(path).is_file():
            raise WeightsError(f"{path}: no such file")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Workers that share a machine are told so by this variable (`unmask.engines`).
        told = os.environ.get("OMP_NUM_THREADS", "")
        options.intra_op_num_threads = int(told) if told.isdigit() else 0  # 0: all cores
        options.log_severity_level = 3
        # Threads of one network that wait in a loop for its next call are in the way of the others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common class
            raise WeightsError(f"{path}: not a usable ONNX model ({error})") from error
        given = self._session.get_inputs()
        self.inputs = [one.name for one in given]
        self.input_shape: tuple[Any, ...] = tuple(
            d if isinstance(d, int) else None for d in given[0].shape
        )

    def __call__(self, *inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the output for one array per input, in the order of the Keras network's."""
        feed = dict(zip(self.inputs, inputs, strict=True))
        return np.asarray(self._session.run(None, feed)[0], np.float32)


def is_onnx(path: PathLike) -> bool:
    """Return whether a file of weights is for ONNX Runtime, by its name."""
    return Path(path).suffix.lower() == ".onnx"


def has_onnxruntime() -> bool:
    """Return whether ONNX Runtime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None

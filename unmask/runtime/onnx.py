"""Networks that ONNX Runtime runs."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.io import PathLike


class OnnxNetwork:
    """A network in an ONNX file, called with arrays.

    Args:
        path: A file of `unmask export onnx`.
        threads: Threads of one call; what OMP_NUM_THREADS says, or as many as there are cores, when
            None.

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

    def __init__(self, path: PathLike, *, threads: int | None = None) -> None:
        if not has_onnxruntime():
            raise WeightsError(f"{path}: needs ONNX Runtime; pip install 'unmask[onnx]'")
        if not Path(path).is_file():
            raise WeightsError(f"{path}: no such file")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Workers that share a machine are told so by this variable (`unmask.engines`).
        told = os.environ.get("OMP_NUM_THREADS", "")
        options.intra_op_num_threads = (
            (int(told) if told.isdigit() else 0) if threads is None else threads
        )
        options.log_severity_level = 3
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

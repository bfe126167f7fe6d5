"""What a stage tells the runner: which network learns, from which samples, towards which figure."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.stream import Sampler
from unmask.errors import DataError
from unmask.training.optimizers import make_optimizer
from unmask.training.recipe import Recipe
from unmask.weights import load_weights, save_weights

TASKS = {
    "prior": "unmask.inpainting.prior_task:PriorTask",
    "coarse": "unmask.inpainting.coarse_task:CoarseTask",
    "inpainting": "unmask.inpainting.task:InpaintingTask",
    "landmarks": "unmask.landmarks.task:LandmarkTask",
    "gender": "unmask.gender.task:GenderTask",
    "gender-head": "unmask.gender.task:HeadTask",
    "segmentation": "unmask.segmentation.task:SegmentationTask",
    "verifier": "unmask.segmentation.verifier_task:VerifierTask",
    "loops": "unmask.segmentation.loops_task:LoopsTask",
    "parsing": "unmask.parsing.task:ParsingTask",
    "mask-rcnn": "unmask.segmentation.task:MaskRCNNTask",
    "rival": "unmask.rivals.task:RivalTask",
}
"""The tasks that recipes can name, and where they are."""

_CPU_FLAGS = Path("/proc/cpuinfo")
# What Linux calls instructions for bfloat16, on x86 and on ARM.
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@dataclass(frozen=True)
class Places:
    """Where a training reads and writes.

    Attributes:
        data: Data folders, packed files of faces, or folders that hold such folders.
        out: The run's folder.
    """

    data: Sequence[Path]
    out: Path


class Task:
    """One kind of training. Subclasses live in the stages, in `task.py`.

    The runner calls the methods in this order: `prepare`, `build`, `start_from`, `sampler`, and
    then, as often as the recipe says, `validate`, `keep` and `sheet`; `finish` once at the end.

    Args:
        recipe: The settings, of the class `recipe_type`.
        places: Where to read and write.

    Attributes:
        recipe_type: Dataclass of the recipe.
        stage: Name of the kept file without its ending.
        monitor: The figure among those of `validate` that decides which weights are kept; None to
            keep the last.
        mode: Whether a larger or a smaller figure is better.
        closed_form: Whether there are no steps: `keep` solves for the result at once.
        loss: As for `keras.Model.compile`.
        metrics: As for `keras.Model.compile`.
        network: What is kept; set by `build`.
        init: The kept file that the training starts from, if any; set by the runner.
    """

    recipe_type: ClassVar[type[Recipe]] = Recipe
    stage: ClassVar[str] = "network"
    monitor: ClassVar[str | None] = None
    mode: ClassVar[Literal["min", "max"]] = "max"
    closed_form: ClassVar[bool] = False
    loss: Any = None
    metrics: Any = None
    network: keras.Model
    init: Path | None = None

    def __init__(self, recipe: Any, places: Places) -> None:
        self.recipe, self.places = recipe, places

    @classmethod
    def parameters(cls, recipe: Any) -> int:
        """Return how many numbers the kept network has; 0 where that is not known beforehand."""
        return 0

    def prepare(self) -> None:
        """Read and cache what is needed before any network is built."""

    def build(self) -> keras.Model:
        """Build `network` and return the model that `fit` trains: it, or one that contains it.

        Called within the recipe's dtype policy.
        """
        raise NotImplementedError

    def start_from(self, path: Path) -> None:
        """Start from a kept file of the same network."""
        load_weights(self.network, path)

    def make_optimizer(self, model: keras.Model) -> keras.optimizers.Optimizer:
        """Return the optimiser for what `build` has returned."""
        return make_optimizer(self.recipe.optimizer)

    def sampler(self) -> Sampler:
        """Return what makes batches: tuples `(x,)`, `(x, y)` or `(x, y, sample_weight)`."""
        raise NotImplementedError

    def validate(self) -> dict[str, float]:
        """Return figures of `network`, whose weights are the averaged ones at that time."""
        return {}

    def keep(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write `network` as it is."""
        save_weights(self.network, path, metadata)

    def sheet(self) -> NDArray[np.uint8] | None:
        """Return a picture (H, W, 3) of what the network does now, if there is one."""
        return None

    def finish(self, path: Path) -> None:
        """Do what belongs to the kept file at the end: calibration, a report."""

    def frozen(self) -> Sequence[keras.Variable]:
        """Return variables of the trained model that never change and need no checkpoint."""
        return ()


def find_task(name: str) -> type[Task]:
    """Return a task's class.

    Raises:
        DataError: There is no such task.
    """
    if name not in TASKS:
        raise DataError(f"no task {name!r}; known: {', '.join(TASKS)}")
    module, attribute = TASKS[name].split(":")
    found: type[Task] = getattr(importlib.import_module(module), attribute)
    return found


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build layers with a Keras dtype policy, such as "mixed_bfloat16", and restore the last.

    "auto" is mixed_bfloat16 where the device multiplies in bfloat16, and float32 elsewhere.

    Example:
        >>> with precision("mixed_bfloat16"):
        ...     layer = keras.layers.Dense(3)
        >>> layer.compute_dtype
        'bfloat16'
    """
    previous = keras.config.dtype_policy()
    if policy == "auto":
        policy = "mixed_bfloat16" if has_bfloat16() else "float32"
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


def has_bfloat16() -> bool:
    """Say whether the device multiplies in bfloat16; one that emulates it is several times slower.

    Nvidia's do from Ampere on (compute capability 8), TPUs, and processors that say so to Linux.

    Example:
        >>> has_bfloat16() in (True, False)
        True
    """
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform != "cpu":
            return float(getattr(device, "compute_capability", 8)) >= 8
    elif gpus := _tensorflow_gpus():
        return all(capability >= (8, 0) for capability in gpus)
    flags = _CPU_FLAGS.read_text() if _CPU_FLAGS.is_file() else ""
    return not _BFLOAT16_FLAGS.isdisjoint(flags.split())


def _tensorflow_gpus() -> list[tuple[int, int]]:
    """Return the compute capability of each GPU that TensorFlow sees."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = map(tf.config.experimental.get_device_details, gpus)
    return [detail.get("compute_capability", (0, 0)) for detail in details]


def on_bytes(network: keras.Model) -> keras.Model:
    """Put a network of one image (B, H, W, C) in [0, 1] behind images as they are stored, uint8.

    Bytes become floats on the device; the variables are shared.

    Example:
        >>> x = keras.Input((2, 2, 3))
        >>> model = on_bytes(keras.Model(x, keras.layers.Flatten()(x)))
        >>> float(model(np.full((1, 2, 2, 3), 51, np.uint8))[0, 0])
        0.20000000298023224
    """
    image = keras.Input(network.input_shape[1:], dtype="uint8", name="bytes")
    return keras.Model(image, network(keras.ops.cast(image, "float32") / 255.0))

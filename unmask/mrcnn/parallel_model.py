"""The name of matterport's model for several GPUs, and what to use instead."""

from __future__ import annotations

from typing import Any

_INSTEAD = (
    "Config.GPU_COUNT multiplies the batch size. To spread batches over devices, build the model "
    "inside `tf.distribute.MirroredStrategy().scope()`, or with JAX after "
    "`keras.distribution.set_distribution(keras.distribution.DataParallel())`"
)


class ParallelModel:
    """Says what replaced matterport's model for several GPUs.

    Raises:
        NotImplementedError: Always.
    """

    def __init__(self, keras_model: Any, gpu_count: int) -> None:
        raise NotImplementedError(f"{_INSTEAD}. Received: gpu_count={gpu_count}")

"""Milliseconds of one forward pass of the generators.

    python benchmarks/inpainting.py [--side 256] [--repeats 10] [--networks lite paper]

Every network completes one image on the backend that `KERAS_BACKEND` names (TensorFlow by
default). `--threads` limits TensorFlow; JAX takes the cores that `taskset` leaves it. The target
for the lite network is 120 ms at 256 pixels on two cores.
"""

from __future__ import annotations

import os
import time
from typing import Annotated, Literal, get_args

import numpy as np
from cyclopts import Parameter, run

Name = Literal["lite", "paper", "paper-aot", "aot-gan"]


def main(
    *,
    side: int = 256,
    repeats: int = 10,
    networks: Annotated[tuple[Name, ...], Parameter(consume_multiple=1)] = get_args(Name),
    threads: int = os.cpu_count() or 1,
) -> None:
    """Print the table.

    Args:
        side: Side of the image, 8 divides it.
        repeats: Passes that are timed.
        networks: Which networks.
        threads: TensorFlow's threads.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

    import keras

    print(f"{keras.backend.backend()}, {side} x {side}, {threads} threads")
    print(f"{'network':12}{'parameters':>12}{'fastest':>12}{'median':>12}")
    for name in networks:
        parameters, seconds = _measure(name, side, repeats)
        fastest, median = 1e3 * min(seconds), 1e3 * float(np.median(seconds))
        print(f"{name:12}{parameters:12,}{fastest:9.0f} ms{median:9.0f} ms", flush=True)


def _measure(name: str, side: int, repeats: int) -> tuple[int, list[float]]:
    from unmask.inference import forward
    from unmask.inpainting.evaluate import GENERATORS

    model = GENERATORS[name]()
    rng = np.random.default_rng(0)
    channels = (3, 1, 1, 3)[: len(model.inputs)]
    inputs = [rng.uniform(size=(1, side, side, c)).astype(np.float32) for c in channels]
    forward(model, *inputs)  # traces and compiles
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        forward(model, *inputs)
        seconds.append(time.perf_counter() - start)
    return sum(int(np.prod(v.shape)) for v in model.trainable_weights), seconds


if __name__ == "__main__":
    run(main)

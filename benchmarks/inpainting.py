"""Milliseconds of one forward pass of the generators.

    python benchmarks/inpainting.py [--side 256] [--repeats 10] [--networks lite paper]

Every network completes one image on the backend that `KERAS_BACKEND` names (TensorFlow by
default). `--threads` limits TensorFlow; JAX takes the cores that `taskset` leaves it. The target
for the lite network is 120 ms at 256 pixels on two cores.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np

NAMES = ("lite", "lite-aot", "paper", "paper-aot", "aot-gan")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=256, help="side of the image, 8 divides it")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--networks", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="TensorFlow's threads")
    args = parser.parse_args()
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(args.threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

    import keras

    print(f"{keras.backend.backend()}, {args.side} x {args.side}, {args.threads} threads")
    print(f"{'network':12}{'parameters':>12}{'fastest':>12}{'median':>12}")
    for name in args.networks:
        parameters, seconds = _measure(name, args.side, args.repeats)
        fastest, median = 1e3 * min(seconds), 1e3 * float(np.median(seconds))
        print(f"{name:12}{parameters:12,}{fastest:9.0f} ms{median:9.0f} ms", flush=True)


def _measure(name: str, side: int, repeats: int) -> tuple[int, list[float]]:
    from unmask.inference import forward
    from unmask.inpainting.networks import NETWORKS

    model = NETWORKS[name].generator()
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
    main()

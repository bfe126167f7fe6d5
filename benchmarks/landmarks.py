"""Milliseconds a face of the landmark networks, one thread or all, batches of 1 and of 16.

    python benchmarks/landmarks.py [--pfld pfld_ghostone_wflw98.onnx] [--threads 1]

`lite` ships with the package; `full` has the size of the published AdaptiveWingLoss network and
random weights, which cost the same; PFLD is a third-party network in OpenCV's DNN, which takes
one face at a time. Times are medians, crops already cut, points as the result; the processor's
time, of all threads together, says more on a busy machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from cyclopts import run

BATCHES = (1, 16)


def main(
    *, pfld: Path | None = None, threads: int = os.cpu_count() or 1, repeats: int = 15
) -> None:
    """Print the table.

    Args:
        pfld: ONNX file of a PFLD with 98 points.
        threads: Threads.
        repeats: Passes that are timed, at most.
    """
    networks = _networks(pfld, threads)
    heads = "".join(f"{f'batch {batch}':>12}{'processor':>12}" for batch in BATCHES)
    print(f"{f'{threads} threads, ms a face':24}{heads}")
    for name, (predict, size, most) in networks.items():
        times = [
            t / b for b in BATCHES for t in _milliseconds(predict, size, b, min(repeats, most))
        ]
        print(f"{name:24}" + "".join(f"{value:12.1f}" for value in times), flush=True)


def _networks(
    pfld: Path | None, threads: int
) -> dict[str, tuple[Callable[[np.ndarray], object], int, int]]:
    """Predictors of uint8 crops, the side of their crops, and how often a run is affordable."""
    import cv2
    import tensorflow as tf

    cv2.setNumThreads(threads)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    from unmask.landmarks.evaluate import PfldLocator
    from unmask.landmarks.lafin import build_mobilenet
    from unmask.landmarks.lite import build_lite
    from unmask.landmarks.paper import build_fan
    from unmask.landmarks.predict import predict_landmarks
    from unmask.weights import find, load_weights

    lite, full, lafin = build_lite(), build_fan(), build_mobilenet()
    load_weights(lite, find("lite", "landmarks").path)
    networks: dict[str, tuple[Callable[[np.ndarray], object], int, int]] = {
        "lite": (lambda crops: predict_landmarks(lite, crops), 256, 50),
        "lite, mirrored too": (lambda crops: predict_landmarks(lite, crops, mirror=True), 256, 50),
        "full, 4 hourglasses": (lambda crops: predict_landmarks(full, crops), 256, 3),
        "LaFIn, 68 points": (
            lambda crops: lafin.predict_on_batch(np.float32(crops) / 255),
            256,
            50,
        ),
    }
    if pfld is not None:
        networks["PFLD, OpenCV"] = (PfldLocator(pfld).predict, 112, 50)
    return networks


def _milliseconds(
    predict: Callable[[np.ndarray], object], size: int, batch: int, repeats: int
) -> tuple[float, float]:
    """Median milliseconds of one call: on the clock, and of the processor."""
    crops = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    predict(crops)  # traces the network
    times = []
    for _ in range(repeats):
        start, processor = time.perf_counter(), time.process_time()
        predict(crops)
        times.append((time.perf_counter() - start, time.process_time() - processor))
    wall, busy = 1000 * np.median(times, axis=0)
    return float(wall), float(busy)


if __name__ == "__main__":
    run(main)

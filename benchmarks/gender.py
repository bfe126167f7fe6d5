"""Milliseconds a face of the gender network on one core: `python benchmarks/gender.py`."""

from __future__ import annotations

import os
import time

# Before TensorFlow starts.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import numpy as np
from cyclopts import run

from unmask.gender.lite import build_lite
from unmask.gender.paper import build_classifier
from unmask.gender.predict import predict_gender


def main(*, faces: int = 64, paper: bool = False) -> None:
    """Print the table.

    Args:
        faces: Faces to classify.
        paper: Also the paper's classifier.
    """
    networks = {"lite": build_lite()}
    if paper:
        networks["paper"] = build_classifier()
    crops = np.random.default_rng(0).integers(0, 256, (faces, 256, 256, 3), np.uint8)
    print("network  batch   ms a face   ms a face by processor time")
    for name, network in networks.items():
        for batch in (1, 16):
            predict_gender(network, crops[:batch], batch_size=batch)
            wall, cpu = time.perf_counter(), time.process_time()
            predict_gender(network, crops, batch_size=batch)
            wall = 1e3 * (time.perf_counter() - wall) / faces
            cpu = 1e3 * (time.process_time() - cpu) / faces
            print(f"{name:7} {batch:6}   {wall:9.1f}   {cpu:9.1f}")


if __name__ == "__main__":
    run(main)

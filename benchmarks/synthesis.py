"""Masked faces a second on one core: `python benchmarks/synthesis.py [--size 256]`."""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np
from skimage.data import astronaut

from unmask.synthesis import MaskSynthesizer


def face(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A portrait in canonical framing at `size` pixels, with an approximate outline."""
    scale = size / 256
    image = cv2.resize(np.ascontiguousarray(astronaut()[:256, 96:352]), (size, size))
    landmarks = np.full((98, 2), (128.0, 140.0))
    angle = np.linspace(np.pi, 0, 33)
    landmarks[:33] = np.stack([128 + 75 * np.cos(angle), 120 + 118 * np.sin(angle)], axis=1)
    landmarks[51:55] = np.stack([np.full(4, 128), np.linspace(124, 160, 4)], axis=1)
    landmarks[[60, 64, 68, 72]] = [(82, 123), (110, 123), (146, 123), (174, 123)]
    landmarks[[76, 82]] = [(104, 188), (152, 188)]
    return image, landmarks * scale


def main() -> None:
    """Print the speed without and with the drawing of the bank."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="side of the images, pixels")
    parser.add_argument("--faces", type=int, default=400, help="faces to mask")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    image, landmarks = face(args.size)

    started = time.perf_counter()
    synthesizer = MaskSynthesizer(seed=0)
    for index in range(args.faces):
        synthesizer(image, landmarks, index)
    first = time.perf_counter() - started

    wall, cpu = time.perf_counter(), time.process_time()
    for index in range(args.faces):
        synthesizer(image, landmarks, index)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{args.size} px, one thread")
    print(f"first pass, bank drawn: {args.faces / first:7.0f} faces/s")
    print(f"second pass:            {args.faces / wall:7.0f} faces/s")
    print(f"  by processor time:    {args.faces / cpu:7.0f} faces/s")


if __name__ == "__main__":
    main()

"""Seconds that Mask R-CNN takes for one image: the published resnet50 and the small network.

    python benchmarks/mrcnn.py [--side 512] [--objects 10] [--repeats 5]

The weights are random, so that as many objects are found as may be. The first call, which traces
the network, is shown apart.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from skimage.data import astronaut

from unmask.mrcnn.config import Config
from unmask.mrcnn.model import MaskRCNN
from unmask.segmentation.detector import LiteConfig


class Published(Config):
    """The paper's network for one class."""

    NAME = "resnet50"
    BACKBONE = "resnet50"
    NUM_CLASSES = 2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512, help="side of the images, pixels")
    parser.add_argument("--objects", type=int, default=10, help="objects in the image")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("resnet50", "lite"))
    args = parser.parse_args()
    configs = {"resnet50": Published, "lite": LiteConfig}
    for name in [args.only] if args.only else configs:
        measure(name, configs[name](), args)


def measure(name: str, config: Config, args: argparse.Namespace) -> None:
    """Time `detect` with one network."""
    side = args.side
    config.IMAGE_MIN_DIM = config.IMAGE_MAX_DIM = side
    config.IMAGES_PER_GPU, config.DETECTION_MAX_INSTANCES = 1, args.objects
    model = MaskRCNN("inference", config, "logs")
    image = np.ascontiguousarray(astronaut()[:side, :side])
    start = time.perf_counter()
    found = len(model.detect([image])[0]["scores"])
    first = time.perf_counter() - start
    seconds, processor = [], []
    for _ in range(args.repeats):
        start, used = time.perf_counter(), time.process_time()
        model.detect([image])
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    print(
        f"{name:9} {side} px  {model.keras_model.count_params():11,} parameters  "
        f"{np.median(seconds):6.2f} s  (processor {np.median(processor):.2f} s, "
        f"first {first:.1f} s, {found} objects)"
    )


if __name__ == "__main__":
    main()

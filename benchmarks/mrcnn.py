"""Seconds that Mask R-CNN takes for one image: the published resnet50 and the small network.

    python benchmarks/mrcnn.py [--side 512] [--objects 10] [--repeats 5]

The weights are random, so that as many objects are found as may be. The first call, which traces
the network, is shown apart.
"""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
from cyclopts import run
from skimage.data import astronaut

from unmask.mrcnn.config import Config
from unmask.mrcnn.model import MaskRCNN
from unmask.segmentation.detector import LiteConfig


class Published(Config):
    """The paper's network for one class."""

    NAME = "resnet50"
    BACKBONE = "resnet50"
    NUM_CLASSES = 2


def main(
    *,
    side: int = 512,
    objects: int = 10,
    repeats: int = 5,
    only: Literal["resnet50", "lite"] | None = None,
) -> None:
    """Print the table.

    Args:
        side: Side of the images, pixels.
        objects: Objects in the image.
        repeats: Calls that are timed after the first.
        only: The one network to time.
    """
    configs = {"resnet50": Published, "lite": LiteConfig}
    for name in [only] if only else configs:
        measure(name, configs[name](), side, objects, repeats)


def measure(name: str, config: Config, side: int, objects: int, repeats: int) -> None:
    """Time `detect` with one network."""
    config.IMAGE_MIN_DIM = config.IMAGE_MAX_DIM = side
    config.IMAGES_PER_GPU, config.DETECTION_MAX_INSTANCES = 1, objects
    model = MaskRCNN("inference", config, "logs")
    image = np.ascontiguousarray(astronaut()[:side, :side])
    start = time.perf_counter()
    found = len(model.detect([image])[0]["scores"])
    first = time.perf_counter() - start
    seconds, processor = [], []
    for _ in range(repeats):
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
    run(main)

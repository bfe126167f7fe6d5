"""The tasks that recipes can name, and where they are."""

from __future__ import annotations

import importlib

from unmask.errors import DataError
from unmask.training.task import Task

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

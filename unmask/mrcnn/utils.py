"""The names of matterport's `mrcnn.utils`; each has its home in a module of one subject."""

from __future__ import annotations

from pathlib import Path

from unmask.mrcnn.boxes import (
    compute_iou,
    compute_overlaps,
    denorm_boxes,
    extract_bboxes,
    generate_anchors,
    generate_pyramid_anchors,
    norm_boxes,
    trim_zeros,
)
from unmask.mrcnn.dataset import Dataset
from unmask.mrcnn.images import (
    expand_mask,
    minimize_mask,
    resize,
    resize_image,
    resize_mask,
    unmold_mask,
)
from unmask.mrcnn.legacy import (
    apply_box_deltas,
    batch_slice,
    box_refinement,
    box_refinement_graph,
    non_max_suppression,
)
from unmask.mrcnn.scoring import (
    compute_ap,
    compute_ap_range,
    compute_matches,
    compute_overlaps_masks,
    compute_recall,
)

__all__ = [
    "COCO_MODEL_URL", "Dataset", "apply_box_deltas", "batch_slice", "box_refinement",
    "box_refinement_graph", "compute_ap", "compute_ap_range", "compute_iou", "compute_matches",
    "compute_overlaps", "compute_overlaps_masks", "compute_recall", "denorm_boxes",
    "download_trained_weights", "expand_mask", "extract_bboxes", "generate_anchors",
    "generate_pyramid_anchors", "minimize_mask", "non_max_suppression", "norm_boxes", "resize",
    "resize_image", "resize_mask", "trim_zeros", "unmold_mask",
]  # fmt: skip

COCO_MODEL_URL = "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"
"""The published weights: a resnet101 and 81 classes."""


def download_trained_weights(coco_model_path: str | Path, verbose: int = 1) -> None:
    """Download the published COCO weights (258 MB) to a file.

    Args:
        coco_model_path: The file to write.
        verbose: Kept for programs that pass it; Keras shows its own progress bar.
    """
    import keras

    path = Path(coco_model_path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    keras.utils.get_file(str(path), COCO_MODEL_URL)

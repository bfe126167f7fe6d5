"""The pipeline with predicted and with true inputs: every combination, on the same faces.

What a stage costs shows in two ways: how much better the whole gets when its prediction is replaced
by the truth, and how much worse a pipeline that is told everything else gets by its prediction.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unmask.errors import PhotoWarning
from unmask.evaluation.scenes import Scene
from unmask.face import CROP_SIZE, scale_of
from unmask.inpainting.evaluate import fill_mean_color, fill_telea
from unmask.landmark_layout import POINTS_98_TO_68
from unmask.metrics import image_quality, iou, nme, psnr

if TYPE_CHECKING:
    from unmask.pipeline import Unmasker
    from unmask.result import Face

STAGES = ("gender", "landmarks", "mask")
"""The stages whose prediction can be replaced by the truth."""

MEASURES = (
    "psnr_hole",
    "psnr_lafin",
    "ssim_lafin",
    "psnr_rgb",
    "ssim_rgb",
    "psnr_photo",
)
"""What is measured of a completed face, see `FaceMeasures`."""

BASELINES = ("masked photo", "mean colour, true mask", "Telea, true mask")

# A found face belongs to the true one when their middles lie within this share of a crop's side.
_SAME_FACE = 0.3


@dataclass(frozen=True)
class Condition:
    """Which stages are given the truth."""

    true: tuple[str, ...]  # some of `STAGES`, in their order

    @property
    def name(self) -> str:
        """What tables call it."""
        if not self.true:
            return "all predicted"
        return "all true" if self.true == STAGES else "true " + " + ".join(self.true)


CONDITIONS = tuple(
    Condition(tuple(stage for stage, on in zip(STAGES, chosen, strict=True) if on))
    for chosen in sorted(product((True, False), repeat=len(STAGES)), key=sum)
)
"""All combinations, from everything predicted to everything true."""


@dataclass(frozen=True)
class FaceMeasures:
    """What one face gave.

    Attributes:
        name: Folder and file.
        gender: Its true gender.
        found: Whether the pipeline, told nothing, found the face.
        gender_right: Whether it chose the weights of its gender; None where it was not found.
        nme: Mean error of its landmarks over the eye corners' distance, a fraction; None likewise.
        iou: Intersection over union of its hole and the true one; None likewise.
        scores: For each baseline and condition the values of `MEASURES`. All but `psnr_photo` are
            those of `unmask.metrics.ImageQuality`, on the true canonical crop with the true hole
            (known pixels put back); `psnr_photo` compares the crop as it is, so that what is
            painted or left outside the true hole counts, too. A face that was not found scores
            what the photo with its mask scores.
    """

    name: str
    gender: str
    found: bool
    gender_right: bool | None
    nme: float | None
    iou: float | None
    scores: dict[str, dict[str, float]]


def measure(unmasker: Unmasker, scene: Scene) -> FaceMeasures:
    """Run the pipeline on a scene under every condition, and score the results."""
    scores = {name: _score(scene, scene.crop(scene.photo)) for name in BASELINES[:1]}
    for name, fill in zip(BASELINES[1:], (fill_mean_color, fill_telea), strict=True):
        scores[name] = _score(scene, fill(scene.crop(scene.photo), scene.hole))
    stages: dict[str, Any] = {}
    for condition in CONDITIONS:
        with warnings.catch_warnings():
            # A face that is not found is counted instead.
            warnings.simplefilter("ignore", PhotoWarning)
            result = unmasker(scene.photo, **_given(scene, condition))
        scores[condition.name] = _score(scene, scene.crop(result.image))
        if not condition.true:
            stages = _stages(scene, result.faces)
    return FaceMeasures(scene.name, scene.gender, **stages, scores=scores)


def _given(scene: Scene, condition: Condition) -> dict[str, Any]:
    truth = {"gender": scene.gender, "landmarks": scene.landmarks, "mask": scene.mask}
    return {stage: truth[stage] for stage in condition.true}


def _score(scene: Scene, crop: NDArray[np.uint8]) -> dict[str, float]:
    truth = scene.crop(scene.truth)
    quality = image_quality(truth, crop, scene.hole)
    scores = {name: float(getattr(quality, name)) for name in MEASURES if name != "psnr_photo"}
    return {**scores, "psnr_photo": psnr(truth[scene.valid], crop[scene.valid])}


def _stages(scene: Scene, faces: list[Face]) -> dict[str, Any]:
    face = _same_face(scene, faces)
    if face is None:
        return {"found": False, "gender_right": None, "nme": None, "iou": None}
    points = face.landmarks
    if len(scene.landmarks) == 68:
        points = points[POINTS_98_TO_68]
    return {
        "found": True,
        "gender_right": face.gender == scene.gender,
        "nme": float(nme(points, scene.landmarks)),
        "iou": iou(scene.crop_mask(face.mask) & scene.valid, scene.hole),
    }


def _same_face(scene: Scene, faces: list[Face]) -> Face | None:
    """Return the face that lies where the true one does."""
    side = CROP_SIZE / scale_of(scene.matrix)
    middle = scene.landmarks.mean(0)

    def distance(face: Face) -> float:
        return float(np.hypot(*(face.landmarks.mean(0) - middle)))

    nearest = min(faces, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) < _SAME_FACE * side else None

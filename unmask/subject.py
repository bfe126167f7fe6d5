"""A face on its way through the stages: what is known of it, and how it is framed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.decide import LIMITS, Evidence
from unmask.face import (
    CROP_SIZE,
    canonical_matrix,
    compose,
    coverage,
    grow,
    invert,
    scale_of,
    steady_matrix,
    transform_points,
    warp,
)
from unmask.image import Photo
from unmask.inpainting.window import HOLE_GROWTH, WINDOW_SIDE, window_matrix
from unmask.landmark_layout import LAYOUTS
from unmask.result import Face
from unmask.segmentation.regions import MaskRegion


@dataclass(frozen=True, eq=False)
class Subject:
    """A face on its way through the stages.

    Attributes:
        photo: Number of its photo in the list.
        matrix: (2, 3) transform from the photo to the canonical crop.
        landmarks: (98 or 68, 2) in photo pixels.
        crop: (256, 256, 3) canonical crop.
        valid: (256, 256) bool, which of its pixels lie in the photo.
        mask: (256, 256) bool, the mask in the crop.
        region: The mask as it was found, or given.
        confidence: Of the landmarks, see `Evidence`; 1 for given ones.
        spread: The same; 0 for given ones.
        given: Whether somebody gave the mask.
        outcome: See `Decision`; empty before it is taken.
        gender: Whose weights complete it.
        gender_confidence: How sure that is.
    """

    photo: int
    matrix: NDArray[np.float64]
    landmarks: NDArray[np.float32]
    crop: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    region: MaskRegion
    confidence: float = 1.0
    spread: float = 0.0
    given: bool = False
    outcome: str = ""
    gender: str = ""
    gender_confidence: float = 1.0

    @property
    def crop_landmarks(self) -> NDArray[np.float32]:
        """The landmarks in crop pixels."""
        return transform_points(self.landmarks, self.matrix)

    @property
    def score(self) -> float:
        """How sure the mask is, 0 to 1."""
        return max(self.region.score, self.region.certainty or 0.0)

    @property
    def evidence(self) -> Evidence:
        """What tells whether this is a masked face."""
        layout = LAYOUTS[len(self.landmarks)]
        certainty, verdict = self.region.evidence
        return Evidence(
            certainty=certainty,
            verdict=verdict,
            confidence=self.confidence,
            spread=self.spread,
            mouth=self._covered(layout.mouth),
            eyes=self._covered(layout.both_eyes),
            hole=float((self.mask & self.valid).mean()),
            given=self.given,
        )

    @property
    def mask_box(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) of the mask in photo pixels, pixel centres at integers."""
        rows, columns = np.nonzero(self.mask & self.valid)
        pixels = np.stack([columns, rows], axis=1).astype(np.float64)
        points = transform_points(pixels, invert(self.matrix))
        (x0, y0), (x1, y1) = points.min(0), points.max(0)
        return float(x0), float(y0), float(x1), float(y1)

    def _covered(self, points: slice) -> float:
        """Share of some landmarks that lie under the mask."""
        places = np.rint(self.crop_landmarks[points]).astype(int)
        columns, rows = np.clip(places, 0, CROP_SIZE - 1).T
        return float(self.mask[rows, columns].mean())


def cut_subject(
    photo: Photo,
    number: int,
    region: MaskRegion,
    landmarks: NDArray[np.float32],
    *,
    confidence: float = 1.0,
    spread: float = 0.0,
    given: bool = False,
) -> Subject:
    """Cut the canonical crop around a mask, by the landmarks, in photo pixels, of who wears it.

    `number` is the photo's in the list; what follows is as in `Subject`.
    """
    matrix = steady_matrix(canonical_matrix(landmarks))
    # The networks were trained on crops whose missing border is mirrored.
    crop = warp(photo.pixels, matrix, CROP_SIZE)
    from_patch = compose(matrix, np.array([[1.0, 0.0, region.box[0]], [0.0, 1.0, region.box[1]]]))
    patch = region.patch.astype(np.float32)
    mask = warp(patch, from_patch, CROP_SIZE, border=cv2.BORDER_CONSTANT)
    valid = coverage(photo.pixels.shape, matrix, CROP_SIZE)
    return Subject(
        number, matrix, landmarks, crop, valid, mask > 0.5, region, confidence, spread, given
    )


@dataclass(frozen=True, eq=False)
class Frame:
    """The window of one face, as the generator sees it.

    Attributes:
        image: (192, 192, 3) uint8 RGB, mirrored where the photo ends.
        hole: (192, 192) bool, what is to be completed.
        valid: (192, 192) bool, where the photo is.
        landmarks: (98 or 68, 2) points in window pixels.
        matrix: (2, 3) transform from the photo to the window.
    """

    image: NDArray[np.uint8]
    hole: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    landmarks: NDArray[np.float32]
    matrix: NDArray[np.float64]


def frame_subject(subject: Subject, photo: NDArray[np.uint8]) -> Frame:
    """Cut the generator's window out of a photo (H, W, 3), wide enough for the whole hole."""
    hole = grow(subject.mask, HOLE_GROWTH)
    to_window = window_matrix(hole)
    matrix = compose(to_window, subject.matrix)
    window_hole = warp(hole.astype(np.float32), to_window, WINDOW_SIDE, border=0) > 0.5
    image = warp(photo, matrix, WINDOW_SIDE)
    valid = coverage(photo.shape, matrix, WINDOW_SIDE)
    points = transform_points(subject.landmarks, matrix)
    return Frame(image, window_hole, valid, points, matrix)


def as_face(subject: Subject, image: NDArray[np.uint8], changed: NDArray[np.bool_]) -> Face:
    """Describe a completed face: `image` is the photo's result, `changed` (H, W) what is new."""
    height, width = image.shape[:2]
    low = np.clip(subject.landmarks.min(0), 0, (width, height))
    high = np.clip(subject.landmarks.max(0), 0, (width, height))
    after = warp(image, subject.matrix, CROP_SIZE)
    return Face(
        box=(float(low[0]), float(low[1]), float(high[0]), float(high[1])),
        score=subject.score,
        gender=subject.gender,
        gender_confidence=subject.gender_confidence,
        landmarks=subject.landmarks,
        mask=changed,
        worn=_in_photo(subject, (height, width)),
        crop_before=np.where(subject.valid[..., None], subject.crop, 0).astype(np.uint8),
        crop_after=np.where(subject.valid[..., None], after, 0).astype(np.uint8),
    )


def _in_photo(subject: Subject, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Take the mask from the crop back to the photo."""
    values = np.where(subject.mask & subject.valid, np.uint8(255), np.uint8(0))
    return warp(values, invert(subject.matrix), shape, border=cv2.BORDER_CONSTANT) > 127


def one_a_face(subjects: list[Subject]) -> list[Subject]:
    """Keep one of the found masks that lead to one face, in their order.

    The surest of those that are to be completed: beside them a collar may pass for a surer mask.
    """
    kept: list[Subject] = []
    for subject in sorted(subjects, key=lambda s: (s.outcome != "complete", -s.score)):
        center = invert(subject.matrix) @ (CROP_SIZE / 2, CROP_SIZE / 2, 1)
        side = CROP_SIZE / scale_of(subject.matrix)
        others = [
            invert(k.matrix) @ (CROP_SIZE / 2, CROP_SIZE / 2, 1)
            for k in kept
            if k.photo == subject.photo
        ]
        if subject.given or all(
            np.hypot(*(center - other)) > LIMITS.same_face * side for other in others
        ):
            kept.append(subject)
    return [s for s in subjects if any(s is k for k in kept)]

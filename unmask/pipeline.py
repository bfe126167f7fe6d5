"""The paper's Figure 3 as code: from a photo with masked faces to the faces without.

Read `Unmasker._process` from top to bottom: find the masks, locate the landmarks, segment inside
the canonical crop, decide the gender, complete the hole, paste it back.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.face import (
    CROP_SIZE,
    canonical_matrix,
    compose,
    coverage,
    grow,
    invert,
    matrix_from_mask_box,
    paste_back,
    scale_of,
    transform_points,
    warp,
)
from unmask.gender.predict import predict_gender
from unmask.grain import match_grain
from unmask.image import ImageSource, Photo, load_mask, load_photo
from unmask.inpainting.framing import HOLE_GROWTH, WINDOW_SIDE, window_matrix
from unmask.inpainting.predict import complete_windows
from unmask.inpainting.prior import LinearPrior
from unmask.landmarks.predict import locate_landmarks
from unmask.presets import build_stage, get_preset
from unmask.result import Face, Result
from unmask.segmentation.predict import find_masks, segment_crops
from unmask.segmentation.regions import MaskRegion, find_regions
from unmask.weights import find, load_weights

if TYPE_CHECKING:
    import keras

MIN_SIDE = 64
GENDERS = ("female", "male")

# Below this, the heatmaps see no face in what looked like a mask (a scarf, a patch on a suit):
# things without a face reach 0.13, nine in ten masked faces 0.18 and more.
_MIN_LANDMARK_CONFIDENCE = 0.14
# A mask covers the mouth. What does not is a lip, a beard or a collar that looked like one.
_MIN_MOUTH_COVERED = 0.6
# Two masks whose faces lie closer than this share of a crop's side belong to one face.
_SAME_FACE = 0.3
# How the two looks at a mask are joined; chosen on the 58 labelled validation photos, where this
# lifts the IoU in the crop from 0.71 (union of both) to 0.78.
_SURE_IN_BOTH, _SURE_ALONE = 0.15, 0.7
_OUTLINE_MARGIN = 8
# A region seen with less certainty than this is not called a mask. On unmasked faces 8 of 14 false
# alarms lie below, of masked faces about one in fifty.
_MIN_MASK_SCORE = 0.7
# At least this share of the canonical crop must be mask, or there is nothing to uncover.
_MIN_HOLE_SHARE = 0.01


@dataclass(frozen=True, eq=False)
class _Subject:
    """A face on its way through the stages.

    Attributes:
        photo: Number of its photo in the list.
        matrix: (2, 3) transform from the photo to the canonical crop.
        landmarks: (98 or 68, 2) in photo pixels.
        crop: (256, 256, 3) canonical crop.
        valid: (256, 256) bool, which of its pixels lie in the photo.
        mask: (256, 256) bool, the mask in the crop.
        score: How sure the mask is.
        gender: Whose weights complete it.
        gender_confidence: How sure that is.
    """

    photo: int
    matrix: NDArray[np.float64]
    landmarks: NDArray[np.float32]
    crop: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    score: float
    gender: str = ""
    gender_confidence: float = 1.0

    @property
    def crop_landmarks(self) -> NDArray[np.float32]:
        """The landmarks in crop pixels."""
        return transform_points(self.landmarks, self.matrix)

    @property
    def mouth_covered(self) -> float:
        """Share of the mouth's points that lie under the mask."""
        mouth = self.crop_landmarks[slice(76, 96) if len(self.landmarks) == 98 else slice(48, 68)]
        columns, rows = np.clip(np.rint(mouth).astype(int), 0, CROP_SIZE - 1).T
        return float(self.mask[rows, columns].mean())


class Unmasker:
    """The pipeline with its networks, each loaded at first use and kept.

    Args:
        preset: "lite" (ships with the package) or "paper" (the paper's sizes; weights to bring).
        weights_dir: Folder with `manifest.toml`; the shipped one when None.

    Raises:
        WeightsError: The preset is unknown.

    Example:
        >>> unmasker = Unmasker()
        >>> result = unmasker(np.zeros((64, 64, 3), np.uint8))  # doctest: +SKIP
        >>> results = unmasker(["one.jpg", "two.jpg"])          # doctest: +SKIP
    """

    def __init__(
        self, preset: str = "lite", weights_dir: str | os.PathLike[str] | None = None
    ) -> None:
        self.preset = get_preset(preset).name
        self.weights_dir = weights_dir

    @overload
    def __call__(
        self,
        photo: ImageSource,
        *,
        gender: str | None = None,
        mask: NDArray[Any] | ImageSource | None = None,
        landmarks: NDArray[np.floating] | None = None,
        seed: int = 0,
    ) -> Result: ...
    @overload
    def __call__(
        self,
        photo: list[ImageSource],
        *,
        gender: str | None = None,
        mask: None = None,
        landmarks: None = None,
        seed: int = 0,
    ) -> list[Result]: ...
    def __call__(
        self,
        photo: ImageSource | list[ImageSource],
        *,
        gender: str | None = None,
        mask: NDArray[Any] | ImageSource | None = None,
        landmarks: NDArray[np.floating] | None = None,
        seed: int = 0,
    ) -> Result | list[Result]:
        """Complete the masked faces of one photo, or of a list of photos.

        Args:
            photo: As for `unmask.run`, or a list of such; a list goes through the networks in
                batches.
            gender: As for `unmask.run`.
            mask: As for `unmask.run`; for a single photo only.
            landmarks: As for `unmask.run`; for a single photo only.
            seed: As for `unmask.run`.

        Returns:
            A result, or a list of results in the order of the photos.

        Raises:
            ImageError: A photo cannot be used.
            ValueError: An option has another shape or value.
        """
        _check_options(gender, landmarks, seed)
        if isinstance(photo, list):
            if mask is not None or landmarks is not None:
                raise ValueError("mask and landmarks belong to one photo, not to a list")
            photos = [load_photo(p, min_side=MIN_SIDE) for p in photo]
            return self._process(photos, gender, None, None, seed)
        single = load_photo(photo, min_side=MIN_SIDE)
        given = None if mask is None else _given_mask(mask, single)
        points = None if landmarks is None else np.asarray(landmarks, np.float32)
        return self._process([single], gender, given, points, seed)[0]

    def load(self) -> Unmasker:
        """Load every network now instead of at first use, and return this object."""
        for name in ("segmentation", "landmarks", "gender", "prior", "generators"):
            getattr(self, name)
        return self

    @cached_property
    def segmentation(self) -> keras.Model:
        """The network that finds masks."""
        return self._network("segmentation")

    @cached_property
    def landmarks(self) -> keras.Model:
        """The network that finds landmarks."""
        return self._network("landmarks")

    @cached_property
    def gender(self) -> keras.Model:
        """The network that tells which generator to use."""
        return self._network("gender")

    @cached_property
    def generators(self) -> dict[str, keras.Model]:
        """The two networks that complete faces, by gender."""
        return {gender: self._network(f"inpainting_{gender}") for gender in GENDERS}

    @cached_property
    def prior(self) -> LinearPrior | None:
        """The linear model of the first guess, if the preset has one."""
        if "prior" not in get_preset(self.preset).files:
            return None
        return LinearPrior.load(find(self.preset, "prior", self.weights_dir).path)

    def _network(self, stage: str) -> keras.Model:
        entry = find(self.preset, stage, self.weights_dir)
        model = build_stage(self.preset, stage)
        load_weights(model, entry.path)
        return model

    def _process(
        self,
        photos: Sequence[Photo],
        gender: str | None,
        mask: NDArray[np.bool_] | None,
        landmarks: NDArray[np.float32] | None,
        seed: int,
    ) -> list[Result]:
        subjects: list[_Subject] = []
        for number, photo in enumerate(photos):
            for region in self._find(photo, mask, landmarks):
                subject = self._locate(photo, number, region, landmarks, mask is not None)
                if subject is not None:
                    subjects.append(subject)
        subjects = self._segment(subjects, photos, mask)
        subjects = self._classify(subjects, gender)
        results = self._complete(subjects, photos, seed)
        for photo, result in zip(photos, results, strict=True):
            if not result.faces:
                warnings.warn(f"{photo.name}: no masked face found", stacklevel=4)
        return results

    def _find(
        self,
        photo: Photo,
        mask: NDArray[np.bool_] | None,
        landmarks: NDArray[np.float32] | None,
    ) -> list[MaskRegion]:
        """Find the masks in the whole photo; given ones are taken as they are."""
        if mask is not None:
            regions = find_regions(mask.astype(np.float32), mask.shape, min_pixels=16)
        else:
            regions = find_masks(self.segmentation, photo.pixels, min_score=_MIN_MASK_SCORE)
        if landmarks is None or len(regions) < 2:
            return regions
        # Landmarks describe one face: the one whose mask lies nearest to them.
        center = landmarks.mean(0)
        return [min(regions, key=lambda r: float(np.hypot(*(_box_center(r) - center))))]

    def _locate(
        self,
        photo: Photo,
        number: int,
        region: MaskRegion,
        given: NDArray[np.float32] | None,
        certain: bool,
    ) -> _Subject | None:
        """Find the landmarks around a mask (`certain`: a given one), and with them the crop."""
        points, confidence = given, 1.0
        if points is None:
            found = locate_landmarks(
                self.landmarks, photo.pixels, matrix_from_mask_box(region.box), mirror=True
            )
            points, confidence = found.points[0], float(found.confidence[0])
        if confidence < _MIN_LANDMARK_CONFIDENCE and not certain:
            return None
        matrix = canonical_matrix(points)
        # The networks were trained on crops whose missing border is mirrored.
        crop = warp(photo.pixels, matrix, CROP_SIZE)
        mask = warp(region.mask.astype(np.float32), matrix, CROP_SIZE, border=cv2.BORDER_CONSTANT)
        valid = coverage(photo.pixels.shape, matrix, CROP_SIZE)
        return _Subject(number, matrix, points, crop, valid, mask > 0.5, region.score)

    def _segment(
        self,
        subjects: list[_Subject],
        photos: Sequence[Photo],
        given: NDArray[np.bool_] | None,
    ) -> list[_Subject]:
        """Look at each mask again inside its crop, where it has more pixels."""
        if given is None and subjects:
            crops = np.stack([s.crop for s in subjects])
            fine = segment_crops(self.segmentation, crops)
            subjects = [
                replace(s, mask=refine_mask(s.mask, probability, s.crop_landmarks))
                for s, probability in zip(subjects, fine, strict=True)
            ]
            subjects = _one_a_face([s for s in subjects if s.mouth_covered >= _MIN_MOUTH_COVERED])
        return [s for s in subjects if (s.mask & s.valid).mean() >= _MIN_HOLE_SHARE]

    def _classify(self, subjects: list[_Subject], gender: str | None) -> list[_Subject]:
        """Decide whose weights complete each face."""
        if gender is not None or not subjects:
            return [replace(s, gender=gender or "") for s in subjects]
        male = predict_gender(self.gender, np.stack([s.crop for s in subjects]))
        return [
            replace(s, gender=GENDERS[int(p >= 0.5)], gender_confidence=float(max(p, 1 - p)))
            for s, p in zip(subjects, male, strict=True)
        ]

    def _complete(
        self, subjects: list[_Subject], photos: Sequence[Photo], seed: int
    ) -> list[Result]:
        """Complete the holes, gender by gender, and paste them back."""
        framed = [_frame(s, photos[s.photo], self.prior) for s in subjects]
        completed: dict[int, NDArray[np.uint8]] = {}
        for gender in GENDERS:
            chosen = [i for i, s in enumerate(subjects) if s.gender == gender]
            if chosen:
                filled = complete_windows(
                    self.generators[gender],
                    self.prior,
                    np.stack([framed[i].image for i in chosen]),
                    np.stack([framed[i].hole for i in chosen]),
                    np.stack([framed[i].landmarks for i in chosen]),
                )
                completed |= dict(zip(chosen, filled, strict=True))
        images = [photo.pixels for photo in photos]
        faces: list[list[Face]] = [[] for _ in photos]
        for i, (subject, frame) in enumerate(zip(subjects, framed, strict=True)):
            # By its place in the photo, so that a photo's result does not depend on its neighbours.
            rng = np.random.default_rng([seed, len(faces[subject.photo])])
            grained = match_grain(completed[i], frame.hole, rng)
            image, changed = paste_back(images[subject.photo], grained, frame.hole, frame.matrix)
            images[subject.photo] = image
            faces[subject.photo].append(_face(subject, image, changed))
        return [
            Result(image, found, photo.pixels, photo.icc_profile)
            for image, found, photo in zip(images, faces, photos, strict=True)
        ]


def run(
    photo: ImageSource,
    *,
    preset: str = "lite",
    gender: str | None = None,
    mask: NDArray[Any] | ImageSource | None = None,
    landmarks: NDArray[np.floating] | None = None,
    seed: int = 0,
) -> Result:
    """Find the masked faces of a photo and show plausible faces without the masks.

    The result is a plausible face, not the person's: nothing under a mask can be seen.

    Args:
        photo: Path, bytes, file object, PIL image or (H, W, 3) uint8 RGB array, from 64 px up.
        preset: "lite" (ships with the package) or "paper" (the paper's sizes; weights to bring).
        gender: "male" or "female" to choose the generator; decided from the face when None.
        mask: (H, W) array or image, non-zero where the photo shows a mask, in place of the
            predicted one. Separate areas are separate faces.
        landmarks: (98, 2) WFLW or (68, 2) iBUG points in photo pixels, in place of the predicted
            ones, for one face.
        seed: Seed of the film grain that the completed part gets to match the photo.

    Returns:
        The result. Without a masked face it holds the photo unchanged, `faces == []`, and a
        warning is given.

    Raises:
        ImageError: The photo cannot be read, or is smaller than 64 px.
        ValueError: An option has another shape or value.
        WeightsError: The preset's weights are missing or altered.

    Example:
        >>> result = run(np.zeros((64, 64, 3), np.uint8))       # doctest: +SKIP
        >>> result                                              # doctest: +SKIP
        <Result 64x64: no masked face>

    Reference:
        The paper's Figure 3.
    """
    return Unmasker(preset)(photo, gender=gender, mask=mask, landmarks=landmarks, seed=seed)


def refine_mask(
    coarse: NDArray[np.bool_],
    probability: NDArray[np.float32],
    landmarks: NDArray[np.floating] | None = None,
) -> NDArray[np.bool_]:
    """Join the whole photo's mask with the crop's own segmentation.

    Where both agree the crop needs little certainty; what only the crop shows needs much. What
    lies clearly outside the face's outline is a scarf or a coat, not the mask.

    Args:
        coarse: (256, 256) bool, the mask as found in the whole photo.
        probability: (256, 256) the crop's segmentation.
        landmarks: (98, 2) or (68, 2) points in crop pixels for the outline; no limit when None.

    Returns:
        (256, 256) bool: the pieces that touch the coarse mask, smoothed, holes filled.
    """
    joined = (coarse & (probability > _SURE_IN_BOTH)) | (probability > _SURE_ALONE)
    if landmarks is not None:
        joined &= _face_outline(landmarks, joined.shape)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    closed = cv2.morphologyEx(joined.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    smooth = cv2.morphologyEx(closed, cv2.MORPH_OPEN, kernel)
    _, labels = cv2.connectedComponents(smooth)
    touching = np.unique(labels[coarse & (smooth > 0)])
    kept = np.isin(labels, touching[touching > 0]).astype(np.uint8)
    outlines, _ = cv2.findContours(kept, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(kept), outlines, -1, 1, cv2.FILLED) > 0


def _face_outline(landmarks: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Fill the hull of the jaw and the bridge of the nose, with a margin for the mask itself."""
    jaw, bridge = (slice(0, 33), 51) if len(landmarks) == 98 else (slice(0, 17), 27)
    points = np.concatenate([landmarks[jaw], landmarks[bridge, None]])
    filled = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(np.rint(points).astype(np.int32)), 1)
    return grow(filled > 0, _OUTLINE_MARGIN)


@dataclass(frozen=True, eq=False)
class _Frame:
    """The window of one face, as the generator sees it."""

    image: NDArray[np.uint8]
    hole: NDArray[np.bool_]
    landmarks: NDArray[np.float32]
    matrix: NDArray[np.float64]


def _frame(subject: _Subject, photo: Photo, prior: LinearPrior | None) -> _Frame:
    """Cut the generator's window, wide enough for the whole hole."""
    hole = grow(subject.mask, HOLE_GROWTH)
    to_window = window_matrix(hole)
    matrix = compose(to_window, subject.matrix)
    window_hole = warp(hole.astype(np.float32), to_window, WINDOW_SIDE, border=0) > 0.5
    image = warp(photo.pixels, matrix, WINDOW_SIDE)
    valid = coverage(photo.pixels.shape, matrix, WINDOW_SIDE)
    points = transform_points(subject.landmarks, matrix)
    if prior is not None:
        guided = points if len(points) == 98 else None
        image = prior.fill_outside(image, window_hole, valid, guided)
    return _Frame(
        image=image,
        hole=window_hole,
        landmarks=points,
        matrix=matrix,
    )


def _face(subject: _Subject, image: NDArray[np.uint8], changed: NDArray[np.bool_]) -> Face:
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
        crop_before=np.where(subject.valid[..., None], subject.crop, 0).astype(np.uint8),
        crop_after=np.where(subject.valid[..., None], after, 0).astype(np.uint8),
    )


def _one_a_face(subjects: list[_Subject]) -> list[_Subject]:
    """Keep the surest of the masks that lead to one face, in their order."""
    kept: list[_Subject] = []
    for subject in sorted(subjects, key=lambda s: -s.score):
        center = invert(subject.matrix) @ (CROP_SIZE / 2, CROP_SIZE / 2, 1)
        side = CROP_SIZE / scale_of(subject.matrix)
        others = [
            invert(k.matrix) @ (CROP_SIZE / 2, CROP_SIZE / 2, 1)
            for k in kept
            if k.photo == subject.photo
        ]
        if all(np.hypot(*(center - other)) > _SAME_FACE * side for other in others):
            kept.append(subject)
    return [s for s in subjects if any(s is k for k in kept)]


def _box_center(region: MaskRegion) -> NDArray[np.float64]:
    return np.array([region.box[0] + region.box[2], region.box[1] + region.box[3]]) / 2


def _given_mask(mask: NDArray[Any] | ImageSource, photo: Photo) -> NDArray[np.bool_]:
    array = mask != 0 if isinstance(mask, np.ndarray) and mask.ndim == 2 else load_mask(mask)
    if array.shape != photo.pixels.shape[:2]:
        raise ValueError(
            f"mask must have the photo's size {photo.pixels.shape[:2]}. Received: {array.shape}"
        )
    return array


def _check_options(gender: str | None, landmarks: NDArray[np.floating] | None, seed: int) -> None:
    if gender is not None and gender not in GENDERS:
        raise ValueError(f"gender must be 'female', 'male' or None. Received: gender={gender!r}")
    if seed < 0:
        raise ValueError(f"seed must not be negative. Received: seed={seed}")
    if landmarks is not None:
        canonical_matrix(np.asarray(landmarks))

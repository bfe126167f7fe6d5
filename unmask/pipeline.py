"""The paper's Figure 3 as code: from a photo with masked faces to the faces without.

Read `Unmasker._process` from top to bottom: find the masks, locate the landmarks, segment inside
the canonical crop, decide which are worn, tell the gender, take the ear loops away, complete the
hole, paste it back.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, overload

import numpy as np
from numpy.typing import NDArray

from unmask.blend import blend
from unmask.decide import LIMITS, decide, is_mask
from unmask.errors import PhotoWarning
from unmask.face import canonical_matrix, matrix_from_mask_box
from unmask.gender.predict import predict_gender
from unmask.image import DEFAULT_MAX_PIXELS, ImageSource, Photo, load_mask, load_photo
from unmask.inference import Network, OnnxNetwork, has_onnxruntime
from unmask.inpainting.coarse import CoarseCompletion, load_coarse
from unmask.inpainting.predict import complete_faces
from unmask.landmarks.predict import locate_landmarks
from unmask.loops import find_loops, remove_loops
from unmask.presets import GENDERS, build_stage, get_preset
from unmask.refine import free_eyes, refine_mask
from unmask.result import Result
from unmask.segmentation.finder import MaskFinder, load_finder
from unmask.segmentation.regions import MaskRegion, regions_of_mask
from unmask.subject import Frame, Subject, as_face, cut_subject, frame_subject, one_a_face
from unmask.weights import WeightFile, find, load_weights, read_manifest

MIN_SIDE = 64

Runtime: TypeAlias = Literal["auto", "keras", "onnx"]
"""What runs the networks."""

_logger = logging.getLogger(__name__)


class Unmasker:
    """The pipeline with its networks, each loaded at first use and kept.

    Args:
        preset: "lite" (ships with the package) or "paper" (the paper's sizes; unfinished weights
            in a checkout, or ones to bring).
        weights_dir: Folder with `manifest.toml`; the shipped one when None.
        finder: What finds the masks instead of the preset's network: a file for
            `unmask.segmentation.finder.load_finder`, or an object with the methods of `MaskFinder`.
        max_pixels: Largest accepted width times height of a photo.
        runtime: What runs the preset's networks: "keras"; "onnx", ONNX Runtime, which starts in a
            second and needs no Keras; or "auto", ONNX Runtime where it is installed and the
            preset's files for it are there.

    Raises:
        WeightsError: The preset is unknown.

    Example:
        >>> unmasker = Unmasker()
        >>> result = unmasker(np.zeros((64, 64, 3), np.uint8))  # doctest: +SKIP
        >>> results = unmasker(["one.jpg", "two.jpg"])          # doctest: +SKIP
        >>> unmasker = Unmasker(finder="RUN/detector.safetensors")
    """

    def __init__(
        self,
        preset: str = "lite",
        weights_dir: str | os.PathLike[str] | None = None,
        *,
        finder: MaskFinder | str | os.PathLike[str] | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        runtime: Runtime = "auto",
    ) -> None:
        if max_pixels < 1:
            raise ValueError(f"max_pixels must be positive. Received: max_pixels={max_pixels}")
        if runtime not in get_args(Runtime):
            known = ", ".join(get_args(Runtime))
            raise ValueError(f"runtime must be one of {known}. Received: runtime={runtime!r}")
        self._runtime = runtime
        self.preset = get_preset(preset).name
        self.weights_dir = weights_dir
        self.max_pixels = max_pixels
        self._finder = finder

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
            photos = [self._open(p) for p in photo]
            return self._process(photos, gender, None, None, seed)
        single = self._open(photo)
        shape = (single.pixels.shape[0], single.pixels.shape[1])
        given = None
        if mask is not None:
            given = load_mask(mask, shape=shape, max_pixels=self.max_pixels)
        points = None if landmarks is None else np.asarray(landmarks, np.float32)
        if points is not None and ((points.max(0) < 0) | (points.min(0) > shape[::-1])).any():
            box = [*points.min(0).tolist(), *points.max(0).tolist()]
            raise ValueError(
                f"{single.name}: landmarks must be in the photo's {shape[1]} x {shape[0]} pixels. "
                f"Received: points in {box}"
            )
        return self._process([single], gender, given, points, seed)[0]

    def find(self, photo: ImageSource) -> list[MaskRegion]:
        """Find the masks in a photo, which is the first step alone: nothing else is asked of them.

        Args:
            photo: As for `unmask.run`.

        Returns:
            The masks, largest first; empty where there is none.

        Raises:
            ImageError: The photo cannot be used.
        """
        return self._find(self._open(photo), None, None)

    def _open(self, photo: ImageSource) -> Photo:
        return load_photo(photo, max_pixels=self.max_pixels, min_side=MIN_SIDE)

    def load(self) -> Unmasker:
        """Load every network now instead of at first use, and return this object."""
        for name in ("segmentation", "loops", "landmarks", "gender", "coarse", "generators"):
            getattr(self, name)
        return self

    @cached_property
    def runtime(self) -> str:
        """What runs the networks, "keras" or "onnx"."""
        if self._runtime != "auto":
            return self._runtime
        there = {
            entry.stage
            for entry in read_manifest(self.weights_dir)
            if entry.preset == self.preset and entry.is_onnx and entry.path.is_file()
        }
        whole = there >= set(get_preset(self.preset).networks)
        return "onnx" if whole and has_onnxruntime() else "keras"

    @cached_property
    def segmentation(self) -> MaskFinder:
        """What finds masks: of any kind, as its file says."""
        if self._finder is None:
            stages = ("segmentation", "verifier")
            return load_finder(*map(self._path, self._stages(*stages)))
        if isinstance(self._finder, (str, os.PathLike)):
            return load_finder(self._finder)
        return self._finder

    @cached_property
    def landmarks(self) -> Network:
        """The network that finds landmarks."""
        return self._network("landmarks")

    @cached_property
    def loops(self) -> Network | None:
        """The network that finds ear loops, if the preset has it."""
        return self._network("loops") if self._stages("loops") else None

    @cached_property
    def gender(self) -> Network:
        """The network that tells which generator to use: of any kind, as its file says."""
        if self.runtime == "onnx":
            return self._network("gender")
        from unmask.gender.load import load_gender

        return load_gender(self._path("gender"))

    @cached_property
    def generators(self) -> dict[str, Network]:
        """The two networks that complete faces, by gender."""
        return {gender: self._network(f"inpainting_{gender}") for gender in GENDERS}

    @cached_property
    def coarse(self) -> CoarseCompletion | None:
        """What completes faces coarsely, if the preset has it."""
        stages = self._stages("prior", "coarse")
        return load_coarse(*map(self._path, stages)) if stages else None

    def _stages(self, *names: str) -> list[str]:
        return [name for name in names if name in get_preset(self.preset).files]

    def weight_file(self, stage: str) -> WeightFile:
        """Return the verified file of a stage, of the kind that the runtime reads.

        Raises:
            WeightsError: It is missing or altered.
        """
        is_network = stage in get_preset(self.preset).networks
        onnx = is_network and self.runtime == "onnx"
        return find(self.preset, stage, self.weights_dir, onnx=onnx)

    def _path(self, stage: str) -> Path:
        return self.weight_file(stage).path

    def _network(self, stage: str) -> Network:
        path = self._path(stage)
        if self.runtime == "onnx":
            return OnnxNetwork(path)
        model = build_stage(self.preset, stage)
        load_weights(model, path)
        return model

    def _process(
        self,
        photos: Sequence[Photo],
        gender: str | None,
        mask: NDArray[np.bool_] | None,
        landmarks: NDArray[np.float32] | None,
        seed: int,
    ) -> list[Result]:
        found = [
            (number, region)
            for number, photo in enumerate(photos)
            for region in self._find(photo, mask, landmarks)
            if is_mask(*region.evidence)
        ]
        subjects = self._locate(photos, found, landmarks, mask is not None)
        complete, leave = self._decide(self._segment(subjects), photos)
        completed = self._complete(self._classify(complete, gender), photos, seed)
        results = [
            replace(result, skipped=[s.mask_box for s in leave if s.photo == number])
            for number, result in enumerate(completed)
        ]
        for photo, result in zip(photos, results, strict=True):
            if result.skipped:
                text = (
                    f"{len(result.skipped)} masked face(s) left as found, turned or hidden too far;"
                    " with mask= or landmarks= they are completed all the same"
                )
                warnings.warn(f"{photo.name}: {text}", PhotoWarning, stacklevel=4)
            elif not result.faces:
                warnings.warn(f"{photo.name}: no masked face found", PhotoWarning, stacklevel=4)
        return results

    def _find(
        self,
        photo: Photo,
        mask: NDArray[np.bool_] | None,
        landmarks: NDArray[np.float32] | None,
    ) -> list[MaskRegion]:
        """Find the masks in the whole photo; given ones are taken as they are."""
        if mask is not None:
            regions = regions_of_mask(mask)
        else:
            judged = getattr(self.segmentation, "verifier", None) is not None
            least = LIMITS.refused if judged else LIMITS.certainty
            regions = self.segmentation.find(photo.pixels, min_score=least)
        if landmarks is None or len(regions) < 2:
            return regions
        # Landmarks describe one face: the one whose mask lies nearest to them.
        center = landmarks.mean(0)
        regions = [r for r in regions if is_mask(*r.evidence)] or regions
        return [min(regions, key=lambda r: float(np.hypot(*(_box_center(r) - center))))]

    def _locate(
        self,
        photos: Sequence[Photo],
        found: Sequence[tuple[int, MaskRegion]],
        landmarks: NDArray[np.float32] | None,
        given: bool,
    ) -> list[Subject]:
        """Find the landmarks around the masks, and with them the crops; no face, no subject."""
        if not found:
            return []
        if landmarks is not None:
            return [
                cut_subject(photos[n], n, region, landmarks, given=given) for n, region in found
            ]
        least = 0.0 if given else LIMITS.confidence
        located = locate_landmarks(
            self.landmarks,
            [photos[number].pixels for number, _ in found],
            [matrix_from_mask_box(region.box) for _, region in found],
            mirror=True,
            thorough=True,
            least=least,
        )
        assert located.spread is not None  # there are three views
        return [
            cut_subject(
                photos[number], number, region, points, confidence=float(confidence),
                spread=float(spread), given=given,
            )
            for (number, region), points, confidence, spread in zip(
                found, located.points, located.confidence, located.spread, strict=True
            )
            if confidence >= least
        ]  # fmt: skip

    def _segment(self, subjects: list[Subject]) -> list[Subject]:
        """Look at each found mask again inside its crop, where it has more pixels."""
        found = [s for s in subjects if not s.given]
        if not found:
            return subjects
        # Black where the photo ends, as in whole photos: a mirrored face wears a mirrored mask.
        crops = np.stack([np.where(s.valid[..., None], s.crop, np.uint8(0)) for s in found])
        return [
            replace(s, mask=refine_mask(s.mask, probability, s.crop_landmarks))
            for s, probability in zip(found, self.segmentation.segment(crops), strict=True)
        ]

    def _decide(
        self, subjects: list[Subject], photos: Sequence[Photo]
    ) -> tuple[list[Subject], list[Subject]]:
        """Say which masked faces are completed and which are left as they are."""
        worn = []
        for subject in subjects:
            decision = decide(subject.evidence)
            _logger.debug("%s: %s: %s", photos[subject.photo].name, subject.region, decision)
            if decision.outcome != "ignore":
                worn.append(replace(subject, outcome=decision.outcome))
        faces = [
            s if s.given else replace(s, mask=free_eyes(s.mask, s.crop_landmarks))
            for s in one_a_face(worn)
        ]
        complete, leave = ([s for s in faces if s.outcome == o] for o in ("complete", "leave"))
        return complete, leave

    def _classify(self, subjects: list[Subject], gender: str | None) -> list[Subject]:
        """Decide whose weights complete each face."""
        if gender is not None or not subjects:
            return [replace(s, gender=gender or "") for s in subjects]
        crops = np.stack([s.crop for s in subjects])
        male = predict_gender(self.gender, crops, mirror=True)
        return [
            replace(s, gender=GENDERS[int(p >= 0.5)], gender_confidence=float(max(p, 1 - p)))
            for s, p in zip(subjects, male, strict=True)
        ]

    def _complete(
        self, subjects: list[Subject], photos: Sequence[Photo], seed: int
    ) -> list[Result]:
        """Complete the holes and blend them into their photos."""
        images = [photo.pixels for photo in photos]
        loops = self._without_loops(subjects, images)
        frames = [frame_subject(s, images[s.photo]) for s in subjects]
        completed = self._paint(frames, [s.gender for s in subjects])
        done: list[list[tuple[Subject, NDArray[np.bool_]]]] = [[] for _ in photos]
        for i, (subject, frame) in enumerate(zip(subjects, frames, strict=True)):
            # By its place in the photo, so that a photo's result does not depend on its neighbours.
            rng = np.random.default_rng([seed, len(done[subject.photo])])
            image, changed = blend(
                images[subject.photo], completed[i], frame.hole, frame.valid, frame.matrix,
                subject.landmarks, rng,
            )  # fmt: skip
            images[subject.photo] = image
            done[subject.photo].append((subject, changed | loops.get(i, False)))
        results = []
        for image, photo, faces in zip(images, photos, done, strict=True):
            # What somebody paints into a result shall not change the photo.
            own = image.copy() if image is photo.pixels else image
            results.append(Result(own, [as_face(s, own, changed) for s, changed in faces], photo))
        return results

    def _without_loops(
        self, subjects: list[Subject], images: list[NDArray[np.uint8]]
    ) -> dict[int, NDArray[np.bool_]]:
        """Take the ear loops of found masks out of photos; by a subject's number, where they were.

        Before the holes are completed: a loop would lend the cheek its colour.
        """
        found = [i for i, s in enumerate(subjects) if not s.given]
        if self.loops is None or not found:
            return {}
        crops, masks = (
            np.stack([getattr(subjects[i], a) for i in found]) for a in ("crop", "mask")
        )
        taken = {}
        for i, loops in zip(found, find_loops(self.loops, crops, masks), strict=True):
            if loops.any():
                photo, matrix = subjects[i].photo, subjects[i].matrix
                images[photo], taken[i] = remove_loops(
                    images[photo], loops, subjects[i].mask, matrix
                )
        return taken

    def _paint(self, frames: list[Frame], genders: list[str]) -> NDArray[np.uint8]:
        if not frames:
            return np.zeros((0, 0, 0, 3), np.uint8)
        images, holes, valid, landmarks = (
            np.stack([getattr(frame, name) for frame in frames])
            for name in ("image", "hole", "valid", "landmarks")
        )
        return complete_faces(
            self.generators, self.coarse, images, holes, valid, landmarks, genders
        )[1]


def run(
    photo: ImageSource,
    *,
    preset: str = "lite",
    weights_dir: str | os.PathLike[str] | None = None,
    gender: str | None = None,
    mask: NDArray[Any] | ImageSource | None = None,
    landmarks: NDArray[np.floating] | None = None,
    seed: int = 0,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    runtime: Runtime = "auto",
) -> Result:
    """Find the masked faces of a photo and show plausible faces without the masks.

    The result is a plausible face, not the person's: nothing under a mask can be seen. The networks
    stay in memory, so that the next call is faster.

    Args:
        photo: Path, bytes, file object, PIL image or (H, W, 3) uint8 RGB array, from 64 px up.
        preset: "lite" (ships with the package) or "paper" (the paper's sizes; unfinished weights
            in a checkout, or ones to bring).
        weights_dir: Folder with the preset's `manifest.toml`; the shipped one when None.
        gender: "male" or "female" to choose the generator; decided from the face when None.
        mask: Array or image of the photo's size, non-zero or opaque where the photo shows a mask
            (`unmask.image.load_mask` reads it), in place of the predicted one. Separate areas are
            separate faces, but for specks.
        landmarks: (98, 2) WFLW or (68, 2) iBUG points in photo pixels, in place of the predicted
            ones, for one face.
        seed: Seed of the film grain that the completed part gets to match the photo.
        max_pixels: Largest accepted width times height of the photo.
        runtime: What runs the networks, see `Unmasker`.

    Returns:
        The result. Without a masked face it holds the photo unchanged, `faces == []`, and a
        warning is given. So it is for a head that is turned or hidden too far to be completed:
        `skipped` tells where, and `mask` or `landmarks` completes it all the same.

    Raises:
        ImageError: The photo or the mask cannot be read, the photo is smaller than 64 px or has
            more than `max_pixels`, or the mask is of another size.
        ValueError: An option has another shape or value.
        WeightsError: The preset's weights are missing or altered.

    Example:
        >>> result = run(np.zeros((64, 64, 3), np.uint8))       # doctest: +SKIP
        >>> result                                              # doctest: +SKIP
        <Result 64x64: no masked face>

    Reference:
        The paper's Figure 3.
    """
    folder = None if weights_dir is None else os.fspath(weights_dir)
    unmasker = _kept(preset, folder, max_pixels, runtime)
    return unmasker(photo, gender=gender, mask=mask, landmarks=landmarks, seed=seed)


@lru_cache(maxsize=1)
def _kept(preset: str, weights_dir: str | None, max_pixels: int, runtime: Runtime) -> Unmasker:
    return Unmasker(preset, weights_dir, max_pixels=max_pixels, runtime=runtime)


def _box_center(region: MaskRegion) -> NDArray[np.float64]:
    return np.array([region.box[0] + region.box[2], region.box[1] + region.box[3]]) / 2


def _check_options(gender: str | None, landmarks: NDArray[np.floating] | None, seed: int) -> None:
    if gender is not None and gender not in GENDERS:
        raise ValueError(f"gender must be 'female', 'male' or None. Received: gender={gender!r}")
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be a whole number, not negative. Received: seed={seed!r}")
    if landmarks is not None:
        canonical_matrix(np.asarray(landmarks))

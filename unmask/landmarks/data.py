"""Training and validation faces for the landmark network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord, FaceSet, gather_faces
from unmask.data.pose import is_turned
from unmask.errors import DataError
from unmask.face import CROP_SIZE, canonical_matrix, compose, transform_points, warp
from unmask.landmark_layout import POINTS_98_TO_68, flip_landmarks
from unmask.landmarks.augment import Augmentation, jitter_matrix, mirror_matrix, vary_pixels
from unmask.landmarks.heatmaps import IGNORED, STRIDE, draw_boundary, draw_heatmaps, to_heatmap
from unmask.landmarks.readers import read_300w, read_wflw
from unmask.synthesis import MaskSynthesizer

EXCLUDED_SOURCES = frozenset({"300w-helen"})
"""Photos of this source may be among the test photos of `landmarks_300w`: never trained on."""

_WFLW_LISTS = Path("WFLW_annotations", "list_98pt_rect_attr_train_test")
_HELD_OUT = 20

# Tight files would otherwise always show mirrored eyes above the face, which photos do not.
_BORDERS = (cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)


@dataclass(frozen=True, eq=False)
class Faces:
    """Crops with their landmarks.

    Attributes:
        images: (N, 256, 256, 3) uint8 RGB.
        points: (N, 98, 2) or (N, 68, 2) float32 crop pixels.
    """

    images: NDArray[np.uint8]
    points: NDArray[np.float32]


def gather_landmarks(
    data: Sequence[Path], folders: Mapping[str, float]
) -> tuple[FaceSet, list[FaceRecord]]:
    """Read the faces to train on and those to validate with.

    Args:
        data: As for `unmask.data.faces.gather_faces`. Of the published data sets, `WFLW` holds
            `WFLW_images` and `WFLW_annotations`, and `300w` images beside `.pts` files.
        folders: As for `gather_faces`.

    Returns:
        The training faces, without photos of `EXCLUDED_SOURCES`; and the faces of the split "val",
        or, where no collection has one, every twentieth training face, which is then held out.

    Raises:
        DataError: There are no faces to train on.
    """
    faces = gather_faces(data, folders, readers=(_read_wflw, _read_300w))
    allowed = np.array([record.source not in EXCLUDED_SOURCES for record in faces.records])
    splits = np.array([record.split for record in faces.records])
    training, held_out = allowed & (splits == "train"), allowed & (splits == "val")
    if not training.any():
        raise DataError(f"no faces of the split 'train' in {', '.join(map(str, data))}")
    if not held_out.any():
        held_out[np.flatnonzero(training)[::_HELD_OUT]] = True
        training &= ~held_out
    return faces.only(training), list(faces.only(held_out).records)


def make_targets(points: NDArray[np.floating], size: int = CROP_SIZE) -> NDArray[np.float32]:
    """Target heatmaps and boundary map of one face.

    Points outside the crop are drawn where they would leave it, so that every point has a place.

    Args:
        points: (98, 2) or (68, 2) crop pixels. Of 68 points only the channels that correspond to
            one of the 98 are supervised; the others are filled with -1.
        size: Side of the crop in pixels.

    Returns:
        (size / 4, size / 4, 99) float32.

    Example:
        >>> make_targets(np.full((98, 2), 100.0)).shape
        (64, 64, 99)
    """
    side = size // STRIDE
    inside = to_heatmap(np.clip(points, 0, size - 1))
    targets = np.full((side, side, 99), IGNORED, np.float32)
    if len(points) == 98:
        targets[..., :98] = draw_heatmaps(inside, side)
        targets[..., 98] = draw_boundary(inside, side)
    else:
        targets[..., POINTS_98_TO_68] = draw_heatmaps(inside, side)
    return targets


@dataclass(frozen=True, eq=False)
class LandmarkSampler:
    """Makes batches of varied training crops and their target heatmaps.

    Every face depends on the seed and on its number alone.

    Attributes:
        faces: Where the faces come from.
        batch_size: Faces a batch.
        augmentation: How strongly faces vary.
        stacks: Outputs of the network; each has the same targets.
        profile_oversampling: How often a turned head is shown, for each time that it would be.
        seed: Seed of everything random.
    """

    faces: FaceSet
    batch_size: int
    augmentation: Augmentation = field(default_factory=Augmentation)
    stacks: int = 1
    profile_oversampling: float = 1.0
    seed: int = 0
    _until: NDArray[np.float64] = field(init=False, repr=False)
    _synthesizer: MaskSynthesizer = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Prepare what all batches share."""
        turned = np.array([is_turned(record.landmarks) for record in self.faces.records])
        shown = self.faces.weights * np.where(turned, self.profile_oversampling, 1.0)
        object.__setattr__(self, "_until", np.cumsum(shown)[:-1] / shown.sum())
        object.__setattr__(self, "_synthesizer", MaskSynthesizer(self.seed))

    def __call__(self, number: int) -> tuple[NDArray[np.uint8], tuple[NDArray[np.float16], ...]]:
        """Return images (B, 256, 256, 3) and the targets (B, 64, 64, 99) of every stack."""
        first = number * self.batch_size
        faces = [self.face(first + i) for i in range(self.batch_size)]
        # Half the bytes on their way to the device; the loss computes in float32.
        targets = np.stack([make_targets(points) for _, points in faces]).astype(np.float16)
        return np.stack([image for image, _ in faces]), (targets,) * self.stacks

    def face(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """One varied face: its crop (256, 256, 3) and its landmarks in crop pixels."""
        rng = np.random.default_rng([self.seed, index])
        record = self.faces.records[int(np.searchsorted(self._until, rng.random(), "right"))]
        image, points, settings = record.read(), record.landmarks, self.augmentation
        if rng.random() < settings.masked:
            image = self._synthesizer(image, points, index).image
        matrix = compose(jitter_matrix(rng, settings), canonical_matrix(points))
        moved = transform_points(points, matrix)
        if rng.random() < settings.flip:
            matrix, moved = mirror_matrix(matrix), flip_landmarks(moved, CROP_SIZE)
        border = _BORDERS[rng.integers(len(_BORDERS))]
        crop = np.asarray(warp(image, matrix, CROP_SIZE, border=border), np.uint8)
        return vary_pixels(crop, rng, settings), np.asarray(moved, np.float32)


def validation_faces(
    records: Sequence[FaceRecord], *, masked: bool, count: int, seed: int = 0
) -> Faces:
    """Crops for measuring: always the same for the same arguments.

    Args:
        records: Faces; where some have 98 points, those with 68 are left out.
        masked: Whether each face wears a synthetic mask.
        count: Number of faces, evenly spread over the records.
        seed: Seed of the masks.

    Returns:
        The canonical crops; landmarks are those of the face without its mask.
    """
    most = max(len(record.landmarks) for record in records)
    alike = [record for record in records if len(record.landmarks) == most]
    synthesizer = MaskSynthesizer(seed + 1)  # other masks than the training's
    images, points = [], []
    for i in np.unique(np.linspace(0, len(alike) - 1, count).astype(int)).tolist():
        image, landmarks = alike[i].read(), alike[i].landmarks
        if masked:
            image = synthesizer(image, landmarks, i).image
        matrix = canonical_matrix(landmarks)
        images.append(np.asarray(warp(image, matrix, CROP_SIZE), np.uint8))
        points.append(transform_points(landmarks, matrix))
    return Faces(np.stack(images), np.stack(points))


def _read_wflw(place: Path, split: str | None) -> list[FaceRecord] | None:
    if not (place / _WFLW_LISTS).is_dir():
        return None
    return [
        face.record
        for own in ("train", "test")
        if split in (None, own)
        for face in read_wflw(
            place / _WFLW_LISTS / f"list_98pt_rect_attr_{own}.txt", place / "WFLW_images", split=own
        )
    ]


def _read_300w(place: Path, split: str | None) -> list[FaceRecord] | None:
    return read_300w(place, split=split) if place.name == "300w" and place.is_dir() else None

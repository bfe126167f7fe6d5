"""Training and validation faces for the landmark network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord, read_face_folder
from unmask.data.pose import is_turned
from unmask.errors import DataError
from unmask.face import CROP_SIZE, canonical_matrix, compose, transform_points, warp
from unmask.image import load_image
from unmask.landmark_layout import POINTS_98_TO_68, flip_landmarks
from unmask.landmarks.augment import Augmentation, jitter_matrix, mirror_matrix, vary_pixels
from unmask.landmarks.heatmaps import STRIDE, draw_boundary, draw_heatmaps, to_heatmap
from unmask.landmarks.losses import IGNORED
from unmask.landmarks.readers import read_300w, read_wflw
from unmask.synthesis import MaskSynthesizer

GROUPS: tuple[tuple[tuple[str, ...], float], ...] = (
    (("faces_male", "faces_female"), 0.35),
    (("faces_wide",), 0.2),
    (("landmarks_300w",), 0.45),
)
"""Folders of the training data and the share of the training faces that each group gets."""

_WFLW_FOLDER, _WFLW_SHARE = "WFLW", 0.4
_300W_FOLDER, _300W_SHARE = "300w", 0.3
_WFLW_LISTS = Path("WFLW_annotations", "list_98pt_rect_attr_train_test")
_KEPT_BYTES = 200_000  # larger image files are read again each time

EXCLUDED_SOURCES = frozenset({"300w-helen"})
"""Photos of this source may be among the test photos of ``landmarks_300w``: never trained on."""

# Tight files would otherwise always show mirrored eyes above the face, which photos do not.
_BORDERS = (cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)


@dataclass(frozen=True)
class FaceGroup:
    """Faces that are drawn equally often.

    Attributes:
        records: The faces.
        share: Share of the training faces that come from this group.
    """

    records: tuple[FaceRecord, ...]
    share: float


@dataclass(frozen=True, eq=False)
class Faces:
    """Crops with their landmarks.

    Attributes:
        images: (N, 256, 256, 3) uint8 RGB.
        points: (N, 98, 2) or (N, 68, 2) float32 crop pixels.
    """

    images: NDArray[np.uint8]
    points: NDArray[np.float32]


def read_groups(data: Path, split: str) -> list[FaceGroup]:
    """Read the folders of :data:`GROUPS` that exist, and WFLW and 300-W where they are unpacked.

    Args:
        data: Folder that holds the face folders. Of the published data sets, ``WFLW`` holds
            ``WFLW_images`` and ``WFLW_annotations`` and ``300w`` images beside ``.pts`` files; both
            have the splits "train" and "test".
        split: "train", "val" or "test".

    Returns:
        The groups that have faces, without photos of :data:`EXCLUDED_SOURCES`.

    Raises:
        DataError: No folder with faces was found.
    """
    groups = []
    for folders, share in GROUPS:
        records = [
            record
            for folder in folders
            if (data / folder).is_dir()
            for record in read_face_folder(data / folder, split=split)
            if record.source not in EXCLUDED_SOURCES
        ]
        if records:
            groups.append(FaceGroup(tuple(records), share))
    wflw = data / _WFLW_FOLDER / _WFLW_LISTS / f"list_98pt_rect_attr_{split}.txt"
    if wflw.is_file():
        faces = read_wflw(wflw, data / _WFLW_FOLDER / "WFLW_images", split=split)
        groups.append(FaceGroup(tuple(face.record for face in faces), _WFLW_SHARE))
    if (data / _300W_FOLDER).is_dir():
        records = read_300w(data / _300W_FOLDER, split=split)
        groups += [FaceGroup(tuple(records), _300W_SHARE)] if records else []
    if not groups:
        names = ", ".join(name for folders, _ in GROUPS for name in folders)
        raise DataError(f"{data}: none of {names} has faces of the split {split!r}")
    return groups


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


class LandmarkDataset(keras.utils.PyDataset):
    """Varied training crops and their target heatmaps, without end.

    Small image files are kept in memory as they are and decoded when needed. Every face depends
    on the seed, the epoch and its place in it alone.

    Args:
        groups: Where the faces come from.
        batch_size: Faces a batch.
        steps: Batches an epoch.
        stacks: Outputs of the network; the targets are repeated for each.
        augmentation: How strongly faces vary.
        turned: How often a turned head is shown for each time a frontal one is.
        seed: Seed of everything random.
        first_epoch: Epoch to begin with, where a training goes on after an interruption.
        **kwargs: Passed to :class:`keras.utils.PyDataset`.
    """

    def __init__(
        self,
        groups: Sequence[FaceGroup],
        *,
        batch_size: int,
        steps: int,
        stacks: int = 1,
        augmentation: Augmentation | None = None,
        turned: int = 1,
        seed: int = 0,
        first_epoch: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if turned < 1:
            raise ValueError(f"turned must be at least 1. Received: turned={turned}")
        self._groups = [_repeat_turned(group, turned) for group in groups]
        shares = np.array([group.share for group in groups])
        self._shares = shares / shares.sum()
        self._batch_size, self._steps, self._stacks = batch_size, steps, stacks
        self._augmentation = augmentation or Augmentation()
        self._seed, self._epoch = seed, first_epoch
        self._synthesizer = MaskSynthesizer(seed)
        paths = {record.path for group in groups for record in group.records}
        self._files = {p: p.read_bytes() for p in paths if p.stat().st_size <= _KEPT_BYTES}

    def __len__(self) -> int:
        """Batches an epoch."""
        return self._steps

    def __getitem__(
        self, index: int
    ) -> tuple[NDArray[np.float32], tuple[NDArray[np.float32], ...]]:
        """Images (B, 256, 256, 3) in [0, 1] and the targets (B, 64, 64, 99) of every stack."""
        images = np.empty((self._batch_size, CROP_SIZE, CROP_SIZE, 3), np.float32)
        side = CROP_SIZE // STRIDE
        targets = np.empty((self._batch_size, side, side, 99), np.float32)
        first = (self._epoch * self._steps + index) * self._batch_size
        for i in range(self._batch_size):
            image, points = self.face(first + i)
            np.multiply(image, np.float32(1 / 255), out=images[i])
            targets[i] = make_targets(points)
        return images, (targets,) * self._stacks

    def on_epoch_end(self) -> None:
        """Go on to new variations."""
        self._epoch += 1

    def face(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """One varied face: its crop (256, 256, 3) and its landmarks in crop pixels."""
        rng = np.random.default_rng([self._seed, index])
        group = self._groups[rng.choice(len(self._groups), p=self._shares)]
        record = group.records[rng.integers(len(group.records))]
        image = load_image(self._files.get(record.path, record.path))
        points = record.landmarks
        settings = self._augmentation
        if rng.random() < settings.masked:
            image = self._synthesizer(image, points, index).image
        matrix = compose(jitter_matrix(rng, settings), canonical_matrix(points))
        moved = transform_points(points, matrix)
        if rng.random() < settings.flip:
            matrix, moved = mirror_matrix(matrix), flip_landmarks(moved, CROP_SIZE)
        border = _BORDERS[rng.integers(len(_BORDERS))]
        crop = np.asarray(warp(image, matrix, CROP_SIZE, border=border), np.uint8)
        return vary_pixels(crop, rng, settings), np.asarray(moved, np.float32)


def _repeat_turned(group: FaceGroup, times: int) -> FaceGroup:
    repeated = [
        record
        for record in group.records
        for _ in range(times if times > 1 and is_turned(record.landmarks) else 1)
    ]
    return FaceGroup(tuple(repeated), group.share)


def validation_faces(
    records: Sequence[FaceRecord],
    *,
    masked: bool,
    count: int | None = None,
    seed: int = 0,
    jitter: Augmentation | None = None,
) -> Faces:
    """Crops for measuring: always the same for the same arguments.

    Args:
        records: Faces with the same number of landmarks.
        masked: Whether each face wears a synthetic mask.
        count: Number of faces, evenly spread over the records; all when None.
        seed: Seed of the masks and of the jitter.
        jitter: Geometric variation of the crop; the exact canonical crop when None.

    Returns:
        The crops; landmarks are those of the face without its mask.
    """
    chosen = range(len(records))
    if count is not None and count < len(records):
        chosen = np.linspace(0, len(records) - 1, count).astype(int).tolist()
    synthesizer = MaskSynthesizer(seed + 1)  # other masks than the training's
    images, points = [], []
    for i in chosen:
        record = records[i]
        image = load_image(record.path)
        if masked:
            image = synthesizer(image, record.landmarks, i).image
        matrix = canonical_matrix(record.landmarks)
        if jitter is not None:
            matrix = compose(jitter_matrix(np.random.default_rng([seed, i]), jitter), matrix)
        images.append(np.asarray(warp(image, matrix, CROP_SIZE), np.uint8))
        points.append(transform_points(record.landmarks, matrix))
    return Faces(np.stack(images), np.stack(points))

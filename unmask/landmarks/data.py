"""Faces for the landmark network: published annotations, training batches, validation crops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import gather_faces, without_test_photos
from unmask.data.record import FaceRecord, FaceSet, Order
from unmask.errors import DataError
from unmask.face import CROP_SIZE, canonical_matrix, compose, transform_points, warp
from unmask.io import PathLike
from unmask.landmark_layout import POINTS_98_TO_68, flip_landmarks, is_turned
from unmask.landmarks.augment import Augmentation, jitter_matrix, mirror_matrix, vary_pixels
from unmask.landmarks.heatmaps import IGNORED, STRIDE, draw_boundary, draw_heatmaps, to_heatmap
from unmask.paths import path_inside
from unmask.synthesis import MaskSynthesizer

WFLW_ATTRIBUTES = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")
"""The six flags of WFLW's lists, in their order; each makes a subset of the test faces."""

_COORDINATES = 2 * 98
_FIELDS = _COORDINATES + 4 + len(WFLW_ATTRIBUTES) + 1
_IMAGE_SUFFIXES = (".jpg", ".png", ".jpeg")
_WFLW_LISTS = Path("WFLW_annotations", "list_98pt_rect_attr_train_test")
_HELD_OUT = 20

# Tight files would otherwise always show mirrored eyes above the face, which photos do not.
_BORDERS = (cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)


def gather_landmarks(
    data: Sequence[Path], folders: Mapping[str, float]
) -> tuple[FaceSet, list[FaceRecord]]:
    """Read the faces to train on and those to validate with.

    Args:
        data: As for `unmask.data.faces.gather_faces`. Of the published data sets, `WFLW` holds
            `WFLW_images` and `WFLW_annotations`, and `300w` images beside `.pts` files.
        folders: As for `gather_faces`.

    Returns:
        The training faces, without photos of `TEST_SOURCES`; and the faces of the split "val",
        or, where no collection has one, every twentieth training face, which is then held out.

    Raises:
        DataError: There are no faces to train on.
    """
    faces = without_test_photos(gather_faces(data, folders, readers=(_read_wflw, _read_300w)))
    splits = np.array([record.split for record in faces.records])
    training, held_out = splits == "train", splits == "val"
    if not training.any():
        raise DataError(f"no faces of the split 'train' in {', '.join(map(str, data))}")
    if not held_out.any():
        held_out[np.flatnonzero(training)[::_HELD_OUT]] = True
        training &= ~held_out
    return faces.only(training), list(faces.only(held_out).records)


def make_targets(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the target heatmaps and boundary map of one face, (64, 64, 99) float32.

    Points, (98, 2) or (68, 2) in crop pixels, that lie outside are drawn where they would leave the
    crop, so that each has a place. Of 68 points only the channels that correspond to one of the 98
    are supervised; the others are filled with -1.

    Example:
        >>> make_targets(np.full((98, 2), 100.0)).shape
        (64, 64, 99)
    """
    side = CROP_SIZE // STRIDE
    inside = to_heatmap(np.clip(points, 0, CROP_SIZE - 1))
    targets = np.full((side, side, 99), IGNORED, np.float32)
    if len(points) == 98:
        targets[..., :98] = draw_heatmaps(inside, side)
        targets[..., 98] = draw_boundary(inside, side)
    else:
        targets[..., POINTS_98_TO_68] = draw_heatmaps(inside, side)
    return targets


class LandmarkSampler:
    """Makes batches of varied training crops and their target heatmaps.

    Every face depends on the seed and on its number alone.

    Args:
        faces: Where the faces come from.
        batch_size: Faces a batch.
        augmentation: How strongly faces vary.
        stacks: Outputs of the network; each has the same targets.
        profile_oversampling: How often a turned head is shown, for each time that it would be.
        seed: Seed of everything random.
    """

    def __init__(
        self,
        faces: FaceSet,
        *,
        batch_size: int,
        augmentation: Augmentation,
        stacks: int = 1,
        profile_oversampling: float = 1.0,
        seed: int = 0,
    ) -> None:
        turned = np.array([is_turned(record.landmarks) for record in faces.records])
        shown = faces.weights * np.where(turned, profile_oversampling, 1.0)
        self._records, self._order = faces.records, Order(shown, seed)
        self._batch_size, self._stacks = batch_size, stacks
        self._augmentation, self._seed = augmentation, seed
        self._synthesizer = MaskSynthesizer(seed)

    def __call__(self, number: int) -> tuple[NDArray[np.uint8], tuple[NDArray[np.float16], ...]]:
        """Return images (B, 256, 256, 3) and the targets (B, 64, 64, 99) of every stack."""
        first = number * self._batch_size
        faces = [self.face(first + i) for i in range(self._batch_size)]
        # Half the bytes on their way to the device; the loss computes in float32.
        targets = np.stack([make_targets(points) for _, points in faces]).astype(np.float16)
        return np.stack([image for image, _ in faces]), (targets,) * self._stacks

    def face(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """One varied face: its crop (256, 256, 3) and its landmarks in crop pixels."""
        rng = np.random.default_rng([self._seed, index])
        record, settings = self._records[self._order[index]], self._augmentation
        image, points = record.read(), record.landmarks
        if rng.random() < settings.masked:
            image = self._synthesizer(image, points, index).image
        matrix = compose(jitter_matrix(rng, settings), canonical_matrix(points))
        moved = transform_points(points, matrix)
        if rng.random() < settings.flip:
            matrix, moved = mirror_matrix(matrix), flip_landmarks(moved, CROP_SIZE)
        border = _BORDERS[rng.integers(len(_BORDERS))]
        crop = warp(image, matrix, CROP_SIZE, border=border)
        return vary_pixels(crop, rng, settings), np.asarray(moved, np.float32)


def validation_faces(
    records: Sequence[FaceRecord], *, masked: bool, count: int, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return crops (N, 256, 256, 3) for measuring, and their (N, 98, 2) or (N, 68, 2) landmarks.

    The same arguments give the same ones: at most `count`, evenly spread over the records, of which
    those with 98 points count where there are any. The landmarks are those of the face without its
    mask.
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
        images.append(warp(image, matrix, CROP_SIZE))
        points.append(transform_points(landmarks, matrix))
    return np.stack(images), np.stack(points)


# === The published annotation files of WFLW and of 300-W ===


@dataclass(frozen=True, eq=False)
class WflwFace:
    """One line of a WFLW list."""

    record: FaceRecord  # image and 98 hand-made points
    box: tuple[float, float, float, float]  # face box x0, y0, x1, y1 in pixels
    attributes: frozenset[str]  # those of `WFLW_ATTRIBUTES` that the face has


def read_wflw(path: PathLike, images: PathLike, *, split: str = "test") -> list[WflwFace]:
    """Read a list of WFLW, ``list_98pt_rect_attr_train.txt`` or ``..._test.txt``.

    Every line has 196 coordinates, the box, six flags and the name of the image.

    Args:
        path: The list.
        images: Folder that the names start from, ``WFLW_images``.
        split: What the records' ``split`` becomes.

    Returns:
        The faces in the list's order. The images are not opened.

    Raises:
        DataError: The list is missing, or a line has another number of fields, no numbers, or an
            image outside the folder.

    Reference:
        Wu et al., "Look at Boundary: A Boundary-Aware Face Alignment Algorithm", CVPR 2018.
    """
    folder = Path(images)
    lines = _read_text(Path(path)).splitlines()
    return [
        _wflw_face(line.split(), folder, split, f"{path}: line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def read_pts(path: PathLike) -> NDArray[np.float32]:
    r"""Read a ``.pts`` file of 300-W.

    Args:
        path: The file.

    Returns:
        (N, 2) float32, (x, y) with pixel centres at integers: the file counts pixels from 1.

    Raises:
        DataError: The file is missing, or not a list of ``n_points`` points between braces.

    Example:
        >>> from unmask.io import write_text_atomic
        >>> text = "version: 1\nn_points: 2\n{\n1.0 1.0\n3.5 8.0\n}\n"
        >>> write_text_atomic("out/face.pts", text)
        >>> read_pts("out/face.pts").tolist()
        [[0.0, 0.0], [2.5, 7.0]]

    Reference:
        Sagonas et al., "300 Faces in-the-Wild Challenge", ICCV workshops 2013.
    """
    text = _read_text(Path(path))
    header, brace, rest = text.partition("{")
    body, closing, _ = rest.partition("}")
    try:
        values = np.array(body.split(), np.float32).reshape(-1, 2)
        fields = dict(line.split(":", 1) for line in header.splitlines() if ":" in line)
        count = int(fields["n_points"])
    except (ValueError, KeyError) as error:
        raise DataError(f"{path}: not a .pts file ({error})") from error
    if not brace or not closing or count != len(values):
        raise DataError(f"{path}: n_points is {count}, but {len(values)} points between the braces")
    return values - np.float32(1)


def read_300w(folder: PathLike, *, split: str | None = None) -> list[FaceRecord]:
    """Read the images of 300-W, or of another collection with a ``.pts`` file beside each.

    Args:
        folder: Searched with its subfolders. What lies in a ``testset`` or in ``ibug`` belongs to
            the split "test", all else to "train", as is usual for 300-W.
        split: Keep only this split; all when None.

    Returns:
        The records in the order of their paths; ``.pts`` files without an image are left out.

    Raises:
        DataError: There is no such folder, or a ``.pts`` file does not have 68 points.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    records = []
    for path in sorted(folder.rglob("*.pts")):
        parts = path.relative_to(folder).parts[:-1]
        own = "test" if {"testset", "ibug"} & set(parts) else "train"
        image = next((p for s in _IMAGE_SUFFIXES if (p := path.with_suffix(s)).is_file()), None)
        if image is None or split not in (None, own):
            continue
        points = read_pts(path)
        if points.shape != (68, 2):
            raise DataError(f"{path}: has {len(points)} points, not 68")
        records.append(FaceRecord(image, points, own, source="300w"))
    return records


def _wflw_face(fields: list[str], folder: Path, split: str, where: str) -> WflwFace:
    if len(fields) != _FIELDS:
        raise DataError(f"{where}: {len(fields)} fields instead of {_FIELDS}")
    points = _numbers(fields[:_COORDINATES], float, where)
    x0, y0, x1, y1 = _numbers(fields[_COORDINATES : _COORDINATES + 4], float, where)
    flags = _numbers(fields[_COORDINATES + 4 : -1], int, where)
    landmarks = np.array(points, np.float32).reshape(98, 2)
    return WflwFace(
        record=FaceRecord(
            path_inside(folder, fields[-1], f"{where}: image"), landmarks, split, source="wflw"
        ),
        box=(x0, y0, x1, y1),
        attributes=frozenset(
            name for name, flag in zip(WFLW_ATTRIBUTES, flags, strict=True) if flag
        ),
    )


def _numbers(fields: list[str], kind: Callable[[str], float], where: str) -> list[float]:
    try:
        return [kind(field) for field in fields]
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


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

"""Photos of masked faces with everything known: the true face, mask, landmarks and gender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import read_face_folder
from unmask.data.record import FaceRecord
from unmask.errors import DataError
from unmask.face import CROP_SIZE, canonical_matrix, coverage, grow, warp
from unmask.gender.data import name_genders as named
from unmask.gender.load import load_gender
from unmask.image import load_image, load_mask
from unmask.inpainting.evaluate import choose_faces
from unmask.inpainting.window import HOLE_GROWTH
from unmask.synthesis import MaskSynthesizer
from unmask.synthesis.sources import PICTURE_FOLDERS, SETTINGS_FILE, number_of
from unmask.weights import find

_IMAGES, _MASKED, _MASKS = PICTURE_FOLDERS


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo of a masked face with its truth.

    Attributes:
        name: Folder and file.
        photo: (H, W, 3) uint8 RGB, with the mask.
        truth: (H, W, 3) uint8 RGB, without it.
        mask: (H, W) bool.
        landmarks: (98, 2) or (68, 2) true points in photo pixels.
        gender: "male" or "female".
    """

    name: str
    photo: NDArray[np.uint8] = field(repr=False)
    truth: NDArray[np.uint8] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)
    landmarks: NDArray[np.float32] = field(repr=False)
    gender: str

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(2, 3) transform from the photo to the true canonical crop, where all is scored."""
        return canonical_matrix(self.landmarks)

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the true canonical crop (256, 256, 3) of an image of the photo's size."""
        return warp(image, self.matrix, CROP_SIZE)

    def crop_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the same crop of a mask, (256, 256) bool."""
        return warp(mask.astype(np.float32), self.matrix, CROP_SIZE, border=0) > 0.5

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(256, 256) bool, which pixels of the crop the photo shows."""
        return coverage(self.photo.shape, self.matrix, CROP_SIZE)

    @property
    def hole(self) -> NDArray[np.bool_]:
        """(256, 256) bool: the true mask, grown as the pipeline grows it."""
        return grow(self.crop_mask(self.mask), HOLE_GROWTH) & self.valid


def choose_records(
    folders: Sequence[str | Path],
    *,
    split: str,
    count: int | None,
    seed: int,
    name_genders: bool = False,
) -> list[FaceRecord]:
    """Choose the faces to evaluate on: of known gender, half of each where there are enough.

    Args:
        folders: Face folders, or folders that `unmask synthesize` filled.
        split: Split of the faces.
        count: At most so many; all when None.
        seed: Seed of the choice.
        name_genders: Whether the shipped gender network names those of unknown gender of which it
            is sure, by the bare face.

    Raises:
        DataError: A folder cannot be read, or holds no such face.
    """
    records = [record for folder in folders for record in read_face_folder(folder, split=split)]
    if name_genders:
        records = named(records, load_gender(find("lite", "gender").path))
    chosen = choose_faces(records, len(records) * 2 if count is None else count, seed=seed)
    if not chosen:
        names = ", ".join(map(str, folders))
        raise DataError(f"{names}: no face of the split {split!r} with a known gender")
    return chosen


def load_scene(record: FaceRecord, synthesizer: MaskSynthesizer) -> Scene:
    """Load a face with its mask: the one `unmask synthesize` wrote beside it, or a new one.

    A new one is drawn by the file's name, so that a face has the same mask whatever other faces are
    evaluated.

    Raises:
        ImageError: A picture cannot be read.
        DataError: The mask lies outside the picture.
    """
    truth = load_image(record.path)
    stored = _stored_pair(record.path)
    name = f"{record.path.parent.name}/{record.path.name}"
    if stored is not None:
        photo, mask = load_image(stored[0]), load_mask(stored[1])
    else:
        masked = synthesizer(truth, record.landmarks, number_of(name))
        photo, mask = masked.image, masked.mask
    scene = Scene(name, photo, truth, mask, record.landmarks, record.gender or "")
    if not scene.hole.any():
        raise DataError(f"{record.path}: the mask lies outside the picture")
    return scene


def _stored_pair(path: Path) -> tuple[Path, Path] | None:
    """Return the masked image and the mask of a face in a folder of pairs."""
    for images in path.parents:
        if images.name == _IMAGES and (images.parent / SETTINGS_FILE).is_file():
            inside, root = path.relative_to(images), images.parent
            return root / _MASKED / inside, (root / _MASKS / inside).with_suffix(".png")
    return None

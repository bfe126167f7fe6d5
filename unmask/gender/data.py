"""Faces for the gender stage: where labels come from, and the views that networks are shown.

Drawing a mask costs more than a training step on a small network, so each face's views are drawn
once and kept in a file; what varies them is new every time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.cache import ByName, cached_rows
from unmask.data.faces import gather_faces
from unmask.data.record import FaceRecord, FaceSet, Order, digest_of, load_canonical
from unmask.errors import DataError
from unmask.face import CROP_SIZE
from unmask.gender import UNCERTAIN_BELOW
from unmask.gender.augment import Augmentation, vary
from unmask.gender.lite import FRAMINGS, Framing
from unmask.gender.load import load_gender
from unmask.gender.predict import predict_gender
from unmask.image import find_images, load_image
from unmask.io import PathLike
from unmask.paths import path_inside
from unmask.presets import GENDERS
from unmask.synthesis import MaskSynthesizer
from unmask.tables import read_csv

_CALIBRATION_STEP = 16
_AGE_LIMITS = (4, 13, 20, 30, 45, 60)
_AT_ONCE = 64  # faces that are looked at together
_AUTHORS_SPLITS = {"train": "Training", "val": "Validation"}
# Of 247 labelled bare faces in wide framing that the first shipped weights were so sure of, 246
# were named as labelled; all but 22 of them had trained those weights.
_SURE = 0.9
_NO_LANDMARKS = np.zeros((0, 2), np.float32)


@dataclass(frozen=True)
class Views(ByName):
    """Stored views of some faces.

    Attributes:
        pixels: (N, 1 + masked, S, S, 3) uint8 RGB, memory-mapped: a window of the canonical crop
            with its margin, first bare, then under different drawn masks.
        labels: (N,) float32, 1 for male and 0 for female.
        framing: Which window.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.float32]
    framing: Framing

    @property
    def masks(self) -> int:
        """Masked views of each face."""
        return self.pixels.shape[1] - 1

    def first(self, count: int) -> Views:
        """Return the first views of each face, at most `count`."""
        return replace(self, pixels=self.pixels[:, :count])

    def windows(self, variant: int) -> NDArray[np.uint8]:
        """Return one variant of all faces without margins, (N, side, side, 3): 0 is bare."""
        return self.pixels[:, variant, self.framing.inside, self.framing.inside]


class ViewSampler:
    """Makes batches of views, with or without a mask, varied.

    Args:
        views: The faces.
        order: Which is shown when.
        batch_size: Faces a batch.
        masked_share: Probability of a masked view.
        augmentation: How views are varied.
        seed: Seed of masks and variation.
    """

    def __init__(
        self,
        views: Views,
        order: Order,
        batch_size: int,
        masked_share: float,
        augmentation: Augmentation = "varied",
        seed: int = 0,
    ) -> None:
        self._views, self._order, self._batch_size = views, order, batch_size
        self._masked_share, self._augmentation, self._seed = masked_share, augmentation, seed

    def __call__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return images (B, side, side, 3) uint8 and labels (B, 1)."""
        rng, views = np.random.default_rng([self._seed, number]), self._views
        chosen = self._order.batch(number, self._batch_size)
        images = []
        for face in chosen:
            masked = views.masks > 0 and rng.random() < self._masked_share
            variant = 1 + int(rng.integers(views.masks)) if masked else 0
            source = views.pixels[face, variant]
            images.append(vary(source, views.framing, rng, self._augmentation))
        return np.stack(images), views.labels[chosen, None]


def labels_of(records: Sequence[FaceRecord]) -> NDArray[np.float32]:
    """Return 1 for male and 0 for female, (N,) float32, as the paper counts them."""
    return np.array([record.gender == "male" for record in records], np.float32)


def has_landmarks(records: Sequence[FaceRecord]) -> bool:
    """Tell whether masks can be drawn on all of these faces."""
    return all(len(record.landmarks) for record in records)


def split_off_calibration(faces: FaceSet) -> tuple[FaceSet, FaceSet]:
    """Divide faces into those to train on and one in 16 of each gender to calibrate on."""
    male = labels_of(faces.records) > 0.5
    held_back = {
        faces.records[i].path
        for gender in (male, ~male)
        for i in np.flatnonzero(gender)[::_CALIBRATION_STEP]
    }
    kept_apart = np.array([record.path in held_back for record in faces.records])
    return faces.only(~kept_apart), faces.only(kept_apart)


def fair_weights(faces: FaceSet) -> NDArray[np.float64]:
    """Weigh faces so that neither the collection nor the age tells the gender, (N,).

    Where old faces are mostly men's, a network learns to call old women men. Here both genders of
    an age group get the same total weight, and the group keeps the one it had. All faces have a
    known gender.

    Example:
        >>> points = np.zeros((98, 2), np.float32)
        >>> genders = ("male", "male", "male", "female")
        >>> records = [FaceRecord(Path("1.jpg"), points, "train", gender) for gender in genders]
        >>> fair_weights(FaceSet(tuple(records), np.ones(4))).round(2).tolist()
        [0.67, 0.67, 0.67, 2.0]
    """
    records, weights = faces.records, faces.weights.copy()
    # Two folders with one weight may hold the two genders of one collection; faces of unknown age
    # are a group of their own.
    groups = np.array([f"{age_group(r.age)} {w}" for r, w in zip(records, weights, strict=True)])
    male = labels_of(records) > 0.5
    for name in np.unique(groups):
        group = groups == name
        total = weights[group].sum()
        for gender in (group & male, group & ~male):
            if 0 < gender.sum() < group.sum():
                weights[gender] *= 0.5 * total / weights[gender].sum()
    return weights


def age_group(age: int | None) -> str:
    """Name the age group of a face.

    Example:
        >>> age_group(15), age_group(80), age_group(None)
        ('13-19', '60 and older', 'unknown')
    """
    if age is None:
        return "unknown"
    index = int(np.digitize(age, _AGE_LIMITS))
    if index == len(_AGE_LIMITS):
        return f"{_AGE_LIMITS[-1]} and older"
    return f"{(0, *_AGE_LIMITS)[index]}-{_AGE_LIMITS[index] - 1}"


def stored_views(
    records: Sequence[FaceRecord],
    path: PathLike,
    framing: Framing = FRAMINGS["window"],
    *,
    masked: int = 3,
    seed: int = 0,
) -> Views:
    """Open the views of some faces, and draw them first if they are not in the file yet.

    Args:
        records: The faces.
        path: A `.npy` file; a note of the same name, `.json`, tells what it was made of.
        framing: What a view shows.
        masked: Number of masked views of each face.
        seed: Seed of the masks; a face's masks depend on it and on the face's position alone.

    Returns:
        The views, memory-mapped.

    Raises:
        DataError: The file holds other views or cannot be written, or masks are wanted on faces
            without landmarks.
    """
    if masked and not has_landmarks(records):
        raise DataError(f"{path}: masks need landmarks, which not all faces have")
    synthesizer = MaskSynthesizer(seed)

    def draw(index: int) -> NDArray[np.uint8]:
        return _draw(records[index], framing, synthesizer, index, masked)

    def make(first: int) -> Iterator[NDArray[np.uint8]]:
        with ThreadPoolExecutor(2) as pool:
            yield from pool.map(draw, range(first, len(records)))

    side = framing.stored_side
    origin = {
        "masked": masked,
        "seed": seed,
        "view": f"{framing.left} {framing.top} {framing.side}",
        "faces": digest_of(records),
    }
    shape = (len(records), 1 + masked, side, side, 3)
    return Views(
        cached_rows(Path(path), shape, np.uint8, origin, make), labels_of(records), framing
    )


def _draw(
    record: FaceRecord, framing: Framing, synthesizer: MaskSynthesizer, index: int, masked: int
) -> NDArray[np.uint8]:
    side = framing.stored_side
    if not len(record.landmarks):
        # Used as it is framed.
        image = load_image(record.path)
        return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)[None]
    face = load_canonical(record, CROP_SIZE)
    images = [face.image]
    for variant in range(masked):
        images.append(synthesizer(face.image, face.landmarks, index * masked + variant).image)
    left, top = framing.left - framing.margin, framing.top - framing.margin
    return np.stack(images)[:, top : top + side, left : left + side]


# === Labelled faces ===


def read_faces(
    data: Sequence[Path],
    folders: Mapping[str, float],
    split: str,
    *,
    pseudo_labels: Path | None = None,
) -> FaceSet:
    """Read the faces with a known gender.

    Args:
        data: As for `unmask.data.faces.gather_faces`; also a folder in the layout of the authors'
            data set (`Training/{female,male}`, `Validation/{female,male}`), or a `.csv` file with
            the columns `file` (in its folder), `gender` ("female", "male" or empty) and, if it is
            not "train", `split`.
        folders: As for `gather_faces`.
        split: "train" or "val".
        pseudo_labels: File of a gender network for the faces with landmarks but without a label:
            those whose bare looks it is 90 % sure of count too.

    Returns:
        The faces. Those of the authors' layout and of a table have no landmarks: they are used as
        they are framed, and no mask can be drawn on them.

    Raises:
        DataError: Nothing has a face of either gender in this split, or something is unreadable.
        WeightsError: `pseudo_labels` is missing or no gender network.
    """
    faces = gather_faces(data, folders, split=split, readers=(_authors_layout, _table))
    if pseudo_labels is not None:
        seen = [record for record in faces.records if len(record.landmarks)]
        named = iter(name_genders(seen, load_gender(pseudo_labels), least=_SURE))
        records = (next(named) if len(r.landmarks) else r for r in faces.records)
        faces = replace(faces, records=tuple(records))
    faces = faces.only(np.array([record.gender in GENDERS for record in faces.records]))
    for gender in GENDERS:
        if all(record.gender != gender for record in faces.records):
            places = ", ".join(map(str, data))
            raise DataError(f"no face of the gender {gender!r} in the split {split!r} of {places}")
    return faces


def _authors_layout(place: Path, split: str | None) -> list[FaceRecord] | None:
    """Read `Training/{female,male}` or `Validation/{female,male}`, women first, by name."""
    if not (place / _AUTHORS_SPLITS["train"]).is_dir():
        return None
    if split not in _AUTHORS_SPLITS:
        return []
    records = []
    for gender in GENDERS:
        folder = place / _AUTHORS_SPLITS[split] / gender
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder")
        paths = find_images([folder])
        records += [FaceRecord(path, _NO_LANDMARKS, split, gender) for path in paths]
    return records


def _table(path: Path, split: str | None) -> list[FaceRecord] | None:
    """Read a table; without the column `split`, all faces are "train"."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return None
    records = []
    for number, row in enumerate(read_csv(path, ["file", "gender"]), start=2):
        file = path_inside(path.parent, row["file"], f"{path}: line {number}: file")
        if row["gender"] not in (*GENDERS, "", None):
            raise DataError(
                f"{path}: line {number}: gender: must be one of {GENDERS} or empty. "
                f"Received: {row['gender']!r}"
            )
        own = row.get("split") or "train"
        records.append(FaceRecord(file, _NO_LANDMARKS, own, row["gender"]))
    return [record for record in records if record.split == (split or "train")]


def name_genders(
    records: Sequence[FaceRecord], model: keras.Model, *, least: float = UNCERTAIN_BELOW
) -> list[FaceRecord]:
    """Fill in the gender of faces of unknown gender where a network is sure of it.

    Where all faces of one collection have labels and all of another have none, "unknown" would
    come to mean the other collection: a network that is told the gender would learn from it which
    camera to imitate.

    Args:
        records: The faces; labelled ones are left as they are.
        model: A classifier of `load_gender` for whole canonical crops.
        least: Smallest probability, in [0.5, 1], of a gender that is filled in. Of 336 labelled
            bare faces in wide framing 88 % reached the default with the first shipped weights, and
            98 % of these were named rightly; but 305 of the 336 had trained those weights.

    Returns:
        The records in their order.

    Raises:
        ImageError: A face of unknown gender cannot be read.
        ValueError: `least` is out of range.

    Example:
        >>> from unmask.gender.lite import build_lite
        >>> name_genders([], build_lite())
        []
    """
    if not 0.5 <= least <= 1.0:
        raise ValueError(f"least must be in [0.5, 1]. Received: least={least}")
    # A folder may be named more than once; each of its faces is looked at once.
    unknown = list({r.path: r for r in records if r.gender is None}.values())
    found: dict[object, str] = {}
    for start in range(0, len(unknown), _AT_ONCE):
        group = unknown[start : start + _AT_ONCE]
        crops = np.stack([load_canonical(record).image for record in group])
        for record, male in zip(group, predict_gender(model, crops, mirror=True), strict=True):
            if max(male, 1 - male) >= least:
                found[record.path] = "male" if male >= 0.5 else "female"
    return [replace(r, gender=r.gender or found.get(r.path)) for r in records]

"""From a folder of faces to a folder of pairs: bare and masked image, binary mask, landmarks.

The destination holds `images/` (bare), `masked/`, `masks/` (255 = mask), the manifest `labels.csv`,
`landmarks98.npz` or `landmarks68.npz`, and `synthesis.json` (the settings). It is a face folder:
the trainers read it, and it can be a source itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import landmark_archive
from unmask.engines import work_through
from unmask.errors import DataError, SettingError
from unmask.face import CROP_SIZE, canonical_matrix, coverage, transform_points, warp
from unmask.gender.predict import predict_gender
from unmask.image import load_image, save_image, save_mask
from unmask.io import (
    append_line,
    atomic_path,
    check_origin,
    prepare_folder,
    read_lines,
    write_bytes_atomic,
    write_text_atomic,
)
from unmask.npz import read_npz
from unmask.paths import check_outputs, path_inside, text_about
from unmask.pipeline import Unmasker
from unmask.synthesis.drawing import ALL_KINDS
from unmask.synthesis.locate import FaceLocator
from unmask.synthesis.masktheface import load_masktheface
from unmask.synthesis.sources import PICTURE_FOLDERS, SETTINGS_FILE, SourceFace, number_of
from unmask.synthesis.synthesizer import MaskSynthesizer
from unmask.tables import csv_text, read_csv
from unmask.weights import find

COLUMNS = (
    "file", "masked", "mask", "original", "split", "gender", "gender_by", "gender_confidence",
    "age", "race", "source", "kind", "landmark_confidence", "covered",
)  # fmt: skip
"""Columns of the manifest; the first three name the pictures."""

_MANIFEST_FILE = "labels.csv"
_ERRORS_FILE = "errors.csv"
_JOURNAL_FILE = "journal.jsonl"
# Faces of one Ray task; what such a task has done is written down when it ends.
_FACES_A_TASK = 32


@dataclass(frozen=True)
class SynthesisSettings:
    """What decides how the pictures of a folder look; stored with the result.

    Attributes:
        seed: Seed of all masks.
        bank_size: Number of drawn masks.
        kinds: Families to draw.
        templates: MaskTheFace folder whose masks join, or None.
        frame: "canonical" writes the canonical crop of each face, "source" the whole picture.
        size: Side of the canonical crop in pixels.
        image_format: "png", or "jpg" for an eighth of the disk; masks are always PNG.
        gender: "auto" asks the classifier where there is no label, "labels" leaves it unknown.
        val_share: Share of the faces without a split of their own that validate; by their names.
        preset: Whose landmark and gender networks are asked.

    Raises:
        SettingError: A value is out of range.
    """

    seed: int = 0
    bank_size: int = 160
    kinds: tuple[str, ...] = ALL_KINDS
    templates: str | None = None
    frame: str = "canonical"
    size: int = CROP_SIZE
    image_format: str = "png"
    gender: str = "auto"
    val_share: float = 0.05
    preset: str = "lite"

    def __post_init__(self) -> None:
        """Check the values."""
        for name, wanted, holds in (
            ("frame", "'canonical' or 'source'", self.frame in ("canonical", "source")),
            ("image_format", "'png' or 'jpg'", self.image_format in ("png", "jpg")),
            ("gender", "'auto' or 'labels'", self.gender in ("auto", "labels")),
            ("seed", "at least 0", self.seed >= 0),
            ("size", "at least 64", self.size >= 64),
            ("val_share", "in [0, 1]", 0 <= self.val_share <= 1),
        ):
            if not holds:
                value = getattr(self, name)
                raise SettingError(f"{name} must be {wanted}. Received: {name}={value!r}")

    def build(self) -> MaskSynthesizer:
        """Return the synthesizer for these settings."""
        templates = load_masktheface(self.templates) if self.templates else ()
        return MaskSynthesizer(
            self.seed, bank_size=self.bank_size, kinds=self.kinds, templates=templates
        )


@dataclass(frozen=True, eq=False)
class PairResult:
    """What became of one face: an error, or its row in the manifest and its landmarks."""

    file: str  # name of the source
    error: str | None = None
    row: dict[str, str] = field(default_factory=dict, repr=False)
    # (98, 2) or (68, 2) in pixels of the written image.
    landmarks: NDArray[np.float32] | None = field(default=None, repr=False)


def write_pairs(
    faces: list[SourceFace],
    destination: str | Path,
    settings: SynthesisSettings,
    *,
    workers: int = 1,
    engine: str = "local",
    ray_address: str | None = None,
) -> Iterator[PairResult]:
    """Put masks onto faces and write images, masks and landmarks; goes on where it stopped.

    The files are the same whatever the engine, the number of workers and the interruptions. Faces
    whose three pictures and manifest row are there are taken as done. A face that fails is
    reported, listed in `errors.csv` and tried again by the next call; the others go on.

    Args:
        faces: See `unmask.synthesis.sources.read_source`.
        destination: The folder to fill.
        settings: Look of the pictures.
        workers: Processes, or Ray actors.
        engine: "local" or "ray".
        ray_address: Of a Ray cluster; started on this machine when None.

    Yields:
        One result a face as it is finished; first those that were done before.

    Raises:
        DataError: Two faces would get the same name, a result would replace a source, or the
            destination was begun with other settings or weights.
        SettingError: An option is out of range.

    Example:
        >>> from unmask.synthesis.sources import read_source
        >>> for result in write_pairs(read_source("faces"), "pairs", SynthesisSettings()):
        ...     if result.error:
        ...         print(result.file, result.error)  # doctest: +SKIP
    """
    settings.build()  # a wrong kind or template is one error now, not one for each face
    destination = Path(destination).absolute()
    _prepare(faces, destination, settings)
    journal = destination / _JOURNAL_FILE
    finished = _finished(destination)
    errors: dict[str, str] = {}
    open_faces = [face for face in faces if face.file not in finished]
    try:
        yield from (finished[face.file] for face in faces if face.file in finished)
        for result in work_through(
            PairMaker(settings, destination),
            open_faces,
            engine=engine,
            workers=workers,
            ray_address=ray_address,
            jobs_a_task=_FACES_A_TASK,
        ):
            if result.landmarks is not None:
                finished[result.file] = result
                points = result.landmarks.astype(np.float64).tolist()
                append_line(journal, {"row": result.row, "landmarks": points})
            else:
                errors[result.file] = str(result.error)
            yield result
    finally:
        _write_tables(destination, finished.values(), errors)
        journal.unlink(missing_ok=True)


# === One face ===


@dataclass(frozen=True, eq=False)
class PairMaker:
    """Writes the pictures of one face at a time.

    What it writes depends on the settings, the picture and its relative name alone: neither on
    other faces, nor on their order, nor on who else is at work.
    """

    settings: SynthesisSettings
    destination: Path

    def __call__(self, face: SourceFace) -> PairResult:
        """Make one pair; an error is a result as well."""
        try:
            return self._make(face)
        # One face in millions must not end the work, whatever it meets; it is reported.
        except Exception as error:
            return PairResult(face.file, text_about(face.file, error))

    @cached_property
    def _synthesizer(self) -> MaskSynthesizer:
        return self.settings.build()

    @cached_property
    def _networks(self) -> Unmasker:
        return Unmasker(self.settings.preset, runtime="keras")

    @cached_property
    def _locator(self) -> FaceLocator:
        return FaceLocator(self._networks.landmarks)

    def _make(self, face: SourceFace) -> PairResult:
        photo = load_image(face.path)
        points, confidence = self._landmarks(photo, face)
        gender, gender_by, sure = self._gender(photo, points, face)
        image, crop_points, covered = self._framed(photo, points)
        masked = self._synthesizer(image, crop_points, number_of(face.file))
        if not masked.mask.any():
            raise DataError(f"{face.path}: the landmarks leave no room for a mask in the picture")
        names = _target_names(face.file, self.settings.image_format)
        targets = {k: path_inside(self.destination, name, k) for k, name in names.items()}
        save_image(targets["file"], image)
        save_image(targets["masked"], masked.image)
        save_mask(targets["mask"], masked.mask)
        row = {
            **names,
            "original": face.file,
            "split": face.split or split_of(face.file, self.settings.val_share),
            "gender": gender,
            "gender_by": gender_by,
            "gender_confidence": sure,
            "age": "" if face.age is None else str(face.age),
            "race": "" if face.race is None else str(face.race),
            "source": face.source or "",
            "kind": masked.kind,
            "landmark_confidence": confidence,
            "covered": f"{covered:.3f}",
        }
        return PairResult(face.file, row=row, landmarks=crop_points)

    def _landmarks(
        self, photo: NDArray[np.uint8], face: SourceFace
    ) -> tuple[NDArray[np.float32], str]:
        if face.landmarks is not None:
            return face.landmarks, ""
        found = self._locator(photo, face.framing)
        # Processors add floating point numbers in different orders; a hundredth of a pixel hides
        # that from everything that follows.
        points = np.round(found.points[0], 2).astype(np.float32)
        return points, f"{float(found.confidence[0]):.2f}"

    def _gender(
        self, photo: NDArray[np.uint8], points: NDArray[np.float32], face: SourceFace
    ) -> tuple[str, str, str]:
        """Return the gender, who says so, and how sure it is."""
        if face.gender is not None:
            return face.gender, "label", ""
        if self.settings.gender == "labels":
            return "", "", ""
        crop = warp(photo, canonical_matrix(points), CROP_SIZE)
        male = float(predict_gender(self._networks.gender, crop[None], mirror=True)[0])
        return "male" if male >= 0.5 else "female", "classifier", f"{max(male, 1 - male):.2f}"

    def _framed(
        self, photo: NDArray[np.uint8], points: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], float]:
        """Return the image to write, its landmarks, and the share of it that the photo shows."""
        if self.settings.frame == "source":
            return photo, points, 1.0
        matrix = canonical_matrix(points, self.settings.size)
        crop = warp(photo, matrix, self.settings.size)
        covered = coverage(photo.shape, matrix, self.settings.size).mean()
        return crop, transform_points(points, matrix), float(covered)


def _target_names(file: str, image_format: str) -> dict[str, str]:
    """Return the relative names of a face's bare image, masked image and mask, by column."""
    stem = PurePosixPath(file).with_suffix("")
    suffixes = (image_format, image_format, "png")
    return {
        column: f"{folder}/{stem}.{suffix}"
        for column, folder, suffix in zip(COLUMNS, PICTURE_FOLDERS, suffixes, strict=False)
    }


def split_of(file: str, val_share: float) -> str:
    """Choose "train" or "val" by a file's relative name, the same at every call."""
    # Another digest than the mask's, so that the masks of both parts are alike.
    place = number_of(f"split/{file}") / 2**64
    return "val" if place < val_share else "train"


# === The folder ===


def _prepare(faces: list[SourceFace], destination: Path, settings: SynthesisSettings) -> None:
    """Check names and settings, and make the folders."""
    names: dict[str, str] = {}
    for face in faces:
        for name in _target_names(face.file, settings.image_format).values():
            if name in names:
                raise DataError(f"{face.file} and {names[name]} would both be written to {name}")
            names[name] = face.file
    targets = [destination / name for name in names]
    check_outputs(targets, (face.path for face in faces))
    for folder in sorted({destination, *(target.parent for target in targets)}):
        prepare_folder(folder)
    about = {**asdict(settings), "weights": _needed_weights(faces, settings)}
    note = destination / SETTINGS_FILE
    check_origin(note, about, note.is_file())


def _needed_weights(faces: list[SourceFace], settings: SynthesisSettings) -> dict[str, str]:
    """Return the checksums of the networks that the faces need."""
    stages = []
    if any(face.landmarks is None for face in faces):
        stages.append("landmarks")
    if settings.gender == "auto" and any(face.gender is None for face in faces):
        stages.append("gender")
    return {stage: find(settings.preset, stage).sha256 for stage in stages}


def _finished(destination: Path) -> dict[str, PairResult]:
    """Results of earlier calls whose three pictures are there."""
    table = destination / _MANIFEST_FILE
    results = {}
    for entry in (*_read_tables(destination), *read_lines(destination / _JOURNAL_FILE)):
        row = {name: str(entry["row"][name]) for name in COLUMNS}
        pictures = (path_inside(destination, row[n], f"{table}: {n}") for n in COLUMNS[:3])
        if all(path.is_file() for path in pictures):
            points = np.asarray(entry["landmarks"], np.float32)
            results[row["original"]] = PairResult(row["original"], row=row, landmarks=points)
    return results


def _read_tables(destination: Path) -> Iterator[dict[str, Any]]:
    table, archive = destination / _MANIFEST_FILE, landmark_archive(destination)
    if not table.is_file() or archive is None:
        return
    try:
        content = read_npz(archive)
        points = dict(zip(map(str, content["files"]), content[archive.stem], strict=True))
    except (KeyError, ValueError, OSError, TypeError) as error:
        raise DataError(f"{archive}: cannot be read ({error}); take another folder") from error
    for row in read_csv(table, COLUMNS):
        if row["file"] in points:
            yield {"row": row, "landmarks": points[row["file"]]}


def _write_tables(destination: Path, results: Iterable[PairResult], errors: dict[str, str]) -> None:
    ordered = sorted(results, key=lambda result: result.file)
    if ordered:
        rows = ([r.row[c] for c in COLUMNS] for r in ordered)
        write_text_atomic(destination / _MANIFEST_FILE, csv_text([COLUMNS, *rows]))
        points: NDArray[np.float32] = np.stack([np.asarray(r.landmarks) for r in ordered])
        name = f"landmarks{points.shape[1]}"
        arrays: dict[str, Any] = {"files": np.array([r.row["file"] for r in ordered]), name: points}
        with atomic_path(destination / f"{name}.npz") as temporary:
            np.savez(temporary, **arrays)
    if errors:
        text = csv_text([("file", "error"), *sorted(errors.items())])
        # The names of files need not be UTF-8.
        write_bytes_atomic(destination / _ERRORS_FILE, text.encode(errors="backslashreplace"))
    else:
        (destination / _ERRORS_FILE).unlink(missing_ok=True)

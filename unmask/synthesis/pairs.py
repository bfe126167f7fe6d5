"""From a folder of faces to a folder of pairs: masked image, binary mask, landmarks.

The destination holds `images/`, `masks/` (255 = mask), `landmarks.csv` and `synthesis.json` (the
settings). It has the form of a source itself.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError, ImageError
from unmask.image import load_image, save_image, save_mask
from unmask.io import write_text_atomic
from unmask.synthesis.drawing import ALL_KINDS
from unmask.synthesis.masktheface import load_masktheface
from unmask.synthesis.synthesizer import MaskSynthesizer
from unmask.training.faces import read_face_folder

LANDMARK_FILE = "landmarks.csv"
SETTINGS_FILE = "synthesis.json"

# Rows are kept in memory between rewrites of the table; a crash costs at most so many faces.
_ROWS_BETWEEN_WRITES = 200


@dataclass(frozen=True, eq=False)
class SourceFace:
    """One face to be masked.

    Attributes:
        file: Its name, a relative path with forward slashes.
        path: Its image.
        landmarks: (98, 2) or (68, 2) in pixels of the image.
    """

    file: str
    path: Path
    landmarks: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True)
class SynthesisSettings:
    """What decides how the masks of a folder look; stored with the result.

    Attributes:
        seed: Seed of all masks.
        bank_size: Number of drawn masks.
        kinds: Families to draw.
        templates: MaskTheFace folder whose masks join, or None.
    """

    seed: int = 0
    bank_size: int = 160
    kinds: tuple[str, ...] = ALL_KINDS
    templates: str | None = None

    def build(self) -> MaskSynthesizer:
        """Return the synthesizer for these settings."""
        templates = load_masktheface(self.templates) if self.templates else ()
        return MaskSynthesizer(
            self.seed, bank_size=self.bank_size, kinds=self.kinds, templates=templates
        )


@dataclass(frozen=True)
class PairResult:
    """What became of one face.

    Attributes:
        file: Name of the source.
        error: Why there is no pair, None where there is one.
    """

    file: str
    error: str | None = None


def read_source(folder: str | Path) -> list[SourceFace]:
    """Read the faces of a folder.

    Args:
        folder: Either images with `landmarks.csv` (columns `file`, `x0`, `y0`, ..., for 98 or 68
            points; further columns are ignored), or a face folder as in
            `unmask.training.faces.read_face_folder`.

    Returns:
        The faces, in the order of the table.

    Raises:
        DataError: No table, or a row of it is wrong; the message names file, line and column.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder")
    table = folder / LANDMARK_FILE
    if table.is_file():
        return _read_table(table)
    return [
        SourceFace(record.path.relative_to(folder).as_posix(), record.path, record.landmarks)
        for record in read_face_folder(folder)
    ]


def write_pairs(
    faces: list[SourceFace], destination: str | Path, settings: SynthesisSettings
) -> Iterator[PairResult]:
    """Put masks onto faces and write images, masks and landmarks; resumes where it stopped.

    Faces that `landmarks.csv` of the destination lists are taken as done. A face that fails is
    reported and left out; the others go on.

    Args:
        faces: See `read_source`.
        destination: The folder to fill.
        settings: Look of the masks.

    Yields:
        One result a face, in order, as it is finished.

    Raises:
        DataError: Two faces would get the same name, or the destination was begun with other
            settings.

    Example:
        >>> for result in write_pairs(read_source("faces"), "pairs", SynthesisSettings()):
        ...     if result.error:
        ...         print(result.file, result.error)  # doctest: +SKIP
    """
    destination = Path(destination)
    names = _target_names(faces)
    _check_settings(destination / SETTINGS_FILE, settings)
    synthesizer = settings.build()
    table = destination / LANDMARK_FILE
    rows = _finished_rows(table, destination)
    unwritten = 0
    try:
        for index, (face, name) in enumerate(zip(faces, names, strict=True)):
            image_name = f"images/{name}"
            if image_name in rows:
                yield PairResult(face.file)
                continue
            try:
                kind = _write_pair(face, index, synthesizer, destination, name)
            except (ImageError, DataError) as error:
                yield PairResult(face.file, str(error))
                continue
            rows[image_name] = _row(image_name, kind, face.landmarks)
            unwritten += 1
            if unwritten >= _ROWS_BETWEEN_WRITES:
                _write_table(table, rows)
                unwritten = 0
            yield PairResult(face.file)
    finally:
        if unwritten:
            _write_table(table, rows)


def _write_pair(
    face: SourceFace, index: int, synthesizer: MaskSynthesizer, destination: Path, name: str
) -> str:
    masked = synthesizer(load_image(face.path), face.landmarks, index)
    if not masked.mask.any():
        raise DataError(f"{face.path}: the landmarks leave no room for a mask in the picture")
    save_mask(destination / "masks" / name, masked.mask)
    save_image(destination / "images" / name, masked.image)
    return masked.kind


def _target_names(faces: list[SourceFace]) -> list[str]:
    names: dict[str, str] = {}
    for face in faces:
        name = PurePosixPath(face.file).with_suffix(".png").as_posix()
        if name in names:
            raise DataError(f"{face.file} and {names[name]} would both be written to {name}")
        names[name] = face.file
    return list(names)


def _check_settings(path: Path, settings: SynthesisSettings) -> None:
    text = json.dumps(asdict(settings), indent=2) + "\n"
    if not path.is_file():
        write_text_atomic(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise DataError(
            f"{path}: this folder was begun with other settings; take another folder or remove it"
        )


def _read_table(table: Path) -> list[SourceFace]:
    faces = []
    with table.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        columns = reader.fieldnames or []
        # 68 points only where no column says that there are more.
        more = [name for name in columns if name[1:].isdigit() and int(name[1:]) >= 68]
        count = 98 if more else 68
        wanted = ["file", *(f"{axis}{i}" for i in range(count) for axis in "xy")]
        missing = [name for name in wanted if name not in columns]
        if missing:
            raise DataError(f"{table}: line 1: column {missing[0]} is missing")
        for row in reader:
            where = f"{table}: line {reader.line_num}"
            file = _relative(row["file"], where)
            numbers = [_number(row[name], f"{where}, {name}") for name in wanted[1:]]
            points = np.array(numbers, np.float32).reshape(count, 2)
            faces.append(SourceFace(file, table.parent / file, points))
    return faces


def _relative(file: str | None, where: str) -> str:
    path = PurePosixPath((file or "").replace("\\", "/"))
    if not path.name or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise DataError(f"{where}, file: must be a path inside the folder. Received: file={file!r}")
    return path.as_posix()


def _number(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"{where}: must be a finite number. Received: {text!r}")
    return value


def _finished_rows(table: Path, destination: Path) -> dict[str, list[str]]:
    """Rows of an earlier run whose two pictures are there."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))[1:]
    return {
        row[0]: row
        for row in rows
        if (destination / row[0]).is_file()
        and (destination / "masks" / row[0].removeprefix("images/")).is_file()
    }


def _row(name: str, kind: str, landmarks: NDArray[np.float32]) -> list[str]:
    return [name, kind, *(f"{value:.3f}" for value in np.asarray(landmarks).ravel())]


def _write_table(table: Path, rows: dict[str, list[str]]) -> None:
    count = (max(len(row) for row in rows.values()) - 2) // 2
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "kind", *(f"{axis}{i}" for i in range(count) for axis in "xy")])
    writer.writerows(rows[name] for name in sorted(rows))
    write_text_atomic(table, text.getvalue())

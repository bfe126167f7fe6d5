"""From a folder of faces to a folder of pairs: bare and masked image, binary mask, landmarks.

The destination holds `images/` (bare), `masked/`, `masks/` (255 = mask), the manifest `labels.csv`,
`landmarks98.npz` or `landmarks68.npz`, and `synthesis.json` (the settings). It is a face folder:
the trainers read it, and it can be a source itself.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.engines import ENGINES, work_through
from unmask.errors import DataError, SettingError
from unmask.io import atomic_path, check_same, prepare_folder, write_text_atomic
from unmask.npz import read_npz
from unmask.paths import check_outputs, path_inside
from unmask.synthesis.journal import Journal
from unmask.synthesis.sources import SETTINGS_FILE, SourceFace
from unmask.synthesis.worker import PairMaker, PairResult, SynthesisSettings, target_names

MANIFEST_FILE = "labels.csv"
ERRORS_FILE = "errors.csv"
COLUMNS = (
    "file",
    "masked",
    "mask",
    "original",
    "split",
    "gender",
    "gender_by",
    "gender_confidence",
    "age",
    "race",
    "source",
    "kind",
    "landmark_confidence",
    "covered",
)
"""Columns of the manifest."""

_PICTURES = COLUMNS[:3]
_JOURNAL_FILE = "journal.jsonl"
# Faces of one Ray task; what such a task has done is written down when it ends.
_FACES_A_TASK = 32


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
    if engine not in ENGINES:
        raise SettingError(f"engine must be one of {ENGINES}. Received: engine={engine!r}")
    settings.build()  # a wrong kind or template is one error now, not one for each face
    destination = Path(destination).absolute()
    _check_names(faces, destination, settings.image_format)
    for folder in _folders(faces, destination, settings.image_format):
        prepare_folder(folder)
    _check_settings(destination / SETTINGS_FILE, settings, _needed_weights(faces, settings))
    journal = Journal(destination / _JOURNAL_FILE)
    finished = _finished(destination, journal)
    errors: dict[str, str] = {}
    open_faces = [face for face in faces if face.file not in finished]
    try:
        yield from (finished[face.file] for face in faces if face.file in finished)
        results = work_through(
            PairMaker(settings, destination),
            open_faces,
            engine=engine,
            workers=workers,
            ray_address=ray_address,
            jobs_a_task=_FACES_A_TASK,
        )
        with journal:
            for result in results:
                if result.error is None:
                    finished[result.file] = result
                    journal.append(_entry(result))
                else:
                    errors[result.file] = result.error
                yield result
    finally:
        _write_tables(destination, finished.values())
        _write_errors(destination / ERRORS_FILE, errors)
        journal.remove()


# === Before ===


def _check_names(faces: list[SourceFace], destination: Path, image_format: str) -> None:
    names: dict[str, str] = {}
    for face in faces:
        targets = target_names(face.file, image_format).values()
        for name in targets:
            if name in names:
                raise DataError(f"{face.file} and {names[name]} would both be written to {name}")
        names.update(dict.fromkeys(targets, face.file))
    check_outputs((destination / name for name in names), (face.path for face in faces))


def _folders(faces: list[SourceFace], destination: Path, image_format: str) -> list[Path]:
    names = (n for face in faces for n in target_names(face.file, image_format).values())
    return sorted({destination, *((destination / name).parent for name in names)})


def _needed_weights(faces: Iterable[SourceFace], settings: SynthesisSettings) -> dict[str, str]:
    """Return the checksums of the networks that the faces need."""
    from unmask.weights import find

    known = list(faces)
    stages = []
    if any(face.landmarks is None for face in known):
        stages.append("landmarks")
    if settings.gender == "auto" and any(face.gender is None for face in known):
        stages.append("gender")
    return {stage: find(settings.preset, stage).sha256 for stage in stages}


def _check_settings(path: Path, settings: SynthesisSettings, weights: dict[str, str]) -> None:
    text = json.dumps({**asdict(settings), "weights": weights}, indent=2) + "\n"
    if not path.is_file():
        write_text_atomic(path, text)
        return
    try:
        stored = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); take another folder") from error
    check_same(path, stored, json.loads(text))


def _finished(destination: Path, journal: Journal) -> dict[str, PairResult]:
    """Results of earlier calls whose three pictures are there."""
    entries = [*_read_tables(destination), *journal]
    table = destination / MANIFEST_FILE
    results = {}
    for entry in entries:
        row = {name: str(entry["row"][name]) for name in COLUMNS}
        pictures = (path_inside(destination, row[n], f"{table}: {n}") for n in _PICTURES)
        if all(path.is_file() for path in pictures):
            points = np.asarray(entry["landmarks"], np.float32)
            results[row["original"]] = PairResult(row["original"], row=row, landmarks=points)
    return results


# === The record ===


def _entry(result: PairResult) -> dict[str, Any]:
    points = np.asarray(result.landmarks, np.float64)
    return {"row": result.row, "landmarks": points.tolist()}


def _read_tables(destination: Path) -> Iterator[dict[str, Any]]:
    table = destination / MANIFEST_FILE
    archives = [destination / f"landmarks{count}.npz" for count in (98, 68)]
    archive = next((path for path in archives if path.is_file()), None)
    if not table.is_file() or archive is None:
        return
    try:
        content = read_npz(archive)
        points = dict(zip(map(str, content["files"]), content[archive.stem], strict=True))
    except (KeyError, ValueError, OSError, TypeError) as error:
        raise DataError(f"{archive}: cannot be read ({error}); take another folder") from error
    with table.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            if row["file"] in points:
                yield {"row": row, "landmarks": points[row["file"]]}


def _write_tables(destination: Path, results: Iterable[PairResult]) -> None:
    ordered = sorted(results, key=lambda result: result.file)
    if not ordered:
        return
    _write_csv(destination / MANIFEST_FILE, COLUMNS, ([r.row[c] for c in COLUMNS] for r in ordered))
    points: NDArray[np.float32] = np.stack([np.asarray(r.landmarks) for r in ordered])
    name = f"landmarks{points.shape[1]}"
    arrays: dict[str, Any] = {"files": np.array([r.row["file"] for r in ordered]), name: points}
    with atomic_path(destination / f"{name}.npz") as temporary:
        np.savez(temporary, **arrays)


def _write_errors(path: Path, errors: dict[str, str]) -> None:
    if errors:
        _write_csv(path, ("file", "error"), sorted(errors.items()))
    else:
        path.unlink(missing_ok=True)


def _write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text_atomic(path, text.getvalue())

"""The commands that are stopped: what they work on, and what of the results has to be the same."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tests.training.toys import TOYS, draw_faces, face_points
from unmask.image import load_image, save_image
from unmask.weights import load_arrays, load_metadata


@dataclass(frozen=True)
class Subject:
    """A command.

    Attributes:
        name: What the table calls it.
        prepare: Makes what it needs in an empty folder and returns its arguments; results go to
            `out` there.
    """

    name: str
    prepare: Callable[[Path], list[str]]


def _run(folder: Path) -> list[str]:
    """Six photos with a mask that is found, in two sizes."""
    face = load_image(draw_faces(folder / "faces", 1) / "0.png")
    points = face_points(125, 97, 85)
    jaw = np.concatenate([points[2:31], points[54:55]]).astype(np.int32)
    masked = cv2.fillPoly(face.copy(), [jaw], (150, 190, 220))
    for number in range(6):
        photo = np.roll(masked, number, axis=1)
        save_image(folder / "photos" / f"{number}.png", photo)
    return ["run", "photos", "--out", "out", "--json", "--resume", "--workers", "2"]


def _synthesize(folder: Path) -> list[str]:
    draw_faces(folder / "faces", 24)
    return ["synthesize", "faces", "out", "--gender", "labels", "--workers", "2"]


def _labelme(folder: Path) -> list[str]:
    draw_faces(folder / "photos", 60)
    points = face_points(125, 97, 85)[2:31].tolist()
    for photo in (folder / "photos").glob("*.png"):
        shapes = [{"label": "mask", "shape_type": "polygon", "points": points}]
        content = {"imagePath": photo.name, "imageData": None, "shapes": shapes}
        photo.with_suffix(".json").write_text(json.dumps(content))
    return ["labelme", "photos", "out", "--coco", "out/coco.json"]


def _toy(folder: Path, name: str) -> list[str]:
    toy = TOYS[name](folder / "data")
    changes = [f"{key}={json.dumps(value)}" for key, value in toy.overrides.items()]
    data = [str(path.relative_to(folder)) for path in toy.data]
    return [*data, "--set", *changes] if changes else data


def _train(folder: Path) -> list[str]:
    data, *changes = _toy(folder, "lite/gender")
    rows = ["history_steps=2", "validation_rows=2", "steps_per_execution=1"]
    command = ["train", "lite/gender", "--data", data, "--out", "out", "--steps", "40"]
    return [*command, "--workers", "1", *changes, *rows]


def _tune(folder: Path) -> list[str]:
    data, *changes = _toy(folder, "paper/gender")
    command = ["tune", "gender", data, "--out", "out", "--trials", "4", "--executions", "1"]
    return [*command, "--epochs", "2", *changes]


SUBJECTS = (
    Subject("labelme", _labelme),
    Subject("synthesize", _synthesize),
    Subject("run", _run),
    Subject("train", _train),
    Subject("tune", _tune),
)
"""The commands that write many files; all trainings go through one runner."""


def contents(folder: Path) -> dict[str, bytes]:
    """Return what lies in a folder of results, but for what tells the time."""
    return {
        path.relative_to(folder).as_posix(): _timeless(path)
        for path in sorted(folder.rglob("*"))
        # keras-tuner's own files, which are written anew by every call.
        if path.is_file() and path.relative_to(folder).parts[0] != "trials"
    }


def _timeless(path: Path) -> bytes:
    if path.suffix == ".safetensors":
        arrays, metadata = load_arrays(path)[0], load_metadata(path)
        metadata.pop("seconds", None)
        progress = json.loads(metadata.pop("progress", "{}"))
        progress.pop("seconds", None)
        for row in progress.get("history", ()):
            row.pop("seconds", None)
        known = json.dumps([metadata, progress], sort_keys=True).encode()
        return known + b"".join(n.encode() + a.tobytes() for n, a in sorted(arrays.items()))
    if path.name == "history.csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        return json.dumps([{**row, "seconds": ""} for row in rows]).encode()
    return path.read_bytes()

"""A small face folder made of one public-domain portrait."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut

from tests.training.toys import face_points


@pytest.fixture(scope="session")
def portrait() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the astronaut's photo, (512, 512, 3) RGB, and 98 roughly placed landmarks."""
    return astronaut(), face_points(221, 97, 85)


@pytest.fixture(scope="session")
def face_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with 32 variants of one face; the "male" ones are darker."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "faces"
    folder.mkdir()
    portrait = cv2.cvtColor(astronaut()[:256, 96:352], cv2.COLOR_RGB2BGR)
    landmarks = face_points(125, 97, 85)
    rng = np.random.default_rng(0)
    rows, points = [], []
    for index in range(32):
        gender = "male" if index % 2 else "female"
        shift = rng.uniform(-5, 5, 2)
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
        image = cv2.warpAffine(portrait, matrix, (256, 256), borderMode=cv2.BORDER_REFLECT)
        image = cv2.convertScaleAbs(image, alpha=0.25 if gender == "male" else 1.0)
        cv2.imwrite(str(folder / f"{index:02d}.png"), image)
        points.append(landmarks + shift.astype(np.float32))
        split = "val" if index >= 24 else "train"
        rows.append({"file": f"{index:02d}.png", "gender": gender, "split": split})
    rows[0]["gender"] = ""  # unknown: must be left out
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, ["file", "gender", "split"])
        writer.writeheader()
        writer.writerows(rows)
    names = np.array([row["file"] for row in rows])
    np.savez(folder / "landmarks98.npz", files=names, landmarks98=np.stack(points))
    return root

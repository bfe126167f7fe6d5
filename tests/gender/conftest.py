"""A small face folder made of one public-domain portrait."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut


def _landmarks(x: float, y: float, width: float) -> NDArray[np.float32]:
    """Return 98 points of a plain frontal face; (x, y) between the eyes, `width` of the jaw."""
    points = np.zeros((98, 2))
    turn = np.linspace(np.pi, 0, 33)
    points[:33] = np.stack([0.5 * np.cos(turn), 0.1 + 0.65 * np.sin(turn)], axis=1)
    points[33:42] = np.stack([np.linspace(-0.38, -0.1, 9), np.full(9, -0.13)], axis=1)
    points[42:51] = np.stack([np.linspace(0.1, 0.38, 9), np.full(9, -0.13)], axis=1)
    points[51:55] = np.stack([np.zeros(4), np.linspace(0.0, 0.28, 4)], axis=1)
    points[55:60] = np.stack([np.linspace(-0.1, 0.1, 5), np.full(5, 0.33)], axis=1)
    for start, centre in ((60, -0.2), (68, 0.2)):
        turn = np.linspace(np.pi, 3 * np.pi, 8, endpoint=False)
        points[start : start + 8] = np.stack([centre + 0.1 * np.cos(turn), 0.03 * np.sin(turn)], 1)
    turn = np.linspace(np.pi, 3 * np.pi, 12, endpoint=False)
    points[76:88] = np.stack([0.19 * np.cos(turn), 0.48 + 0.06 * np.sin(turn)], axis=1)
    turn = np.linspace(np.pi, 3 * np.pi, 8, endpoint=False)
    points[88:96] = np.stack([0.16 * np.cos(turn), 0.48 + 0.02 * np.sin(turn)], axis=1)
    points[96:98] = [[-0.2, 0.0], [0.2, 0.0]]
    return (np.array([x, y]) + width * points).astype(np.float32)


@pytest.fixture(scope="session")
def portrait() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the astronaut's photo, (512, 512, 3) RGB, and 98 roughly placed landmarks."""
    return astronaut(), _landmarks(x=221, y=97, width=85)


@pytest.fixture(scope="session")
def face_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with 32 variants of one face; the "male" ones are darker."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "faces"
    folder.mkdir()
    portrait = cv2.cvtColor(astronaut()[:256, 96:352], cv2.COLOR_RGB2BGR)
    landmarks = _landmarks(x=125, y=97, width=85)
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

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.data import astronaut


@pytest.fixture(scope="session")
def landmarks() -> np.ndarray:
    """An average frontal face in canonical framing, 98 points."""
    points = np.full((98, 2), (128.0, 150.0))
    angle = np.linspace(np.pi, 0, 33)
    points[:33] = np.stack([128 + 72 * np.cos(angle), 122 + 112 * np.sin(angle)], axis=1)
    points[51:55] = np.stack([np.full(4, 128), np.linspace(124, 157, 4)], axis=1)
    points[[60, 64, 68, 72]] = [(82, 123), (110, 123), (146, 123), (174, 123)]
    points[[76, 82]] = [(104, 182), (152, 182)]
    return points.astype(np.float32)


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """The astronaut's face at 256 pixels, eyes and mouth where `landmarks` has them."""
    scale = 0.713
    matrix = np.array([[scale, 0, 225.4 - scale * 128], [0, scale, 104 - scale * 123]])
    return cv2.warpAffine(
        astronaut(), matrix, (256, 256), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )


def write_table(folder: Path, files: list[str], points: np.ndarray) -> None:
    """Write `landmarks.csv`, the same points for every file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "landmarks.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", *(f"{a}{i}" for i in range(len(points)) for a in "xy")])
        writer.writerows([file, *points.ravel()] for file in files)

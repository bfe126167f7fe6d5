import csv

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from unmask.cli import main


def run(*words: object) -> int:
    return main(["synthesize", *map(str, words)])


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    points = np.full((68, 2), (224.0, 120.0))
    angle = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([225 + 50 * np.cos(angle), 104 + 78 * np.sin(angle)], axis=1)
    points[27:31] = np.stack([np.full(4, 224), np.linspace(104, 127, 4)], axis=1)
    points[[36, 39, 42, 45], 1] = 104
    points[[48, 54]] = [(204, 143), (243, 143)]
    with (folder / "landmarks.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", *(f"{a}{i}" for i in range(68) for a in "xy")])
        for name in ("bad.png", "one.png", "two.png"):
            cv2.imwrite(str(folder / name), astronaut()[..., ::-1])
            writer.writerow([name, *points.ravel()])
    return folder


def test_images_masks_and_landmarks_are_written(source, tmp_path, capsys):
    (source / "bad.png").write_bytes(b"")
    target = tmp_path / "pairs"
    look = ("--bank", "3", "--kinds", "cloth,surgical", "--frame", "source", "--gender", "labels")
    assert run(source, target, *look) == 1
    captured = capsys.readouterr()
    assert "2 of 3 faces" in captured.out
    assert "bad.png" in captured.err
    with (target / "labels.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["file"] for row in rows] == ["images/one.png", "images/two.png"]
    assert {row["kind"] for row in rows} <= {"cloth", "surgical"}
    mask = cv2.imread(str(target / "masks" / "one.png"), cv2.IMREAD_GRAYSCALE)
    assert mask.shape == (512, 512)
    assert set(np.unique(mask)) == {0, 255}
    assert mask[143, 224] == 255


def test_nothing_to_begin_with_gives_status_2(source, tmp_path, capsys):
    assert run(tmp_path / "gone", tmp_path / "pairs") == 2
    assert "gone" in capsys.readouterr().err
    assert run(source, tmp_path / "pairs", "--kinds", "veil") == 2
    assert "veil" in capsys.readouterr().err

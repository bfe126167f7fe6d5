"""What `unmask evaluate` may not write."""

from pathlib import Path

import numpy as np
import pytest

from unmask.cli import main
from unmask.image import save_image


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    for name in ("1.png", "2.png"):
        save_image(folder / name, np.full((64, 64, 3), 90, np.uint8))
    points = np.random.default_rng(0).uniform(0, 64, (2, 98, 2)).astype(np.float32)
    np.savez(folder / "landmarks98.npz", files=["1.png", "2.png"], landmarks98=points)
    (folder / "labels.csv").write_text("file,split,gender\n1.png,val,male\n2.png,val,female\n")
    return folder


@pytest.mark.parametrize("name", ["1.png", "LABELS.csv", "landmarks98.npz", "../faces/2.png"])
def test_a_table_never_replaces_what_was_measured(
    faces: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = faces / name
    assert main(["evaluate", "landmarks", "--data", str(faces), "--out", str(out)]) == 2
    assert f"{out}: would replace the input {faces}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("what", "result"),
    [("gender", "reliability.png"), ("inpainting", "sheet.png"), ("pipeline", "table.tex")],
)
def test_results_never_replace_a_face(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, result: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / result).symlink_to(faces / "2.png")
    assert main(["evaluate", what, "--data", str(faces), "--out", str(out)]) == 2
    assert f"{out / result}: would replace the input" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [result]


def test_results_do_not_lie_among_annotations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "masks_labelme"
    out.mkdir()
    assert main(["evaluate", "segmentation", "--data", str(tmp_path), "--out", str(out)]) == 2
    assert f"{out}: would replace the input" in capsys.readouterr().err

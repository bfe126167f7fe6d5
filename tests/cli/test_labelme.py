"""`unmask labelme` as it is used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unmask import cli
from unmask.image import load_mask, save_image


def run(*arguments: object) -> int:
    return cli.main(["labelme", *map(str, arguments)])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    save_image(folder / "a.png", np.full((30, 40, 3), 90, np.uint8))
    shape = {"label": "mask", "points": [[0, 0], [9, 9]], "shape_type": "rectangle"}
    line = {"label": "strap", "points": [[20, 20], [30, 20]], "shape_type": "line"}
    good = {"version": "5.5.0", "shapes": [shape, line], "imagePath": "a.png", "imageData": None}
    (folder / "a.json").write_text(json.dumps(good))
    return folder


def test_a_folder_converts(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = tmp_path / "coco.json"
    assert run(source, tmp_path / "out", "--labels", "mask", "--coco", coco) == 0
    printed = capsys.readouterr().out
    assert "1 of 1 annotations converted" in printed
    assert "labels that were left out: 'strap' (1)" in printed
    assert load_mask(tmp_path / "out" / "masks" / "a.png").sum() == 100
    assert (tmp_path / "out" / "images" / "a.png").is_file()
    assert len(json.loads(coco.read_text())["annotations"]) == 1


def test_a_label_that_no_shape_has(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(source, tmp_path / "out", "--labels", "msk") == 1
    assert "no shape has the label 'msk'; labels found: 'mask' (1)" in capsys.readouterr().err


def test_a_label_that_no_imported_shape_has(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = tmp_path / "out" / "coco.json"
    assert run(source, tmp_path / "out", "--coco", coco) == 0
    options = ["--from", "coco", "--images", tmp_path / "out", "--labels"]
    assert run(coco, tmp_path / "back", *options, "strap", "--labels", "msk") == 1
    told = "no shape has the label 'msk'; labels found: 'mask' (1), 'strap' (1)"
    assert told in capsys.readouterr().err
    for more in (["--persons", coco], ["--seed", "1"], ["--line-width", "3"]):
        assert run(coco, tmp_path / "new", *options, "mask", *more) == 2
        assert "only --labels and --images go with --from coco" in capsys.readouterr().err


def test_line_width(source: Path, tmp_path: Path) -> None:
    options = ["--labels", "strap", "--line-width", "3"]
    assert run(source, tmp_path / "out", *options) == 0
    mask = load_mask(tmp_path / "out" / "masks" / "a.png")
    assert np.flatnonzero(mask[:, 25]).tolist() == [19, 20, 21]


def test_no_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, tmp_path / "out") == 2
    assert "has no *.json file" in capsys.readouterr().err


def test_photos_elsewhere_in_another_encoding(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (source / "a.json").read_text().replace("strap", "口罩")
    (tmp_path / "json" / "day1").mkdir(parents=True)
    (tmp_path / "json" / "day1" / "a.json").write_text(text, encoding="gbk")
    options = ["--recursive", "--images", source, "--labels", "口罩", "--encoding"]
    assert run(tmp_path / "json", tmp_path / "out", *options, "gbk") == 0
    assert load_mask(tmp_path / "out" / "masks" / "day1" / "a.png").any()
    assert run(tmp_path / "json", tmp_path / "out", *options, "klingon") == 2
    assert "Received: encoding='klingon'" in capsys.readouterr().err

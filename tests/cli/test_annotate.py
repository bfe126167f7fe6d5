"""`unmask annotate` as it is used."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from unmask import cli
from unmask.annotate import annotate_photos
from unmask.image import save_image
from unmask.labelme import draw_mask, read_annotation, read_image
from unmask.metrics import iou
from unmask.pipeline import Unmasker
from unmask.segmentation.data import read_examples


@pytest.fixture
def photos(tmp_path: Path, masked: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    save_image(folder / "worn.png", masked)
    save_image(folder / "day1" / "black.png", np.zeros((80, 100, 3), np.uint8))
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(*words: object) -> int:
    return cli.main(["annotate", *map(str, words)])


def test_predictions_are_labelme_files(
    photos: Path, tmp_path: Path, masked: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(photos, "--out", out, "--recursive", "--label", "visor") == 1
    printed = capsys.readouterr()
    assert "2 of 3 photos annotated, 1 masks" in printed.out
    assert f"unmask: {photos / 'broken.png'}: not a readable" in printed.err
    content = json.loads((out / "worn.json").read_text())
    assert content["flags"] == {"predicted": True}
    [shape] = content["shapes"]
    assert (shape["label"], shape["flags"]) == ("visor", {"predicted": True})
    assert "score 0." in shape["description"] or "score 1." in shape["description"]
    assert 6 <= len(shape["points"]) <= 100
    annotation = read_annotation(out / "worn.json")
    assert np.array_equal(read_image(annotation), masked)
    found = max(Unmasker().find(masked), key=lambda region: region.score)
    assert iou(draw_mask(annotation, found.shape), found.mask) > 0.98
    assert not read_annotation(out / "day1" / "black.json").shapes
    # A training takes the folder as it is.
    assert len(read_examples(out, labels=["visor"])) == 1


def test_what_is_there_is_never_touched(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "broken.png").unlink()
    (photos / "worn.json").write_text("corrected by hand")
    before = contents(photos)
    for number in (1, 0):
        assert run(photos, "-o", photos, "--recursive") == 0
        assert f"{number} of 2 photos annotated, 0 masks" in capsys.readouterr().out
    after = contents(photos)
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) == {photos / "day1" / "black.json"}


def test_names_that_are_taken(photos: Path, tmp_path: Path, masked: np.ndarray) -> None:
    (photos / "broken.png").unlink()
    save_image(photos / "worn.jpg", masked)
    out = tmp_path / "out"
    save_image(out / "worn.jpg", np.zeros((80, 100, 3), np.uint8))
    before = contents(out)
    assert run(photos, "-o", out) == 1  # another photo is in the way; a.jpg and a.png are one name
    assert contents(out) == before


def test_results_inside_the_folder_are_no_photos(photos: Path) -> None:
    (photos / "broken.png").unlink()
    (photos / "worn.png").unlink()
    for _ in range(2):
        assert run(photos, "-o", photos / "out", "--recursive") == 0
    assert set(contents(photos / "out")) == {
        photos / "out" / "day1" / "black.json",
        photos / "out" / "day1" / "black.png",
    }


def test_a_name_that_is_not_utf_8(photos: Path, tmp_path: Path) -> None:
    nothing = SimpleNamespace(find=lambda _: [], max_pixels=1 << 20)
    given = [photos / "day1" / "x\udcff.png", photos / "day1" / "black.png"]
    given[0].write_bytes(given[1].read_bytes())
    bad, good = annotate_photos(nothing, given, tmp_path / "out")
    assert bad.error.startswith(f"{given[0]}: its name")
    assert good.error is None
    assert {path.name for path in contents(tmp_path / "out")} == {"black.json", "black.png"}

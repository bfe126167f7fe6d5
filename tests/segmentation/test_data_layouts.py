"""Labelled photos in every layout, and which of them validate."""

import json

import numpy as np
import pytest
from PIL import Image

from unmask.errors import DataError
from unmask.labelme import convert
from unmask.segmentation.data import read_examples, read_split

NAMES = [f"a.{n}" for n in range(20)]


@pytest.fixture
def annotated(tmp_path):
    """A folder straight from Labelme."""
    folder = tmp_path / "annotated"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(folder / f"{name}.png")
        shape = {"label": "mask", "shape_type": "rectangle", "points": [[5, 5], [14, 14 + number]]}
        hand = {"label": "hand", "shape_type": "polygon", "points": []}
        content = {"shapes": [shape, hand], "imagePath": f"{name}.png", "imageData": None}
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def converted(annotated, tmp_path):
    """What `unmask labelme` makes of it."""
    assert not convert(annotated, tmp_path / "out", labels="mask", coco=tmp_path / "c.json").errors
    return tmp_path / "out"


def areas(examples):
    return {example.name: int(example.mask.sum()) for example in examples}


def test_labelme_and_what_is_made_of_it_are_the_same(annotated, converted):
    # Rows beyond the frame, at 30, are cut off.
    expected = [10 * (min(10 + n, 25)) for n in range(20)]
    order = sorted(range(20), key=lambda n: f"{NAMES[n]}.json")
    for folder, suffix in ((annotated, ".json"), (converted, ".png")):
        examples = read_examples(folder)
        assert areas(examples) == {f"{NAMES[n]}{suffix}": expected[n] for n in order}
        assert [int(example.image[0, 0, 0]) for example in examples] == order
        assert {example.mask.dtype for example in examples} == {np.dtype(np.uint8)}


def test_a_split_is_drawn_and_written_down(annotated, converted):
    assert not (annotated / "split.csv").exists()
    parts = {part: [*areas(read_examples(annotated, part))] for part in ("train", "val")}
    assert (len(parts["train"]), len(parts["val"])) == (18, 2)
    assert sorted(parts["train"] + parts["val"]) == [*areas(read_examples(annotated))]
    written = read_split(annotated / "split.csv")
    assert [name for name, part in written.items() if part == "val"] == parts["val"]
    # It stays as it is, whatever the seed, and goes with the photos into another layout.
    assert [*areas(read_examples(annotated, "val", seed=1))] == parts["val"]
    (converted / "split.csv").write_bytes((annotated / "split.csv").read_bytes())
    validating = [name.replace(".json", ".png") for name in parts["val"]]
    assert [*areas(read_examples(converted, "val"))] == validating


def test_another_seed_is_another_split(annotated):
    found = set()
    for seed in range(4):
        found.add(tuple(areas(read_examples(annotated, "val", seed=seed))))
        (annotated / "split.csv").unlink()
    assert len(found) > 1


def test_a_folder_for_reading_only(annotated, tmp_path, monkeypatch):
    def write(path, content):
        if annotated in path.parents:
            raise PermissionError(f"{path}: read-only")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)

    monkeypatch.setattr("unmask.segmentation.data.write_text_atomic", write)
    run = tmp_path / "run"
    drawn = areas(read_examples(annotated, "val", run=run))
    assert not (annotated / "split.csv").exists()
    assert areas(read_examples(annotated, "val", seed=5, run=run)) == drawn
    assert areas(read_examples(annotated, "val")) == drawn


def test_a_split_has_to_fit_its_photos(annotated):
    path = annotated / "split.csv"
    rows = ["file,split", *(f"{name}.json,train" for name in NAMES)]
    for text, message in (
        ("name,part\n", r"split\.csv: expected the columns"),
        ("\n".join([*rows, "x.json,val"]), r"split\.csv: file: no such photo .*'x\.json'"),
        ("\n".join([*rows, "../x.json,val"]), r"split\.csv: file: must be a path inside"),
        ("\n".join(rows[:-2]), r"split\.csv: lacks 2 of the 20 photos \(a\.18\.json"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_examples(annotated, "train")
    path.write_text("\ufeff" + "\r\n".join(rows).replace("a.3.json,train", "a.3.json,test"))
    assert len(read_examples(annotated, "train")) == 19
    with pytest.raises(DataError, match=r"none\.csv: no such file"):
        read_split(annotated / "none.csv")


def test_pairs_of_unmask_synthesize_show_the_masked_faces(converted):
    for path in (converted / "images").iterdir():
        (converted / "masked").mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), (0, 0, 99)).save(converted / "masked" / path.name)
    assert {int(example.image[0, 0, 2]) for example in read_examples(converted)} == {99}


def test_folders_that_do_not_fit(annotated, converted, tmp_path):
    with pytest.raises(DataError, match=r"no shape has the label 'msk'; labels found: 'hand' \(20"):
        read_examples(annotated, "train", labels=["msk"])
    Image.new("L", (9, 9)).save(converted / "masks" / "a.0.png")
    with pytest.raises(DataError, match=r"a\.0\.png: \(9, 9\) pixels, its photo has \(30, 40\)"):
        read_examples(converted)
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "none"):
        with pytest.raises(DataError, match=f"{folder}: has neither images/ and masks/"):
            read_examples(tmp_path / folder, "train")

import csv
from functools import partial

import keras
import numpy as np
import pytest
from PIL import Image

from unmask.cli import main
from unmask.errors import DataError
from unmask.segmentation.data import read_examples
from unmask.segmentation.finder import probability_map as probability_map_of
from unmask.segmentation.teacher import judge, label_photos

SIDE = 64


@pytest.fixture(scope="module")
def blue_finder():
    """Blue is mask, and nothing else is."""
    inputs = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(1, 1, activation="sigmoid")
    outputs = layer(inputs)
    layer.set_weights([np.reshape([-20.0, -20.0, 20.0], (1, 1, 3, 1)), np.array([-8.0])])
    return keras.Model(inputs, outputs)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    masked = np.full((50, 80, 3), 200, np.uint8)
    masked[20:45, 10:40] = (0, 0, 255)
    Image.fromarray(masked).save(folder / "a.b.png")
    Image.fromarray(masked[:, ::-1]).save(folder / "more" / "A.b.png")
    Image.fromarray(masked[:15]).save(folder / "bare.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def probability_map(value=0.98, box=(20, 80, 10, 90), outside=0.01):
    found = np.full((100, 100), outside, np.float32)
    found[box[0] : box[1], box[2] : box[3]] = value
    return found


def with_piece(found, rows, columns, value):
    found = found.copy()
    found[rows, columns] = value
    return found


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (probability_map(), ""),
        (probability_map(box=(0, 10, 0, 11)), ""),
        (probability_map(box=(0, 10, 0, 10)), "share"),
        (probability_map(value=0.1), "share"),
        (probability_map(value=0.89), "certainty"),
        (probability_map(value=0.79), "certainty unsure"),
        (with_piece(probability_map(), slice(84, 95), slice(0, 100), 0.3), ""),
        (with_piece(probability_map(), slice(84, 96), slice(0, 100), 0.3), "unsure"),
        (with_piece(probability_map(), slice(0, 11), slice(0, 100), 0.98), ""),
        (with_piece(probability_map(), slice(0, 13), slice(0, 100), 0.98), "piece"),
    ],
)
def test_rules(found, reason):
    assert judge(found).reason == reason


def test_figures():
    found = with_piece(probability_map(), slice(0, 12), slice(0, 100), 0.7)
    judgement = judge(found)
    assert judgement.share == 0.6
    assert judgement.certainty == pytest.approx(0.8 * 0.96 + 0.2 * 0.4)
    assert judgement.unsure == pytest.approx(0.2)
    assert judgement.piece == pytest.approx(0.8)


def test_the_mean_does_not_know_left_from_right(blue_finder):
    photo = np.random.default_rng(0).integers(0, 256, (40, 70, 3)).astype(np.uint8)
    look = partial(probability_map_of, blue_finder, side=SIDE, square=True, mirror=True)
    found = look(photo)
    assert max(found.shape) == SIDE
    mirrored = look(np.ascontiguousarray(photo[:, ::-1]))
    np.testing.assert_allclose(found[:, ::-1], mirrored, atol=1e-4)


def test_sure_photos_are_written_for_the_training(blue_finder, photos, tmp_path):
    sources = [
        photos / "a.b.png", photos / "broken.jpg", photos / "bare.png", photos / "more" / "A.b.png"
    ]  # fmt: skip
    out = tmp_path / "labels"
    results = list(label_photos(blue_finder, sources, out, side=SIDE))
    assert [r.label and r.label.name for r in results] == ["a.b.png", None, None, "A.b-2.png"]
    assert "broken.jpg" in results[1].error
    left, right = sorted(read_examples(out, None), key=lambda example: example.focus[0])
    assert left.mask.shape == (50, 80)
    assert abs(int(left.mask.sum()) - 25 * 30) < 60
    assert left.mask[30, 25] == right.mask[30, 55] == 1
    with (out / "decisions.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["kept"] for row in rows] == ["yes", "no", "no", "yes"]
    assert rows[2]["reason"] == "share"
    assert "broken.jpg" in rows[1]["reason"]


def test_copies_of_photos_to_measure_on_are_left_out(blue_finder, photos, tmp_path):
    kept_apart = tmp_path / "val.jpg"
    with Image.open(photos / "a.b.png") as photo:
        photo.resize((160, 100)).save(kept_apart, quality=80)
    sources = [photos / "a.b.png", photos / "more" / "A.b.png"]
    out = tmp_path / "labels"
    results = list(label_photos(blue_finder, sources, out, side=SIDE, apart=[kept_apart]))
    assert [result.known for result in results] == [True, False]
    assert [path.name for path in sorted(out.glob("*.png"))] == ["A.b-2.png"]
    assert "known" in (out / "decisions.csv").read_text().splitlines()[1]


def test_an_interruption_leaves_the_table(blue_finder, photos, tmp_path):
    results = label_photos(blue_finder, [photos / "a.b.png"] * 3, tmp_path / "out", side=SIDE)
    next(results)
    results.close()
    assert len((tmp_path / "out" / "decisions.csv").read_text().splitlines()) == 2


def test_labels_do_not_mix(blue_finder, photos):
    with pytest.raises(DataError, match="empty"):
        next(label_photos(blue_finder, [photos / "a.b.png"], photos))


def test_command(blue_finder, photos, tmp_path, capsys, monkeypatch):
    # InceptionV3 at 320 pixels would take most of the time of these tests.
    monkeypatch.setattr("unmask.segmentation.teacher.load_teacher", lambda *_: blue_finder)
    (tmp_path / "x.safetensors").touch()
    words = ["--weights", str(tmp_path / "x.safetensors"), "--backbone", "imagenet"]
    assert main(["label", str(photos), str(tmp_path / "out"), *words]) == 1
    captured = capsys.readouterr()
    assert "1 of 3 photos kept" in captured.out
    assert "broken.jpg" in captured.err
    assert main(["label", str(photos), str(tmp_path / "out"), *words]) == 2
    assert main(["label", str(photos / "more"), str(tmp_path / "fine"), *words]) == 0

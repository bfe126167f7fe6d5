import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.image import load_image, load_mask, save_image
from unmask.synthesis.pairs import SynthesisSettings, read_source, write_pairs

SETTINGS = SynthesisSettings(seed=2, bank_size=4)


def write_table(folder: Path, files: list[str], points: np.ndarray) -> None:
    with (folder / "landmarks.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", *(f"{a}{i}" for i in range(len(points)) for a in "xy")])
        writer.writerows([file, *points.ravel()] for file in files)


@pytest.fixture
def source(tmp_path, portrait, landmarks) -> Path:
    folder = tmp_path / "faces"
    files = ["a.jpg", "b.png", "sub/c.png"]
    for file in files:
        save_image(folder / file, portrait)
    write_table(folder, files, landmarks)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def run(source: Path, target: Path, settings: SynthesisSettings = SETTINGS) -> list[str | None]:
    return [result.error for result in write_pairs(read_source(source), target, settings)]


def test_pairs_are_what_the_synthesizer_makes(source, tmp_path, landmarks):
    target = tmp_path / "pairs"
    assert run(source, target) == [None] * 3
    synth = SETTINGS.build()
    for index, (given, made) in enumerate(
        [("a.jpg", "a.png"), ("b.png", "b.png"), ("sub/c.png", "sub/c.png")]
    ):
        expected = synth(load_image(source / given), landmarks, index)
        np.testing.assert_array_equal(load_image(target / "images" / made), expected.image)
        np.testing.assert_array_equal(load_mask(target / "masks" / made), expected.mask)
    again = read_source(target)
    assert [face.file for face in again] == ["images/a.png", "images/b.png", "images/sub/c.png"]
    np.testing.assert_allclose(again[0].landmarks, landmarks, atol=1e-3)


def test_an_interrupted_run_ends_with_the_same_bytes(source, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(source, whole)
    results = write_pairs(read_source(source), broken, SETTINGS)
    next(results)
    results.close()
    assert (broken / "landmarks.csv").is_file()
    run(source, broken)
    assert contents(broken) == contents(whole)
    (broken / "masks" / "b.png").unlink()
    run(source, broken)
    assert contents(broken) == contents(whole)


def test_finished_faces_are_left_alone(source, tmp_path):
    target = tmp_path / "pairs"
    run(source, target)
    before = (target / "images" / "a.png").stat().st_mtime_ns
    shutil.rmtree(target / "images" / "sub")
    run(source, target)
    assert (target / "images" / "a.png").stat().st_mtime_ns == before
    assert (target / "images" / "sub" / "c.png").is_file()


def test_a_bad_image_is_reported_and_the_rest_goes_on(source, tmp_path):
    (source / "b.png").write_bytes(b"not an image")
    (source / "sub" / "c.png").unlink()
    errors = run(source, tmp_path / "pairs")
    assert errors[0] is None
    assert "b.png" in str(errors[1])
    assert "c.png" in str(errors[2])
    assert len(read_source(tmp_path / "pairs")) == 1


def test_landmarks_far_outside_are_reported(source, tmp_path, landmarks):
    write_table(source, ["a.jpg"], landmarks + 5000)
    (error,) = run(source, tmp_path / "pairs")
    assert "no room for a mask" in str(error)


def test_other_settings_do_not_mix(source, tmp_path):
    run(source, tmp_path / "pairs")
    with pytest.raises(DataError, match=r"synthesis\.json"):
        run(source, tmp_path / "pairs", SynthesisSettings(seed=9))


def test_two_faces_of_one_name_are_refused(source, tmp_path, portrait, landmarks):
    save_image(source / "a.png", portrait)
    write_table(source, ["a.jpg", "a.png"], landmarks)
    with pytest.raises(DataError, match=r"a\.png and a\.jpg"):
        run(source, tmp_path / "pairs")


def test_a_face_folder_is_a_source(tmp_path, portrait, landmarks):
    save_image(tmp_path / "x.png", portrait)
    np.savez(tmp_path / "landmarks98.npz", files=np.array(["x.png"]), landmarks98=landmarks[None])
    (face,) = read_source(tmp_path)
    assert face.file == "x.png"
    np.testing.assert_array_equal(face.landmarks, landmarks)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("x97", "z97", "line 1: column x97"),
        ("y40", "z40", "line 1: column y40 is missing"),
        ("sub/c.png", "../c.png", "line 4, file: must be a path inside"),
        ("a.jpg", "/a.jpg", "line 2, file: must be a path inside"),
        ("b.png,56.0", "b.png,wide", "line 3, x0: must be a finite number. Received: 'wide'"),
        ("b.png,56.0", "b.png,inf", "line 3, x0: must be a finite"),
    ],
)
def test_broken_tables_name_line_and_column(source, old, new, message):
    table = source / "landmarks.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_source(source)


def test_a_folder_without_landmarks_is_refused(tmp_path):
    with pytest.raises(DataError, match="landmarks"):
        read_source(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        read_source(tmp_path / "gone")

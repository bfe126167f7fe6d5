import importlib.util
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unmask.data.faces import read_face_folder
from unmask.errors import DataError
from unmask.face import canonical_matrix, transform_points, warp
from unmask.image import load_image, load_mask, save_image
from unmask.synthesis.pairs import SynthesisSettings, split_of, write_pairs
from unmask.synthesis.sources import SourceFace, number_of, read_source
from unmask.tables import read_csv

from .conftest import write_table

SETTINGS = SynthesisSettings(seed=2, bank_size=4, gender="labels")
FILES = ["a.jpg", "b.png", "sub/c.png"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory, portrait, landmarks) -> Path:
    folder = tmp_path_factory.mktemp("all") / "faces"
    for file in FILES:
        save_image(folder / file, portrait)
    write_table(folder, FILES, landmarks)
    return folder


@pytest.fixture(scope="module")
def pairs(faces) -> Path:
    """What becomes of `faces`; not to be changed."""
    assert run(faces, faces.parent / "pairs") == [None] * 3
    return faces.parent / "pairs"


@pytest.fixture
def source(faces, tmp_path) -> Path:
    """A copy of `faces` to be changed."""
    return shutil.copytree(faces, tmp_path / "faces")


@pytest.fixture
def target(pairs, tmp_path) -> Path:
    """A copy of `pairs` to go on with."""
    return shutil.copytree(pairs, tmp_path / "pairs")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def run(
    source: Path, target: Path, settings: SynthesisSettings = SETTINGS, **options: object
) -> list[str | None]:
    results = write_pairs(read_source(source), target, settings, **options)  # type: ignore[arg-type]
    return [result.error for result in results]


def test_pairs_are_what_the_synthesizer_makes(faces, pairs, landmarks):
    matrix = canonical_matrix(landmarks)
    points = transform_points(landmarks, matrix)
    synth = SETTINGS.build()
    for given, made in zip(FILES, ("a.png", "b.png", "sub/c.png"), strict=True):
        crop = warp(load_image(faces / given), matrix, 256)
        expected = synth(crop, points, number_of(given))
        np.testing.assert_array_equal(load_image(pairs / "images" / made), crop)
        np.testing.assert_array_equal(load_image(pairs / "masked" / made), expected.image)
        np.testing.assert_array_equal(load_mask(pairs / "masks" / made), expected.mask)


def test_the_result_is_a_face_folder_in_the_canonical_frame(faces, tmp_path):
    target = tmp_path / "pairs"
    run(faces, target, replace(SETTINGS, size=128, val_share=1.0))
    records = read_face_folder(target, split="val")
    assert [r.path.relative_to(target).as_posix() for r in records] == [
        "images/a.png",
        "images/b.png",
        "images/sub/c.png",
    ]
    assert load_image(records[0].path).shape == (128, 128, 3)
    identity = np.array([[1, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(canonical_matrix(records[0].landmarks, 128), identity, atol=1e-3)
    assert next(face.file for face in read_source(target)) == "images/a.png"


def test_a_result_never_replaces_a_photo(source, tmp_path):
    target = tmp_path / "pairs"
    (target / "masked" / "sub").mkdir(parents=True)
    (target / "masked" / "sub" / "c.png").hardlink_to(source / "b.png")
    before = contents(source)
    with pytest.raises(DataError, match=r"masked/sub/c\.png: would replace .*faces/b\.png"):
        run(source, target)
    assert contents(source) == before
    assert [*contents(target)] == ["masked/sub/c.png"]


@pytest.mark.parametrize("outside", ["../../x.png", "up/x.png"])
def test_nothing_is_written_outside(faces, tmp_path, outside):
    target = tmp_path / "pairs"
    for name in ("images", "masked", "masks"):
        (target / name).mkdir(parents=True)
        (target / name / "up").symlink_to(tmp_path)
    (face, *_) = read_source(faces)
    (result,) = write_pairs([replace(face, file=outside)], target, SETTINGS)
    assert "must be a path inside the folder" in result.error
    assert not list(tmp_path.rglob("x.png"))


def test_the_whole_picture_can_be_kept(faces, tmp_path, landmarks):
    run(faces, tmp_path / "pairs", replace(SETTINGS, frame="source", image_format="jpg"))
    (first, *_) = read_source(tmp_path / "pairs")
    assert first.file == "images/a.jpg"
    np.testing.assert_array_equal(first.landmarks, landmarks)


def test_a_mask_belongs_to_the_name_not_to_the_order(source, pairs, tmp_path, landmarks):
    write_table(source, ["sub/c.png"], landmarks)
    run(source, tmp_path / "one")
    name = "masked/sub/c.png"
    assert (tmp_path / "one" / name).read_bytes() == (pairs / name).read_bytes()
    assert (pairs / "masked/a.png").read_bytes() != (pairs / "masked/b.png").read_bytes()


def test_splits_belong_to_names_and_have_the_asked_share():
    splits = [split_of(f"{i}.png", 0.2) for i in range(2000)]
    assert 0.17 < splits.count("val") / 2000 < 0.23
    assert {split_of(f"{i}.png", 0.0) for i in range(50)} == {"train"}


def test_two_processes_write_the_same_files(faces, pairs, tmp_path):
    assert sorted(map(str, run(faces, tmp_path / "two", workers=2))) == ["None"] * 3
    assert contents(tmp_path / "two") == contents(pairs)


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="needs Ray: pip install 'unmask[scale]'",
)
@pytest.mark.slow
def test_ray_writes_the_same_files(source, tmp_path):
    (source / "b.png").write_bytes(b"broken")
    one = run(source, tmp_path / "one")
    ray = run(source, tmp_path / "ray", engine="ray", workers=2)
    assert sorted(map(str, ray)) == sorted(map(str, one))
    assert contents(tmp_path / "ray") == contents(tmp_path / "one")


def test_an_interrupted_run_ends_with_the_same_bytes(faces, pairs, tmp_path):
    broken = tmp_path / "broken"
    results = write_pairs(read_source(faces), broken, SETTINGS)
    next(results)
    results.close()
    assert len(read_source(broken)) == 1
    run(faces, broken)
    assert contents(broken) == contents(pairs)


def test_a_killed_run_goes_on_from_its_journal(faces, pairs, tmp_path):
    results = write_pairs(read_source(faces), tmp_path / "killed", SETTINGS)
    next(results)
    # What a process that is killed here leaves behind.
    left = shutil.copytree(tmp_path / "killed", tmp_path / "left")
    results.close()
    assert not (left / "labels.csv").exists()
    before = (left / "images" / "a.png").stat().st_mtime_ns
    run(faces, left)
    assert contents(left) == contents(pairs)
    assert (left / "images" / "a.png").stat().st_mtime_ns == before


def test_finished_faces_are_left_alone(faces, pairs, target):
    before = (target / "images" / "a.png").stat().st_mtime_ns
    shutil.rmtree(target / "images" / "sub")
    (target / "masks" / "b.png").unlink()
    run(faces, target)
    assert contents(target) == contents(pairs)
    assert (target / "images" / "a.png").stat().st_mtime_ns == before


def test_a_bad_image_is_reported_and_the_rest_goes_on(source, tmp_path, portrait):
    (source / "b.png").write_bytes(b"not an image")
    (source / "sub" / "c.png").unlink()
    target = tmp_path / "pairs"
    errors = run(source, target)
    assert errors[0] is None
    assert "b.png" in str(errors[1])
    assert "c.png" in str(errors[2])
    assert len(read_source(target)) == 1
    assert "b.png" in (target / "errors.csv").read_text()
    # Repaired, it is tried again.
    save_image(source / "b.png", portrait)
    save_image(source / "sub" / "c.png", portrait)
    assert run(source, target) == [None] * 3
    assert not (target / "errors.csv").exists()


def test_a_file_name_that_is_not_utf8_is_listed(source, tmp_path, landmarks):
    name = os.fsdecode(b"b\xff.png")
    (source / "b.png").rename(source / name)
    face = SourceFace(name, source / name, landmarks)
    [result] = write_pairs([face], tmp_path / "pairs", SETTINGS)
    assert result.error
    assert read_csv(tmp_path / "pairs" / "errors.csv", ["error"])[0]["file"] == r"b\udcff.png"


def test_landmarks_far_outside_are_reported(source, tmp_path, landmarks):
    write_table(source, ["a.jpg"], landmarks + 5000)
    (error,) = run(source, tmp_path / "pairs", replace(SETTINGS, frame="source"))
    assert "no room for a mask" in str(error)


def test_other_settings_do_not_mix(faces, pairs):
    with pytest.raises(DataError, match=r"synthesis\.json"):
        run(faces, pairs, replace(SETTINGS, seed=9))


def test_two_faces_of_one_name_are_refused(source, tmp_path, portrait, landmarks):
    save_image(source / "a.png", portrait)
    write_table(source, ["a.jpg", "a.png"], landmarks)
    with pytest.raises(DataError, match=r"a\.png and a\.jpg"):
        run(source, tmp_path / "pairs")


@pytest.mark.parametrize(
    ("name", "value"),
    [("frame", "round"), ("image_format", "gif"), ("gender", "x"), ("size", 8), ("seed", -1)],
)
def test_wrong_settings(name, value):
    with pytest.raises(ValueError, match=name):
        replace(SETTINGS, **{name: value})

"""Folders of photos: names, resuming, bad files, and the same bytes from every engine."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from unmask.errors import DataError, ImageError, UnmaskError, WeightsError
from unmask.folders import (
    FolderSettings,
    PhotoCompleter,
    begin,
    complete_photos,
    find_photos,
    plan_jobs,
)
from unmask.image import find_images, load_image, save_image
from unmask.pipeline import Unmasker
from unmask.weights import default_weights_dir

NO_RAY = importlib.util.find_spec("ray") is None


@pytest.fixture(scope="module")
def masked(masked):
    # About the face alone: a small photo.
    return masked[:260, 90:350]


@pytest.fixture(scope="module")
def photos(tmp_path_factory, masked):
    folder = tmp_path_factory.mktemp("all") / "photos"
    save_image(folder / "astronaut.png", masked)
    save_image(folder / "wall.png", np.full((90, 120, 3), 70, np.uint8))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    return folder


def names(jobs):
    return [str(job.target) for job in jobs]


def completed(photos, out, **options):
    """Complete photos, and return the reports."""
    jobs = plan_jobs(find_images(photos), out)
    reports = complete_photos(jobs, FolderSettings(json=True, seed=3), **options)
    return [(r.job.source.name, r.faces, r.error) for r in reports]


@pytest.fixture(scope="module")
def alone(photos):
    """What one process says and writes."""
    out = photos.parent / "alone"
    found = completed(photos, out)
    assert [error is None for *_, error in found] == [True, False, False, True]
    return found, out


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# === Names ===


def test_no_two_results_have_one_name():
    photos = [Path("a.jpg"), Path("b/A.png"), Path("c/a-2.png")]
    assert names(plan_jobs(photos, Path("out"))) == ["out/a.png", "out/A-2.png", "out/a-2-2.png"]


def test_a_panel_takes_no_result_s_name():
    jobs = plan_jobs([Path("a.jpg"), Path("a-panel.jpg")], Path("out"), panel=True)
    assert names(jobs) == ["out/a.png", "out/a-panel-2.png"]
    assert names(plan_jobs([Path("a.jpg"), Path("a-panel.jpg")], Path("out"))) == [
        "out/a.png",
        "out/a-panel.png",
    ]


def test_no_two_photos_share_the_file_of_what_was_found():
    photos = [Path("a.jpg"), Path("a.png")]
    jobs = plan_jobs(photos, Path("out"), json=True, suffix="")
    assert names(jobs) == ["out/a.jpg", "out/a-2.png"]
    assert names(plan_jobs(photos, Path("out"), suffix="")) == ["out/a.jpg", "out/a.png"]


def test_no_result_lies_outside(tmp_path, monkeypatch):
    for name in ("x.jpg", "p/y.jpg", "p/sub/z.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "p")
    photos, inside = find_photos([Path(), Path("../x.jpg")], recursive=True)
    assert names(plan_jobs(photos, Path("out"), inside=inside)) == [
        "out/x.png",
        "out/sub/z.png",
        "out/y.png",
    ]


def test_a_folder_of_one_photo_is_a_folder(tmp_path):
    (tmp_path / "a.jpg").touch()
    photos, inside = find_photos([tmp_path], recursive=False)
    assert names(plan_jobs(photos, Path("results.v1"), inside=inside)) == ["results.v1/a.png"]


def test_a_file_name_is_for_one_photo(tmp_path):
    assert names(plan_jobs([Path("a.jpg")], Path("made.webp"))) == ["made.webp"]
    with pytest.raises(ImageError, match=r"made\.webp.*2 photos"):
        plan_jobs([Path("a.jpg"), Path("b.jpg")], Path("made.webp"))
    with pytest.raises(ImageError, match=r"made\.gif.*'\.gif'"):
        plan_jobs([Path("a.jpg")], Path("made.gif"))
    folder = tmp_path / "results.png"
    folder.mkdir()
    assert names(plan_jobs([Path("a.jpg")], folder)) == [str(folder / "a.png")]


def test_what_else_is_read_is_never_replaced():
    for others in ([Path("out/a.png")], [Path("out/a.json")]):
        with pytest.raises(DataError, match=f"would replace the input {others[0]}"):
            plan_jobs([Path("a.png")], Path("out"), json=True, others=others)


def test_a_photo_is_never_replaced(tmp_path, photos):
    (tmp_path / "link").symlink_to(photos)
    for out in (photos, tmp_path / "link"):
        with pytest.raises(DataError, match=r"astronaut\.png: would replace the input"):
            plan_jobs(find_images(photos), out)


def test_names_are_shortened_where_they_must(tmp_path):
    photos = [Path("a" * 251 + ".jpg"), Path("b" * 250 + ".jpeg"), Path("B" * 250 + ".jpg")]
    jobs = plan_jobs(photos, tmp_path, panel=True)
    assert jobs[0].target.name == "a" * 251 + ".png"
    assert len({job.target.name.casefold() for job in jobs}) == 3
    assert all(len(job.target.name) <= 255 for job in jobs)


# === Resuming ===


def test_what_is_there_is_done(tmp_path):
    jobs = plan_jobs([Path("a.jpg"), Path("b.jpg")], tmp_path)
    jobs[0].target.write_bytes(b"")
    assert begin(jobs, tmp_path, FolderSettings(), resume=True) == [jobs[1]]
    # It is so the next time as well; but the table of what was found is missing.
    assert begin(jobs, tmp_path, FolderSettings(), resume=True) == [jobs[1]]
    assert begin(jobs, tmp_path, FolderSettings(json=True), resume=True) == jobs


def test_a_folder_remembers_what_its_results_were_made_with(tmp_path):
    jobs = plan_jobs([Path("a.jpg"), Path("b.jpg")], tmp_path)
    assert begin(jobs, tmp_path, FolderSettings(seed=1)) == jobs
    jobs[0].target.write_bytes(b"")
    assert begin(jobs, tmp_path, FolderSettings(seed=1), resume=True) == [jobs[1]]
    with pytest.raises(DataError, match=r"made with gender=None, wanted is 'male'; seed=1, wanted"):
        begin(jobs, tmp_path, FolderSettings(seed=2, gender="male"), resume=True)
    # Made anew with other settings and interrupted: what is older is not theirs.
    os.utime(jobs[0].target, (1, 1))
    assert begin(jobs, tmp_path, FolderSettings(seed=2)) == jobs
    assert begin(jobs, tmp_path, FolderSettings(seed=2), resume=True) == jobs


def test_other_weights_are_told(tmp_path):
    jobs = plan_jobs([Path("a.jpg")], tmp_path)
    finder = tmp_path / "finder.safetensors"
    finder.write_bytes(b"one")
    begin(jobs, tmp_path, FolderSettings(finder=finder))
    finder.write_bytes(b"two")
    with pytest.raises(DataError, match=r"weights.finder='7692c3"):
        begin(jobs, tmp_path, FolderSettings(finder=finder), resume=True)


def test_resuming_needs_names_that_stay(tmp_path):
    jobs = plan_jobs([Path("a.jpg"), Path("b/a.jpg")], tmp_path)
    with pytest.raises(ImageError, match=r"b/a\.jpg.*same name as a\.jpg"):
        begin(jobs, tmp_path, FolderSettings(), resume=True)
    inside = {Path("b/a.jpg"): Path("b")}
    jobs = plan_jobs([Path("a.jpg"), Path("b/a.jpg")], tmp_path, inside=inside)
    assert begin(jobs, tmp_path, FolderSettings(), resume=True) == jobs


def test_an_unwritable_folder_is_told_before_anything_is_computed(tmp_path):
    (tmp_path / "file").touch()
    jobs = plan_jobs([Path("missing.jpg")], tmp_path / "file" / "out")
    for asked in (
        lambda: begin(jobs, tmp_path / "file" / "out", FolderSettings()),
        lambda: next(complete_photos(jobs)),
    ):
        with pytest.raises(UnmaskError, match=r"file/out: cannot be written to"):
            asked()


# === Completing ===


def test_a_photo_that_breaks_the_pipeline_stays_alone(tmp_path, photos, masked):
    class Fragile(Unmasker):
        def __call__(self, photo, **options):
            if any(p.pixels.shape == (90, 120, 3) for p in photo):
                raise FloatingPointError("no wall, please")
            return super().__call__(photo, **options)

    completer = PhotoCompleter(FolderSettings())
    completer._unmasker = Fragile()
    reports = completer(plan_jobs(find_images(photos), tmp_path / "out"))
    assert [report.faces for report in reports] == [1, 0, 0, 0]
    assert "broken.jpg" in reports[1].error
    assert "loop.jpg" in reports[2].error
    assert reports[3].error == f"{photos / 'wall.png'}: FloatingPointError: no wall, please"
    assert load_image(tmp_path / "out" / "astronaut.png").shape == masked.shape


def test_missing_weights_are_one_error(photos, tmp_path):
    jobs = plan_jobs(find_images(photos), tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "manifest.toml").write_text("")
    with pytest.raises(WeightsError, match="paper/"):
        next(complete_photos(jobs, FolderSettings(preset="paper", weights_dir=empty)))
    with pytest.raises(WeightsError, match=r"none\.safetensors: no such file"):
        next(complete_photos(jobs, FolderSettings(finder=tmp_path / "none.safetensors")))
    altered = tmp_path / "weights"
    shutil.copytree(default_weights_dir(), altered, ignore=shutil.ignore_patterns("paper"))
    with (altered / "lite" / "gender.safetensors").open("r+b") as handle:
        handle.seek(-4, 2)
        handle.write(b"\x00\x3c\x00\x3c")
    with pytest.raises(WeightsError, match=r"weights/lite/gender\.safetensors: SHA-256"):
        next(complete_photos(jobs, FolderSettings(weights_dir=altered, runtime="keras")))
    assert not (tmp_path / "astronaut.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "workers"),
    [
        ("local", 2),
        pytest.param(
            "ray",
            1,
            marks=pytest.mark.skipif(NO_RAY, reason="needs Ray: pip install 'unmask[scale]'"),
        ),
    ],
)
def test_every_engine_writes_the_same_files(tmp_path, photos, alone, engine, workers):
    found, results = alone
    assert completed(photos, tmp_path / "other", engine=engine, workers=workers) == found
    assert contents(tmp_path / "other") == contents(results)

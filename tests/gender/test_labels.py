"""Where labels come from: the authors' folders, tables, and a network for faces without one."""

from __future__ import annotations

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from unmask.data.faces import read_face_folder
from unmask.data.record import load_canonical
from unmask.errors import DataError
from unmask.gender.data import labels_of, name_genders, read_faces, stored_views
from unmask.gender.load import load_gender
from unmask.gender.predict import predict_gender
from unmask.weights import find


def write(path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((90, 70, 3), grey, np.uint8))


@pytest.fixture
def authors(tmp_path):
    for number, place in enumerate(("Training/female", "Training/male", "Validation/female")):
        for index in range(2):
            write(tmp_path / place / f"{index}.png", 60 * number + 20 * index)
    write(tmp_path / "Validation/male/0.png", 250)
    (tmp_path / "Training/male/notes.txt").write_text("no image", encoding="utf-8")
    return tmp_path


def test_authors_folders(authors):
    training, validation = (read_faces([authors], {}, split).records for split in ("train", "val"))
    assert labels_of(training).tolist() == [0, 0, 1, 1]
    assert [record.path.name for record in training] == ["0.png", "1.png"] * 2
    assert labels_of(validation).tolist() == [0, 0, 1]


def test_photos_without_landmarks_are_used_as_framed_and_bare(authors, tmp_path):
    records = read_faces([authors], {}, "train").records
    views = stored_views(records, tmp_path / "v.npy", masked=0)
    assert views.pixels.shape[:2] == (4, 1)
    assert np.abs(views.windows(0)[3].astype(int) - 80).max() <= 1
    with pytest.raises(DataError, match="masks need landmarks"):
        stored_views(records, tmp_path / "w.npy", masked=1)


def test_a_missing_gender_folder_is_named(authors):
    (authors / "Validation/male/0.png").unlink()
    (authors / "Validation/male").rmdir()
    with pytest.raises(DataError, match="Validation/male"):
        read_faces([authors], {}, "val")


def test_table(authors):
    table = authors / "faces.csv"
    table.write_text(
        "file,gender,split\nTraining/male/0.png,male,train\nTraining/male/1.png,,train\n"
        "Training/female/0.png,female,val\nTraining/female/1.png,female,train\n",
        encoding="utf-8",
    )
    found = read_faces([table], {}, "train").records
    assert [r.path.parent.name for r in found] == ["male", "female"]
    with pytest.raises(DataError, match="no face of the gender 'male' in the split 'val'"):
        read_faces([table], {}, "val")
    table.write_text("file,gender\na.png,m\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2: gender"):
        read_faces([table], {}, "train")
    table.write_text("file\na.png\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column 'gender'"):
        read_faces([table], {}, "train")
    for outside in ("", "../0.png", str(authors / "Training/male/0.png")):
        table.write_text(f"file,gender\n{outside},male\n", encoding="utf-8")
        with pytest.raises(DataError, match=r"faces\.csv: line 2: file: must be a path inside"):
            read_faces([table], {}, "train")
    with pytest.raises(DataError, match=r"none\.csv: neither a face folder"):
        read_faces([authors / "none.csv"], {}, "train")


def test_a_network_names_faces_without_a_label(authors, face_data, tmp_path):
    folder = tmp_path / "faces"
    shutil.copytree(face_data / "faces", folder)
    (folder / "labels.csv").unlink()
    table = authors / "faces.csv"
    table.write_text("file,gender\nTraining/male/0.png,male\nTraining/male/1.png,\n", "utf-8")
    with pytest.raises(DataError, match="no face of the gender 'female'"):
        read_faces([folder], {}, "train")
    weights = find("lite", "gender").path
    named = read_faces([table, folder], {}, "train", pseudo_labels=weights).records
    faces = read_face_folder(folder, split="train")
    sure = name_genders(faces, load_gender(weights), least=0.9)
    wanted = {r.path: r.gender for r in sure if r.gender}
    assert 4 <= len(wanted) < len(faces)  # the darkened copies leave doubts
    # Without landmarks a face cannot be looked at, and stays without a name.
    assert {r.path: r.gender for r in named} == {authors / "Training/male/0.png": "male", **wanted}


@pytest.fixture(scope="module")
def model():
    return load_gender(find("lite", "gender").path)


@pytest.fixture(scope="module")
def unlabelled(face_data):
    return [replace(r, gender=None) for r in read_face_folder(face_data / "faces")[:6]]


def test_sure_answers_are_filled_in(model, unlabelled):
    crops = np.stack([load_canonical(r).image for r in unlabelled])
    male = predict_gender(model, crops, mirror=True)
    sure = np.maximum(male, 1 - male)
    least = float(np.sort(sure)[2:4].mean())  # three faces reach it, three do not
    named = name_genders(unlabelled, model, least=least)
    wanted = [
        ("male" if m > 0.5 else "female") if s >= least else None
        for m, s in zip(male, sure, strict=True)
    ]
    assert wanted.count(None) == 3
    assert [r.gender for r in named] == wanted
    assert [replace(r, gender=None) for r in named] == unlabelled


def test_labels_are_left_and_repetitions_named_alike(model, unlabelled):
    portrait = unlabelled[0]  # of a woman, not darkened
    labelled = replace(portrait, gender="male", path=portrait.path.with_name("missing.png"))
    named = name_genders([portrait, labelled, portrait], model)
    assert [r.gender for r in named] == ["female", "male", "female"]


def test_limits(model):
    assert name_genders([], model) == []
    with pytest.raises(ValueError, match=r"least=0\.4"):
        name_genders([], model, least=0.4)

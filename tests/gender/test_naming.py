"""Genders for the training faces that have no label."""

from dataclasses import replace

import numpy as np
import pytest

from unmask.data.faces import load_canonical, read_face_folder
from unmask.gender.files import load_gender
from unmask.gender.naming import name_genders
from unmask.gender.predict import predict_gender
from unmask.weights import find


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

"""The shipped weights, on a portrait and, where the training data is present, on its validation."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.face import canonical_matrix, transform_points, warp
from unmask.gender.data import read_faces, stored_views
from unmask.gender.evaluate import probabilities, report
from unmask.gender.lite import build_lite
from unmask.gender.predict import predict_gender
from unmask.synthesis import MaskSynthesizer
from unmask.weights import default_weights_dir, load_weights


@pytest.fixture(scope="module")
def weights():
    return default_weights_dir() / "lite" / "gender.safetensors"


def test_portrait_of_a_woman_bare_and_masked(weights, portrait):
    model = build_lite()
    load_weights(model, weights)
    photo, landmarks = portrait
    matrix = canonical_matrix(landmarks)
    crop = warp(photo, matrix, 256)
    synthesizer = MaskSynthesizer(seed=3)
    masked = [synthesizer(crop, transform_points(landmarks, matrix), i).image for i in range(8)]
    assert predict_gender(model, crop[None])[0] < 0.3
    assert (predict_gender(model, np.stack(masked)) < 0.5).mean() >= 0.75


def test_validation_split(weights, data_dir, tmp_path):
    model = build_lite(cropped=True)
    load_weights(model, weights)
    faces = read_faces([data_dir / "faces_male", data_dir / "faces_female"], {}, "val")
    views = stored_views(faces.records[::3], tmp_path / "v.npy", masked=1, seed=11)
    figures = report(probabilities(model, views), views.labels)
    assert figures.unmasked.accuracy > 0.90
    assert figures.masked.accuracy > 0.88
    assert figures.masked.ece < 0.08

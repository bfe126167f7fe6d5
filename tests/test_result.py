"""What a result says about itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

from unmask.gender import UNCERTAIN_BELOW
from unmask.image import Photo
from unmask.result import Face, Result


def _face(confidence: float, gender: str = "female") -> Face:
    crop = np.zeros((256, 256, 3), np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[30:40, 20:40] = True
    return Face(
        (1.0, 2.0, 3.26, 4.0), 0.9, gender, confidence, np.ones((98, 2)), mask, crop, crop, mask
    )


def _result(*faces: Face) -> Result:
    photo = np.zeros((64, 48, 3), np.uint8)
    return Result(photo, list(faces), Photo(photo))


@pytest.mark.parametrize(
    ("confidence", "uncertain"), [(0.5, True), (UNCERTAIN_BELOW, False), (1.0, False)]
)
def test_an_unsure_guess_says_so(confidence, uncertain):
    face = _face(confidence)
    assert face.gender_uncertain is uncertain
    assert ("uncertain" in repr(_result(face))) is uncertain


def test_repr_counts_faces():
    assert repr(_result()) == "<Result 48x64: no masked face>"
    shown = repr(_result(_face(0.97), _face(0.6, "male")))
    assert shown == "<Result 48x64: 2 masked faces (female 97%; male 60%, uncertain)>"


def test_json_values():
    values = json.loads(json.dumps(_face(0.7).to_dict()))
    assert values["box"] == [1.0, 2.0, 3.3, 4.0]
    assert values["mask_pixels"] == 200
    assert values["gender_uncertain"] is True
    assert len(values["landmarks"]) == 98

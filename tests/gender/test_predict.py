"""The gender network at run time."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.data.faces import load_canonical, read_face_folder
from unmask.gender.model import build_compact
from unmask.gender.predict import predict_gender

NETWORK = {"widths": (8, 16, 16), "blocks": (1, 1, 1), "dropout": 0.0}


def test_prediction_agrees_with_the_network_and_takes_any_count(face_data):
    model = build_compact(**NETWORK)
    faces = read_face_folder(face_data / "faces", split="val")
    crops = np.stack([load_canonical(face).image for face in faces])
    predicted = predict_gender(model, crops, batch_size=3)
    assert predicted.shape == (8,)
    assert predicted.dtype == np.float32
    direct = model.predict_on_batch(crops.astype(np.float32) / 255)[:, 0]
    np.testing.assert_allclose(predicted, direct, atol=1e-5)
    assert predict_gender(model, crops[:0]).shape == (0,)
    both = predict_gender(model, crops, batch_size=3, mirror=True)
    mirrored = np.ascontiguousarray(crops[:, :, ::-1])
    np.testing.assert_allclose(both, predict_gender(model, mirrored, mirror=True), atol=1e-5)
    flipped = predict_gender(model, mirrored)
    assert (np.minimum(predicted, flipped) - 1e-6 <= both).all()
    assert (both <= np.maximum(predicted, flipped) + 1e-6).all()


def test_prediction_refuses_other_arrays():
    with pytest.raises(ValueError, match="dtype=float32"):
        predict_gender(build_compact(**NETWORK), np.zeros((1, 256, 256, 3), np.float32))

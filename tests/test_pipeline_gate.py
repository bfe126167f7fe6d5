"""Which regions the pipeline takes for masks on faces."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.pipeline import _is_face
from unmask.segmentation.regions import MaskRegion
from unmask.segmentation.verifier import ACCEPTED


def region(score: float, certainty: float | None = None) -> MaskRegion:
    box = (0.0, 0.0, 8.0, 8.0)
    return MaskRegion(box, score, np.ones((8, 8), bool), (8, 8), certainty=certainty)


@pytest.mark.parametrize(
    ("score", "certainty", "confidence", "is_face"),
    [
        (0.95, None, 0.3, True),
        (0.95, None, 0.05, False),  # no face around it
        (0.78, None, 0.2, False),  # both only just
        (0.70, None, 0.9, False),  # an unsure mask
        (0.95, 0.62, 0.13, True),  # the verifier is sure
        (0.95, 0.62, 0.05, False),
        (0.30, 0.95, 0.3, True),  # it doubts, the others do not
        (0.30, 0.97, 0.13, True),
        (0.30, 0.80, 0.13, False),
        (ACCEPTED - 0.01, 0.70, 0.5, False),
    ],
)
def test_mask_and_face_make_up_for_each_other(score, certainty, confidence, is_face):
    assert _is_face(region(score, certainty), confidence) == is_face

"""Which masks belong to a face, and whose face it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from unmask.decide import decide
from unmask.image import load_photo
from unmask.segmentation.regions import MaskRegion
from unmask.subject import Subject, cut_subject, one_a_face


def _ring(x: float, y: float, width: float, height: float, count: int) -> np.ndarray:
    """Points around an ellipse, from its left end on."""
    angle = np.pi + np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], 1)


def _landmarks(count: int) -> np.ndarray:
    """A canonical face of 256 pixels; all that is neither eye nor mouth lies at the chin."""
    eyes, mouth, each = (60, 76, 8) if count == 98 else (36, 48, 6)
    points = np.tile(np.float32([128, 238]), (count, 1))
    points[eyes : eyes + each] = _ring(96, 123, 15, 5, each)
    points[eyes + each : eyes + 2 * each] = _ring(160, 123, 15, 5, each)
    points[mouth : mouth + 12] = _ring(128, 188, 26, 10, 12)
    points[mouth + 12 : mouth + 20] = _ring(128, 188, 18, 5, 8)
    return points


def _subject(box: tuple[int, int, int, int], count: int = 98, score: float = 0.9) -> Subject:
    """A subject whose mask fills a box of the photo."""
    x0, y0, x1, y1 = box
    patch = np.ones((y1 - y0, x1 - x0), bool)
    region = MaskRegion(tuple(map(float, box)), score, patch, (256, 256))
    photo = load_photo(np.full((256, 256, 3), 90, np.uint8))
    return cut_subject(photo, 0, region, _landmarks(count))


@pytest.mark.parametrize("count", [98, 68])
@pytest.mark.parametrize(
    ("box", "worn"),
    [
        ((70, 140, 186, 250), True),
        ((70, 100, 186, 250), False),  # over the eyes too: a patch, a hand, a scarf
        ((70, 195, 186, 250), False),  # a beard or a collar: the mouth is free
        ((70, 60, 186, 135), False),  # a cap or a visor
    ],
)
def test_a_mask_covers_the_mouth_and_not_the_eyes(count, box, worn):
    outcome = decide(replace(_subject(box, count), confidence=0.3).evidence).outcome
    assert outcome == ("complete" if worn else "ignore")


def test_the_crop_follows_the_landmarks():
    subject = _subject((70, 140, 186, 250))
    np.testing.assert_allclose(
        subject.crop_landmarks[60:76].mean(0)[0], subject.crop_landmarks[76:96].mean(0)[0], atol=1
    )
    # The box seen in the crop: its area times the square of the crop's scale.
    scale = np.sqrt(np.linalg.det(subject.matrix[:, :2]))
    assert subject.mask.sum() == pytest.approx(116 * 110 * scale**2, rel=0.05)
    assert subject.evidence.hole == pytest.approx((subject.mask & subject.valid).mean())


def test_the_surest_mask_of_a_face_is_kept():
    sure, unsure = _subject((70, 140, 186, 250)), _subject((80, 150, 170, 220), score=0.75)
    elsewhere = replace(sure, photo=1)
    assert one_a_face([unsure, sure, elsewhere]) == [sure, elsewhere]
    collar, mask = replace(sure, outcome="leave"), replace(unsure, outcome="complete")
    assert one_a_face([collar, mask]) == [mask]
    given = replace(unsure, given=True)
    assert one_a_face([given, sure]) == [given, sure]

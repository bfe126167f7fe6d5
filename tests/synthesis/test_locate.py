"""Finding bare faces with the shipped landmark network, and pairs from pictures alone."""

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from unmask import Unmasker
from unmask.data.faces import read_face_folder
from unmask.demo import portraits
from unmask.errors import DataError
from unmask.image import save_image
from unmask.metrics import nme
from unmask.synthesis.locate import FaceLocator
from unmask.synthesis.pairs import SynthesisSettings, write_pairs
from unmask.synthesis.sources import FRAMINGS, read_source


@pytest.fixture(scope="module")
def locator():
    return FaceLocator(Unmasker().landmarks)


def as_celeba() -> np.ndarray:
    """The astronaut where CelebA's aligned pictures have a face: 178 x 218, eyes at y = 111."""
    scale = 38.5 / 36
    matrix = np.array([[scale, 0, 88.5 - scale * 224], [0, scale, 111 - scale * 104]])
    return cv2.warpAffine(astronaut(), matrix, (178, 218), borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize("number", [0, 1])
def test_a_face_is_found_anywhere(locator, number):
    portrait = portraits()[number]
    center = locator(portrait.image).points[0].mean(0)
    assert np.hypot(*(center - portrait.center)) < 0.2 * portrait.side


def test_both_ways_agree(locator):
    image = as_celeba()
    framed = locator(image, FRAMINGS["celeba"]).points[0]
    found = locator(image).points[0]
    assert nme(found, framed) < 0.06
    assert abs(framed[[60, 72], 1].mean() - 111) < 6


def test_no_face_no_landmarks(locator):
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    with pytest.raises(DataError, match="no face"):
        locator(noise)


def test_pairs_from_pictures_alone(tmp_path):
    save_image(tmp_path / "celeba" / "1.png", as_celeba())
    (tmp_path / "celeba" / "list_attr_celeba.txt").write_text("1\nMale\n1.png -1\n")
    save_image(tmp_path / "any" / "2.png", astronaut())
    faces = [face for name in ("celeba", "any") for face in read_source(tmp_path / name)]
    results = list(write_pairs(faces, tmp_path / "pairs", SynthesisSettings(bank_size=2)))
    assert [result.error for result in results] == [None, None]
    by = [(result.row["gender"], result.row["gender_by"]) for result in results]
    assert by == [("female", "label"), ("female", "classifier")]
    for record in read_face_folder(tmp_path / "pairs"):
        assert record.gender == "female"
        # The canonical crop: eyes at a third of the height from the middle up.
        assert abs(record.landmarks[[60, 72], 1].mean() - 123) < 6

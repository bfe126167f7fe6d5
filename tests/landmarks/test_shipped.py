"""The shipped weights on a portrait whose landmarks were read off by hand."""

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from unmask.face import canonical_matrix, square_matrix
from unmask.landmarks.lite import build_lite
from unmask.landmarks.predict import locate_landmarks
from unmask.synthesis import MaskSynthesizer
from unmask.weights import default_weights_dir, load_weights

# Pupils, corners of the mouth, chin: (x, y) in the photo, to about 1.5 pixels.
BY_HAND = {96: (202.7, 101), 97: (247.3, 103), 76: (203, 142.5), 82: (244, 144), 16: (226, 176)}
GUESS = square_matrix((224, 125), 210)


@pytest.fixture(scope="module")
def model():
    network = build_lite()
    load_weights(network, default_weights_dir() / "lite" / "landmarks.safetensors")
    return network


def distances(points):
    return [float(np.hypot(*(points[i] - place))) for i, place in BY_HAND.items()]


def test_bare_face_lands_where_the_eye_sees_it(model):
    found = locate_landmarks(model, astronaut(), GUESS)
    assert max(distances(found.points[0])) < 7  # the outer eye corners are 62 pixels apart
    assert np.mean(distances(found.points[0])) < 4


def test_a_mask_hardly_moves_the_points(model):
    bare = locate_landmarks(model, astronaut(), GUESS).points[0]
    masked = MaskSynthesizer(seed=3)(astronaut(), bare, 5).image
    found = locate_landmarks(model, masked, GUESS)
    assert np.linalg.norm(found.points[0] - bare, axis=-1).mean() < 4
    assert max(distances(found.points[0])) < 10


def test_a_worse_first_guess_ends_in_the_same_crop(model):
    worse = square_matrix((240, 112), 240)
    one, two = (
        canonical_matrix(locate_landmarks(model, astronaut(), guess, passes=3).points[0])
        for guess in (GUESS, worse)
    )
    assert np.abs(one[:, :2] - two[:, :2]).max() < 0.06
    assert np.abs(one @ [224, 125, 1] - two @ [224, 125, 1]).max() < 5


def test_what_is_no_face_gets_little_confidence(model):
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    empty = locate_landmarks(model, noise, square_matrix((128, 128), 256), passes=1).confidence
    face = locate_landmarks(model, astronaut(), GUESS).confidence
    assert empty[0] < 0.15 < 0.25 < face[0]


def test_views_disagree_about_what_is_no_face(model):
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    found = locate_landmarks(model, noise, square_matrix((128, 128), 256), mirror=True,
                             thorough=True)  # fmt: skip
    assert found.spread[0] > 0.014


def test_the_spread_is_a_share_of_the_crop(model):
    """The same photo at twice the size has the same spread."""
    large = cv2.resize(astronaut(), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    twice = GUESS.copy()
    twice[:, :2] /= 2
    spreads = [
        locate_landmarks(model, photo, guess, mirror=True, thorough=True).spread[0]
        for photo, guess in ((astronaut(), GUESS), (large, twice))
    ]
    assert spreads[1] == pytest.approx(spreads[0], rel=0.15)


def test_a_thorough_look_agrees_with_the_quick_one_and_follows_turns(model):
    """Points of changed crops come back to the photo: the mean stays where the face is."""
    photo = astronaut()
    first = locate_landmarks(model, photo, GUESS, mirror=True)
    assert first.spread is None
    quick = first.points[0]
    found = locate_landmarks(model, photo, GUESS, mirror=True, thorough=True)
    thorough = found.points[0]
    assert 0 < found.spread[0] < 0.008
    eyes = np.linalg.norm(quick[60] - quick[72])
    distance = np.linalg.norm(thorough - quick, axis=1) / eyes
    assert 0 < distance.mean() < 0.03
    assert distance.max() < 0.12


def test_where_no_face_is_nobody_looks_again(model):
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    photos, guesses = [noise, astronaut()], [square_matrix((128, 128), 256), GUESS]
    quick = locate_landmarks(model, photos, guesses, mirror=True)
    found = locate_landmarks(model, photos, guesses, mirror=True, thorough=True, least=0.2)
    np.testing.assert_array_equal(found.points[0], quick.points[0])
    alone = locate_landmarks(model, astronaut(), GUESS, mirror=True, thorough=True)
    np.testing.assert_allclose(found.points[1], alone.points[0], atol=0.01)
    assert found.spread[0] == 0 < found.spread[1]

import numpy as np
import pytest

from unmask.landmark_layout import (
    LAYOUTS,
    MIRROR_68,
    MIRROR_98,
    POINTS_98_TO_68,
    REGIONS_98,
    TURNED,
    flip_landmarks,
    head_turn,
    is_turned,
)


def test_every_point_belongs_to_one_region():
    indices = np.concatenate(list(REGIONS_98.values()))
    assert sorted(indices.tolist()) == list(range(98))


@pytest.mark.parametrize("mirror", [MIRROR_98, MIRROR_68])
def test_mirrors_are_involutions_with_the_midline_fixed(mirror):
    assert np.array_equal(mirror[mirror], np.arange(len(mirror)))
    # On the midline: the chin, four points down the nose, its base, and four on the lips.
    assert (mirror == np.arange(len(mirror))).sum() == 1 + 4 + 1 + 4


def test_mirrors_stay_inside_regions():
    for indices in REGIONS_98.values():
        assert set(MIRROR_98[indices].tolist()) == set(indices.tolist())


def test_correspondence_commutes_with_mirroring():
    # Mirroring and then picking 68 points is picking 68 points and then mirroring.
    assert np.array_equal(MIRROR_98[POINTS_98_TO_68], POINTS_98_TO_68[MIRROR_68])


@pytest.mark.parametrize("count", [98, 68])
def test_flip_twice_is_identity_and_leaves_the_input_alone(count):
    points = np.random.default_rng(0).uniform(0, 255, (3, count, 2)).astype(np.float32)
    before = points.copy()
    flipped = flip_landmarks(points, 256)
    np.testing.assert_array_equal(points, before)
    np.testing.assert_allclose(flip_landmarks(flipped, 256), points, atol=1e-4)
    assert flipped.dtype == np.float32


def test_flip_swaps_the_pupils():
    points = np.zeros((98, 2), np.float32)
    points[96], points[97] = (100, 50), (160, 52)
    flipped = flip_landmarks(points, 256)
    assert flipped[96].tolist() == [255 - 160, 52]
    assert flipped[97].tolist() == [255 - 100, 50]


def test_flip_names_a_wrong_shape():
    with pytest.raises(ValueError, match=r"points\.shape=\(5, 2\)"):
        flip_landmarks(np.zeros((5, 2)), 256)


def test_layout_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        MIRROR_98[0] = 1


def test_the_named_points_of_both_layouts_mean_the_same():
    """What the correspondence says of the 98 points is what the layout says of the 68."""
    of_98, of_68 = LAYOUTS[98], LAYOUTS[68]
    for name in ("bridge", "nose_tip", "cheeks", "eye_corners", "mouth_corners"):
        places = np.atleast_1d(getattr(of_68, name))
        assert POINTS_98_TO_68[places].tolist() == np.atleast_1d(getattr(of_98, name)).tolist()
    for name in ("jaw", "nose", "mouth", "lips", "both_eyes"):
        inside = np.arange(98)[getattr(of_98, name)]
        assert np.isin(POINTS_98_TO_68[getattr(of_68, name)], inside).all(), name
    first, second = of_98.brows
    assert (MIRROR_98[np.arange(98)[first]] >= second.start).all()


# === Which way a head is turned ===


def face(nose):
    points = np.zeros((98, 2))
    points[4], points[28], points[60], points[72] = (0, 50), (100, 50), (20, 20), (80, 20)
    points[54] = nose, 60
    return points


@pytest.mark.parametrize(("nose", "turn"), [(50, 0.0), (75, 0.5), (25, -0.5), (100, 1.0)])
def test_the_turn_is_the_difference_of_the_nose_from_both_cheeks(nose, turn):
    assert head_turn(face(nose)) == pytest.approx(turn)
    assert is_turned(face(nose)) == (abs(turn) >= TURNED)


def test_the_turn_does_not_depend_on_place_size_and_tilt():
    points = face(70)
    angle = np.deg2rad(25)
    tilt = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert head_turn(3 * points @ tilt.T + 40) == pytest.approx(head_turn(points))


def test_a_mirrored_head_is_turned_to_the_other_side():
    points = face(70).astype(np.float32)
    assert head_turn(flip_landmarks(points, 256)) == pytest.approx(-head_turn(points), abs=1e-6)


def test_the_turn_is_the_same_in_the_other_layout():
    points = face(70)
    points[62] = 30, 18  # inside the outer corners in either layout
    assert head_turn(points[POINTS_98_TO_68]) == pytest.approx(head_turn(points))


def test_points_of_no_face_have_a_finite_turn_and_other_layouts_are_refused():
    assert head_turn(np.zeros((98, 2))) == 0.0
    with pytest.raises(ValueError, match=r"shape=\(66, 2\)"):
        head_turn(np.zeros((66, 2)))

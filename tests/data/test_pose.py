"""How far heads are turned."""

import numpy as np
import pytest

from unmask.data.pose import TURNED, head_turn, is_turned
from unmask.landmark_layout import POINTS_98_TO_68, flip_landmarks


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

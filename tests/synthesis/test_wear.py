import numpy as np
import pytest

from unmask.synthesis.wear import head_from_landmarks


def as_68(points: np.ndarray) -> np.ndarray:
    result = np.zeros((68, 2), np.float32)
    result[:17] = points[:33:2]
    result[27:31] = points[51:55]
    result[[36, 39, 42, 45]] = points[[60, 64, 68, 72]]
    result[[48, 54]] = points[[76, 82]]
    return result


def test_jaw_positions_are_interpolated(landmarks):
    head = head_from_landmarks(landmarks)
    np.testing.assert_allclose(head.jaw_at(3), landmarks[3])
    np.testing.assert_allclose(head.jaw_at(3.25), 0.75 * landmarks[3] + 0.25 * landmarks[4])
    np.testing.assert_allclose(head.jaw_at(32), landmarks[32])


@pytest.mark.parametrize(("shift", "view"), [(0, "front"), (-40, "left"), (40, "right")])
def test_view_follows_the_nose(landmarks, shift, view):
    turned = landmarks.copy()
    turned[51:55, 0] += shift
    assert head_from_landmarks(turned).view() == view


def test_wrong_landmarks_are_named(landmarks):
    with pytest.raises(ValueError, match=r"\(97, 2\)"):
        head_from_landmarks(landmarks[:97])
    broken = landmarks.copy()
    broken[5, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        head_from_landmarks(broken)

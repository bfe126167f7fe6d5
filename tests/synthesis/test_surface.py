import numpy as np
import pytest

from unmask.synthesis.surface import surface_through

FRONTAL = np.array(
    [
        [[60, 140], [128, 130], [196, 140]],
        [[62, 185], [128, 182], [194, 185]],
        [[80, 215], [128, 240], [176, 215]],
    ],
    float,
)
SHARES = [-0.1, 0.05, 0.15, 0.3, 0.5, 0.7, 0.9, 1.1]


def turned(share: float) -> np.ndarray:
    anchors = FRONTAL.copy()
    anchors[:, 1, 0] = anchors[:, 0, 0] + share * (anchors[:, 2, 0] - anchors[:, 0, 0])
    return anchors


def at(anchors: np.ndarray, point: np.ndarray) -> np.ndarray:
    return surface_through(anchors).coordinates(point[:1], point[1:])[0, 0]


@pytest.mark.parametrize("share", [0.25, 0.4, 0.5, 0.75])
def test_anchors_lie_where_they_belong(share):
    anchors = turned(share)
    for row, v in enumerate((0, 0.5, 1)):
        for column, u in enumerate((-1, 0, 1)):
            np.testing.assert_allclose(at(anchors, anchors[row, column]), (u, v), atol=1e-3)


@pytest.mark.parametrize("share", SHARES)
def test_a_turned_head_never_folds_the_mask(share):
    x, y = np.arange(40.0, 216), np.arange(120.0, 250)
    surface = surface_through(turned(share)).coordinates(x, y)
    assert np.isfinite(surface).all()
    u, v = surface[..., 0], surface[..., 1]
    inside = (np.abs(u) < 1) & (v > 0) & (v < 1)
    assert (np.diff(u, axis=1)[inside[:, 1:]] > 0).all()
    assert (np.diff(v, axis=0)[inside[1:]] > 0).all()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.65])
def test_points_are_the_inverse_of_coordinates(share):
    surface = surface_through(turned(share))
    u, v = (grid.ravel() for grid in np.meshgrid(np.linspace(-0.9, 0.9, 7), np.linspace(0, 1, 6)))
    for wanted, point in zip(np.stack([u, v], axis=1), surface.points(u, v), strict=True):
        back = surface.coordinates(point[:1], point[1:])[0, 0]
        np.testing.assert_allclose(back, wanted, atol=0.02)


def test_the_surface_turns_moves_and_grows_with_its_anchors():
    angle = 0.4
    turn = 2.5 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for point in ([100.0, 170.0], [150.0, 230.0], [70.0, 150.0]):
        expected = at(FRONTAL, np.array(point))
        moved = at(FRONTAL @ turn.T + (40, -7), turn @ point + (40, -7))
        np.testing.assert_allclose(moved, expected, atol=2e-3)


def test_bounds_hold_all_points():
    surface = surface_through(turned(0.6))
    low, high = surface.bounds()
    u, v = (grid.ravel() for grid in np.meshgrid(np.linspace(-1, 1, 9), np.linspace(0, 1, 9)))
    points = surface.points(u, v)
    assert (points > low - 1).all()
    assert (points < high + 1).all()
    assert (high - low < (160, 130)).all()


@pytest.mark.parametrize(
    "anchors",
    [np.zeros((3, 3, 2)), np.arange(18.0).reshape(3, 3, 2), FRONTAL[::-1], FRONTAL[:, ::-1]],
)
def test_broken_anchors_still_give_numbers(anchors):
    surface = surface_through(anchors)
    assert np.isfinite(surface.coordinates(np.arange(9.0), np.arange(7.0))).all()
    assert np.isfinite(surface.points(np.linspace(-1, 1, 4), np.linspace(0, 1, 4))).all()

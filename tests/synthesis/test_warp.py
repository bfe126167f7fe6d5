import numpy as np
import pytest

from unmask.synthesis.warp import COLUMNS, ROWS, net_from_anchors, surface_coordinates

FRONTAL = np.array(
    [
        [[60, 140], [128, 130], [196, 140]],
        [[62, 185], [128, 182], [194, 185]],
        [[80, 215], [128, 240], [176, 215]],
    ],
    float,
)


def turned(share: float) -> np.ndarray:
    anchors = FRONTAL.copy()
    anchors[:, 1, 0] = anchors[:, 0, 0] + share * (anchors[:, 2, 0] - anchors[:, 0, 0])
    return anchors


def test_net_passes_through_the_anchors():
    for share in (0.2, 0.5, 0.8):
        anchors = turned(share)
        net = net_from_anchors(anchors)
        np.testing.assert_allclose(net[np.ix_([0, 2, 4], [0, 3, 6])], anchors, atol=1e-9)


@pytest.mark.parametrize("share", [0.03, 0.15, 0.5, 0.7, 0.9, 1.05])
def test_net_never_folds(share):
    net = net_from_anchors(turned(share))
    assert (np.diff(net[..., 0], axis=1) > 0).all()
    assert (np.diff(net[:, 1:-1, 1], axis=0) > 0).all()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.75])
def test_surface_takes_the_net_to_its_grid(share):
    net = net_from_anchors(turned(share))
    for row in range(len(ROWS)):
        for column in range(len(COLUMNS)):
            x, y = net[row, column]
            u, v = surface_coordinates(net, np.array([x]), np.array([y]))[0, 0]
            assert abs(u - COLUMNS[column]) < 0.08
            assert abs(v - ROWS[row]) < 0.05


def test_surface_moves_and_grows_with_the_net():
    net = net_from_anchors(FRONTAL)
    x, y = np.linspace(70, 190, 9), np.linspace(135, 230, 7)
    expected = surface_coordinates(net, x, y)
    result = surface_coordinates(3 * net + 50, 3 * x + 50, 3 * y + 50)
    np.testing.assert_allclose(result, expected, atol=2e-3)


def test_points_on_one_line_give_numbers():
    net = np.linspace(0, 1, 35)[:, None].repeat(2, axis=1).reshape(5, 7, 2) * 100
    assert np.isfinite(surface_coordinates(net, np.arange(5.0), np.arange(4.0))).all()

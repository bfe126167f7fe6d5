import numpy as np
import pytest

from unmask.landmark_layout import BOUNDARIES_98
from unmask.landmarks.heatmaps import (
    decode_mean,
    draw_boundary,
    draw_heatmaps,
    to_heatmap,
    to_image,
)


def random_points(count=200, low=4.0, high=251.0):
    return np.random.default_rng(0).uniform(low, high, (count, 2))


def test_coordinates_are_those_of_pixel_areas():
    # Heatmap pixel 0 covers image pixels 0 to 3, whose centre is 1.5.
    assert to_image(np.array([0.0, 63.0])).tolist() == [1.5, 253.5]
    np.testing.assert_allclose(to_heatmap(to_image(np.arange(64.0))), np.arange(64.0))


def test_round_trip_stays_within_half_an_image_pixel():
    points = random_points(count=2000)
    maps = draw_heatmaps(to_heatmap(points))[None]
    assert np.abs(to_image(decode_mean(maps))[0] - points).max() < 0.5


def test_heatmaps_are_clipped_gaussians():
    point = np.array([[10.3, 20.8]])
    maps = draw_heatmaps(point)
    rows, columns = np.mgrid[:64, :64]
    squared = (columns - 10.3) ** 2 + (rows - 20.8) ** 2
    expected = np.where(squared <= 9, np.exp(-squared / 2), 0)
    np.testing.assert_allclose(maps[..., 0], expected, atol=1e-6)


def test_points_outside_draw_only_what_reaches_inside():
    maps = draw_heatmaps(np.array([[-2.0, 30.0], [-30.0, 30.0], [70.0, 80.0]]))
    assert maps[..., 0].max() == pytest.approx(np.exp(-2.0), rel=1e-5)
    assert not maps[..., 1:].any()


def test_boundary_is_high_on_the_curves_and_zero_away_from_them():
    points = np.full((98, 2), 40.0)
    points[:33] = np.stack([np.linspace(5, 37, 33), np.full(33, 20.0)], axis=1)
    ridge = draw_boundary(points)
    assert ridge.shape == (64, 64)
    assert ridge[20, 8:34].min() > 0.8
    assert ridge[26, 10:20].max() == 0
    assert ridge[18, 10:30].mean() == pytest.approx(np.exp(-2), abs=0.1)


def test_every_point_but_the_lower_brows_and_pupils_is_on_a_boundary():
    drawn = {i for curve in BOUNDARIES_98 for i in curve}
    assert set(range(98)) - drawn == {38, 39, 40, 41, 47, 48, 49, 50, 96, 97}

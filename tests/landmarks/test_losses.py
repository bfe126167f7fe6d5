import keras
import numpy as np
import pytest
from keras import ops

from unmask.landmarks.heatmaps import decode_mean, draw_heatmaps
from unmask.landmarks.losses import (
    IGNORED,
    adaptive_wing,
    coordinate_loss,
    expected_positions,
    loss_map,
    weighted_adaptive_wing,
)


def loss_at(target, error):
    return float(adaptive_wing(np.float64(target), np.float64(target) + error))


def test_values_by_hand_in_both_branches():
    # Logarithmic branch: 14 ln(1 + 0.25^(2.1 - y)).
    assert loss_at(0.0, 0.25) == pytest.approx(14 * np.log(1 + 0.25**2.1), rel=1e-5)
    assert loss_at(1.0, -0.25) == pytest.approx(14 * np.log(1 + 0.25**1.1), rel=1e-5)
    # Linear branch for y = 1: exponent 1.1, 0.5^1.1 = 0.466516.
    power = 0.5**1.1
    slope = 14 / (1 + power) * 1.1 * 0.5**0.1
    offset = 0.5 * slope - 14 * np.log(1 + power)
    assert loss_at(1.0, -0.8) == pytest.approx(slope * 0.8 - offset, rel=1e-5)


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_value_and_slope_are_continuous_at_theta(target):
    step = 1e-5
    below, at, above = (loss_at(target, 0.5 + d) for d in (-step, 0.0, step))
    assert abs(above - below) < 1e-2
    assert (above - at) / step == pytest.approx((at - below) / step, rel=0.05)


def test_no_error_is_no_loss_and_has_a_finite_gradient():
    target = draw_heatmaps(np.array([[8.0, 8.0]]), size=16)[None]
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((16, 16, 1)), layer])
    model.compile(optimizer=keras.optimizers.SGD(1e-3), loss=weighted_adaptive_wing)
    assert model.train_on_batch(target, target) == pytest.approx(0.0, abs=1e-4)
    assert np.isfinite(model.get_weights()[0]).all()


def test_loss_map_weighs_peaks_and_their_neighbours():
    target = np.zeros((1, 7, 7, 1), np.float32)
    target[0, 3, 3, 0] = 0.25
    target[0, 0, 6, 0] = 0.15  # below the threshold
    weights = ops.convert_to_numpy(loss_map(target))[0, ..., 0]
    expected = np.ones((7, 7))
    expected[2:5, 2:5] = 11
    np.testing.assert_array_equal(weights, expected)


def test_unsupervised_channels_do_not_count():
    rng = np.random.default_rng(0)
    target = rng.uniform(0, 1, (1, 8, 8, 4)).astype(np.float32)
    prediction = rng.uniform(0, 1, (1, 8, 8, 4)).astype(np.float32)
    part = target.copy()
    part[..., 1] = IGNORED
    kept = [0, 2, 3]
    for loss in (weighted_adaptive_wing, coordinate_loss):
        expected = loss(target[..., kept], prediction[..., kept])
        np.testing.assert_allclose(loss(part, prediction), expected, rtol=1e-5)


def test_expected_positions_agree_with_the_numpy_decoder():
    points = np.random.default_rng(0).uniform(5, 58, (30, 2))
    maps = draw_heatmaps(points)[None]
    found = ops.convert_to_numpy(expected_positions(maps))
    np.testing.assert_allclose(found, decode_mean(maps), atol=0.03)


def test_expected_positions_of_empty_maps_are_the_centre():
    found = ops.convert_to_numpy(expected_positions(np.zeros((1, 9, 17, 2), np.float32)))
    np.testing.assert_allclose(found, [[[8, 4], [8, 4]]])


def test_coordinate_loss_is_the_distance():
    truth = draw_heatmaps(np.array([[10.0, 10.0], [20.0, 20.0], [0.0, 0.0]]), size=32)[None]
    moved = draw_heatmaps(np.array([[13.0, 14.0], [20.0, 20.0], [9.0, 9.0]]), size=32)[None]
    # The last channel is a boundary map; the others are 5 and 0 pixels off.
    np.testing.assert_allclose(coordinate_loss(truth, moved), [2.5], atol=0.01)

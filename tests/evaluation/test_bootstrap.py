import numpy as np
import pytest

from unmask.evaluation.summary import estimate


def test_the_interval_is_that_of_a_normal_mean():
    sample = np.random.default_rng(0).normal(20, 2, 400)
    found = estimate(sample)
    assert found.mean == pytest.approx(sample.mean())
    half = 1.96 * sample.std() / 20
    assert found.low == pytest.approx(sample.mean() - half, abs=0.03)
    assert found.high == pytest.approx(sample.mean() + half, abs=0.03)


def test_it_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        found = estimate(rng.exponential(1.0, 80))
        hits += found.low <= 1.0 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_same_values_same_interval():
    values = np.arange(30.0)
    assert estimate(values) == estimate(values)


def test_shares_and_single_faces():
    assert estimate([True, False, True, True]).mean == 0.75
    alone = estimate([2.5])
    assert (alone.mean, alone.low, alone.high, alone.count) == (2.5, 2.5, 2.5, 1)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")], [[1.0]]])
def test_what_has_no_mean_is_refused(values):
    with pytest.raises(ValueError, match="values"):
        estimate(values)

"""One mask out of two looks: what joins it, what is dropped, what stays free."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.refine import free_eyes, refine_mask


def _disc(side: int, radius: float) -> np.ndarray:
    y, x = np.indices((side, side)) - (side - 1) / 2
    return x**2 + y**2 < radius**2


def test_refining_joins_what_touches_and_fills_holes():
    coarse = _disc(256, 40)
    probability = np.full((256, 256), 0.2, np.float32)
    probability[_disc(256, 60) & ~_disc(256, 42)] = 0.9  # touches after closing
    probability[5:25, 5:25] = 0.9  # something else
    probability[120:130, 120:130] = 0.0  # a print or a valve
    refined = refine_mask(coarse, probability)
    assert refined[_disc(256, 58)].all()
    assert not refined[~_disc(256, 62)].any()


def test_refining_drops_what_the_crop_denies():
    probability = np.full((256, 256), 0.9, np.float32)
    probability[:, 128:] = 0.05
    refined = refine_mask(_disc(256, 60), probability)
    assert not refined[:, 133:].any()


def test_refining_takes_the_suspected_rim_along():
    probability = np.where(_disc(256, 60), 0.9, 0.0).astype(np.float32)
    sharp = refine_mask(_disc(256, 60), probability)
    probability[_disc(256, 68) & ~_disc(256, 60)] = 0.3
    refined = refine_mask(_disc(256, 60), probability)
    radii = [np.sqrt(mask.sum() / np.pi) for mask in (sharp, refined)]
    assert radii[1] - radii[0] == pytest.approx(4, abs=0.7)


@pytest.mark.parametrize(("count", "jaw", "bridge"), [(98, 33, 51), (68, 17, 27)])
def test_refining_stays_near_the_face(count, jaw, bridge):
    angle = np.linspace(np.pi, 0, jaw)
    landmarks = np.full((count, 2), 128.0)
    landmarks[:jaw] = np.stack([128 + 70 * np.cos(angle), 128 + 90 * np.sin(angle)], 1)
    landmarks[bridge] = (128, 120)
    everything = np.full((256, 256), 0.9, np.float32)
    refined = refine_mask(everything > 0, everything, landmarks)
    rows, columns = np.nonzero(refined)
    assert refined[128:215, 128].all()
    assert rows.max() < 244
    assert columns.min() > 32
    assert columns.max() < 224


@pytest.mark.parametrize("count", [98, 68])
def test_eyes_are_left_alone(count):
    points = np.full((count, 2), 128.0, np.float32)
    starts, number = ((60, 68), 8) if count == 98 else ((36, 42), 6)
    centers = ((90.0, 120.0), (165.0, 120.0))
    for start, center in zip(starts, centers, strict=True):
        angles = np.linspace(0, 2 * np.pi, number, endpoint=False)
        points[start : start + number] = center + 8 * np.stack([np.cos(angles), np.sin(angles)], 1)
    mask = np.ones((256, 256), bool)
    free = free_eyes(mask, points)
    for x, y in centers:
        assert not free[int(y) - 8 : int(y) + 9, int(x)].any()
        assert free[int(y) + 16, int(x)]
    assert (mask & ~free).sum() < 2 * np.pi * 14**2
    assert free[128, 128]

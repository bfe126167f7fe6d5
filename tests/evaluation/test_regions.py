"""Regions of a hole, and figures that move with one fault alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.training.toys import face_points
from unmask.evaluation.regions import REGIONS, border_step, divide_hole, score_regions


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A noisy picture, a hole over the lower face and beyond, and landmarks."""
    truth = np.random.default_rng(0).integers(60, 200, (192, 192, 3)).astype(np.uint8)
    hole = np.zeros((192, 192), bool)
    hole[80:180, 30:165] = True
    return truth, hole, face_points(96, 70, 90)


def test_regions_divide_the_hole(case):
    _, hole, points = case
    parts = divide_hole(hole, points)
    assert tuple(parts) == REGIONS
    assert (sum(part.astype(int) for part in parts.values()) == hole).all()
    assert parts["mouth"][int(points[76:88, 1].mean()), 96]
    assert parts["ring"][175, 35]
    assert not parts["ring"][120, 96]


@pytest.mark.parametrize("region", REGIONS)
def test_a_blur_of_one_region_is_seen_there_alone(case, region: str):
    truth, hole, points = case
    blurred = cv2.GaussianBlur(truth, (0, 0), 3.0)
    where = divide_hole(hole, points)[region]
    completed = np.where(where[..., None], blurred, truth)
    scores = score_regions("x", completed[None], truth[None], hole[None], points[None])
    assert [s.region for s in scores] == list(REGIONS)
    for s in scores:
        assert (s.sharpness < 0.5) == (s.region == region)
        assert (s.psnr < 40) == (s.region == region)


def test_border_step_is_of_the_border(case):
    truth, hole, _ = case
    inside = cv2.erode(hole.astype(np.uint8), np.ones((15, 15))) > 0
    deep = np.where(inside[..., None], np.uint8(0), truth)
    assert border_step(deep, truth, hole) < 0.01
    lighter = np.where(hole[..., None], truth + np.uint8(7), truth)
    assert border_step(lighter, truth, hole) == pytest.approx(7, abs=0.1)
    assert border_step(truth, truth, np.zeros_like(hole)) == 0.0

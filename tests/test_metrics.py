"""Every metric against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.color import rgb2gray

from unmask import metrics

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).random(shape)


# === Pictures ===


def test_psnr_of_a_constant_difference() -> None:
    # -10 log10(0.1 ** 2) = 20; in bytes -20 log10(51 / 255) = 13.979
    assert metrics.psnr(np.zeros((8, 8, 3)), np.full((8, 8, 3), 0.1)) == pytest.approx(20)
    black = np.zeros((8, 8, 3), np.uint8)
    assert metrics.psnr(black, black + np.uint8(51)) == pytest.approx(13.9794, abs=1e-4)


def test_psnr_of_equal_pictures_is_infinite_without_a_warning() -> None:
    with np.errstate(all="raise"):
        assert metrics.psnr(noise(8, 8), noise(8, 8)) == math.inf


def test_bytes_and_fractions_agree() -> None:
    a = RNG.integers(0, 256, (60, 60, 3), dtype=np.uint8)
    b = RNG.integers(0, 256, (60, 60, 3), dtype=np.uint8)
    mask = RNG.random((60, 60)) < 0.5
    assert metrics.image_quality(a, b, mask) == metrics.image_quality(a / 255, b / 255, mask)


def ssim_by_hand(x: np.ndarray, y: np.ndarray) -> float:
    """Wang's formula on one window, with sample covariances (scikit-image's default)."""
    c1, c2 = 0.01**2, 0.03**2
    covariance = np.cov(x.ravel(), y.ravel())
    top = (2 * x.mean() * y.mean() + c1) * (2 * covariance[0, 1] + c2)
    bottom = (x.mean() ** 2 + y.mean() ** 2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2)
    return float(top / bottom)


@pytest.mark.parametrize("window", [7, 51])
def test_ssim_of_one_window(window: int) -> None:
    # A picture as large as the window has exactly one window whose centre counts.
    x, y = noise(window, window), noise(window, window, 1)[..., 0]
    assert metrics.ssim(x, y, window=window) == pytest.approx(ssim_by_hand(x, y), abs=1e-9)


def test_colour_ssim_is_the_mean_of_the_channels() -> None:
    x, y = noise(7, 7, 3), noise(7, 7, 3)[::-1]
    channels = [ssim_by_hand(x[..., c], y[..., c]) for c in range(3)]
    assert metrics.ssim(x, y) == pytest.approx(np.mean(channels), abs=1e-9)


def test_quality_in_both_protocols_by_hand() -> None:
    truth, result = noise(51, 51, 3), noise(51, 51, 3)[::-1]
    mask = np.zeros((51, 51), bool)
    mask[10:20, 5:25] = True
    quality = metrics.image_quality(truth, result, mask)
    hole_error = ((truth - result) ** 2)[mask].mean()
    completed = np.where(mask[..., None], result, truth)
    grey, grey_completed = rgb2gray(truth), rgb2gray(completed)
    assert quality.psnr_hole == pytest.approx(-10 * math.log10(hole_error))
    # The same error spread over the whole picture: 200 of 2601 pixels.
    assert quality.psnr_rgb == pytest.approx(-10 * math.log10(hole_error * 200 / 2601))
    assert quality.psnr_lafin == pytest.approx(
        -10 * math.log10(((grey - grey_completed) ** 2).mean())
    )
    assert quality.ssim_lafin == pytest.approx(ssim_by_hand(grey, grey_completed), abs=1e-9)
    assert quality.ssim_rgb < quality.ssim_lafin < 1


def test_grey_weights_of_the_lafin_protocol() -> None:
    # Pure green differs in grey by 0.7154 (ITU-R BT.709 luma as scikit-image rounds it).
    truth = np.zeros((51, 51, 3))
    green = truth + np.array([0.0, 1.0, 0.0])
    quality = metrics.image_quality(truth, green, np.ones((51, 51), bool))
    assert quality.psnr_lafin == pytest.approx(-20 * math.log10(0.7154), abs=1e-6)
    assert quality.psnr_rgb == pytest.approx(-10 * math.log10(1 / 3))


def test_what_lies_outside_the_hole_does_not_count() -> None:
    truth = noise(51, 51, 3)
    mask = np.zeros((51, 51), bool)
    mask[:5] = True
    wrong_outside = np.where(mask[..., None], truth, 1 - truth)
    quality = metrics.image_quality(truth, wrong_outside, mask)
    assert quality == metrics.ImageQuality(math.inf, 1.0, math.inf, 1.0, math.inf)


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_flat_pictures_stay_in_range(level: int) -> None:
    flat = np.full((51, 51, 3), level, np.uint8)
    quality = metrics.image_quality(flat, flat, np.ones((51, 51), bool))
    assert quality.psnr_lafin == math.inf


def test_composite_takes_each_side() -> None:
    out = metrics.composite(np.zeros((1, 2, 3)), np.ones((1, 2, 3)), np.array([[False, True]]))
    assert out.tolist() == [[[0, 0, 0], [1, 1, 1]]]


def test_an_empty_hole_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"mask\.sum\(\)=0"):
        metrics.psnr_hole(noise(8, 8), noise(8, 8), np.zeros((8, 8), bool))


@pytest.mark.parametrize(
    ("truth", "result", "mask", "message"),
    [
        (np.zeros((51, 51, 3)), np.zeros((51, 50, 3)), np.ones((51, 51), bool), "same shape"),
        (np.zeros((51, 51, 3)), np.zeros((51, 51, 3)), np.ones((51, 50), bool), "height and width"),
        (np.zeros((51, 51, 3)), np.zeros((51, 51, 3)), np.ones((51, 51)), "boolean"),
        (np.zeros((50, 51, 3)), np.zeros((50, 51, 3)), np.ones((50, 51), bool), "51 x 51"),
        (np.full((51, 51, 3), 2.0), np.zeros((51, 51, 3)), np.ones((51, 51), bool), "from 2 to 2"),
        (np.full((51, 51, 3), np.nan), np.zeros((51, 51, 3)), np.ones((51, 51), bool), "nan"),
        (np.zeros((51, 51, 3), int), np.zeros((51, 51, 3)), np.ones((51, 51), bool), "dtype=int64"),
    ],
)
def test_pictures_are_checked(
    truth: np.ndarray, result: np.ndarray, mask: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.image_quality(truth, result, mask)


# === Masks ===


def test_iou() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2, :2] = True
    b[1:3, 1:3] = True
    assert metrics.iou(a, b) == 1 / 7
    assert metrics.iou(a, a) == 1
    assert metrics.iou(a, ~a) == 0
    assert metrics.iou(np.zeros(3, bool), np.zeros(3, bool)) == 1
    with pytest.raises(ValueError, match="boolean"):
        metrics.iou(a.astype(np.uint8), b)
    with pytest.raises(ValueError, match="same shape"):
        metrics.iou(a, b[:3])


# === Landmarks ===


@pytest.mark.parametrize(("count", "left", "right"), [(98, 60, 72), (68, 36, 45)])
def test_nme_normalises_by_the_outer_eye_corners(count: int, left: int, right: int) -> None:
    truth = RNG.random((2, count, 2)) * 100
    truth[:, left] = [20, 50]
    truth[0, right] = [70, 50]  # 50 pixels apart
    truth[1, right] = [50, 90]  # 30 and 40: 50 pixels apart
    shift = np.zeros_like(truth)
    shift[0] = [3, 4]  # every point is 5 pixels off
    shift[1, : count // 2] = [0, 2]  # half of the points are 2 pixels off
    assert metrics.nme(truth + shift, truth) == pytest.approx([5 / 50, 1 / 50])
    assert metrics.nme(truth[0] + shift[0], truth[0]).shape == ()


def test_nme_is_checked() -> None:
    truth = RNG.random((98, 2))
    with pytest.raises(ValueError, match="98 or 68"):
        metrics.nme(truth[:5], truth[:5])
    with pytest.raises(ValueError, match="finite"):
        metrics.nme(truth * np.nan, truth)
    with pytest.raises(ValueError, match="60 and 72"):
        metrics.nme(truth, truth * 0)


def test_failure_rate_and_area() -> None:
    errors = [0.0, 0.02, 0.05, 0.1, 0.4]
    assert metrics.failure_rate(errors) == pytest.approx(1 / 5)  # 0.1 itself is no failure
    assert metrics.failure_rate(errors, 0.03) == pytest.approx(3 / 5)
    # (1 + 0.8 + 0.5 + 0 + 0) / 5
    assert metrics.area_under_curve(errors) == pytest.approx(0.46)


def test_the_area_is_that_of_the_drawn_curve() -> None:
    errors = RNG.random(200) * 0.2
    grid = np.linspace(0, 0.1, 100_001)
    curve = np.searchsorted(np.sort(errors), grid, side="right") / len(errors)
    assert metrics.area_under_curve(errors) == pytest.approx(curve.mean(), abs=1e-4)


@pytest.mark.parametrize("errors", [[], [0.1, math.nan], [-0.1], [[0.1]]])
def test_errors_are_checked(errors: list[float]) -> None:
    with pytest.raises(ValueError, match="non-negative"):
        metrics.failure_rate(errors)
    with pytest.raises(ValueError, match="non-negative"):
        metrics.area_under_curve(errors)


# === Two classes ===


def test_accuracy() -> None:
    assert metrics.accuracy([0.9, 0.5, 0.4, 0.1], [True, False, False, True]) == 0.5
    assert metrics.accuracy([0.9, 0.5], [1, 0], threshold=0.6) == 1


def test_calibration_error_by_hand() -> None:
    # Two bins of ten: confidence 0.95 twice, one of them right; confidence 0.65 (from p = 0.35)
    # twice, both right: (2 * |0.5 - 0.95| + 2 * |1 - 0.65|) / 4 = 0.4
    p, y = [0.95, 0.95, 0.35, 0.35], [1, 0, 0, 0]
    assert metrics.expected_calibration_error(p, y, bins=10) == pytest.approx(0.4)
    # One bin: accuracy 0.75, mean confidence 0.8
    assert metrics.expected_calibration_error(p, y, bins=1) == pytest.approx(0.05)
    assert metrics.expected_calibration_error([1.0, 0.0], [1, 0]) == 0


def test_a_calibrated_classifier_has_a_small_error() -> None:
    p = RNG.random(100_000)
    assert metrics.expected_calibration_error(p, RNG.random(100_000) < p) < 0.01


def test_roc_auc_counts_pairs() -> None:
    scores = RNG.integers(0, 8, 60).astype(float)
    labels = RNG.random(60) < 0.4
    pairs = scores[labels][:, None] - scores[~labels][None]
    assert metrics.roc_auc(scores, labels) == pytest.approx(((np.sign(pairs) + 1) / 2).mean())
    assert metrics.roc_auc([1, 2], [0, 1]) == 1
    with pytest.raises(ValueError, match="both classes"):
        metrics.roc_auc([1, 2], [1, 1])


@pytest.mark.parametrize(
    ("p", "y", "message"),
    [
        ([0.5], [0, 1], "shapes"),
        ([], [], "N >= 1"),
        ([1.5], [1], "1.5"),
        ([math.nan], [1], "nan"),
        ([0.5], [2], r"\[2\]"),
    ],
)
def test_classes_are_checked(p: list[float], y: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.accuracy(p, y)
    with pytest.raises(ValueError, match=message):
        metrics.expected_calibration_error(p, y)

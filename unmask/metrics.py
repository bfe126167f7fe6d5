"""The numbers that results are reported in, for pictures, masks, landmarks and classes.

PSNR and SSIM come in two protocols, because the paper does not name its own:

- *LaFIn*: grey images in [0, 1], SSIM with a window of 51 pixels; what the published code of the
  paper's inpainting network computes.
- *RGB*: scikit-image's defaults on colour images, SSIM with a window of 7 pixels.

In both, the known pixels are put back before anything is compared, so a small hole alone already
gives a high figure; `psnr_hole` compares inside the hole only and is the honest one of the three.

Errors and rates are fractions: a "NME of 4.36 %" in the literature is 0.0436 here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from skimage.color import rgb2gray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from unmask.landmark_layout import LAYOUTS

LAFIN_WINDOW = 51
RGB_WINDOW = 7


# === Pictures ===


@dataclass(frozen=True)
class ImageQuality:
    """How close a completed picture is to the true one."""

    psnr_lafin: float  # PSNR in dB, LaFIn's protocol
    ssim_lafin: float  # SSIM, LaFIn's protocol
    psnr_rgb: float  # PSNR in dB, RGB protocol
    ssim_rgb: float  # SSIM, RGB protocol
    psnr_hole: float  # PSNR in dB over the RGB values of the hole's pixels only


def image_quality(truth: ArrayLike, result: ArrayLike, mask: ArrayLike) -> ImageQuality:
    """Compare a completed picture with the true one in every protocol.

    Args:
        truth: RGB (H, W, 3), uint8 or floating point in [0, 1]; at least 51 x 51 pixels.
        result: The completed picture, of the same shape. Outside the mask it is ignored.
        mask: Boolean (H, W), True = hole; not empty.

    Returns:
        The five figures.

    Raises:
        ValueError: Shapes, types or ranges do not fit, or the hole is empty.

    Example:
        >>> truth = np.zeros((64, 64, 3))
        >>> quality = image_quality(truth, truth + 0.1, np.eye(64, dtype=bool))
        >>> round(quality.psnr_hole, 2), round(quality.psnr_rgb, 2)
        (20.0, 38.06)
    """
    completed = composite(truth, result, mask)
    true = _unit(truth, "truth")
    grey_truth, grey_result = _grey(true), _grey(completed)
    return ImageQuality(
        psnr_lafin=psnr(grey_truth, grey_result),
        ssim_lafin=ssim(grey_truth, grey_result, window=LAFIN_WINDOW),
        psnr_rgb=psnr(true, completed),
        ssim_rgb=ssim(true, completed, window=RGB_WINDOW),
        psnr_hole=psnr_hole(true, completed, mask),
    )


def composite(truth: ArrayLike, result: ArrayLike, mask: ArrayLike) -> NDArray[np.float64]:
    """Put the known pixels back: `result` inside the mask, `truth` outside.

    Args:
        truth: RGB (H, W, 3), uint8 or floating point in [0, 1].
        result: The same.
        mask: Boolean (H, W), True = hole.

    Returns:
        Floating point (H, W, 3) in [0, 1].

    Raises:
        ValueError: Shapes, types or ranges do not fit.

    Example:
        >>> composite(np.zeros((1, 2, 3)), np.ones((1, 2, 3)), np.array([[True, False]]))[0, :, 0]
        array([1., 0.])
    """
    known, painted = _pair(truth, result)
    return np.where(_hole(mask, known)[..., None], painted, known)


def psnr(truth: ArrayLike, result: ArrayLike) -> float:
    """Peak signal-to-noise ratio, -10 log10(mean squared error) of values in [0, 1].

    Args:
        truth: Any shape, uint8 or floating point in [0, 1].
        result: The same shape.

    Returns:
        Decibel; infinity for equal pictures.

    Raises:
        ValueError: Shapes, types or ranges do not fit.

    Example:
        >>> psnr(np.zeros((4, 4)), np.full((4, 4), 0.1))
        20.0
    """
    true, other = _pair(truth, result)
    with np.errstate(divide="ignore"):  # equal pictures: infinity is meant
        return float(peak_signal_noise_ratio(true, other, data_range=1))


def ssim(truth: ArrayLike, result: ArrayLike, *, window: int = RGB_WINDOW) -> float:
    """Structural similarity with a uniform window, scikit-image's default.

    Args:
        truth: Grey (H, W) or colour (H, W, 3), uint8 or floating point in [0, 1].
        result: The same shape.
        window: Side of the window in pixels, odd, at most the smaller side of the picture.

    Returns:
        Mean similarity, 1 for equal pictures.

    Raises:
        ValueError: Shapes, types or ranges do not fit, or the picture is smaller than the window.

    References:
        Wang et al. 2004, "Image quality assessment: from error visibility to structural
        similarity".

    Example:
        >>> ssim(np.zeros((8, 8)), np.zeros((8, 8)))
        1.0
    """
    true, other = _pair(truth, result)
    if min(true.shape[:2]) < window:
        raise ValueError(
            f"SSIM needs pictures of at least {window} x {window} pixels. "
            f"Received: truth.shape={true.shape}"
        )
    channel_axis = -1 if true.ndim == 3 else None
    return float(
        structural_similarity(true, other, win_size=window, data_range=1, channel_axis=channel_axis)
    )


def psnr_hole(truth: ArrayLike, result: ArrayLike, mask: ArrayLike) -> float:
    """PSNR over the pixels of the hole only.

    Args:
        truth: RGB (H, W, 3) or grey (H, W), uint8 or floating point in [0, 1].
        result: The same shape.
        mask: Boolean (H, W), True = hole; not empty.

    Returns:
        Decibel; infinity where both are equal.

    Raises:
        ValueError: Shapes, types or ranges do not fit, or the hole is empty.

    Example:
        >>> psnr_hole(np.zeros((1, 2)), np.array([[0.1, 1.0]]), np.array([[True, False]]))
        20.0
    """
    true, other = _pair(truth, result)
    hole = _hole(mask, true)
    if not hole.any():
        raise ValueError("the hole must have at least one pixel. Received: mask.sum()=0")
    return psnr(true[hole], other[hole])


# === Masks ===


def iou(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Intersection over union of two masks.

    Args:
        predicted: Boolean, any shape.
        truth: Boolean, the same shape.

    Returns:
        Between 0 and 1; 1 if both are empty, because then they agree.

    Raises:
        ValueError: The arrays are not boolean or differ in shape.

    Example:
        >>> iou(np.array([True, True, False]), np.array([False, True, True]))
        0.3333333333333333
    """
    a, b = _boolean(predicted, "predicted"), _boolean(truth, "truth")
    _same_shape(a, b)
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


# === Landmarks ===


def nme(predicted: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Normalised mean error of each face: mean point distance over the outer eye corners' distance.

    Args:
        predicted: Points (N, P, 2) or (P, 2) in pixels, P = 98 (WFLW) or 68 (iBUG).
        truth: The same shape.

    Returns:
        One fraction a face, (N,); for a single face (P, 2) an array of no dimension.

    Raises:
        ValueError: Shapes do not fit, a value is not finite, or two true eye corners coincide.

    References:
        Wu et al. 2018, "Look at Boundary" (WFLW): inter-ocular normalisation.

    Example:
        >>> truth = np.zeros((98, 2)); truth[72, 0] = 100
        >>> float(nme(truth + [3, 4], truth))
        0.05
    """
    a = np.asarray(predicted, np.float64)
    b = np.asarray(truth, np.float64)
    _same_shape(a, b)
    if b.ndim not in (2, 3) or b.shape[-1] != 2 or b.shape[-2] not in LAYOUTS:
        raise ValueError(
            f"landmarks must be (N, P, 2) or (P, 2), P = 98 or 68. Received: truth.shape={b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("landmarks must be finite. Received: NaN or infinity")
    left, right = LAYOUTS[b.shape[-2]].outer_eye_corners
    scale = np.linalg.norm(b[..., left, :] - b[..., right, :], axis=-1)
    if not (scale > 0).all():
        raise ValueError(
            f"the eye corners {left} and {right} must not coincide. Received: distance=0"
        )
    return np.asarray(np.linalg.norm(a - b, axis=-1).mean(axis=-1) / scale)


def failure_rate(errors: ArrayLike, threshold: float = 0.1) -> float:
    """Share of faces whose error exceeds the threshold (FR at 10 %, unless told).

    Args:
        errors: One NME a face, fractions, (N,).
        threshold: A larger error is a failure.

    Returns:
        Between 0 and 1.

    Raises:
        ValueError: No errors, or one that is negative or NaN.

    Example:
        >>> failure_rate([0.05, 0.1, 0.2, 0.3])
        0.5
    """
    return float((_errors(errors) > threshold).mean())


def area_under_curve(errors: ArrayLike, threshold: float = 0.1) -> float:
    """Area under the cumulative error distribution up to the threshold, divided by the threshold.

    The distribution of N faces is a stair, so its area is exact: a face with error e adds
    (threshold - e) / N where that is positive.

    Args:
        errors: One NME a face, fractions, (N,).
        threshold: Where the curve ends.

    Returns:
        Between 0 and 1, higher is better (AUC at 10 %, unless told).

    Raises:
        ValueError: No errors, or one that is negative or NaN.

    Example:
        >>> area_under_curve([0.0, 0.05, 0.2])
        0.5
    """
    return float(np.clip(1 - _errors(errors) / threshold, 0, None).mean())


# === Two classes ===


def accuracy(probabilities: ArrayLike, labels: ArrayLike, threshold: float = 0.5) -> float:
    """Share of right answers of a classifier with two classes.

    Args:
        probabilities: Probability of the class True, (N,) in [0, 1].
        labels: The true classes, (N,), boolean or 0 and 1.
        threshold: From this probability on the answer is True.

    Returns:
        Between 0 and 1.

    Raises:
        ValueError: Shapes or values do not fit.

    Example:
        >>> accuracy([0.9, 0.4, 0.5], [1, 1, 1])
        0.6666666666666666
    """
    p, y = _classified(probabilities, labels)
    return float(((p >= threshold) == y).mean())


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15
) -> float:
    """How far confidence and accuracy lie apart, on average.

    The confidence max(p, 1 - p) is sorted into equal bins over [0, 1]; the result is the mean of
    |accuracy - confidence| of the bins, weighted by their share of the samples.

    Args:
        probabilities: Probability of the class True, (N,) in [0, 1].
        labels: The true classes, (N,), boolean or 0 and 1.
        bins: Number of bins.

    Returns:
        Between 0 and 1, lower is better.

    Raises:
        ValueError: Shapes or values do not fit.

    References:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.

    Example:
        >>> round(expected_calibration_error([0.9, 0.9], [1, 0]), 3)
        0.4
    """
    p, y = _classified(probabilities, labels)
    if bins < 1:
        raise ValueError(f"bins must be positive. Received: bins={bins}")
    confidence = np.maximum(p, 1 - p)
    right = (p >= 0.5) == y
    # Bin m holds ((m - 1) / bins, m / bins], as in the paper.
    index = np.ceil(confidence * bins).astype(int) - 1
    gaps = np.bincount(index, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(p))


def roc_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve: how often a True sample scores above a False one.

    Args:
        scores: Any finite scores, higher = rather True, (N,). Equal scores count half.
        labels: The true classes, (N,), boolean or 0 and 1; both must occur.

    Returns:
        Between 0 and 1, 0.5 is chance.

    Raises:
        ValueError: Shapes or values do not fit, or only one class occurs.

    Example:
        >>> roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        0.75
    """
    values = np.asarray(scores, np.float64)
    y = _classes(labels, values)
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite. Received: NaN or infinity")
    positive, negative = int(y.sum()), int((~y).sum())
    if not positive or not negative:
        raise ValueError(
            f"both classes must occur. Received: {positive} True and {negative} False labels"
        )
    wins = rankdata(values)[y].sum() - positive * (positive + 1) / 2
    return float(wins / (positive * negative))


# === Checks ===


def _unit(image: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(image)
    if array.dtype == np.uint8:
        return array / 255.0
    if array.dtype.kind != "f":
        raise ValueError(f"{name} must be uint8 or floating point. Received: dtype={array.dtype}")
    # A comparison with NaN is false, so this refuses NaN as well.
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(
            f"{name} must lie in [0, 1]. Received: values from {array.min():g} to {array.max():g}"
        )
    return array.astype(np.float64)


def _grey(image: NDArray[np.float64]) -> NDArray[np.float64]:
    # Rounding may lift white a hair above 1.
    return np.clip(rgb2gray(image), 0, 1)


def _pair(truth: ArrayLike, result: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, other = _unit(truth, "truth"), _unit(result, "result")
    _same_shape(true, other)
    if not true.size:
        raise ValueError(f"pictures must not be empty. Received: shape={true.shape}")
    return true, other


def _same_shape(a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.shape != b.shape:
        raise ValueError(f"both must have the same shape. Received: {a.shape} and {b.shape}")


def _boolean(mask: ArrayLike, name: str) -> NDArray[np.bool_]:
    array = np.asarray(mask)
    if array.dtype != bool:
        raise ValueError(f"{name} must be boolean. Received: dtype={array.dtype}")
    return array


def _hole(mask: ArrayLike, image: NDArray[np.float64]) -> NDArray[np.bool_]:
    hole = _boolean(mask, "mask")
    if hole.shape != image.shape[:2]:
        raise ValueError(
            "the mask must have the picture's height and width. "
            f"Received: mask.shape={hole.shape}, truth.shape={image.shape}"
        )
    return hole


def _errors(errors: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(errors, np.float64)
    if values.ndim != 1 or not values.size or not (values >= 0).all():
        raise ValueError(
            "errors must be one non-negative number a face, (N,), N >= 1. "
            f"Received: shape={values.shape}, least={values.min() if values.size else None}"
        )
    return values


def _classified(
    probabilities: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    p = np.asarray(probabilities, np.float64)
    y = _classes(labels, p)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(
            f"probabilities must lie in [0, 1]. Received: values from {p.min():g} to {p.max():g}"
        )
    return p, y


def _classes(labels: ArrayLike, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    y = np.asarray(labels)
    if y.shape != values.shape or y.ndim != 1 or not y.size:
        raise ValueError(
            "predictions and labels must be (N,), N >= 1. "
            f"Received: shapes {values.shape} and {y.shape}"
        )
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"labels must be boolean or 0 and 1. Received: {np.unique(y)[:5]}")
    return y.astype(bool)

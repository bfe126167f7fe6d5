"""From a photo to canonical face crops and back.

The canonical crop has the framing of the FFHQ data set at 256 x 256: a similarity transform
(rotation, one scale, translation) puts the eyes and the mouth at the same place in every crop.
All coordinates are (x, y) pixels with pixel centres at integers.
"""

from __future__ import annotations

from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.landmark_layout import LAYOUTS

CROP_SIZE = 256

# Of an octave and of a radian, to which scale and angle of a crop are rounded.
_STEPS = 2048

# OpenCV transforms pictures of fewer pixels a side only.
_OPENCV_SIDE = 32_767

_Pixels = TypeVar("_Pixels", np.uint8, np.float32)


def canonical_matrix(landmarks: NDArray[np.floating], size: int = CROP_SIZE) -> NDArray[np.float64]:
    """Compute the similarity transform from a photo to the canonical crop of one face.

    Args:
        landmarks: (98, 2) WFLW or (68, 2) iBUG points in photo pixels.
        size: Side of the crop in pixels.

    Returns:
        (2, 3) matrix A, so that `crop_xy = A @ (x, y, 1)`.

    Raises:
        ValueError: The array has another shape, is not finite, or all its points coincide.

    Example:
        >>> points = np.random.default_rng(0).uniform(0, 256, (98, 2))
        >>> canonical_matrix(points).shape
        (2, 3)

    Reference:
        The alignment script published with the FFHQ data set (Karras et al., 2019): a square
        centred a tenth of the way from the eyes to the mouth, with a side of twice the larger of
        2 eye distances and 1.8 eye-to-mouth distances.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.ndim != 2 or points.shape[0] not in LAYOUTS or points.shape[1] != 2:
        raise ValueError(f"landmarks must be (98, 2) or (68, 2). Received: shape={points.shape}")
    if not np.isfinite(points).all():
        raise ValueError("landmarks must be finite. Received: an array with NaN or infinity")
    layout = LAYOUTS[len(points)]
    left_eye, right_eye = (points[eye].mean(0) for eye in layout.eyes)
    mouth = points[list(layout.mouth_corners)].mean(0)
    eyes = (left_eye + right_eye) / 2
    eye_to_eye, eye_to_mouth = right_eye - left_eye, mouth - eyes
    # Mean of the eye axis and of the mouth axis turned by 90 degrees: steadier than either alone.
    axis = eye_to_eye + np.array([eye_to_mouth[1], -eye_to_mouth[0]])
    length = float(np.hypot(*axis))
    if length < 1e-6:
        raise ValueError("landmarks must span a face. Received: eyes and mouth at one point")
    side = 2 * max(2.0 * np.hypot(*eye_to_eye), 1.8 * np.hypot(*eye_to_mouth))
    return square_matrix(eyes + 0.1 * eye_to_mouth, side, size, axis / length)


def steady_matrix(matrix: NDArray[np.floating], size: int = CROP_SIZE) -> NDArray[np.float64]:
    """Round a similarity to a crop, so that noise in the last digits does not reach its pixels.

    Landmarks of ONNX Runtime and of Keras differ in the fifth digit. Without this, some pixels of
    the crop would be rounded to another value, and some would change from mask to skin.

    Args:
        matrix: (2, 3) similarity from a photo to a crop.
        size: Side of the crop in pixels.

    Returns:
        (2, 3), within 0.15 px of `matrix` everywhere in the crop: scale and angle are whole steps
        of 1/2048 octave and radian, and the crop's middle lies on a grid of at most 1/16 px.

    Example:
        >>> matrix = np.array([[0.5, 0.0, 3.00001], [0.0, 0.5, 7.0]])
        >>> steady_matrix(matrix).tolist()
        [[0.5, -0.0, 3.0], [0.0, 0.5, 7.0]]
    """
    a, b = np.asarray(matrix, np.float64)[:, 0]
    scale = np.exp2(np.round(np.log2(np.hypot(a, b)) * _STEPS) / _STEPS)
    angle = np.round(np.arctan2(b, a) * _STEPS) / _STEPS
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, (size - 1) / 2)
    center = transform_points(middle[None], invert(matrix))[0].astype(np.float64)
    grid = 2.0 ** np.floor(np.log2(1 / (16 * scale)))
    offset = middle - linear @ (np.round(center / grid) * grid)
    return np.concatenate([linear, offset[:, None]], axis=1)


def square_matrix(
    center: NDArray[np.floating] | tuple[float, float],
    side: float,
    size: int = CROP_SIZE,
    axis: NDArray[np.floating] | tuple[float, float] = (1.0, 0.0),
) -> NDArray[np.float64]:
    """Compute the similarity transform from a (turned) square of the photo to a crop.

    Args:
        center: (x, y) of the square's centre in photo pixels.
        side: Side of the square in photo pixels, greater than 0.
        size: Side of the crop in pixels.
        axis: Unit vector of the square's horizontal axis in the photo.

    Returns:
        (2, 3) matrix from photo pixels to crop pixels.

    Example:
        >>> square_matrix((10.0, 20.0), 512.0).round(2)
        array([[  0.5,   0. , 122.5],
               [ -0. ,   0.5, 117.5]])
    """
    if not side > 0:
        raise ValueError(f"side must be positive. Received: side={side}")
    c, s = float(axis[0]), float(axis[1])
    scale = size / side
    linear = scale * np.array([[c, s], [-s, c]])
    offset = (size - 1) / 2 - linear @ np.asarray(center, dtype=np.float64)
    return np.concatenate([linear, offset[:, None]], axis=1)


def invert(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the exact inverse of a (2, 3) affine matrix."""
    linear, offset = np.asarray(matrix, np.float64)[:, :2], np.asarray(matrix, np.float64)[:, 2]
    inverse = np.linalg.inv(linear)
    return np.concatenate([inverse, (-inverse @ offset)[:, None]], axis=1)


def compose(second: NDArray[np.floating], first: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the (2, 3) matrix that applies `first` and then `second`."""
    bottom = np.array([[0.0, 0.0, 1.0]])
    return (np.vstack([second, bottom]) @ np.vstack([first, bottom]))[:2]


def transform_points(
    points: NDArray[np.floating], matrix: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Apply a (2, 3) matrix to points of shape (..., 2)."""
    moved = np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return moved.astype(np.float32)


def scale_of(matrix: NDArray[np.floating]) -> float:
    """Return by how much a (2, 3) similarity enlarges lengths."""
    return float(np.sqrt(abs(np.linalg.det(np.asarray(matrix, np.float64)[:, :2]))))


def warp(
    image: NDArray[_Pixels],
    matrix: NDArray[np.floating],
    size: int | tuple[int, int],
    *,
    border: int = cv2.BORDER_REFLECT_101,
    interpolation: int | None = None,
) -> NDArray[_Pixels]:
    """Resample an image by an affine transform, without aliasing when it shrinks.

    Args:
        image: (H, W) or (H, W, C) uint8 or float32.
        matrix: (2, 3), from input pixels to output pixels.
        size: Output side, or (height, width).
        border: OpenCV border mode for what lies outside the image.
        interpolation: OpenCV interpolation; chosen by the scale when None.

    Returns:
        The resampled image, dtype as the input.
    """
    height, width = (size, size) if isinstance(size, int) else size
    scale = scale_of(matrix)
    if interpolation is None:
        interpolation = cv2.INTER_CUBIC if scale > 1.0 else cv2.INTER_LINEAR
    if scale < 0.6:
        # warpAffine samples at most 4 x 4 pixels: shrinking further needs averaging first.
        image, matrix = _part_seen(image, matrix, (height, width), spare=round(4 / scale))
        shrink = scale * 1.25
        height_in, width_in = image.shape[:2]
        small = (max(1, round(width_in * shrink)), max(1, round(height_in * shrink)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        fx, fy = small[0] / width_in, small[1] / height_in
        # Pixel centres at integers: x_small = (x + 0.5) * fx - 0.5.
        to_small = np.array([[fx, 0, 0.5 * fx - 0.5], [0, fy, 0.5 * fy - 0.5]])
        matrix = compose(matrix, invert(to_small))
    if max(image.shape[:2]) >= _OPENCV_SIDE:
        image, matrix = _part_seen(image, matrix, (height, width))
    return cv2.warpAffine(
        image,
        np.asarray(matrix, np.float64),
        (width, height),
        flags=interpolation,
        borderMode=border,
    )


def _part_seen(
    image: NDArray[_Pixels], matrix: NDArray[np.floating], size: tuple[int, int], spare: int = 4
) -> tuple[NDArray[_Pixels], NDArray[np.float64]]:
    """Return the part of an image that a transform shows, mirrored borders included.

    Around it are some spare pixels; the matrix returned leads from the part.
    """
    height, width = size
    corners = np.array([(x, y) for x in (0, width - 1) for y in (0, height - 1)], np.float64)
    seen = transform_points(corners, invert(matrix))
    spans = []
    for axis, length in ((0, image.shape[1]), (1, image.shape[0])):
        low, high = int(seen[:, axis].min()) - spare, int(seen[:, axis].max()) + spare + 1
        # What lies beyond an edge is a mirror image of what lies before it.
        start = min(low, 2 * (length - 1) - high)
        stop = max(high, -low)
        start, stop = max(0, min(start, length - 1)), min(length, max(stop, 0) + 1)
        spans.append(slice(start, stop))
    moved = np.array([[1.0, 0.0, -spans[0].start], [0.0, 1.0, -spans[1].start]])
    return image[spans[1], spans[0]], compose(matrix, invert(moved))


def coverage(
    image_shape: tuple[int, ...], matrix: NDArray[np.floating], size: int | tuple[int, int]
) -> NDArray[np.bool_]:
    """Tell which pixels of a crop come from the photo rather than from its border: bool, its size.

    The photo has the shape (H, W, ...); the (2, 3) matrix leads from its pixels to the crop's,
    whose side, or height and width, is `size`.
    """
    height, width = (size, size) if isinstance(size, int) else size
    inverse = invert(matrix)
    x, y = np.arange(width), np.arange(height)[:, None]
    source_x = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
    source_y = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
    inside_x = (source_x >= -0.5) & (source_x <= image_shape[1] - 0.5)
    inside_y = (source_y >= -0.5) & (source_y <= image_shape[0] - 0.5)
    return inside_x & inside_y


def matrix_from_mask_box(
    box: tuple[float, float, float, float], size: int = CROP_SIZE
) -> NDArray[np.float64]:
    """Guess the canonical crop from the box of a worn mask alone.

    Args:
        box: (x0, y0, x1, y1) of the mask in photo pixels.
        size: Side of the crop in pixels.

    Returns:
        (2, 3) matrix from photo pixels to the crop, upright.

    Raises:
        ValueError: The box is empty.

    Reference:
        Measured on 284 canonical faces with drawn masks: the crop's side is 2.13 times the
        geometric mean of the box's sides (spread 8 %), and its centre half of that mean above
        the box's centre (spread 5 %).
    """
    width, height = box[2] - box[0], box[3] - box[1]
    if not (width > 0 and height > 0):
        raise ValueError(f"box must not be empty. Received: box={box}")
    mean_side = float(np.sqrt(width * height))
    center = ((box[0] + box[2] - 1) / 2, (box[1] + box[3] - 1) / 2 - 0.5 * mean_side)
    return square_matrix(center, 2.13 * mean_side, size)


def grow(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Return a mask (h, w) grown by some pixels on all sides; a copy if by none."""
    if pixels <= 0:
        return mask.copy()
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def fill_hull(points: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return a mask of height and width `shape[:2]`, True in the convex hull of points (N, 2)."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), (1,))
    return mask > 0


def tight_box(mask: NDArray[Any]) -> tuple[int, int, int, int] | None:
    """Return x0, y0, x1, y1 around what is not 0 in a mask (H, W), or None."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

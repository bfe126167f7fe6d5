"""The canonical crop: framing, similarity, resampling, and the way back into the photo."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from unmask.face import (
    CROP_SIZE,
    canonical_matrix,
    compose,
    coverage,
    invert,
    matrix_from_mask_box,
    scale_of,
    square_matrix,
    steady_matrix,
    transform_points,
    warp,
)


def face_98(seed: int = 0) -> NDArray[np.float64]:
    """98 points of a roughly upright face in a photo."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(200, 400, (98, 2))
    points[60:68] = rng.normal((250, 250), 3, (8, 2))
    points[68:76] = rng.normal((350, 255), 3, (8, 2))
    points[[76, 82]] = (270, 380), (330, 385)
    return points


def moved(points: NDArray, angle: float, scale: float, shift: tuple[float, float]) -> NDArray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return points @ np.array([[c, s], [-s, c]]) + shift


def smooth_image(height: int = 120, width: int = 160, channels: int = 3) -> NDArray[np.uint8]:
    noise = np.random.default_rng(7).uniform(0, 255, (height, width, channels))
    image = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.clip((image - image.mean()) * 6 + 128, 0, 255).astype(np.uint8)


# === Framing ===


def test_framing_by_hand():
    """FFHQ: eyes 100 apart, mouth 120 below: side 2 * max(200, 216) = 432, centre at y + 12."""
    points = np.zeros((98, 2))
    points[60:68], points[68:76] = (250, 300), (350, 300)
    points[[76, 82]] = (280, 420), (320, 420)
    matrix = canonical_matrix(points)
    assert scale_of(matrix) == pytest.approx(256 / 432)
    assert_allclose(transform_points(np.array([[300.0, 312.0]]), matrix), [[127.5, 127.5]])
    eyes = transform_points(np.array([[250.0, 300], [350, 300]]), matrix)
    half, drop = 50 * 256 / 432, 12 * 256 / 432
    assert_allclose(eyes, [[127.5 - half, 127.5 - drop], [127.5 + half, 127.5 - drop]], rtol=1e-6)


def test_wide_eyes_set_the_side():
    points = np.zeros((98, 2))
    points[60:68], points[68:76] = (200, 300), (400, 300)
    points[[76, 82]] = (280, 400), (320, 400)
    assert scale_of(canonical_matrix(points)) == pytest.approx(256 / (2 * 400))


def test_98_and_68_points_give_the_same_crop():
    points = np.zeros((68, 2))
    points[36:42], points[42:48] = (250, 250), (350, 255)
    points[[48, 54]] = (270, 380), (330, 385)
    same = np.zeros((98, 2))
    same[60:68], same[68:76] = (250, 250), (350, 255)
    same[[76, 82]] = (270, 380), (330, 385)
    assert_allclose(canonical_matrix(points), canonical_matrix(same))


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2, 3.0])
@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_crop_does_not_depend_on_how_the_photo_was_taken(angle, scale):
    points = face_98()
    other = moved(points, angle, scale, (-120.0, 900.0))
    ours = transform_points(points, canonical_matrix(points))
    theirs = transform_points(other, canonical_matrix(other))
    assert_allclose(ours, theirs, atol=1e-3)


def test_is_a_similarity_without_a_mirror():
    linear = canonical_matrix(moved(face_98(), 0.7, 1.3, (0, 0)))[:, :2]
    gram = linear @ linear.T
    assert_allclose(gram, np.eye(2) * gram[0, 0], atol=1e-12)
    assert np.linalg.det(linear) > 0


def test_size_scales_about_pixel_edges():
    """The crop of half the size has the same borders: x -> (x + 0.5) / 2 - 0.5."""
    points = face_98()
    large = transform_points(points, canonical_matrix(points, 256))
    small = transform_points(points, canonical_matrix(points, 128))
    assert_allclose(small, (large + 0.5) / 2 - 0.5, atol=1e-4)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((5, 2)), r"shape=\(5, 2\)"),
        (np.zeros((98, 3)), r"shape=\(98, 3\)"),
        (np.zeros((1, 98, 2)), r"shape=\(1, 98, 2\)"),
        (np.full((98, 2), np.nan), "finite"),
        (np.ones((68, 2)), "one point"),
    ],
)
def test_unusable_landmarks(points, message):
    with pytest.raises(ValueError, match=message):
        canonical_matrix(points)


def test_square_maps_to_the_crops_edges():
    matrix = square_matrix((50.0, 60.0), 128.0)
    corners = np.array([[50 - 64, 60 - 64], [50 + 64, 60 + 64]], float)
    assert_allclose(transform_points(corners, matrix), [[-0.5, -0.5], [255.5, 255.5]])
    with pytest.raises(ValueError, match="side=0"):
        square_matrix((0.0, 0.0), 0)


def test_mask_box_gives_about_the_canonical_crop():
    """A mask from the nose to the chin of a canonical face leads back to about that crop."""
    matrix = matrix_from_mask_box((58.0, 122.0, 198.0, 244.0))
    assert scale_of(matrix) == pytest.approx(1.0, abs=0.15)
    assert_allclose(matrix[:, 2], 0, atol=20)
    with pytest.raises(ValueError, match="empty"):
        matrix_from_mask_box((10.0, 10.0, 10.0, 30.0))


# === Matrices ===


def test_inverse_and_composition():
    matrix = canonical_matrix(face_98(3))
    identity = np.eye(3)[:2]
    assert_allclose(compose(invert(matrix), matrix), identity, atol=1e-9)
    assert_allclose(compose(matrix, invert(matrix)), identity, atol=1e-9)
    points = face_98(4)
    there = transform_points(points, matrix)
    assert there.dtype == np.float32
    assert_allclose(transform_points(there, invert(matrix)), points, atol=1e-3)


def test_composition_applies_the_first_matrix_first():
    shift, double = np.array([[1.0, 0, 3], [0, 1, 0]]), np.array([[2.0, 0, 0], [0, 2, 0]])
    point = np.array([[1.0, 1.0]])
    assert_allclose(transform_points(point, compose(double, shift)), [[8, 2]])
    assert_allclose(transform_points(point, compose(shift, double)), [[5, 2]])


# === Resampling ===


def test_identity_and_whole_shifts_are_exact():
    image = smooth_image()
    assert_array_equal(warp(image, np.eye(3)[:2], image.shape[:2]), image)
    shift = np.array([[1.0, 0, 5], [0, 1, -7]])
    assert_array_equal(warp(image, shift, image.shape[:2])[:-7, 5:], image[7:, :-5])


@pytest.mark.parametrize("scale", [0.55, 0.3, 0.12])
def test_shrinking_averages_and_stays_in_place(scale):
    """A chequerboard becomes grey rather than a moire, and a blob keeps its place."""
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    size = int(256 * scale)
    matrix = square_matrix((127.5, 127.5), 256.0 * size / (256 * scale), size)
    small = warp(board, matrix, size)
    inner = small[2:-2, 2:-2].astype(float)
    assert abs(inner.mean() - 127.5) < 6
    assert inner.std() < 30
    y, x = np.indices((256, 256))
    blob = np.exp(-((x - 90) ** 2 + (y - 140) ** 2) / (2 * 20.0**2)).astype(np.float32)
    shrunk = warp(blob, matrix, size)
    ys, xs = np.indices(shrunk.shape)
    centre = np.array([(xs * shrunk).sum(), (ys * shrunk).sum()]) / shrunk.sum()
    expected = transform_points(np.array([[90.0, 140.0]]), matrix)[0]
    assert_allclose(centre, expected, atol=0.1)


def test_there_and_back_keeps_the_picture():
    image = smooth_image(200, 200)
    matrix = square_matrix((100.0, 100.0), 200.0, 300, (np.cos(0.3), np.sin(0.3)))
    there = warp(image, matrix, 300)
    back = warp(there, invert(matrix), (200, 200))
    centre = (slice(60, 140), slice(60, 140))
    assert np.abs(back[centre].astype(int) - image[centre]).mean() < 1.5


def test_dtype_and_size():
    image = smooth_image()
    assert warp(image, np.eye(3)[:2], (30, 40)).shape == (30, 40, 3)
    grey = warp(image[..., 0].astype(np.float32), np.eye(3)[:2], 50)
    assert grey.dtype == np.float32
    assert grey.shape == (50, 50)


# === Coverage ===


def test_coverage_is_what_a_constant_border_leaves():
    points = moved(face_98(), 0.5, 0.7, (-100.0, -60.0))
    matrix = canonical_matrix(points)
    image = np.full((220, 260), 1.0, np.float32)
    drawn = warp(
        image, matrix, CROP_SIZE, border=cv2.BORDER_CONSTANT, interpolation=cv2.INTER_LINEAR
    )
    covered = coverage(image.shape, matrix, CROP_SIZE)
    assert 0.05 < covered.mean() < 0.95
    assert (covered == (drawn > 0.5)).mean() > 0.995


def test_coverage_of_a_shifted_frame():
    covered = coverage((10, 20, 3), np.array([[1.0, 0, 4], [0, 1, -3]]), (12, 30))
    expected = np.zeros((12, 30), bool)
    expected[:7, 4:24] = True
    assert_array_equal(covered, expected)


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("turned", [False, True])
def test_pictures_longer_than_opencv_s_limit(scale: float, turned: bool) -> None:
    y, x = np.mgrid[:40, :34_000]
    strip = np.stack([x % 251, y * 6, (x + y) % 256], -1).astype(np.uint8)
    # The end of the strip, where a crop begins inside and ends outside of the picture.
    center, part = np.array([33_990.0, 20.0]), strip[:, 33_800:].copy()
    if turned:
        strip, part = strip.transpose(1, 0, 2).copy(), part.transpose(1, 0, 2).copy()
        center = center[::-1]
    moved = center - ((0, 33_800) if turned else (33_800, 0))
    whole = warp(strip, square_matrix(center, 64 / scale), 64)
    seen = warp(part, square_matrix(moved, 64 / scale), 64)
    # Two shrunk grids do not lie on each other.
    assert np.abs(whole.astype(int) - seen).mean() <= (8 if scale < 0.6 else 0.1)


def test_mask_box_gives_the_measured_framing():
    matrix = matrix_from_mask_box((60.0, 134.0, 195.0, 240.0))
    # A box of the average size at the average place is the canonical crop itself.
    np.testing.assert_allclose(matrix, [[1, 0, 0], [0, 1, 0]], atol=4)
    with pytest.raises(ValueError, match="empty"):
        matrix_from_mask_box((5, 5, 5, 9))


def test_noise_does_not_reach_a_steady_crop() -> None:
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0], [255, 0], [255, 255], [0, 255]], float)
    other = 0
    for _ in range(500):
        angle, side = rng.uniform(-3, 3), np.exp(rng.uniform(np.log(30), np.log(5000)))
        axis = (np.cos(angle), np.sin(angle))
        matrix = square_matrix(rng.uniform(0, 6000, 2), side, 256, axis)
        steady = steady_matrix(matrix)
        moved = transform_points(corners, compose(steady, invert(matrix)))
        assert np.hypot(*(moved - corners).T).max() < 0.15
        noisy = matrix + rng.uniform(-1e-7, 1e-7, (2, 3))
        other += not np.array_equal(steady, steady_matrix(noisy))
    assert other <= 25

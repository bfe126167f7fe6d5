"""The linear part of the coarse completion, and the window that it completes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from unmask.errors import DataError, WeightsError
from unmask.inpainting.coarse import COARSE_SIDE, LinearPrior
from unmask.inpainting.prior_task import PriorTask, fit_prior
from unmask.inpainting.window import window, window_matrix
from unmask.training.recipe import read_recipe
from unmask.training.runner import train
from unmask.training.task import Places
from unmask.weights import load_metadata, save_arrays

PIXELS = COARSE_SIDE * COARSE_SIDE * 3


@pytest.fixture
def hole():
    mask = np.zeros((192, 192), bool)
    mask[90:170, 50:145] = True
    return mask


def draw(prior, scores):
    """A window whose 64 x 64 cells are exactly the model's, and the landmarks."""
    vector = prior.mean + np.asarray(scores, np.float32) @ prior.basis
    cells = np.clip(vector[:PIXELS].reshape(COARSE_SIDE, COARSE_SIDE, 3) * 255 + 0.5, 0, 255)
    image = cells.astype(np.uint8).repeat(3, axis=0).repeat(3, axis=1)
    return image, vector[PIXELS:].reshape(98, 2) * 64


UNKNOWN = np.zeros((68, 2), np.float32)


def fill(prior, image, hole, points=UNKNOWN):
    """The face with its hole completed; without 98 points, by its pixels alone."""
    return prior.complete(image, hole, np.ones_like(hole), points)[1]


def errors(result, truth, mask):
    return np.abs(result.astype(int) - truth)[mask]


@pytest.mark.parametrize("guided", [False, True])
def test_a_face_of_the_model_is_recovered(prior, hole, guided):
    truth, points = draw(prior, [8, -6, 5, 4, -3, 2])
    image = truth.copy()
    image[hole] = (255, 0, 255)
    result = fill(prior, image, hole, points if guided else UNKNOWN)
    # The prior answers in smooth interpolation, so that is what it is held against.
    smooth = cv2.resize(truth[1::3, 1::3], (192, 192), interpolation=cv2.INTER_CUBIC)
    assert errors(result, smooth, hole).max() <= 4
    assert errors(result, smooth, hole).mean() < 1


def test_only_the_hole_changes_and_its_content_has_no_influence(prior, hole):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (192, 192, 3), dtype=np.uint8)
    result = fill(prior, image, hole)
    np.testing.assert_array_equal(result[~hole], image[~hole])
    other = image.copy()
    other[hole] = 255 - other[hole]
    # Cells at the border of the hole are unknown too, so nothing of the hole can leak.
    np.testing.assert_array_equal(fill(prior, other, hole)[hole], result[hole])
    np.testing.assert_array_equal(fill(prior, image, np.zeros_like(hole)), image)


def test_the_completion_meets_the_known_pixels_without_a_step(prior, hole):
    image, _ = draw(prior, [0] * 6)
    lighter = np.clip(image.astype(int) + 40, 0, 255).astype(np.uint8)  # no face of the model
    weak = replace(prior, variance=np.full(6, 1e-6, np.float32))
    result = fill(weak, lighter, hole).astype(int)
    assert np.abs(result[90, 60:135] - lighter[89, 60:135]).mean() < 15
    assert np.abs(result[130, 97] - lighter[130, 97]).mean() > 15


def gaussian_faces(count, seed):
    """Smooth random faces whose halves depend on each other, and landmarks that know a part."""
    rng = np.random.default_rng(seed)
    patterns = np.random.default_rng(9).normal(size=(8, 6, 6, 3)).astype(np.float32)
    basis = np.stack(
        [cv2.resize(p, (COARSE_SIDE,) * 2, interpolation=cv2.INTER_CUBIC) for p in patterns]
    )
    scores = rng.normal(0, 0.06, (count, 8))
    pixels = 0.5 + np.tensordot(scores, basis, 1) + rng.normal(0, 0.01, (count, 64, 64, 3))
    points = np.tile(np.linspace(20, 170, 196).reshape(98, 2), (count, 1, 1))
    points[:, :, 0] += 40 * scores[:, :1]
    return (np.clip(pixels, 0, 1) * 255).astype(np.uint8), points


def test_a_fitted_prior_beats_the_mean_face(hole):
    windows, points = gaussian_faces(120, seed=0)
    fitted = fit_prior(windows, points, components=8)
    assert fitted.basis.shape == (8, PIXELS + 196)
    np.testing.assert_allclose(fitted.basis @ fitted.basis.T, np.eye(8), atol=1e-4)
    assert (np.diff(fitted.variance) <= 0).all()
    mean = (fitted.mean[:PIXELS].reshape(64, 64, 3) * 255).repeat(3, 0).repeat(3, 1)
    new_windows, new_points = gaussian_faces(5, seed=1)
    for face, landmarks in zip(new_windows, new_points, strict=True):
        truth = face.repeat(3, 0).repeat(3, 1)
        result = fill(fitted, truth, hole, landmarks)
        assert (
            errors(result, truth, hole).mean() < 0.3 * errors(mean.astype(int), truth, hole).mean()
        )


def test_the_recipe_fits_faces_with_enough_of_the_photo(face_folder, tmp_path):
    overrides = {"components": 4, "kept": 3}

    def fit(out, **changes):
        recipe = read_recipe("lite/prior", overrides | changes).phase(0, PriorTask.recipe_type)
        return train(PriorTask(recipe, Places([face_folder], tmp_path / out)), workers=0)

    path = fit("run")
    fitted = LinearPrior.load(path)
    assert fitted.basis.shape == (3, PIXELS + 196)
    assert load_metadata(path)["windows"] == "12"  # six faces and their mirror images
    # Mirrored faces make the mean its own mirror image.
    mean = fitted.mean[:PIXELS].reshape(64, 64, 3)
    np.testing.assert_allclose(mean, mean[:, ::-1], atol=1e-5)
    before = path.read_bytes()
    assert fit("run").read_bytes() == before
    with pytest.raises(DataError, match="too few"):
        fit("none", least_valid=1.0)
    with pytest.raises(DataError, match="kept=9"):
        fit("other", kept=9)


def test_files_round_trip(prior, hole, tmp_path):
    prior.save(tmp_path / "prior.safetensors", {"source": "a test"})
    loaded = LinearPrior.load(tmp_path / "prior.safetensors")
    np.testing.assert_array_equal(loaded.mean, prior.mean)
    np.testing.assert_allclose(loaded.basis, prior.basis, atol=1e-3)
    image, points = draw(prior, [5, 4, 3, 2, 1, 0])
    once, again = (fill(p, image, hole, points) for p in (prior, loaded))
    assert errors(once, again, hole).max() <= 2


def test_wrong_files_are_refused(prior, tmp_path):
    path = tmp_path / "prior.safetensors"
    with pytest.raises(WeightsError, match="no such file"):
        LinearPrior.load(path)
    save_arrays(path, {"weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(WeightsError, match="not a linear prior"):
        LinearPrior.load(path)
    replace(prior, basis=prior.basis[:, :-1]).save(path)
    with pytest.raises(WeightsError, match="not a linear prior"):
        LinearPrior.load(path)
    path.write_bytes(b"rubbish")
    with pytest.raises(WeightsError):
        LinearPrior.load(path)


def test_wrong_shapes_are_refused(prior):
    with pytest.raises(ValueError, match=r"Received: image \(64, 64, 3\)"):
        fill(prior, np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), bool))


def test_the_window_is_cut_from_single_crops_batches_and_masks():
    crop = np.arange(256 * 256).reshape(256, 256)
    cut = window(crop)
    assert cut.shape == (192, 192)
    assert cut[0, 0] == 64 * 256 + 32
    batch = np.repeat(crop[None, :, :, None], 2, axis=0)
    np.testing.assert_array_equal(window(batch)[1, ..., 0], cut)
    np.testing.assert_array_equal(window(crop[..., None])[..., 0], cut)
    # 256 crops at once: the batch axis is not mistaken for the rows.
    many = np.zeros((256, 256, 256), bool)
    assert window(many).shape == (256, 192, 192)
    with pytest.raises(ValueError, match=r"Received: shape=\(2, 128, 128\)"):
        window(np.zeros((2, 128, 128)))


def test_the_window_follows_a_wide_hole(hole):
    from unmask.face import transform_points

    crop_hole = np.zeros((256, 256), bool)
    crop_hole[130:240, 60:200] = True
    np.testing.assert_array_equal(window_matrix(crop_hole), [[1, 0, -32], [0, 1, -64]])
    crop_hole[100:256, 3:250] = True
    corners = np.array([[3, 100], [249, 255]], np.float64)
    inside = transform_points(corners, window_matrix(crop_hole))
    assert inside.min() >= 0
    assert inside.max() <= 191


def test_what_lies_outside_the_photo_is_completed_with_the_hole(prior, hole):
    truth, points = draw(prior, [8, -6, 5, 4, -3, 2])
    valid = np.ones((192, 192), bool)
    valid[:, :30] = False
    image = np.where(valid[..., None], truth, 0).astype(np.uint8)
    filled, completed = prior.complete(image, hole, valid, points)
    np.testing.assert_array_equal(filled[valid], image[valid])
    assert errors(filled, truth, ~valid).mean() < 4
    np.testing.assert_array_equal(completed[~hole], filled[~hole])
    assert errors(completed, truth, hole).mean() < 4
    np.testing.assert_array_equal(prior.complete(image, hole, valid | True, points)[0], image)

"""The coarse completion: its network, its samples and its training."""

import shutil

import keras
import numpy as np
import pytest

from unmask.errors import DataError, WeightsError
from unmask.inpainting.coarse import CoarseCompletion, gender_codes, load_coarse
from unmask.inpainting.coarse_task import (
    CoarseAugmentation,
    CoarseSampler,
    CoarseTask,
    as_inputs,
    draw_samples,
    hole_error,
    hole_psnr,
    trained_model,
)
from unmask.inpainting.data import InpaintingSampler, SampleSettings
from unmask.inpainting.lite import build_coarse
from unmask.training.recipe import read_recipe
from unmask.training.task import Places

SMALL = {"width": 8, "blocks": (1, 1, 1)}


@pytest.fixture
def hole():
    mask = np.zeros((192, 192), bool)
    mask[90:171, 48:147] = True
    return mask


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)


def network(correction=0.0):
    """A network that adds the same to every pixel of the hole."""
    model = build_coarse(**SMALL)
    kernel, bias = model.get_layer("correction").get_weights()
    model.get_layer("correction").set_weights([0 * kernel, bias + correction])
    return model


def points(count=98):
    return np.random.default_rng(1).uniform(40, 150, (count, 2)).astype(np.float32)


def network_inputs():
    """One face at the network's sizes: linear completion, hole, landmark map, gender."""
    rng = np.random.default_rng(0)
    hole = np.zeros((1, 64, 64, 1), np.float32)
    hole[:, 30:57, 16:49] = 1
    hole[:, 29] = 0.3
    marks = (rng.uniform(size=(1, 192, 192, 1)) > 0.99).astype(np.float32)
    linear = rng.uniform(size=(1, 64, 64, 3)).astype(np.float32)
    return [linear, hole, marks, gender_codes(["male"])]


def test_starts_from_the_linear_completion_and_stays_in_the_hole():
    keras.utils.set_random_seed(0)
    inputs = network_inputs()
    first = np.asarray(build_coarse(**SMALL)(inputs))
    assert 0 < np.abs(first - inputs[0]).max() < 0.1
    shifted = np.asarray(network(0.25)(inputs))
    np.testing.assert_allclose(shifted - inputs[0], 0.25 * inputs[1] * np.ones(3), atol=1e-6)


def test_pixels_come_out_where_they_belong():
    model = network()
    layer = model.get_layer("correction")
    kernel = layer.get_weights()[0]
    # The twelve channels are a cell's four pixels, row by row, in RGB.
    layer.set_weights([kernel, np.arange(12, dtype=np.float32)])
    zeros = [np.zeros((1, *x.shape[1:]), np.float32) for x in model.inputs]
    zeros[1] += 1
    result = np.asarray(model(zeros))[0]
    for row, column, first in ((0, 0, 0), (0, 1, 3), (1, 0, 6), (1, 1, 9), (62, 63, 3)):
        np.testing.assert_allclose(result[row, column], first + np.arange(3))


def test_sees_gender_landmarks_and_hole():
    keras.utils.set_random_seed(2)
    model = build_coarse(**SMALL)
    for layer in model.layers:
        if layer.name.endswith("conv2"):  # no longer the identity
            kernel, bias = layer.get_weights()
            layer.set_weights([np.random.default_rng(0).normal(0, 0.1, kernel.shape), bias])
    inputs = network_inputs()
    male = np.asarray(model(inputs))
    for place, other in (
        (3, gender_codes(["female"])), (3, gender_codes([""])),
        (2, np.roll(inputs[2], 1, 1)), (2, 0 * inputs[2]),
        (1, np.maximum(inputs[1], np.roll(inputs[1], 4, 1))),
    ):  # fmt: skip
        changed = [*inputs[:place], other, *inputs[place + 1 :]]
        assert np.abs(np.asarray(model(changed)) - male).max() > 1e-6


def complete(coarse, image, hole, landmarks=None, gender="male"):
    """One face, all of it in the photo, completed by itself."""
    landmarks = points() if landmarks is None else landmarks
    given = image[None], hole[None], np.ones_like(hole)[None], landmarks[None]
    return coarse(*given, [gender])[1][0]


@pytest.mark.parametrize("count", [98, 68])
def test_no_correction_is_the_linear_completion(prior, linear, image, hole, count):
    result = complete(CoarseCompletion(prior, network()), image, hole, points(count))
    # The linear part knows 98 points only: with 68 it does not matter where they are.
    expected = complete(linear, image, hole, points(98) if count == 98 else 0 * points(68))
    assert np.abs(result.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(result[~hole], image[~hole])


def test_the_correction_is_added_to_the_linear_completion(prior, linear, image, hole):
    grey = np.full_like(image, 100)
    corrected = complete(CoarseCompletion(prior, network(0.1)), grey, hole)
    difference = corrected.astype(int) - complete(linear, grey, hole)
    inner = np.zeros_like(hole)
    inner[100:160, 60:135] = True
    assert np.abs(difference[inner] - 25.5).max() <= 1
    assert not difference[~hole].any()


def test_what_is_in_the_hole_has_no_influence(prior, image, hole):
    coarse = CoarseCompletion(prior, build_coarse(**SMALL))
    other = image.copy()
    other[hole] = 255 - other[hole]
    results = [complete(coarse, shown, hole)[hole] for shown in (image, other)]
    np.testing.assert_array_equal(*results)


class Grey:
    """A linear model that mirrors exactly, unlike the fitted one."""

    def complete(self, image, hole, valid, landmarks):
        return image, np.where(hole[..., None], np.uint8(128), image)


def test_a_mirrored_face_is_completed_mirrored(image, hole):
    keras.utils.set_random_seed(0)
    coarse = CoarseCompletion(Grey(), build_coarse(**SMALL))
    where = np.rint(points())
    straight = complete(coarse, image, hole, where).astype(int)
    flipped = where * (-1, 1) + (191, 0)
    mirrored = complete(coarse, image[:, ::-1].copy(), hole[:, ::-1], flipped).astype(int)
    assert np.abs(straight - 128)[hole].max() > 1
    assert np.abs(straight - mirrored[:, ::-1]).max() <= 1


def test_many_faces_at_once_are_each_by_itself(prior, image, hole):
    keras.utils.set_random_seed(0)
    coarse = CoarseCompletion(prior, build_coarse(**SMALL))
    images = np.stack([np.roll(image, i, 0) for i in range(10)])
    holes = np.stack([np.roll(hole, i, 1) for i in range(10)])
    valid = np.ones_like(holes)
    valid[3, :, 180:] = False
    landmarks = np.stack([points() + i for i in range(10)])
    genders = ["male", "female", "", *["male"] * 7]
    filled, completed = coarse(images, holes, valid, landmarks, genders)
    for i in (0, 1, 2, 3, 9):
        rows = slice(i, i + 1)
        alone = coarse(images[rows], holes[rows], valid[rows], landmarks[rows], genders[rows])
        np.testing.assert_array_equal(filled[i], alone[0][0])
        assert np.abs(completed[i].astype(int) - alone[1][0]).max() <= 1
    np.testing.assert_array_equal(filled[valid], images[valid])
    assert (filled[3][~valid[3]] != images[3][~valid[3]]).mean() > 0.5


def test_genders(linear, image, hole):
    codes = gender_codes(["male", "female", ""])
    np.testing.assert_array_equal(codes, [[1, 0], [0, 1], [0, 0]])
    with pytest.raises(ValueError, match="gender='x'"):
        complete(linear, image, hole, gender="x")


def test_hole_error_by_hand():
    weight = np.zeros((2, 64, 64, 1), np.uint8)
    weight[0, :8, :8] = 255  # only these count
    weight[1, :8, :8] = 51
    error = np.zeros((2, 64, 64, 3), np.float32)
    error[0, :8, :8] = 0.1
    error[0, 8:] = 9.0
    error[1, :4, :8] = 0.2
    errors = np.array([0.1, np.sqrt(0.02)])
    np.testing.assert_allclose(hole_error(weight, error), errors, rtol=2e-4)
    np.testing.assert_allclose(hole_psnr(weight, error), -20 * np.log10(errors), rtol=2e-4)


@pytest.fixture
def draw(faces, linear, tmp_path):
    """What draws ten samples."""

    def drawn(count=10):
        settings = SampleSettings(framing="window", side=192, hole_growth=(4, 4))
        sampler = InpaintingSampler(faces, settings, batch_size=1, seed=5, coarse=lambda: linear)
        return draw_samples(sampler, tmp_path / "samples.npy", count, {"seed": 5})

    return drawn


def test_samples_are_kept_and_repeatable(draw, tmp_path):
    samples = draw()
    assert len(samples) == 10
    assert np.bincount(samples["gender"], minlength=3)[1:].min() >= 4
    inside, outside = samples["hole"][..., 0] == 255, samples["hole"][..., 0] == 0
    assert 0.05 < inside.mean() < 0.6
    seen = outside & (samples["valid"][..., 0] == 255)
    difference = np.abs(samples["linear"].astype(int) - samples["truth"])
    assert np.median(difference[seen]) == 0
    assert difference[inside].mean() > 3

    path, before = tmp_path / "samples.npy", samples.tobytes()
    written = path.stat().st_mtime_ns
    assert draw().tobytes() == before
    assert path.stat().st_mtime_ns == written
    # What a stopped process has left is gone on with.
    path.rename(tmp_path / "samples.unfinished")
    with (tmp_path / "samples.unfinished").open("r+b") as handle:
        handle.truncate(len(before) // 2)
    assert draw().tobytes() == before


def test_a_broken_file_of_samples_is_named(draw, tmp_path):
    draw(4)
    path = tmp_path / "samples.npy"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=path.name):
        draw(4)
    np.save(path, np.zeros(4))
    with pytest.raises(DataError, match="holds float64"):
        draw(4)


class Repainter(keras.layers.Layer):
    """Stands for a network that paints nothing."""

    def call(self, inputs):
        return inputs[0]


def test_batches_change_everything_together(draw):
    """What is mirrored and recoloured on the device, by hand."""
    samples = draw()
    sampler = CoarseSampler(samples, 64, 1, CoarseAugmentation(blind=0.2))
    inputs, weight = sampler(3)
    again, _ = sampler(3)
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs)
    known = {row["truth"].tobytes(): row for row in samples}
    for i, truth in enumerate(inputs["truth"]):
        row = known[truth.tobytes()]
        for name in ("linear", "hole"):
            np.testing.assert_array_equal(inputs[name][i], row[name])
        share = row["hole"] / 255.0 * row["valid"]
        assert np.abs(weight[i] - share).max() <= 1
        bits = np.unpackbits(row["landmarks"]).reshape(192, 192, 1)
        marks = inputs["landmark_map"][i]
        assert not marks.any() or np.array_equal(marks, bits)
        gender = inputs["gender"][i]
        assert not gender.any() or gender.tolist() == [row["gender"] == 1, row["gender"] == 2]
    for flags, share in (
        (inputs["mirrored"][:, 0], 0.5), (~inputs["gender"].any(1), 0.3),
        (~inputs["landmark_map"].any((1, 2, 3)), 0.2),
    ):  # fmt: skip
        assert 0 < flags.mean() < 2 * share
    assert 0.05 < np.std(inputs["colours"], axis=0).max() < 0.3

    first = keras.Input((64, 64, 3))
    others = [keras.Input(shape) for shape in ((64, 64, 1), (192, 192, 1), (2,))]
    network = keras.Model([first, *others], Repainter()([first, *others]))
    error = np.asarray(trained_model(network).predict_on_batch(inputs))

    def changed(name):
        turned = np.where(inputs["mirrored"][..., None, None], inputs[name][:, :, ::-1],
                          inputs[name])  # fmt: skip
        mixed = np.einsum("nhwc,ncd->nhwd", turned / np.float32(255), inputs["colours"])
        return np.clip(mixed, 0, 1)

    np.testing.assert_allclose(error, changed("linear") - changed("truth"), atol=1e-5)


@pytest.fixture
def task(face_folder, prior, tmp_path):
    """What makes the task on some folder of faces."""
    prior.save(tmp_path / "prior.safetensors")

    def make(folder=face_folder):
        recipe = read_recipe("lite/coarse", {
            "prior": str(tmp_path / "prior.safetensors"), "width": 8, "blocks": [1, 1, 1],
            "training_samples": 12, "validation_samples": 4, "samples.predicted": 0.0,
        })  # fmt: skip
        return CoarseTask(recipe.phase(0, CoarseTask.recipe_type), Places([folder], tmp_path))

    return make


def test_faces_of_unknown_gender_are_named(task, face_folder, tmp_path):
    """Named by the shipped gender network, the portrait's copies become samples of women."""
    unlabelled = tmp_path / "unlabelled"
    shutil.copytree(face_folder, unlabelled)
    (unlabelled / "labels.csv").unlink()
    archive = dict(np.load(unlabelled / "landmarks98.npz"))
    splits = np.array(["train"] * 6 + ["val"] * 3)
    np.savez(unlabelled / "landmarks98.npz", **archive, split=splits)
    task(unlabelled).prepare()
    genders = np.load(tmp_path / "samples" / "train.npy")["gender"]
    unknown, men, women = np.bincount(genders, minlength=3)
    assert unknown + women == 12
    assert women >= 8
    assert men == 0


def test_validation_measures_the_holes_of_its_samples(task, tmp_path):
    made = task()
    made.prepare()
    made.build()
    layer = made.network.get_layer("correction")
    layer.set_weights([0 * weight for weight in layer.get_weights()])
    samples = np.load(tmp_path / "samples" / "val.npy")
    inputs, weight = as_inputs(np.array(samples))
    linear, truth = (inputs[name] / np.float32(255) for name in ("linear", "truth"))
    expected = float(np.mean(hole_psnr(weight, linear - truth)))
    assert made.validate()["psnr"] == pytest.approx(expected, abs=1e-3)


def test_load_coarse(prior, tmp_path):
    path = tmp_path / "prior.safetensors"
    prior.save(path)
    assert load_coarse(path).network is None
    with pytest.raises(WeightsError):
        load_coarse(path, path)

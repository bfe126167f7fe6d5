"""The network that corrects the linear first guess: its model, its samples and its training."""

import shutil

import keras
import numpy as np
import pytest

from unmask.errors import DataError, WeightsError
from unmask.inpainting.coarse import (
    CoarsePrior,
    build_coarse,
    coarse_inputs,
    gender_code,
    load_first_guess,
)
from unmask.inpainting.coarse_data import (
    CoarseSampler,
    SampleFile,
    as_inputs,
    draw_samples,
    read_samples,
)
from unmask.inpainting.coarse_task import CoarseTask, HoleError, hole_psnr, trained_model
from unmask.inpainting.data import InpaintingSampler, SampleSettings
from unmask.inpainting.prior import LinearPrior
from unmask.training.recipe import read_recipe
from unmask.training.runner import train
from unmask.training.task import Places
from unmask.weights import load_metadata, load_weights

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


def test_shipped_size():
    assert build_coarse().count_params() == 3_102_828


def test_starts_from_the_guess_and_stays_in_the_hole(image, hole):
    keras.utils.set_random_seed(0)
    sample = coarse_inputs(image, hole, points(), "male")
    assert [x.shape for x in sample] == [(64, 64, 3), (64, 64, 1), (192, 192, 1), (2,)]
    guess, share = sample[:2]
    inputs = [x[None] for x in sample]
    first = np.asarray(build_coarse(**SMALL)(inputs))[0]
    assert 0 < np.abs(first - guess).max() < 0.1
    shifted = np.asarray(network(0.25)(inputs))[0]
    np.testing.assert_allclose(shifted - guess, 0.25 * share * np.ones(3), atol=1e-6)


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


def test_sees_gender_landmarks_and_hole(image, hole):
    keras.utils.set_random_seed(2)
    model = build_coarse(**SMALL)
    for layer in model.layers:
        if layer.name.endswith("conv2"):  # no longer the identity
            kernel, bias = layer.get_weights()
            layer.set_weights([np.random.default_rng(0).normal(0, 0.1, kernel.shape), bias])

    def answer(*sample):
        return np.asarray(model([x[None] for x in sample]))

    male = coarse_inputs(image, hole, points(), "male")
    changed = [
        coarse_inputs(image, hole, points(), "female"),
        coarse_inputs(image, hole, points(), None),
        coarse_inputs(image, hole, points() + 1, "male"),
        coarse_inputs(image, hole, None, "male"),
        coarse_inputs(image, hole | np.roll(hole, 12, 0), points(), "male"),
    ]
    for other in changed:
        assert np.abs(answer(*other) - answer(*male)).max() > 1e-6


def test_no_correction_is_the_linear_guess(prior, image, hole):
    coarse = CoarsePrior(prior, network(), "female")
    linear = prior.complete(image, hole, points())
    result = coarse.complete(image, hole, points())
    assert np.abs(result.astype(int) - linear).max() <= 1
    np.testing.assert_array_equal(result[~hole], image[~hole])


def test_the_correction_is_added_to_the_guess(prior, image, hole):
    grey = np.full_like(image, 100)
    coarse = CoarsePrior(prior, network(0.1))
    difference = coarse.complete(grey, hole, points()).astype(int) - prior.complete(
        grey, hole, points()
    )
    inner = np.zeros_like(hole)
    inner[100:160, 60:135] = True
    assert np.abs(difference[inner] - 25.5).max() <= 1
    assert not difference[~hole].any()


def test_what_is_in_the_hole_has_no_influence(prior, image, hole):
    coarse = CoarsePrior(prior, build_coarse(**SMALL), "male")
    other = image.copy()
    other[hole] = 255 - other[hole]
    np.testing.assert_array_equal(
        coarse.complete(image, hole, points())[hole], coarse.complete(other, hole, points())[hole]
    )


class Grey:
    """A first guess that mirrors exactly, unlike the fitted one."""

    def complete(self, image, hole, landmarks=None):
        return np.where(hole[..., None], np.uint8(128), image)


def test_a_mirrored_face_is_completed_mirrored(image, hole):
    keras.utils.set_random_seed(0)
    coarse = CoarsePrior(Grey(), build_coarse(**SMALL), "male")
    where = np.rint(points())
    straight = coarse.complete(image, hole, where).astype(int)
    flipped = where * (-1, 1) + (191, 0)
    mirrored = coarse.complete(image[:, ::-1].copy(), hole[:, ::-1], flipped).astype(int)
    assert np.abs(straight - 128)[hole].max() > 1
    assert np.abs(straight - mirrored[:, ::-1]).max() <= 1


def test_takes_68_points_and_none(prior, image, hole):
    coarse = CoarsePrior(prior, network(), "male")
    blind = coarse.complete(image, hole)
    # The linear part knows 98 points only.
    assert np.abs(coarse.complete(image, hole, points(68)).astype(int) - blind).max() <= 1


def test_genders(prior):
    np.testing.assert_array_equal(gender_code("male"), [1, 0])
    np.testing.assert_array_equal(gender_code("female"), [0, 1])
    np.testing.assert_array_equal(gender_code(None), [0, 0])
    coarse = CoarsePrior(prior, network())
    assert coarse.for_gender("female").gender == "female"
    assert coarse.gender is None
    with pytest.raises(ValueError, match="gender='x'"):
        coarse.for_gender("x")
    assert prior.for_gender("male") is prior


def test_outside_is_filled_by_the_linear_model(prior, image, hole):
    valid = np.ones_like(hole)
    valid[:, 180:] = False
    arguments = image, hole, valid, points()
    np.testing.assert_array_equal(
        CoarsePrior(prior, network(0.3)).fill_outside(*arguments), prior.fill_outside(*arguments)
    )


def test_hole_error_by_hand():
    weight = np.zeros((2, 64, 64, 1), np.uint8)
    weight[0, :8, :8] = 255  # only these count
    weight[1, :8, :8] = 51
    error = np.zeros((2, 64, 64, 3), np.float32)
    error[0, :8, :8] = 0.1
    error[0, 8:] = 9.0
    error[1, :4, :8] = 0.2
    errors = np.array([0.1, np.sqrt(0.02)])
    np.testing.assert_allclose(HoleError(name="e").call(weight, error), errors, rtol=2e-4)
    np.testing.assert_allclose(hole_psnr(weight, error), -20 * np.log10(errors), rtol=2e-4)


@pytest.fixture
def draw(faces, prior, tmp_path):
    """What draws ten samples, three in a file."""

    def drawn(count=10, workers=0):
        settings = SampleSettings(framing="window", side=192, hole_growth=(4, 4))
        sampler = InpaintingSampler(faces, settings, batch_size=1, seed=5, guess=lambda: prior)
        return draw_samples(SampleFile(sampler, tmp_path, count, per_file=3), workers)

    return drawn


def joined(paths):
    return np.concatenate(read_samples(paths))


def test_samples_are_kept_and_repeatable(draw):
    files = draw()
    samples = joined(files)
    assert (len(files), len(samples)) == (4, 10)
    assert np.bincount(samples["gender"], minlength=3)[1:].min() >= 4
    inside, outside = samples["hole"][..., 0] == 255, samples["hole"][..., 0] == 0
    assert 0.05 < inside.mean() < 0.6
    seen = outside & (samples["valid"][..., 0] == 255)
    difference = np.abs(samples["guess"].astype(int) - samples["truth"])
    assert np.median(difference[seen]) == 0
    assert difference[inside].mean() > 3

    before = [path.stat().st_mtime_ns for path in files]
    files[0].unlink()
    again = draw()
    assert [p.stat().st_mtime_ns for p in again][1:] == before[1:]
    assert joined(again).tobytes() == samples.tobytes()


def test_a_broken_file_of_samples_is_named(draw):
    files = draw(4)
    files[-1].write_bytes(files[-1].read_bytes()[:100])
    with pytest.raises(DataError, match=files[-1].name):
        read_samples(files)
    np.save(files[-1], np.zeros(3))
    with pytest.raises(DataError, match="of this version"):
        read_samples(files)


class Repainter(keras.layers.Layer):
    """Stands for a network that paints nothing."""

    def call(self, inputs):
        return inputs[0]


def test_batches_change_everything_together(draw):
    """What is mirrored and recoloured on the device, by hand."""
    files = draw()
    samples = joined(files)
    sampler = CoarseSampler(
        files, batch_size=64, seed=1, blind=0.2, nameless=0.3, exposure=0.12, cast=0.05,
        saturation=0.2,
    )  # fmt: skip
    inputs, weight = sampler(3)
    again, _ = sampler(3)
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs)
    known = {row["truth"].tobytes(): row for row in samples}
    for i, truth in enumerate(inputs["truth"]):
        row = known[truth.tobytes()]
        for name in ("guess", "hole"):
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

    guess = keras.Input((64, 64, 3))
    others = [keras.Input(shape) for shape in ((64, 64, 1), (192, 192, 1), (2,))]
    network = keras.Model([guess, *others], Repainter()([guess, *others]))
    error = np.asarray(trained_model(network).predict_on_batch(inputs))

    def changed(name):
        turned = np.where(inputs["mirrored"][..., None, None], inputs[name][:, :, ::-1],
                          inputs[name])  # fmt: skip
        mixed = np.einsum("nhwc,ncd->nhwd", turned / np.float32(255), inputs["colours"])
        return np.clip(mixed, 0, 1)

    np.testing.assert_allclose(error, changed("guess") - changed("truth"), atol=1e-5)


@pytest.fixture
def task(face_folder, prior, tmp_path):
    """What makes the task on some folder of faces."""
    prior.save(tmp_path / "prior.safetensors")

    def make(folder=face_folder, out=tmp_path / "run", **changes):
        recipe = read_recipe("lite/coarse", {
            "prior": str(tmp_path / "prior.safetensors"), "width": 8, "blocks": [1, 1, 1],
            "training_samples": 12, "validation_samples": 4, "batch_size": 4, "minutes": 0.0,
            "steps": 40, "history_steps": 10, "dtype_policy": "float32",
            "samples.predicted": 0.0, "optimizer.learning_rate": 3e-3,
            "optimizer.ema_momentum": 0.8, **changes,
        })  # fmt: skip
        return CoarseTask(recipe.phase(0, CoarseTask.recipe_type), Places([folder], out))

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
    genders = joined(sorted((tmp_path / "run" / "samples" / "train").iterdir()))["gender"]
    unknown, men, women = np.bincount(genders, minlength=3)
    assert unknown + women == 12
    assert women >= 8
    assert men == 0


def test_a_short_training_improves_on_the_linear_guess(task, tmp_path):
    path = train(task(), workers=0)
    best = float(load_metadata(path)["psnr"])
    (samples,) = read_samples(sorted((tmp_path / "run" / "samples" / "val").iterdir()))
    inputs, weight = as_inputs(np.array(samples))
    model = build_coarse(**SMALL)
    load_weights(model, path)
    kept = float(np.mean(hole_psnr(weight, trained_model(model).predict_on_batch(inputs))))
    assert kept == pytest.approx(best, abs=0.1)  # stored as float16
    guess, truth = (inputs[name] / np.float32(255) for name in ("guess", "truth"))
    assert kept > float(np.mean(hole_psnr(weight, guess - truth))) + 0.5


def test_load_first_guess(prior, tmp_path):
    path = tmp_path / "prior.safetensors"
    prior.save(path)
    assert isinstance(load_first_guess(path), LinearPrior)
    with pytest.raises(WeightsError):
        load_first_guess(path, path)

"""The network that corrects the linear first guess: its model, its samples and its training."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

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
from unmask.inpainting.coarse_data import CoarseBatches, draw_samples, read_samples
from unmask.inpainting.coarse_train import CoarseTraining, HoleError, hole_psnr, train
from unmask.inpainting.data import Variety
from unmask.inpainting.prior import LinearPrior
from unmask.weights import find, load_arrays, load_weights

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
    truth = np.zeros((2, 64, 64, 4), np.float32)
    truth[0, :8, :8, 3] = 1.0  # only these count
    truth[1, :8, :8, 3] = 0.5
    guess = np.zeros((2, 64, 64, 3), np.float32)
    guess[0, :8, :8] = 0.1
    guess[0, 8:] = 9.0
    guess[1, :4, :8] = 0.2
    errors = np.array([0.1, np.sqrt(0.02)])
    loss = HoleError(name="e")
    np.testing.assert_allclose(loss.call(truth, guess), errors, rtol=2e-4)
    np.testing.assert_allclose(hole_psnr(truth, guess), -20 * np.log10(errors), rtol=2e-4)


def draw(records, prior, folder, count=10):
    variety = Variety(predicted=0.0)
    return list(draw_samples(records, prior, folder, count, seed=5, variety=variety))


def test_samples_are_kept_and_repeatable(records, prior, tmp_path):
    files = draw(records, prior, tmp_path / "a")
    samples = read_samples(files)
    assert len(samples["gender"]) == 10
    assert np.bincount(samples["gender"]).tolist() == [0, 5, 5]
    inside = samples["hole"] == 255
    assert 0.05 < inside.mean() < 0.6
    outside = samples["hole"] == 0
    seen = outside & (samples["valid"] == 255)
    # Ear loops and shadows apart, the guess keeps what is known.
    assert np.median(np.abs(samples["guess"].astype(int) - samples["truth"])[seen]) == 0
    assert np.abs(samples["guess"].astype(int) - samples["truth"])[inside].mean() > 3

    before = [path.stat().st_mtime_ns for path in files]
    files[0].unlink()
    again = draw(records, prior, tmp_path / "a")
    assert [p.stat().st_mtime_ns for p in again][1:] == before[1:]
    for name, values in read_samples(again).items():
        np.testing.assert_array_equal(values, samples[name])


def test_a_broken_file_of_samples_is_named(records, prior, tmp_path):
    files = draw(records, prior, tmp_path, 4)
    files[-1].write_bytes(files[-1].read_bytes()[:100])
    with pytest.raises(DataError, match=files[-1].name):
        read_samples(files)


def test_batches_change_everything_together(records, prior, tmp_path):
    samples = read_samples(draw(records, prior, tmp_path)[-1:])  # of women
    (guess, hole, marks, gender), wanted = CoarseBatches(samples, 64, steps=1, seed=1)[0]
    assert guess.shape == (64, 64, 64, 3)
    assert marks.shape == (64, 192, 192, 1)
    holes = np.concatenate([samples["hole"], samples["hole"][:, :, ::-1]]) / np.float32(255)
    ways, casts = set(), []
    for i in range(64):
        which = int(np.flatnonzero((holes == hole[i, ..., 0]).all((1, 2)))[0])
        flip, place = divmod(which, len(samples["hole"]))
        turn = slice(None, None, -1 if flip else 1)
        bits = np.unpackbits(samples["landmarks"][place]).reshape(192, 192)[:, turn]
        assert not marks[i].any() or np.array_equal(marks[i, ..., 0], bits)
        assert not gender[i].any() or np.array_equal(gender[i], gender_code("female"))
        # One matrix, of about 1, makes the colours of guess and truth out of the sample's.
        before = [samples[n][place][:, turn].reshape(-1, 3) / 255.0 for n in ("guess", "truth")]
        after = [guess[i].reshape(-1, 3), wanted[i, ..., :3].reshape(-1, 3)]
        clear = (after[1] > 0).all(1) & (after[1] < 1).all(1)
        matrix, *_ = np.linalg.lstsq(before[1][clear], after[1][clear], rcond=None)
        assert 0.2 < np.linalg.det(matrix) < 5
        for was, became in zip(before, after, strict=True):
            np.testing.assert_allclose(np.clip(was @ matrix, 0, 1), became, atol=2e-3)
        casts.append(matrix)
        ways.add((bool(flip), bool(marks[i].any()), bool(gender[i].any())))
    assert {(True, True, True), (False, True, True), (True, True, False)} <= ways
    assert 0.05 < np.std(casts, axis=0).max() < 0.3


def test_batches_without_steps_are_every_sample_once(records, prior, tmp_path):
    samples = read_samples(draw(records, prior, tmp_path))
    batches = CoarseBatches(samples, 4)
    assert [len(batches[i][1]) for i in range(len(batches))] == [4, 4, 2]
    truth = np.concatenate([batches[i][1][..., :3] for i in range(3)])
    np.testing.assert_allclose(truth * 255, samples["truth"], atol=1e-3)


@pytest.fixture
def config(face_folder, prior, tmp_path):
    prior.save(tmp_path / "prior.safetensors")
    return CoarseTraining(
        folders=[face_folder], prior=tmp_path / "prior.safetensors", out=tmp_path / "out",
        minutes=60, epochs=5, samples=12, validation=4, batch_size=4, steps=10, rate=3e-3,
        average=0.8, policy="float32", network=SMALL,
    )  # fmt: skip


def test_faces_of_unknown_gender_are_named(config, tmp_path):
    """Named by the shipped gender network, the portrait's copies become samples of women."""
    unlabelled = tmp_path / "unlabelled"
    shutil.copytree(config.folders[0], unlabelled)
    (unlabelled / "labels.csv").unlink()
    archive = dict(np.load(unlabelled / "landmarks98.npz"))
    splits = np.array(["train"] * 6 + ["val"] * 2)
    np.savez(unlabelled / "landmarks98.npz", **archive, split=splits)
    weights = find("lite", "gender").path
    train(replace(config, folders=[unlabelled], epochs=1, steps=1, gender_weights=weights))
    genders = read_samples(sorted((config.out / "train").iterdir()))["gender"]
    unknown, men, women = np.bincount(genders, minlength=3)
    assert unknown + women == 12
    assert women >= 8
    assert men == 0


def history(out: Path) -> list[dict[str, str]]:
    with (out / "history.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_a_short_training_improves_on_the_linear_guess(config):
    path = train(config)
    rows = history(config.out)
    assert float(rows[-1]["loss"]) < 0.8 * float(rows[0]["loss"])
    best = max(float(row["val_hole_psnr"]) for row in rows)
    noted = load_arrays(path)[1]
    assert float(noted["val_hole_psnr"]) == pytest.approx(best, rel=1e-4)
    samples = read_samples(sorted((config.out / "val").iterdir()))
    inputs, wanted = CoarseBatches(samples, 50)[0]
    linear = float(np.mean(hole_psnr(wanted, inputs[0])))
    model = build_coarse(**SMALL)
    load_weights(model, path)
    kept = float(np.mean(hole_psnr(wanted, np.asarray(model(inputs)))))
    assert kept == pytest.approx(best, abs=0.1)  # stored as float16
    assert kept > linear + 0.5


def test_no_faces_is_an_error(config, tmp_path):
    with pytest.raises(DataError, match="no faces to train on"):
        next(draw_samples([], LinearPrior.load(config.prior), tmp_path, 1, seed=0,
                          variety=Variety()))  # fmt: skip
    with pytest.raises(WeightsError, match=r"none\.safetensors"):
        train(replace(config, init=tmp_path / "none.safetensors"))


def test_load_first_guess(config, prior, tmp_path):
    assert isinstance(load_first_guess(config.prior), LinearPrior)
    with pytest.raises(WeightsError):
        load_first_guess(config.prior, config.prior)

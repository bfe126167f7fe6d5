import csv

import keras
import numpy as np
import pytest

from unmask.segmentation.teacher import build_teacher, decoder_of
from unmask.segmentation.train import TEACHER, TrainConfig, train
from unmask.weights import load_arrays, load_weights, save_weights

SIDE = 96


@pytest.fixture(scope="module")
def teacher():
    keras.utils.set_random_seed(0)
    return build_teacher(None, SIDE)


def probability(teacher):
    photo = np.random.default_rng(0).random((1, SIDE, SIDE, 3)).astype(np.float32)
    return np.asarray(keras.ops.convert_to_numpy(teacher(photo, training=False)))


def test_a_probability_for_every_pixel(teacher):
    found = probability(teacher)
    assert found.shape == (1, SIDE, SIDE, 1)
    assert found.dtype == np.float32
    assert 0 < found.min() < found.max() < 1


def test_only_the_decoder_learns_and_is_stored(teacher, tmp_path):
    decoder = decoder_of(teacher)
    assert [v.path for v in teacher.trainable_variables] == [
        v.path for v in decoder.trainable_variables
    ]
    before = probability(teacher)
    path = tmp_path / "decoder.safetensors"
    save_weights(decoder, path)
    names = set(load_arrays(path)[0])
    assert {"deep_wide_conv/kernel", "up1_1_bn/gamma", "logit/bias"} <= names
    assert not any("conv2d" in name or "mixed" in name for name in names)
    for variable in decoder.trainable_variables:
        variable.assign(variable + 0.1)
    assert np.abs(probability(teacher) - before).max() > 0.01
    load_weights(decoder, path)
    np.testing.assert_allclose(probability(teacher), before, atol=2e-3)


def test_maps_lie_where_the_photo_has_them(teacher):
    """What changes at a place of the photo changes every aligned map around that place."""
    encoder, decoder = teacher.get_layer("inception_pyramid"), decoder_of(teacher)
    align = keras.Model(
        decoder.inputs, [decoder.get_layer(f"align{level}").output for level in (1, 2, 3)]
    )
    photo = np.zeros((2, SIDE, SIDE, 3), np.float32)
    photo[1, 44:52, 44:52] = 1.0
    for found in align(encoder(photo, training=False)):
        change = np.abs(np.diff(keras.ops.convert_to_numpy(found), axis=0))[0].sum(-1)
        positions = np.arange(len(change)) + 0.5
        for axis in (0, 1):
            middle = np.average(positions, weights=change.sum(axis)) * SIDE / len(change)
            assert abs(middle - SIDE / 2) < 0.5 * SIDE / len(change) + 2


@pytest.mark.parametrize("side", [64, 100])
def test_sides_that_do_not_fit(side):
    with pytest.raises(ValueError, match=f"side={side}"):
        build_teacher(None, side)


def test_training_leaves_a_decoder_that_loads(teacher, data_folder, tmp_path):
    settings = TEACHER | {"shapes": ((SIDE, 2),)}
    out = tmp_path / "run"
    path = train(TrainConfig(data_folder, out, minutes=0.02, steps=1, policy="float32", **settings))
    assert load_weights(decoder_of(teacher), path)["family"] == "teacher"
    with (out / "history.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert 0 <= float(rows[-1]["val_iou"]) <= 1


def test_a_teacher_has_one_side(data_folder, tmp_path):
    with pytest.raises(ValueError, match="one side"):
        train(TrainConfig(data_folder, tmp_path, family="teacher"))

"""The published network has the published size; ours shares its parts."""

import keras
import numpy as np
import pytest
from keras import ops

from unmask.landmarks.lite import build_lite
from unmask.landmarks.paper import AddCoordinates, build_fan
from unmask.training.task import precision


def test_published_size_has_the_published_parameter_count():
    model = build_fan()
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 24_153_036
    assert [tuple(output.shape) for output in model.outputs] == [(None, 64, 64, 99)] * 4


def test_coordinates_run_over_rows_then_columns():
    out = ops.convert_to_numpy(AddCoordinates()(np.full((1, 3, 5, 2), 7.0, np.float32)))[0]
    assert out.shape == (3, 5, 5)
    np.testing.assert_array_equal(out[..., :2], 7)
    np.testing.assert_allclose(out[:, 0, 2], [-1, 0, 1])
    np.testing.assert_allclose(out[0, :, 3], [-1, -0.5, 0, 0.5, 1])
    np.testing.assert_allclose(out[[0, 1], [0, 2], 4], [1, 0])


def test_boundary_coordinates_exist_only_on_the_boundary():
    heatmaps = np.zeros((1, 4, 4, 3), np.float32)
    heatmaps[0, 0, 0, 2], heatmaps[0, 3, 3, 2], heatmaps[0, 1, 1, 2] = 0.06, 7.0, 0.05
    heatmaps[0, 2, 2, 0] = 1.0  # a landmark is not a boundary
    out = ops.convert_to_numpy(AddCoordinates()([np.zeros((1, 4, 4, 1), np.float32), heatmaps]))[0]
    assert out.shape == (4, 4, 6)
    np.testing.assert_allclose(out[0, 0, 4:], [-1, -1])
    np.testing.assert_allclose(out[3, 3, 4:], [1, 1])
    assert np.count_nonzero(out[..., 4:]) == 4


def test_every_hourglass_has_an_output():
    model = build_fan(stacks=2, points=5, width=16, depth=2, size=64)
    outputs = model(np.zeros((2, 64, 64, 3), np.float32))
    assert [tuple(o.shape) for o in outputs] == [(2, 16, 16, 6)] * 2
    names = [layer.name for layer in model.layers]
    assert len(names) == len(set(names))


def test_lite_is_small():
    model = build_lite()
    assert model.count_params() * 2 < 12e6
    assert tuple(model.outputs[-1].shape) == (None, 64, 64, 99)


def test_saving_restores_the_same_network(tmp_path):
    model = build_fan(stacks=2, points=3, width=16, depth=1, size=32)
    image = np.random.default_rng(0).uniform(0, 1, (1, 32, 32, 3)).astype(np.float32)
    model.save(tmp_path / "fan.keras")
    again = keras.saving.load_model(tmp_path / "fan.keras")
    np.testing.assert_allclose(again(image)[-1], model(image)[-1], atol=1e-6)


def test_mixed_precision_keeps_heatmaps_in_float32():
    with precision("mixed_bfloat16"):
        model = build_lite(points=3, width=16, depth=1, size=32)
    assert model(np.zeros((1, 32, 32, 3), np.float32))[0].dtype == "float32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 24}, "width=24"),
        ({"size": 100}, "size=100"),
        ({"stacks": 0}, "stacks=0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_fan(**arguments)


def test_the_lite_image_must_fit_its_smaller_maps():
    with pytest.raises(ValueError, match="multiple of 64 for depth=3"):
        build_lite(size=96)

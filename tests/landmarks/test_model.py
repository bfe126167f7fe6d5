import keras
import numpy as np
import pytest
from keras import ops

from unmask.landmarks.model import LITE, AddCoordinates, build_fan
from unmask.training.precision import precision


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


@pytest.mark.parametrize("stem", ["published", "quarter", "eighth"])
def test_members_of_the_family_have_one_output_a_stack(stem):
    model = build_fan(stacks=2, points=5, width=16, depth=2, stem=stem, size=64)
    outputs = model(np.zeros((2, 64, 64, 3), np.float32))
    assert [tuple(o.shape) for o in outputs] == [(2, 16, 16, 6)] * 2
    names = [layer.name for layer in model.layers]
    assert len(names) == len(set(names))


def test_lite_is_small():
    model = build_fan(**LITE)
    assert model.count_params() * 2 < 12e6
    assert tuple(model.outputs[-1].shape) == (None, 64, 64, 99)


def test_saving_restores_the_same_network(tmp_path):
    model = build_fan(stacks=2, points=3, width=16, depth=1, stem="quarter", size=32)
    image = np.random.default_rng(0).uniform(0, 1, (1, 32, 32, 3)).astype(np.float32)
    model.save(tmp_path / "fan.keras")
    again = keras.saving.load_model(tmp_path / "fan.keras")
    np.testing.assert_allclose(again(image)[-1], model(image)[-1], atol=1e-6)


def test_mixed_precision_keeps_heatmaps_in_float32():
    with precision("mixed_bfloat16"):
        model = build_fan(stacks=1, points=3, width=16, depth=1, stem="eighth", size=32)
    assert model(np.zeros((1, 32, 32, 3), np.float32))[0].dtype == "float32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 24}, "width=24"),
        ({"size": 100}, "size=100"),
        ({"stem": "cheap"}, "stem='cheap'"),
        ({"stacks": 0}, "stacks=0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_fan(**arguments)

"""LaFIn's landmark predictor: size, conversion, output."""

import keras
import numpy as np
import pytest

from unmask.errors import WeightsError
from unmask.landmarks.convert import convert_state_dict
from unmask.landmarks.lafin import build_mobilenet

SUFFIXES = {
    "kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "alpha": "weight",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip


@pytest.fixture(scope="module")
def network():
    return build_mobilenet()


def published(model):
    """A state dict of the same structure, from what is known of PyTorch's names and layouts."""
    rng = np.random.default_rng(0)
    state = {"module.last_block.1.num_batches_tracked": np.array(3)}
    for variable in model.weights:
        layer, leaf = variable.path.split("/")[-2:]
        numbered = layer.startswith(("features", "last_block"))
        name = layer.replace("last_block_", "last.block.").replace("_", ".") if numbered else layer
        name = name.replace("last.block.", "last_block.")
        shape = tuple(variable.shape)
        if len(shape) == 4:
            depthwise = isinstance(model.get_layer(layer), keras.layers.DepthwiseConv2D)
            shape = (shape[2], 1, *shape[:2]) if depthwise else (shape[3], shape[2], *shape[:2])
        elif len(shape) == 2:
            shape = shape[::-1]
        state[f"module.{name}.{SUFFIXES[leaf]}"] = rng.uniform(0.1, 1, shape).astype(np.float32)
    return state


def test_parameters_and_output(network):
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == 2_554_569
    assert network.output_shape == (None, 68, 2)
    with pytest.raises(ValueError, match="points=0"):
        build_mobilenet(0)


def test_every_published_tensor_finds_its_variable(network):
    state = published(network)
    model, report = convert_state_dict(state)
    assert not report.missing
    assert not report.unused
    assert len(report.loaded) == len(state) - 1
    for layer, axes in (("features_2_conv_3", (2, 3, 0, 1)), ("last_block_0", (2, 3, 1, 0))):
        tensor = state[f"module.{layer.replace('_', '.').replace('last.', 'last_')}.weight"]
        kernel = keras.ops.convert_to_numpy(model.get_layer(layer).kernel)
        np.testing.assert_array_equal(kernel, tensor.transpose(axes))
    dense = keras.ops.convert_to_numpy(model.get_layer("fc_landmark").kernel)
    np.testing.assert_array_equal(dense, state["module.fc_landmark.weight"].T)


def test_a_missing_tensor_is_named(network):
    state = published(network)
    del state["module.conv_node1.bias"]
    with pytest.raises(WeightsError, match=r"conv_node1\.bias is missing"):
        convert_state_dict(state)


def test_places_are_those_of_the_last_layer(network):
    layer = network.get_layer("fc_landmark")
    layer.kernel.assign(layer.kernel * 0)
    layer.bias.assign(np.tile([0.25, 0.5], 68))
    places = network(np.zeros((3, 256, 256, 3), np.float32))
    np.testing.assert_allclose(places, np.full((3, 68, 2), [0.25, 0.5]))

"""The converter of the published networks, and their outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from unmask.errors import WeightsError
from unmask.landmarks.convert import convert_state_dict, load_published


def small_state(stacks=2, points=5, width=32):
    """A state dict of a small network, under the published names."""
    rng = np.random.default_rng(0)

    def convolution(name, out, into, kernel, bias):
        state[f"{name}.weight"] = rng.normal(0, 0.1, (out, into, kernel, kernel))
        if bias:
            state[f"{name}.bias"] = rng.normal(0, 0.1, out)

    def norm(name, channels):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{leaf}"] = rng.uniform(0.5, 1.5, channels)
        state[f"{name}.num_batches_tracked"] = np.array(7)

    def block(name, into, out):
        sizes = (into, out // 2, out // 4, out // 4)
        for i in range(3):
            norm(f"{name}.bn{i + 1}", sizes[i])
            convolution(f"{name}.conv{i + 1}", sizes[i + 1], sizes[i], 3, bias=False)
        if into != out:
            norm(f"{name}.downsample.0", into)
            convolution(f"{name}.downsample.2", out, into, 1, bias=False)

    state = {}
    convolution("conv1.conv", width // 4, 6, 7, bias=True)
    norm("bn1", width // 4)
    block("conv2", width // 4, width // 2)
    block("conv3", width // 2, width // 2)
    block("conv4", width // 2, width)
    for i in range(stacks):
        convolution(f"m{i}.coordconv.conv", width, width + (5 if i else 3), 1, bias=True)
        for level in range(1, 5):
            for part in ("b1", "b2", "b3"):
                block(f"m{i}.{part}_{level}", width, width)
        block(f"m{i}.b2_plus_1", width, width)
        block(f"top_m_{i}", width, width)
        convolution(f"conv_last{i}", width, width, 1, bias=True)
        norm(f"bn_end{i}", width)
        convolution(f"l{i}", points + 1, width, 1, bias=True)
        if i < stacks - 1:
            convolution(f"bl{i}", width, width, 1, bias=True)
            convolution(f"al{i}", width, points + 1, 1, bias=True)
    return state


def test_every_published_tensor_finds_its_variable():
    state = small_state()
    model, report = convert_state_dict(state | {"extra.weight": np.zeros(3)})
    assert report.missing == ()
    assert report.unused == ("extra.weight",)
    assert set(report.loaded) == {name for name in state if not name.endswith("batches_tracked")}
    kernel = model.get_layer("m1_b2_plus_1_conv2").kernel
    expected = state["m1.b2_plus_1.conv2.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), expected, rtol=1e-6)
    moving = model.get_layer("conv4_downsample_0").moving_variance
    expected = state["conv4.downsample.0.running_var"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(moving), expected, rtol=1e-6)


def test_missing_and_misshapen_tensors_are_named():
    state = small_state(stacks=1)
    del state["bn_end0.bias"]
    with pytest.raises(WeightsError, match=r"mine: .*bn_end0\.bias is missing"):
        convert_state_dict(state, source="mine")
    state = small_state(stacks=1) | {"bn1.weight": np.zeros(3)}
    with pytest.raises(WeightsError, match=r"bn1\.weight has the shape \(3,\)"):
        convert_state_dict(state)
    with pytest.raises(WeightsError, match="neither AdaptiveWingLoss"):
        convert_state_dict({"features.0.weight": np.zeros((4, 3, 3, 3))})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"l0.weight": np.zeros(())}, r"l0\.weight must have 4 axes"),
        ({"l0.weight": np.zeros(6)}, r"l0\.weight must have 4 axes"),
        ({"l0.weight": np.zeros((6, 0, 1, 1))}, r"l0\.weight must have 4 axes"),
        ({"l0.weight": np.zeros((6, 30, 1, 1))}, "width that 16 divides"),
        ({"l0.weight": np.zeros((6, 32_000, 1, 1))}, "weights. Received"),
        ({f"l{i}.weight": np.zeros(1) for i in range(2, 40)}, "up to 16 hourglasses"),
        ({"bn1.bias": np.full(8, np.nan)}, r"bn1\.bias has values that are not finite"),
        ({"bn1.bias": np.full(8, 1j)}, r"bn1\.bias must hold numbers"),
    ],
)
def test_tensors_that_make_no_network_are_refused_before_it_is_built(change, message):
    with pytest.raises(WeightsError, match=message):
        convert_state_dict(small_state() | change)


@pytest.mark.parametrize("shape", [(), (10,), (9, 4)])
def test_lafins_last_layer_is_checked(shape):
    with pytest.raises(WeightsError, match=r"fc_landmark\.weight"):
        convert_state_dict({"fc_landmark.weight": np.zeros(shape)})


def test_pth_files_load_with_either_wrapping(tmp_path):
    torch = pytest.importorskip("torch", reason="reading .pth files needs PyTorch")
    tensors = {k: torch.from_numpy(np.asarray(v)) for k, v in small_state(stacks=1).items()}
    prefixed = {f"module.{name}": value for name, value in tensors.items()}
    loaded = []
    for content in (tensors, {"state_dict": prefixed, "epoch": 3}):
        torch.save(content, tmp_path / "net.pth")
        model, report = load_published(tmp_path / "net.pth")
        assert len(report.loaded) > 100
        assert not report.unused
        loaded.append(model.get_weights())
    for plain, wrapped in zip(*loaded, strict=True):
        np.testing.assert_array_equal(plain, wrapped)
    with pytest.raises(WeightsError, match="no such file"):
        load_published(tmp_path / "absent.pth")
    (tmp_path / "broken.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="not a readable PyTorch"):
        load_published(tmp_path / "broken.pth")


PARITY_SCRIPT = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from state_dicts import make_state_dict
from unmask.landmarks.convert import convert_state_dict
image = np.random.Generator(np.random.PCG64(1001)).uniform(0, 1, (1, 3, 256, 256)).astype("float32")
image = image.transpose(0, 2, 3, 1)
errors, unused = {}, []

def compare(name, ours, theirs):
    errors[name] = float(np.linalg.norm(np.asarray(ours) - theirs) / np.linalg.norm(theirs))

model, report = convert_state_dict(make_state_dict("awing_wflw_4hg", 1))
unused += report.unused
stored = np.load(sys.argv[1] + "/outputs/awing_wflw_4hg-seed1.npz")
outputs = model(image, training=False)
for name, ours in (("first", outputs[0]), ("last", outputs[3])):
    compare(name, ours, stored["output_heatmaps_" + name].transpose(0, 2, 3, 1))
model, report = convert_state_dict(make_state_dict("lafin_landmarks68", 1))
unused += report.unused
stored = np.load(sys.argv[1] + "/outputs/lafin_landmarks68-seed1.npz")
compare("lafin", np.reshape(model(image, training=False), (1, -1)), stored["output"])
print(json.dumps({"errors": errors, "unused": unused}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_parity_with_the_published_networks(parity_dir, backend):
    pytest.importorskip(backend)
    environment = os.environ | {"KERAS_BACKEND": backend}
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PARITY_SCRIPT, str(parity_dir)],
        env=environment, cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result["errors"]) == {"first", "last", "lafin"}
    assert max(result["errors"].values()) < 1e-3
    assert result["unused"] == []

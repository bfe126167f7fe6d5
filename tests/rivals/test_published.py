"""The rivals' networks: published sizes, converters, and parity with recorded outputs."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from unmask.errors import WeightsError
from unmask.rivals import aot, deepfill2, edgeconnect, pluralistic
from unmask.weights import load_weights, save_weights

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = {
    "deepfill2_generator": 4_052_478,
    "deepfill2_discriminator": 5_946_816,
    "edgeconnect_edge": 10_761_089,
    "edgeconnect_inpaint": 10_774_595,
    "edgeconnect_edge_discriminator": 2_762_752,
    "edgeconnect_inpaint_discriminator": 2_763_776,
    "pluralistic_encoder": 3_604_224,
    "pluralistic_generator": 2_374_016,
    "pluralistic_discriminator": 1_099_555,
    "aot_generator": 15_200_835,
    "aot_discriminator": 2_763_777,
    "lafin_generator": 11_734_981,
    "lafin_discriminator": 2_768_930,
}
SMALL = {
    "edges": (partial(edgeconnect.build_edge_generator, 4, 2), edgeconnect.convert_tensors),
    "paint": (partial(edgeconnect.build_inpaint_generator, 4, 2), edgeconnect.convert_tensors),
    "encoder": (partial(pluralistic.build_encoder, 4), pluralistic.convert_tensors),
    "generator": (partial(pluralistic.build_generator, 4), pluralistic.convert_tensors),
    "deepfill2": (partial(deepfill2.build_generator, 4), deepfill2.convert_tensors),
}
# What PyTorch calls the kernel that is trained where its norm is divided out.
SPECTRAL = {"pluralistic": "weight_bar", "edgeconnect": "weight_orig"}


def published(model):
    """Random tensors in PyTorch's layout under the names that the published code gives them."""
    rng, system = np.random.default_rng(3), model.name.split("_")[0]
    spectral = {v.path.split("/")[0] for v in model.weights if v.path.endswith("/left")}
    tensors = {}
    for variable in model.weights:
        layer, *inner, leaf = variable.path.split("/")
        affine = "model." in layer
        leaf = {
            "kernel": SPECTRAL[system] if layer in spectral else "weight",
            "left": "weight_u",
            "right": "weight_v",
            "gamma": "weight" if affine else "gamma",
            "beta": "bias",
        }.get(leaf, leaf)
        if system == "deepfill2":
            layer += ".conv.conv" if "upsample" in layer else ".conv"
        name = ".".join([layer, *(["query_conv"] if inner else []), leaf])
        value = rng.normal(size=variable.shape).astype(np.float32)
        tensors[name] = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
    return tensors


def aot_state(width=8, blocks=2):
    """AOT-GAN's generator, name by name."""
    rng, w = np.random.default_rng(0), width
    shapes = {
        "encoder.1": (w, 4, 7, 7), "encoder.3": (2 * w, w, 4, 4), "encoder.5": (4 * w, 2 * w, 4, 4),
        "decoder.0.conv": (2 * w, 4 * w, 3, 3), "decoder.2.conv": (w, 2 * w, 3, 3),
        "decoder.4": (3, w, 3, 3),
    }  # fmt: skip
    for i in range(blocks):
        shapes |= {f"middle.{i}.block0{branch}.1": (w, 4 * w, 3, 3) for branch in range(4)}
        shapes |= {f"middle.{i}.{part}.1": (4 * w, 4 * w, 3, 3) for part in ("fuse", "gate")}
    state = {f"{name}.weight": rng.normal(size=shape) for name, shape in shapes.items()}
    return state | {f"{name}.bias": rng.normal(size=shape[0]) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", SMALL)
def test_every_tensor_is_read_and_survives_our_own_file(tmp_path, name):
    build, convert = SMALL[name]
    other = build()
    tensors = published(other)
    model, report = convert(tensors)
    assert (set(report.loaded), report.missing, report.unused) == (set(tensors), (), ())
    for variable in model.weights:
        assert np.abs(np.asarray(variable)).max() > 0, variable.path
    save_weights(model, tmp_path / "net.safetensors", dtype="float32")
    load_weights(other, tmp_path / "net.safetensors")
    for ours, theirs in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_tensors_find_their_places():
    tensors = published(edgeconnect.build_edge_generator(4, 2))
    assert tensors["decoder.0.weight_orig"].shape == (16, 8, 4, 4)
    assert (len(tensors["decoder.0.weight_u"]), len(tensors["decoder.0.weight_v"])) == (8, 256)
    model, _ = edgeconnect.convert_tensors(tensors)
    kernel = np.asarray(model.get_layer("middle.1.conv_block.5").kernel)
    expected = tensors["middle.1.conv_block.5.weight_orig"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, expected)
    assert "middle.1.conv_block.5.bias" not in tensors
    tensors = published(pluralistic.build_generator(4))
    assert tensors["decoder3.bypass.module.weight_bar"].shape == (19, 8, 3, 3)
    assert len(tensors["decoder3.bypass.module.weight_u"]) == 19
    assert len(tensors["decoder3.model.0.weight"]) == 19
    assert {"attn1.gamma", "attn1.alpha", "attn1.query_conv.weight"} < set(tensors)
    state = aot_state()
    model, report = aot.convert_tensors(state)
    assert (report.missing, report.unused) == ((), ())
    layer = model.get_layer("middle1_branch4")
    expected = state["middle.1.block02.1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(layer.kernel, expected, rtol=1e-6)
    assert layer.dilation_rate == (4, 4)


def test_foreign_tensors_are_named():
    tensors = published(edgeconnect.build_inpaint_generator(4, 2))
    blocks = {f"middle.{i}.conv_block.1.weight": np.zeros(1) for i in range(99)}
    with pytest.raises(WeightsError, match="mine: more than 64 blocks"):
        edgeconnect.convert_tensors(tensors | blocks, source="mine")
    for convert, foreign in (
        (aot.convert_tensors, tensors),
        (pluralistic.convert_tensors, tensors),
        (deepfill2.convert_tensors, tensors),
        (edgeconnect.convert_tensors, aot_state()),
    ):
        with pytest.raises(WeightsError, match=r"none of|neither|not AOT|not DeepFill"):
            convert(foreign)
    with pytest.raises(WeightsError, match="fine-tuned PyTorch network"):
        deepfill2.convert_tensors({"stage1.conv1.weight": np.zeros(3)})


@pytest.mark.parametrize(
    ("convert", "first", "axes"),
    [
        (edgeconnect.convert_tensors, "encoder.1.weight_orig", 4),
        (pluralistic.convert_tensors, "prior.conv1.module.weight_bar", 4),
        (deepfill2.convert_tensors, "conv1.conv.bias", 1),
        (deepfill2.convert_tensors, "inpaint_net/conv1/bias", 1),
    ],
)
def test_a_width_that_the_tensors_do_not_fill_is_refused_before_building(convert, first, axes):
    for shape in ((), (0, 4, 7, 7)[:axes], (8, 8)):
        with pytest.raises(WeightsError, match=f"must have {axes} axes"):
            convert({first: np.zeros(shape)})
    with pytest.raises(WeightsError, match="Received: 20,000"):
        convert({first: np.zeros((20_000, 1, 1, 1)[:axes])})


def test_tensorflow_checkpoints_load_as_the_converted_file_does(tmp_path):
    tf = pytest.importorskip("tensorflow")
    generator = published(deepfill2.build_generator(4))
    values = {
        "global_step": np.int64(7), "inpaint_net/conv1/kernel/Adam": np.zeros(3, "f"),
        "discriminator/sn_patch_gan/conv1/bias": np.zeros(3, "f"),
    }  # fmt: skip
    for name, value in generator.items():
        layer, leaf = name.split(".")[0], name.rpartition(".")[2].replace("weight", "kernel")
        inner = f"{layer}_conv/" if "upsample" in layer else ""
        values[f"inpaint_net/{layer}/{inner}{leaf}"] = (
            value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
        )
    folder, names = tmp_path / "release", sorted(values)
    folder.mkdir()
    tf.raw_ops.SaveV2(
        prefix=str(folder / "snap-0"), tensor_names=names, shape_and_slices=[""] * len(names),
        tensors=[tf.constant(values[name]) for name in names],
    )  # fmt: skip
    # As on the machine that it was trained on.
    (folder / "checkpoint").write_text('model_checkpoint_path: "/home/somebody/snap-0"\n')
    expected, _ = deepfill2.convert_tensors(generator)
    for path in (folder, folder / "snap-0"):
        model, report = deepfill2.load_published(path)
        assert (len(report.loaded), report.unused) == (len(generator), ())
        for ours, theirs in zip(model.weights, expected.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    data = folder / "snap-0.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    for broken in (folder, tmp_path, tmp_path / "absent"):
        with pytest.raises(WeightsError, match="not a readable TensorFlow checkpoint"):
            deepfill2.load_published(broken)


def test_pth_files_load_wrapped_and_with_the_prefix_of_several_gpus(tmp_path):
    torch = pytest.importorskip("torch", reason="reading .pth files needs PyTorch")
    cases = (
        (edgeconnect, edgeconnect.build_edge_generator(4, 1), "generator"),
        (pluralistic, pluralistic.build_generator(4), None),
        (deepfill2, deepfill2.build_generator(4), "G"),
    )
    for module, network, key in cases:
        for prefix in ("", "module."):
            tensors = {prefix + k: torch.tensor(v) for k, v in published(network).items()}
            content = {"iteration": 7, key: tensors} if key else tensors
            torch.save(content, tmp_path / "net.pth")
            model, report = module.load_published(tmp_path / "net.pth")
            assert (model.name, report.unused) == (network.name, ())


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_parity_with_the_published_networks(parity_dir, backend):
    pytest.importorskip(backend)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("parity.py")), str(parity_dir)],
        env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["parameters"] == PARAMETERS
    assert len(measured["errors"]) == 15
    assert max(measured["errors"].values()) < 1e-3, measured["errors"]

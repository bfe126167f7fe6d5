"""Published weights: the mapping and its errors; parity is in `tests/rivals/parity.py`."""

import sys

import numpy as np
import pytest
from keras import ops

from unmask.errors import WeightsError
from unmask.inpainting.convert import convert_state_dict, load_published


class StateDict(dict):
    """Collects random tensors under published names."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def plain(self, name, *shape, bias):
        self[f"{name}.weight"] = self.rng.normal(0, 0.1, shape)
        self[f"{name}.bias"] = self.rng.normal(0, 0.1, bias)

    def spectral(self, name, *shape, bias=None, alias=None):
        self[f"{name}.weight_orig"] = self.rng.normal(0, 0.1, shape)
        u, _, vt = np.linalg.svd(self[f"{name}.weight_orig"].reshape(shape[0], -1))
        self[f"{name}.weight_u"], self[f"{name}.weight_v"] = u[:, 0], vt[0]
        if bias:
            self[f"{name}.bias"] = self.rng.normal(0, 0.1, bias)
        if alias:
            own = [key for key in self if key.startswith(f"{name}.")]
            self.update({key.replace(name, alias): self[key] for key in own})

    def attention(self, channels, query):
        self["auto_attn.gamma"], self["auto_attn.alpha"] = np.array([0.5]), np.array([0.3])
        self.plain("auto_attn.query_conv", query, channels, 1, 1, bias=query)
        model, twice = "auto_attn.model", 2 * channels
        for name, alias, into, side in (
            ("conv1", "model.1", twice, 3), ("conv2", "model.3", channels, 3),
            ("bypass", "shortcut.0", twice, 1),
        ):  # fmt: skip
            shape = (channels, into, side, side)
            self.spectral(f"{model}.{name}", *shape, bias=channels, alias=f"{model}.{alias}")


def generator_state(width=8, blocks=2):
    state, w = StateDict(), width
    state.plain("encoder1.1", w, 4, 7, 7, bias=w)
    state.plain("encoder2.0", 2 * w, w, 4, 4, bias=2 * w)
    state.plain("encoder3.0", 4 * w, 2 * w, 4, 4, bias=4 * w)
    state.plain("fushion1.0", 4 * w, 4 * w, 1, 1, bias=4 * w)
    state.plain("fushion2.0", 2 * w, 2 * w, 1, 1, bias=2 * w)
    state.plain("decoder1.0", 4 * w, 2 * w, 4, 4, bias=2 * w)
    state.plain("decoder2.0", 4 * w, w, 4, 4, bias=w)
    state.plain("decoder3.1", 3, 2 * w, 7, 7, bias=3)
    for i in range(blocks):
        for part in (1, 5):
            state.plain(f"middle.{i}.conv_block.{part}", 4 * w, 4 * w, 3, 3, bias=4 * w)
    state.attention(4 * w, w)
    return dict(state)


def discriminator_state(width=8):
    state, sizes = StateDict(), (4, width, 2 * width, 4 * width, 8 * width, 1)
    for i in range(5):
        alias = None if i else "features.0"
        state.spectral(f"conv{i + 1}.0", sizes[i + 1], sizes[i], 4, 4, alias=alias)
    state.attention(2 * width, width // 2)
    return dict(state)


def test_every_generator_tensor_finds_its_variable():
    state = generator_state()
    model, report = convert_state_dict(state)
    assert report.missing == ()
    assert report.unused == ()
    assert sum(layer.name.endswith("_add") for layer in model.layers) == 3  # 2 blocks, attention
    kernel = ops.convert_to_numpy(model.get_layer("middle1_conv2").kernel)
    expected = state["middle.1.conv_block.5.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(kernel, expected, rtol=1e-6)
    attention = model.get_layer("attention")
    assert float(attention.gamma[0]) == pytest.approx(0.5)
    assert float(attention.alpha[0]) == pytest.approx(0.3)


def test_the_discriminator_leaves_the_tensors_without_use_and_says_so():
    model, report = convert_state_dict(discriminator_state())
    assert model.name == "discriminator"
    assert report.missing == ()
    assert len(report.unused) == 24
    assert all(name.startswith("auto_attn.model.") for name in report.unused)


def test_a_tensor_too_many_is_reported():
    _, report = convert_state_dict(generator_state() | {"extra.weight": np.zeros(3)})
    assert report.unused == ("extra.weight",)


def test_missing_and_misshapen_tensors_are_named():
    state = generator_state()
    del state["decoder2.0.bias"]
    with pytest.raises(WeightsError, match=r"mine: .*decoder2\.0\.bias is missing"):
        convert_state_dict(state, source="mine")
    state = generator_state() | {"encoder2.0.weight": np.zeros((16, 8, 3, 3))}
    with pytest.raises(WeightsError, match=r"encoder2\.0\.weight has the shape \(16, 8, 3, 3\)"):
        convert_state_dict(state)
    with pytest.raises(WeightsError, match="neither LaFIn's generator"):
        convert_state_dict({"features.weight": np.zeros((4, 3, 3, 3))})


@pytest.mark.parametrize("first", ["encoder1.1.weight", "conv1.0.weight_orig"])
def test_a_width_that_the_tensors_do_not_fill_is_refused_before_building(first):
    for shape in ((), (8,), (0, 4, 7, 7)):
        with pytest.raises(WeightsError, match=r"weight(_orig)? must have 4 axes"):
            convert_state_dict({first: np.zeros(shape)})
    with pytest.raises(WeightsError, match="Received: 20,000"):
        convert_state_dict({first: np.zeros((20_000, 1, 1, 1))})


def test_pth_files_load_with_either_wrapping(tmp_path):
    torch = pytest.importorskip("torch", reason="reading .pth files needs PyTorch")
    cases = (
        ("generator", "generator", generator_state()),
        ("discriminator", "discriminator", discriminator_state()),
    )
    for key, network, state in cases:
        tensors = {name: torch.from_numpy(np.asarray(v)) for name, v in state.items()}
        for content in (tensors, {"iteration": 7, key: tensors}):
            torch.save(content, tmp_path / "net.pth")
            model, _ = load_published(tmp_path / "net.pth")
            assert model.name == network
    with pytest.raises(WeightsError, match="no such file"):
        load_published(tmp_path / "absent.pth")
    (tmp_path / "broken.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="not a readable PyTorch"):
        load_published(tmp_path / "broken.pth")


def test_without_torch_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"unmask\[convert\]"):
        load_published(tmp_path / "net.pth")

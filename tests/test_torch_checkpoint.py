"""PyTorch files: what valid ones may hold, and what hostile ones claim."""

from __future__ import annotations

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from unmask.errors import WeightsError
from unmask.torch_checkpoint import assign_tensors, by_module, read_state_dict

torch = pytest.importorskip("torch", reason="reading .pth files needs PyTorch")

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_every_kind_of_plain_tensor_is_read(tmp_path: Path) -> None:
    tensor = torch.from_numpy(VALUES)
    content = {
        "plain": tensor,
        "parameter": torch.nn.Parameter(tensor),
        "tracked": tensor.clone().requires_grad_(),
        "bfloat16": tensor.bfloat16(),
        "half": tensor.half(),
        "double": tensor.double(),
        "turned": tensor.t().contiguous().t(),
        7: tensor,
    }
    torch.save({**content, "count": torch.tensor(3), "epoch": 4}, tmp_path / "a.pth")
    read = read_state_dict(tmp_path / "a.pth")
    assert read.pop("count") == 3
    assert set(read) == {str(name) for name in content}
    for name, values in read.items():
        np.testing.assert_array_equal(values, VALUES, err_msg=name)
        assert values.dtype == np.float32


def test_files_from_before_the_archive_format_are_read(tmp_path: Path) -> None:
    tensors = {"a": torch.from_numpy(VALUES)}
    torch.save(tensors, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(read_state_dict(tmp_path / "a.pth")["a"], VALUES)


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_what_is_no_plain_tensor_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"odd": torch.from_numpy(VALUES).to_sparse()}, path)
    assert "odd: must be plain numbers" in refused(path)
    torch.save({"odd": torch.empty(3, device="meta")}, path)
    assert "odd: must be plain numbers" in refused(path)
    torch.save([1, 2], path)
    assert "no state dict but list" in refused(path)


def test_a_small_file_cannot_claim_much_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"l0.weight": torch.zeros(1).expand(99, 20_000, 1, 1)}, path)
    assert "l0.weight: the tensors so far are larger than the file" in refused(path)
    torch.save({"a": torch.zeros(10)}, path)
    with (
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert "is compressed" in refused(tmp_path / "b.pth")


def test_a_part_that_claims_to_be_longer_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.from_numpy(VALUES)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as source,
        zipfile.ZipFile(tmp_path / "b.pth", "w") as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                # 6 numbers of shape (2, 3) become 60,000 of (200, 300), of which 6 are there.
                content = content.replace(b"K\x06", b"M\x60\xea")
                content = content.replace(b"K\x02K\x03\x86", b"K\xc8M\x2c\x01\x86")
            target.writestr(name, content)
    assert "not a readable PyTorch" in refused(tmp_path / "b.pth")


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights", encoding="utf-8")
    assert "not a readable PyTorch" in refused(tmp_path / "text.pth")


def test_a_tensor_that_does_not_fit_leaves_the_network_as_it_was() -> None:
    inputs = keras.Input((3,))
    x = keras.layers.Dense(2, name="a")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="b")(x))
    before = model.get_weights()
    tensors = {
        "a.weight": np.ones((2, 3)), "a.bias": np.ones(2),
        "b.weight": np.ones((2, 3)), "b.bias": np.ones(2),
    }  # fmt: skip
    with pytest.raises(WeightsError, match=r"b\.weight has the shape \(2, 3\)"):
        assign_tensors(model, tensors, by_module(tensors))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)

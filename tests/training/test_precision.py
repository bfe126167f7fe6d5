"""The dtype policy is a scope."""

from __future__ import annotations

import keras
import pytest

from unmask.training import task
from unmask.training.task import precision


def test_holds_inside_only():
    before = keras.config.dtype_policy().name
    with precision("mixed_bfloat16"):
        with precision("float32"):
            assert keras.layers.Dense(1).compute_dtype == "float32"
        inner = keras.layers.Dense(1)
    assert (inner.compute_dtype, inner.variable_dtype) == ("bfloat16", "float32")
    assert keras.config.dtype_policy().name == before


def test_restored_after_an_error():
    before = keras.config.dtype_policy().name
    with pytest.raises(RuntimeError), precision("float16"):
        raise RuntimeError
    assert keras.config.dtype_policy().name == before


@pytest.mark.parametrize(
    ("flags", "policy"), [("avx2 avx512_bf16", "mixed_bfloat16"), ("avx2", "float32")]
)
def test_auto_takes_bfloat16_from_processors_that_have_it(monkeypatch, tmp_path, flags, policy):
    (tmp_path / "cpuinfo").write_text(f"flags : fpu {flags} sse\n")
    monkeypatch.setattr(task, "_CPU_FLAGS", tmp_path / "cpuinfo")
    monkeypatch.setattr(task, "_tensorflow_gpus", list)
    with precision("auto"):
        assert keras.config.dtype_policy().name == policy


@pytest.mark.parametrize(
    ("capability", "policy"), [((9, 0), "mixed_bfloat16"), ((7, 5), "float32")]
)
def test_auto_takes_bfloat16_from_gpus_that_have_it(monkeypatch, capability, policy):
    monkeypatch.setattr(task, "_tensorflow_gpus", lambda: [capability])
    with precision("auto"):
        assert keras.config.dtype_policy().name == policy

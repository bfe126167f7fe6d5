"""The dtype policy is a scope."""

from __future__ import annotations

import keras
import pytest

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

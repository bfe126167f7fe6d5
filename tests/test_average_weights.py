"""The mean of several trainings' weights."""

import numpy as np
import pytest

from tools.average_weights import average_weights
from unmask.errors import WeightsError
from unmask.weights import load_arrays, save_arrays


def test_the_mean_is_taken_array_by_array(tmp_path):
    values = [
        {"a": np.full((2, 3), x, np.float16), "b": np.float16([y])} for x, y in ((1, 4), (2, -8))
    ]
    files = [tmp_path / f"{i}.safetensors" for i in range(2)]
    for path, arrays in zip(files, values, strict=True):
        save_arrays(path, arrays, {"stage": "segmentation"})
    average_weights(files, tmp_path / "mean.safetensors")
    means, metadata = load_arrays(tmp_path / "mean.safetensors")
    np.testing.assert_array_equal(means["a"], np.full((2, 3), 1.5))
    np.testing.assert_array_equal(means["b"], [-2])
    assert {array.dtype for array in means.values()} == {np.dtype(np.float16)}
    assert metadata["stage"] == "segmentation"
    assert metadata["mean_of"] == "1 1"
    average_weights(files, tmp_path / "mean.safetensors", (3, 1))
    means, _ = load_arrays(tmp_path / "mean.safetensors")
    np.testing.assert_array_equal(means["b"], [1])
    for shares in ((1,), (1, 0)):
        with pytest.raises(ValueError, match="2 positive"):
            average_weights(files, tmp_path / "other.safetensors", shares)


def test_files_of_different_networks_are_refused_and_nothing_is_written(tmp_path):
    save_arrays(tmp_path / "a.safetensors", {"w": np.zeros((2, 2), np.float32)}, {})
    save_arrays(tmp_path / "b.safetensors", {"w": np.zeros((2, 3), np.float32)}, {})
    with pytest.raises(WeightsError, match=r"b\.safetensors"):
        average_weights([tmp_path / "a.safetensors", tmp_path / "b.safetensors"], tmp_path / "out")
    assert not (tmp_path / "out").exists()

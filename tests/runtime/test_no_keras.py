"""With ONNX Runtime, a photo is completed without Keras or TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unmask.demo import portraits, wear_mask
from unmask.image import load_image, save_image
from unmask.pipeline import Unmasker

pytest.importorskip("onnxruntime")

_CODE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "tensorflow", "jax", "torch"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
from unmask.cli import main
raise SystemExit(main(["run", sys.argv[1], "-o", sys.argv[2], "--runtime", "onnx", "--quiet"]))
"""


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "masked.png"
    save_image(path, wear_mask(Unmasker(runtime="keras"), portraits()[0]))
    return path


def test_the_same_picture_without_keras(masked: Path, tmp_path: Path):
    made = tmp_path / "made.png"
    words = [sys.executable, "-c", _CODE, str(masked), str(made)]
    done = subprocess.run(words, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    wanted = Unmasker(runtime="keras")(masked).image.astype(int)
    difference = np.abs(load_image(made).astype(int) - wanted)
    assert (difference > 1).mean() <= 0.001
    assert difference.max() <= 6

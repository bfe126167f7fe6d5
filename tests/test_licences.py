"""The code is MIT, the weights are not: every place that says so says the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path

import pytest

from unmask.weights import read_manifest

ROOT = Path(__file__).parent.parent
LINE = (
    "**Licence.** Non-commercial research only, like the training data: `weights/LICENSE`, SPDX "
    "`LicenseRef-unmask-weights`."
)


@pytest.mark.parametrize("card", sorted((ROOT / "weights").glob("*/*.md")), ids=lambda c: c.stem)
def test_every_card_names_the_licence(card: Path) -> None:
    assert LINE in card.read_text(encoding="utf-8").splitlines()


def test_every_file_has_the_licence_of_its_card() -> None:
    licences = {entry.licence for entry in read_manifest()}
    assert licences == {"non-commercial research use only, like the training data (see the card)"}


def test_the_licence_names_the_collections_of_the_data_sheet() -> None:
    licence = (ROOT / "weights" / "LICENSE").read_text(encoding="utf-8")
    assert "LicenseRef-unmask-weights" in licence
    sheet = (ROOT / "docs" / "data-sheet.md").read_text(encoding="utf-8")
    for name in ("UTKFace", "CelebA-HQ", "Helen", "All-Age-Faces", "FFHQ", "MaskedFace-Net",
                 "StyleGAN", "Pixabay"):  # fmt: skip
        assert name in sheet
        assert name in licence


def test_the_metadata_of_a_wheel(tmp_path: Path) -> None:
    if int(version("setuptools").split(".")[0]) < 77:
        pytest.skip("needs setuptools 77, as building the package does")
    code = "import sys; from setuptools import build_meta as b; "
    code += "print(b.prepare_metadata_for_build_wheel(sys.argv[1]))"
    words = [sys.executable, "-c", code, str(tmp_path)]
    # As in the Dockerfile.
    environment = os.environ | {"UNMASK_TENSORFLOW": "none"}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    [folder] = tmp_path.glob("*.dist-info")
    metadata = Parser().parsestr((folder / "METADATA").read_text(encoding="utf-8"))
    assert metadata["License-Expression"] == "MIT AND LicenseRef-unmask-weights"
    assert set(metadata.get_all("License-File")) == {"LICENSE", "weights/LICENSE"}
    assert metadata.get_all("Project-URL")
    assert {"formats", "onnx"} <= set(metadata.get_all("Provides-Extra"))
    lines = [line for line in metadata.get_all("Requires-Dist") if ";" not in line]
    needed = {re.split("[<>=]", line)[0] for line in lines}
    assert "onnxruntime" in needed
    assert not needed & {"tensorflow", "tensorflow-cpu", "keras"}

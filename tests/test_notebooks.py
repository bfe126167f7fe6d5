"""The notebooks: one is executed, all have been."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


@pytest.mark.slow
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("nbclient", "ipykernel")),
    reason="needs pip install 'unmask[notebooks]'",
)
def test_the_pipelines_notebook_runs():
    done = subprocess.run(
        [sys.executable, "-m", "tools.run_notebooks", "--check", "notebooks/5_pipeline.ipynb"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "5_pipeline.ipynb" in done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebooks_were_executed_and_are_small(path):
    cells = json.loads(path.read_text())["cells"]
    assert path.stat().st_size < 2_000_000
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/" in kind for output in outputs for kind in output.get("data", {}))

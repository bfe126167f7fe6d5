"""The notebooks: one is executed, all have been, and their texts say what their outputs show."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# What a reader takes for a result: 0.5, 9,720,321, 145, 7 of 9, 5 faces, 2 %; not ResNet-50.
_FIGURE = re.compile(
    r"(?<![\w-])(\d+(?:[.,]\d+)+|\d{2,}|\d(?= ?%| (?:of|faces|photos)\b))(?![\w-])"
)
# The paper's words stand in block quotes; code, addresses and its figures' names are no claims.
_NO_CLAIM = re.compile(r"^>.*$|```[\s\S]*?```|`[^`]*`|\]\([^)]*\)|Figure \d+", re.MULTILINE)


def read_cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def text_of(output):
    kinds = [kind for kind in output.get("data", {}) if kind.startswith("text/")]
    parts = [output.get("text", ""), *(output["data"][kind] for kind in kinds)]
    return re.sub(r"<[^>]*>", " ", " ".join("".join(part) for part in parts))


def unproven(cells):
    """Return the figures of the texts that no output above them shows."""
    shown, missing = set(), []
    for cell in cells:
        if cell["cell_type"] == "code":
            for output in cell["outputs"]:
                shown.update(_NUMBER.findall(text_of(output)))
        else:
            claims = _NO_CLAIM.sub("", "".join(cell["source"]))
            missing += [figure for figure in _FIGURE.findall(claims) if figure not in shown]
    return missing


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


@every_notebook
def test_what_a_notebook_imports_is_there(path):
    for cell in read_cells(path)[2:]:  # after the title and the installation
        if cell["cell_type"] == "code":
            lines = [line for line in cell["source"] if not line.startswith("%")]
            for node in ast.walk(ast.parse("".join(lines))):
                if isinstance(node, ast.ImportFrom) and node.module.startswith("unmask"):
                    exec(ast.unparse(node), {})


@every_notebook
def test_committed_notebooks_were_executed_and_are_small(path):
    code = [cell for cell in read_cells(path) if cell["cell_type"] == "code"]
    assert path.stat().st_size < 2_000_000
    assert all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/" in kind for output in outputs for kind in output.get("data", {}))
    assert not [output for output in outputs if "WARNING:" in text_of(output)]


@every_notebook
def test_a_notebook_says_what_it_reproduces_and_installs_the_package(path):
    first, install, *_ = read_cells(path)
    assert re.match(rf"# {path.stem[0]}\. .*\n\n> \*\*The paper, ", "".join(first["source"]))
    assert install == {**read_cells(NOTEBOOKS[0])[1], "outputs": []}


@every_notebook
def test_texts_name_no_figure_that_the_outputs_do_not_show(path):
    assert unproven(read_cells(path)) == []


def test_a_figure_without_an_output_is_found():
    stream = {"output_type": "stream", "name": "stdout", "text": ["right: 145 of 160\n"]}
    table = {"output_type": "execute_result", "data": {"text/html": ["<td>0.875</td>"]}}
    outputs = {"cell_type": "code", "source": [], "outputs": [stream, table]}
    text = {
        "cell_type": "markdown",
        "source": ["> 88.12 %\n", "\n", "`0.1`, Figure 10. It got 145 of 160, 0.875, not 82 %."],
    }
    assert unproven([outputs, text]) == ["82"]
    assert unproven([text, outputs]) == ["145", "160", "0.875", "82"]


@every_notebook
def test_no_picture_of_a_data_set_is_stored(path):
    """Data sets may not be published; `tools.run_notebooks` notes whether one was used."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    tagged = [c for c in notebook["cells"] if "faces" in c["metadata"].get("tags", ())]
    assert tagged
    if notebook["metadata"]["data"]:
        kinds = [kind for c in tagged for o in c["outputs"] for kind in o.get("data", {})]
        assert not [kind for kind in kinds if kind.startswith("image/")]

"""Execute notebooks in place: `python -m tools.run_notebooks [--check] [NOTEBOOK ...]`.

The outputs replace the old ones, without the log lines of libraries and without times, so that a
notebook changes in version control only where its results do. With `--check` nothing is written.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import nbclient
import nbformat

from unmask.io import write_text_atomic

ROOT = Path(__file__).parent.parent
MAX_BYTES = 2_000_000
# One cell may train for minutes.
_TIMEOUT = 3600


def main() -> int:
    """Execute, report, and return 1 if a notebook failed or grew too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", type=Path, nargs="*", help="default: all in notebooks/")
    parser.add_argument("--check", action="store_true", help="execute, but write nothing")
    args = parser.parse_args()
    # The kernel starts in the notebook's folder and imports the package of this checkout.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    failed = False
    for path in args.notebooks or sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        start = time.perf_counter()
        try:
            text = execute(path)
        except nbclient.exceptions.CellExecutionError as error:
            failed = True
            print(f"{path}: {error}", file=sys.stderr)
            continue
        size = len(text.encode("utf-8"))
        print(f"{path.name:28}{time.perf_counter() - start:8.1f} s{size / 1e6:8.2f} MB", flush=True)
        if size > MAX_BYTES:
            failed = True
            print(f"{path}: {size} bytes are more than {MAX_BYTES}", file=sys.stderr)
        elif not args.check:
            write_text_atomic(path, text)
    return 1 if failed else 0


def execute(path: Path) -> str:
    """Run all cells of a notebook in its folder and return it with its new outputs, as JSON."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.resolve().parent)}}
    client = nbclient.NotebookClient(
        notebook,
        timeout=_TIMEOUT,
        resources=resources,
        kernel_name="python3",
        record_timing=False,
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    return nbformat.writes(notebook) + "\n"


if __name__ == "__main__":
    sys.exit(main())

"""Execute notebooks in place: `python -m tools.run_notebooks [--check] [NOTEBOOK ...]`.

The outputs replace the old ones, without the log lines of libraries and without times, so that a
notebook changes in version control only where its results do. With `--check` nothing is written,
with `--without-faces` no picture of a cell with the tag `faces`: data sets may not be published.
"""

from __future__ import annotations

import argparse
import os
import re
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
# TensorFlow logs to standard output in a notebook, and Keras tells there what it downloads.
_LOG = re.compile(r"^(WARNING:|Downloading data from ).*\n+", re.MULTILINE)


def main() -> int:
    """Execute, report, and return 1 if a notebook failed or grew too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", type=Path, nargs="*", help="default: all in notebooks/")
    parser.add_argument("--check", action="store_true", help="execute, but write nothing")
    parser.add_argument("--without-faces", action="store_true", help="keep no pictures of data")
    args = parser.parse_args()
    # The kernel starts in the notebook's folder, and imports the package of this checkout.
    for name in ("UNMASK_DATA", "UNMASK_INCEPTION", "UNMASK_RIVALS"):
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).resolve())
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    failed = False
    for path in args.notebooks or sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        start = time.perf_counter()
        try:
            text = execute(path, faces=not args.without_faces)
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


def execute(path: Path, *, faces: bool = True) -> str:
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
    notebook.metadata["data"] = bool(os.environ.get("UNMASK_DATA"))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            private = not faces and "faces" in cell.metadata.get("tags", ())
            cell.outputs = [o for o in cell.outputs if _is_kept(o, private)]
    return nbformat.writes(notebook) + "\n"


def _is_kept(output: nbformat.NotebookNode, private: bool) -> bool:
    """Take log lines out of an output, and tell whether it belongs into the file."""
    if output.output_type == "stream":
        output.text = _LOG.sub("", output.text)
        return output.name != "stderr" and bool(output.text)
    return not (private and any(kind.startswith("image/") for kind in output.get("data", {})))


if __name__ == "__main__":
    sys.exit(main())

"""Importing this lets programs written for matterport's package run as they are.

    import unmask.mrcnn.compat  # before the program's own imports
    from mrcnn import config, model, utils, visualize
    import mrcnn.model as modellib

It makes `mrcnn` a name of `unmask.mrcnn` for the whole process; nothing else in this package does.
A program that is not to be touched at all is run by `python -m unmask.mrcnn.compat PROGRAM ...`.
"""

from __future__ import annotations

import runpy
import sys
from importlib import import_module
from pathlib import Path

_MODULES = ("config", "model", "parallel_model", "utils", "visualize")


def install() -> None:
    """Make `mrcnn` and its modules importable.

    Raises:
        ImportError: Another package of this name has been imported already.
    """
    package = import_module("unmask.mrcnn")
    if (known := sys.modules.setdefault("mrcnn", package)) is not package:
        raise ImportError(f"another `mrcnn` has been imported already: {known!r}")
    for name in _MODULES:
        sys.modules[f"mrcnn.{name}"] = import_module(f"unmask.mrcnn.{name}")


def _main(arguments: list[str]) -> None:
    if not arguments:
        sys.exit("usage: python -m unmask.mrcnn.compat PROGRAM.py [ARGUMENT ...]")
    sys.argv = arguments
    # As if Python had been started with the program.
    sys.path.insert(0, str(Path(arguments[0]).absolute().parent))
    runpy.run_path(arguments[0], run_name="__main__")


install()
if __name__ == "__main__":
    _main(sys.argv[1:])

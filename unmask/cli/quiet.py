"""TensorFlow's messages while it is imported, which no setting of its own turns off."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def silence_tensorflow() -> None:
    """Keep TensorFlow quiet from its import on, unless its own TF_CPP_MIN_LOG_LEVEL is set."""
    if _LEVEL in os.environ:
        return
    os.environ[_LEVEL] = "2"
    # It warns of every new size of a batch.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as ever, once, and has it loaded quietly."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module
            spec.loader.exec_module = _without_stderr()(load)  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Send what C++ code writes to standard error nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)

"""Reconstruct the face under a mask.

    >>> import unmask
    >>> result = unmask.run("photo.jpg")          # doctest: +SKIP
    >>> result.save("unmasked.png")               # doctest: +SKIP

Nothing heavy is imported before the first call.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from unmask._version import __version__

if TYPE_CHECKING:
    from unmask.pipeline import Unmasker, run
    from unmask.result import Face, Result

__all__ = ["Face", "Result", "Unmasker", "__version__", "run"]

_HOMES = {
    "run": "unmask.pipeline",
    "Unmasker": "unmask.pipeline",
    "Result": "unmask.result",
    "Face": "unmask.result",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'unmask' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)

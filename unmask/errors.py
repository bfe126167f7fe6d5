"""The errors this package raises on purpose, everything else is a bug; and its warning."""

from __future__ import annotations

import importlib.util


class UnmaskError(Exception):
    """Base class of all errors raised on purpose by this package."""


class ImageError(UnmaskError, ValueError):
    """An image cannot be used: missing, truncated, too large, or of an unknown format."""


class ImageSizeError(ImageError):
    """An image has more pixels or bytes than are accepted."""


class ImageFormatError(ImageError):
    """A file is no image of a known format."""


class LabelmeError(UnmaskError, ValueError):
    """A Labelme JSON file does not say what an annotation has to say."""


class WeightsError(UnmaskError, ValueError):
    """A weight file is missing, altered, or does not fit the network it is meant for."""


class DataError(UnmaskError, ValueError):
    """A data set folder or table lacks something that training or evaluation needs."""


class SettingError(UnmaskError, ValueError):
    """A setting has a value that it cannot have, or does not go with another."""


class MissingPackageError(UnmaskError, ImportError):
    """An optional package is needed and not installed."""


def require(needed_for: str, install: str, *modules: str) -> None:
    """Check that optional packages are installed, without importing them.

    Args:
        needed_for: What needs them, as the sentence's subject.
        install: What to give to `pip install`.
        modules: Their modules, at the top level.

    Raises:
        MissingPackageError: One is missing.

    Example:
        >>> require("a sum", "numpy", "numpy")
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(f"{needed_for} needs {', '.join(missing)}: pip install {install}")


class PhotoWarning(UserWarning):
    """A photo, or a masked face in it, came back as it was: none was found, or it was skipped."""

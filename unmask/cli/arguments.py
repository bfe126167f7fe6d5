"""Types of arguments that several commands share: nonsense is refused before anything is loaded."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token
from cyclopts.types import ExistingDirectory, ExistingFile, ExistingPath, File
from cyclopts.validators import Number

__all__ = [
    "Count", "ExistingDirectory", "ExistingFile", "ExistingPath", "File", "Folder", "OutFolder",
    "PositiveFloat", "PositiveInt", "Pretrained", "Seed", "Share",
]  # fmt: skip


def _number(type_: Any, value: float | None) -> None:
    # Comparisons with NaN are false, whatever they ask.
    if value is not None and math.isnan(value):
        raise ValueError("Must be a number.")


def _whole(type_: Any, tokens: Sequence[Token]) -> int:
    # By itself the library would round 1.5.
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"must be a whole number. Received: {tokens[0].value}") from None


def _file_or_imagenet(type_: Any, value: str | None) -> None:
    if value not in (None, "imagenet") and not Path(value).is_file():
        raise ValueError('Neither "imagenet" nor a file.')


def _can_be_filled(type_: Any, value: Path | None) -> None:
    if value is None:
        return
    nearest = next(path for path in (value, *value.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ValueError(f'"{nearest}" is a file.')
    if not os.access(nearest, os.W_OK):
        raise ValueError(f'"{nearest}" cannot be written to.')


Count = Annotated[int, Parameter(converter=_whole, validator=Number(gte=0))]
"""A whole number from 0 up."""

PositiveInt = Annotated[int, Parameter(converter=_whole, validator=Number(gt=0))]
"""A whole number from 1 up."""

Seed = Annotated[int, Parameter(converter=_whole, validator=Number(gte=0, lt=2**32))]
"""What NumPy and Keras take for a seed."""

PositiveFloat = Annotated[float, Parameter(validator=(_number, Number(gt=0, lte=1_000_000)))]
"""Minutes or pixels, in (0, 1,000,000]."""

Share = Annotated[float, Parameter(validator=(_number, Number(gte=0, lte=1)))]
"""A number in [0, 1]."""

Folder = Annotated[Path, Parameter(validator=_can_be_filled)]
"""A folder to fill, which need not exist."""

OutFolder = Annotated[Path, Parameter(alias="-o", validator=_can_be_filled)]
"""The same as an option."""

Pretrained = Annotated[str, Parameter(validator=_file_or_imagenet)]
"""A weight file, or "imagenet" for those that Keras downloads."""

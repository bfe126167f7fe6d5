"""Types of arguments that several commands share: nonsense is refused before anything is loaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.types import (
    ExistingDirectory,
    ExistingFile,
    ExistingPath,
    NonNegativeInt,
    PositiveInt,
)
from cyclopts.validators import Number

__all__ = [
    "ExistingDirectory", "ExistingFile", "ExistingPath", "NonNegativeInt", "Out", "PositiveFloat",
    "PositiveInt", "Pretrained", "Share",
]  # fmt: skip


def _finite(type_: Any, value: Any) -> None:
    if value is not None and not math.isfinite(value):
        raise ValueError("Must be finite.")


def _file_or_imagenet(type_: Any, value: Any) -> None:
    if value not in (None, "imagenet") and not Path(value).is_file():
        raise ValueError('Neither "imagenet" nor a file.')


PositiveFloat = Annotated[float, Parameter(validator=(_finite, Number(gt=0)))]
"""Minutes, widths, rates."""

Share = Annotated[float, Parameter(validator=(_finite, Number(gte=0, lte=1)))]
"""A number in [0, 1]."""

Out = Annotated[Path, Parameter(alias="-o")]
"""Where the results go."""

Pretrained = Annotated[str, Parameter(validator=_file_or_imagenet, metavar="PATH|imagenet")]
"""A weight file, or those that Keras downloads."""

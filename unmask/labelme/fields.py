"""What a file from elsewhere says, and checks of it; their errors name file, field and value."""

from __future__ import annotations

import base64
import contextlib
import importlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from unmask.errors import LabelmeError, require

Entry = TypeVar("Entry")

LARGEST_COORDINATE = 1_000_000

Size = tuple[int, int]
"""Height and width."""

Wants = Callable[[str], bool]
"""Tells whether shapes of a label are taken over; the others need not be readable."""


@dataclass(frozen=True, eq=False)
class Foreign:
    """One photo's annotations in another program's words.

    Attributes:
        photos: What the photo's file may be called, the likeliest first.
        where: The field that says so, for messages.
        shapes: From the photo's height and width, and the labels, to Labelme's shapes.
    """

    photos: Sequence[str]
    where: str
    shapes: Callable[[Size, Wants], Iterable[dict[str, Any]]]


def read_each(
    read: Callable[[Entry], Foreign], entries: Iterable[Entry]
) -> Iterator[Foreign | LabelmeError]:
    """Read the entries of a file or folder; the error of one stands in its place."""
    for entry in entries:
        try:
            yield read(entry)
        except LabelmeError as error:
            yield error


def formats_module(name: str, needed_for: str) -> Any:
    """Return a module of the extra `formats`.

    Raises:
        MissingPackageError: It is not installed.
    """
    require(needed_for, "'unmask[formats]'", name.partition(".")[0])
    return importlib.import_module(name)


def numbers(value: Any) -> NDArray[np.float64] | None:
    """Make an array of finite numbers, or None where they are none."""
    try:
        found = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    # Comparisons with NaN are false.
    return found if (np.abs(found) <= LARGEST_COORDINATE).all() else None


def mapping(value: Any, where: str) -> dict[str, Any]:
    """Return a JSON object."""
    if not isinstance(value, dict):
        fail(where, "must be a JSON object", value)
    return value


def items(value: Any, where: str) -> list[Any]:
    """Return a JSON list."""
    if not isinstance(value, list):
        fail(where, "must be a list", value)
    return value


def text(value: Any, where: str) -> str:
    """Return a string."""
    if not isinstance(value, str):
        fail(where, "must be a string", value)
    return value


def label_name(value: Any, where: str) -> str:
    """Return a label, which is never empty, and can be written as UTF-8."""
    if not text(value, where):
        fail(where, "must not be empty", value)
    if not encodes(value):
        fail(where, "must not have half a surrogate pair", value)
    return str(value)


def encodes(name: str) -> bool:
    """Tell whether a name can be written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def polygon(value: Any, where: str) -> NDArray[np.float64]:
    """Return (P, 2) points of a flat list x, y, x, y, ... of three points or more."""
    found = numbers(items(value, where))
    if found is None or found.ndim != 1:
        fail(where, f"must be finite numbers, at most {LARGEST_COORDINATE} from 0", value)
    if len(found) < 6 or len(found) % 2:
        fail(where, "must be x and y of three points or more", value)
    return found.reshape(-1, 2)


def integer(value: Any, where: str) -> int:
    """Return a whole number, which may be written as text or with a fraction of zero."""
    # Not by way of a float, which has 53 bits: ids may have more.
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            return int(value)
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not number.is_integer():
        fail(where, "must be an integer", value)
    return int(number)


def side(value: Any, where: str) -> int:
    """Return a number of pixels from 1 up."""
    pixels = integer(value, where)
    if pixels < 1:
        fail(where, "must be positive", value)
    return pixels


def check_size(said: object, real: int, where: str) -> None:
    """Compare a side with the photo's.

    Raises:
        LabelmeError: It is another.
    """
    if said != real:
        raise LabelmeError(f"{where}: is {said!r}, but the photo has {real}")


def base64_bytes(value: Any, where: str) -> bytes:
    """Return what base64 text stands for."""
    try:
        # Line breaks and whatever else is no digit are passed over, as Labelme does.
        return base64.b64decode(text(value, where).encode("utf-8", "replace"))
    except ValueError as error:
        if isinstance(error, LabelmeError):
            raise
        raise LabelmeError(f"{where}: is not base64 ({error})") from error


def optional(check: Callable[[Any, str], Any], value: Any, where: str) -> Any:
    """Return None for None and empty text, and else what the check returns."""
    return None if value is None or value == "" else check(value, where)


def fail(where: str, demand: str, value: Any) -> NoReturn:
    """Raise the error of a field."""
    received = repr(value)
    if len(received) > 80:
        received = f"{received[:80]}..."
    raise LabelmeError(f"{where}: {demand}. Received: {received}")

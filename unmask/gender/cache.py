"""Whether a cached file is of what is wanted now.

Views and features are cached for hours of work and opened again by their names alone. A note beside
each file says what it was made of, so that other faces, another seed or another backbone are an
error and not a wrong figure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from unmask.errors import DataError
from unmask.io import write_text_atomic


def check_origin(path: Path, origin: Mapping[str, str | int | bool]) -> None:
    """Compare a cached file's note with what is wanted, or write the note of a file to come.

    A file without a note is taken as it is.

    Args:
        path: The cached file, NAME.npy, or NAME.unfinished in its place; the note is NAME.json.
        origin: What it must have been made of.

    Raises:
        DataError: It was made of something else; the message names the first difference.
    """
    note = path.with_suffix(".json")
    if not path.is_file() and not path.with_suffix(".unfinished").is_file():
        write_text_atomic(note, json.dumps(dict(origin), indent=2) + "\n")
    elif note.is_file():
        stored = _read(note)
        for name, value in origin.items():
            if stored.get(name) != value:
                raise DataError(
                    f"{path}: was made with {name}={stored.get(name)!r}, wanted is {value!r}; take "
                    "another folder or remove it"
                )


def digest(parts: Iterable[bytes]) -> str:
    """Return a short name for some content.

    Example:
        >>> digest([b"a", b"b"])
        'fb8e20fc2e4c3f24'
    """
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()[:16]


def _read(note: Path) -> Mapping[str, object]:
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{note}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{note}: must be a JSON object")
    return content

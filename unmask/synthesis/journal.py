"""A file that grows by one line for each finished piece of work, and survives being cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from unmask.errors import DataError


class Journal:
    """One JSON object a line, appended and flushed at once.

    A process that is killed while it writes leaves half a line behind; that line is dropped when
    the journal is opened again, so the piece of work it belongs to is done again.

    Args:
        path: The file; it and its folder appear with the first line.

    Example:
        >>> with Journal(Path("out/journal.jsonl")) as journal:
        ...     journal.append({"file": "a.png"})
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: Any = None

    def __enter__(self) -> Journal:
        """Return this object."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read the whole lines.

        Raises:
            DataError: A line that was ended is no JSON object.
        """
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                if not line.endswith("\n"):
                    return
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(f"{self.path}: line {number}: no JSON ({error})") from error
                if not isinstance(entry, dict):
                    raise DataError(f"{self.path}: line {number}: no JSON object")
                yield entry

    def append(self, entry: dict[str, Any]) -> None:
        """Add a line and hand it to the operating system."""
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _drop_torn_line(self.path)
            self._handle = self.path.open("a", encoding="utf-8")
        self._handle.write(json.dumps(entry, separators=(",", ":")) + "\n")
        self._handle.flush()

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def remove(self) -> None:
        """Close and delete the file."""
        self.close()
        self.path.unlink(missing_ok=True)


def _drop_torn_line(path: Path) -> None:
    if not path.is_file():
        return
    with path.open("rb+") as handle:
        content = handle.read()
        handle.truncate(content.rfind(b"\n") + 1)

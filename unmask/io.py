"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends without an error.

    The temporary file lies in the same folder (a rename across file systems is not atomic)
    and keeps the suffix, because image and archive writers choose their format by it.

    Args:
        path: The file to write. Missing parent folders are created.

    Yields:
        The path to write to.

    Example:
        >>> with atomic_path("out/report.txt") as temporary:
        ...     _ = temporary.write_text("done")
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; the result gets what a plain open() would have given.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes_atomic(path: str | os.PathLike[str], content: bytes) -> None:
    """Write bytes to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text_atomic(path: str | os.PathLike[str], content: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    write_bytes_atomic(path, content.encode("utf-8"))


def _umask() -> int:
    # The only portable way to read the umask is to set it; set back at once.
    current = os.umask(0)
    os.umask(current)
    return current

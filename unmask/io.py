"""Writing files so that a reader never meets half of one, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from unmask.errors import DataError, UnmaskError

if sys.platform != "win32":
    import fcntl

PathLike: TypeAlias = "str | os.PathLike[str]"

_PREFIX = ".unmask-tmp-"
# Writers choose their format by the suffix; what is longer than this is no suffix but a name.
_LONGEST_SUFFIX = 16


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends without an error.

    The temporary file lies in the same folder (a rename across file systems is not atomic)
    and keeps the suffix, because image and archive writers choose their format by it. It is locked
    for as long as its process lives, so that `sweep` can tell what a dead one has left.

    Args:
        path: The file to write. Missing parent folders are created.

    Yields:
        The path to write to.

    Raises:
        OSError: The file cannot be written; whatever the reason, the error names `path`.

    Example:
        >>> with atomic_path("out/report.txt") as temporary:
        ...     _ = temporary.write_text("done")
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(target.parent)
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= _LONGEST_SUFFIX else ""
    try:
        temporary, handle = _create(target.parent, suffix)
    except OSError as error:
        raise _named(error, target) from error
    try:
        yield temporary
        if sys.platform == "win32":  # where no open file can be renamed
            os.close(handle)
            handle = -1
        temporary.replace(target)
    except OSError as error:
        if error.filename is None or str(error.filename) == str(temporary):
            raise _named(error, target) from error
        raise
    finally:
        if handle >= 0:
            os.close(handle)
        temporary.unlink(missing_ok=True)


def write_bytes_atomic(path: PathLike, content: bytes) -> None:
    """Write bytes to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text_atomic(path: PathLike, content: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    write_bytes_atomic(path, content.encode("utf-8"))


def write_json_atomic(path: PathLike, content: object) -> None:
    """Write what JSON can hold to `path`, to be read by people too, whole or not at all."""
    write_text_atomic(path, json.dumps(content, indent=2) + "\n")


def append_line(path: PathLike, entry: Mapping[str, Any]) -> None:
    """Add a JSON object as one line to a file; it and its folder appear with the first.

    Half a line, left behind by a process that was killed while it wrote, is dropped.

    Example:
        >>> append_line("out/done.jsonl", {"file": "a.png"})
        >>> list(read_lines("out/done.jsonl"))
        [{'file': 'a.png'}]
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as handle:
        _drop_torn_line(handle)
        handle.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")


def read_lines(path: PathLike) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of `append_line`; none where there is no file.

    Raises:
        DataError: A line that was ended is no JSON object.
    """
    path = Path(path)
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            if not line.endswith("\n"):
                return
            try:
                entry = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}: line {number}: no JSON ({error})") from error
            if not isinstance(entry, dict):
                raise DataError(f"{path}: line {number}: no JSON object")
            yield entry


def sweep(folder: PathLike) -> None:
    """Remove the temporary files that killed processes have left in a folder, which need not exist.

    Those of living processes, of this machine or of another, are locked and stay. What cannot be
    removed, or be told, stays as well.

    Example:
        >>> sweep("out")
    """
    if sys.platform == "win32":
        return
    for path in Path(folder).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(handle)


@functools.cache
def _sweep_once(folder: Path) -> None:
    """Sweep a folder when this process first writes to it."""
    sweep(folder)


def prepare_folder(folder: PathLike) -> None:
    """Make a folder ready to be written to, before anything is computed for it.

    It is created when missing, tried, and swept.

    Raises:
        UnmaskError: It cannot be created, or no file in it; the error names the folder.

    Example:
        >>> prepare_folder("out")
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary, handle = _create(folder, "")
        os.close(handle)
        temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UnmaskError(f"{folder}: cannot be written to ({error.strerror})") from error
    sweep(folder)


def short_stem(stem: str, room: int) -> str:
    """Shorten a file's stem so that whole names stay within the 255 bytes of file systems.

    `room` are the bytes of what follows it, at most 200. Of a long stem the beginning stays, with
    eight digits that differ from stem to stem.

    Example:
        >>> short_stem("portrait", len("-panel.png"))
        'portrait'
    """
    import hashlib

    encoded = os.fsencode(stem)
    if len(encoded) + room <= 255:
        return stem
    end = f"-{hashlib.sha256(encoded).hexdigest()[:8]}"
    while len(os.fsencode(stem)) + len(end) + room > 255:
        stem = stem[:-1]
    return stem + end


def check_same(path: PathLike, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with work, remembered at a path, that was begun under other settings.

    Raises:
        DataError: The message names all settings that differ.

    Example:
        >>> check_same("runs/a", {"seed": 0}, {"seed": 1})
        Traceback (most recent call last):
        unmask.errors.DataError: runs/a: was made with seed=0, wanted is 1; take another folder
    """
    before, now = _flat(stored), _flat(wanted)
    differing = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if differing:
        told = "; ".join(f"{n}={before.get(n)!r}, wanted is {now.get(n)!r}" for n in differing)
        raise DataError(f"{os.fspath(path)}: was made with {told}; take another folder")


def check_origin(note: Path, origin: Mapping[str, Any], exists: bool) -> None:
    """Compare a note, a JSON file, with what its subject must have been made of.

    Where the subject does not exist yet, the note is written.

    Raises:
        DataError: It was made of something else, or the note is missing or unreadable.
    """
    if not exists:
        write_json_atomic(note, dict(origin))
        return
    try:
        stored = dict(json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{note}: cannot be read ({error}); take another folder") from error
    check_same(note, stored, json.loads(json.dumps(dict(origin))))


def _flat(settings: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """Bring {"a": {"b": 1}} to {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = isinstance(value, Mapping)
        flat |= _flat(value, f"{group}{name}.") if inner else {f"{group}{name}": value}
    return flat


def _create(folder: Path, suffix: str) -> tuple[Path, int]:
    """Create and lock a temporary file with the permissions that a plain open() gives."""
    while True:
        path = folder / f"{_PREFIX}{secrets.token_hex(8)}{suffix}"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if sys.platform == "win32":
            return path, handle
        with contextlib.suppress(OSError):  # a file system without locks: nothing is swept there
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return path, handle
        os.close(handle)  # swept between its creation and its lock


def _drop_torn_line(handle: BinaryIO) -> None:
    if handle.seek(0, os.SEEK_END):
        handle.seek(-1, os.SEEK_END)
        if handle.read() != b"\n":
            handle.seek(0)
            handle.truncate(handle.read().rfind(b"\n") + 1)


def _named(error: OSError, path: Path) -> OSError:
    """Return the same error with the file's name instead of a temporary one or none."""
    return OSError(error.errno or errno.EIO, error.strerror or str(error), str(path))

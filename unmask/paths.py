"""Two doors for paths: results never replace what they are made of, and data names no file outside.

Every command asks `check_outputs` before it writes, and every path that is read from an archive, a
table or a JSON file is made by `path_inside`.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PureWindowsPath

from unmask.errors import DataError, UnmaskError
from unmask.io import PathLike


def check_outputs(outputs: Iterable[PathLike], inputs: Iterable[PathLike]) -> None:
    """Refuse to write where an input lies.

    Two paths mean the same file if they lead to it by whatever spelling, symbolic or hard link, or
    if their names differ in upper and lower case or in the composition of letters alone, which many
    file systems ignore.

    Args:
        outputs: The files that will be written; they need not exist.
        inputs: The files that will be read; they need not exist.

    Raises:
        DataError: An output is an input; both are named.

    Example:
        >>> check_outputs(["out/a.png"], ["a.png"])
        >>> check_outputs(["./a.png"], ["a.png"])
        Traceback (most recent call last):
        unmask.errors.DataError: ./a.png: would replace the input a.png; write elsewhere
    """
    known = {identity: path for path, identity in _identities(inputs)}
    for path, identity in _identities(outputs):
        if identity in known:
            raise DataError(
                f"{os.fspath(path)}: would replace the input {os.fspath(known[identity])}; "
                "write elsewhere"
            )


def path_inside(folder: PathLike, written: object, where: str) -> Path:
    r"""Make the path that a file's data names, which must not lead out of a folder.

    Both kinds of slashes separate folders. Absolute paths, drive letters, `..`, NUL, and links that
    lead out are refused, because data from somewhere else must not decide which files of this
    machine are read or written.

    Args:
        folder: The folder.
        written: The value as it was read.
        where: File and field that the value comes from, for the message.

    Returns:
        The path below `folder`. Whether there is such a file is not asked.

    Raises:
        DataError: The value is no such path; the message begins with `where`.

    Example:
        >>> path_inside("faces", r"women\1.jpg", "labels.csv: line 2: file")
        PosixPath('faces/women/1.jpg')
    """
    if isinstance(written, str):
        # A Windows path understands both kinds of slashes, and so sees every way out.
        relative = PureWindowsPath(written)
        out = relative.anchor or any(part == ".." or part[1:2] == ":" for part in relative.parts)
        if relative.name and not out and _encodes(written) and _stays(Path(folder), relative.parts):
            return Path(folder, *relative.parts)
    received = repr(written)
    if len(received) > 80:
        received = f"{received[:80]}..."
    raise DataError(f"{where}: must be a path inside the folder {folder}. Received: {received}")


def walk_files(
    folder: PathLike, *, recursive: bool = False, leave_out: Collection[PathLike] = ()
) -> Iterator[Path]:
    """List the files of a folder, sorted; hidden ones are left out.

    Args:
        folder: The folder.
        recursive: Whether the folders inside are searched, too. Links to folders are not followed,
            because they can lead round in circles.
        leave_out: Files and folders inside that are passed over, results for example.

    Yields:
        Everything that is no folder; links and special files as well.

    Raises:
        OSError: A folder cannot be listed.
    """
    passed = {os.path.realpath(path) for path in leave_out}
    for entry in sorted(Path(folder).iterdir()):
        if entry.name.startswith(".") or (passed and os.path.realpath(entry) in passed):
            continue
        if not entry.is_dir():
            yield entry
        elif recursive and not entry.is_symlink():
            yield from walk_files(entry, recursive=True, leave_out=leave_out)


def text_about(file: object, error: Exception) -> str:
    """Return an error's text; the file that it is about is named in it, once.

    One that is not expected is told with its type.

    Example:
        >>> text_about("a.png", ValueError("too dark"))
        'a.png: ValueError: too dark'
    """
    text = str(error).removeprefix("<bytes>: ")
    if not isinstance(error, (UnmaskError, OSError)):
        text = f"{type(error).__name__}: {text}"
    return text if str(file) in text else f"{file}: {text}"


def _identities(paths: Iterable[PathLike]) -> Iterator[tuple[PathLike, object]]:
    """By what files are known: names without regard to case, and places on the disk."""
    folders: dict[str, str] = {}  # millions of files lie in few folders
    for path in paths:
        folder, name = os.path.split(os.fspath(path))
        real = folders.get(folder) or folders.setdefault(folder, os.path.realpath(folder))
        yield path, unicodedata.normalize("NFC", f"{real}{os.sep}{name}").casefold()
        try:
            status = Path(path).stat()
        except (OSError, ValueError):  # it does not exist, or cannot
            continue
        yield path, (status.st_dev, status.st_ino)


def _stays(folder: Path, parts: Iterable[str]) -> bool:
    place = folder
    for part in parts:
        place = place / part
        # Few files are links, and to follow one takes a hundred times as long as to see it.
        # Unlike `Path.is_symlink`, this accepts names that no file can have.
        if os.path.islink(place):  # noqa: PTH114
            inside = Path(os.path.realpath(place)).parents
            if Path(os.path.realpath(folder)) not in inside:
                return False
    return True


def _encodes(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:  # half a surrogate pair
        return False

"""Which files a Labelme folder consists of, and how far they are trusted when they are opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError, ImageError, LabelmeError
from unmask.image import load_image
from unmask.io import PathLike
from unmask.paths import path_inside, walk_files

if TYPE_CHECKING:
    from unmask.labelme.annotation import Annotation

MAX_JSON_BYTES = 128 << 20
"""Larger JSON files are refused: a million points, or a photo of 24 megapixels, need half of it."""

MAX_COCO_BYTES = 1 << 30
"""The same of COCO files, which hold a whole data set."""

MAX_PHOTO_BYTES = 512 << 20
"""Larger image files are refused."""

COCO_DESCRIPTION = "Converted from Labelme annotations"
"""By which a result of `convert` is known when it lies among the annotations."""

_COCO_BEGINNING = f'{{"info": {{"description": "{COCO_DESCRIPTION}"'.encode()


def find_annotations(
    source: PathLike, *, recursive: bool = False, leave_out: Sequence[PathLike] = ()
) -> list[Path]:
    """List Labelme files.

    Args:
        source: A file, or a folder, which stands for the `*.json` files inside, sorted; hidden
            ones, and COCO files that `convert` wrote, are left out.
        recursive: Whether the folders inside folders are searched, too; links to folders are not.
        leave_out: Folders inside that are passed over.

    Returns:
        The JSON files.

    Raises:
        LabelmeError: The folder has no JSON file, or cannot be listed.

    Example:
        >>> find_annotations("a.json")
        [PosixPath('a.json')]
    """
    folder = Path(source)
    if not folder.is_dir():
        return [folder]
    try:
        walked = walk_files(folder, recursive=recursive, leave_out=leave_out)
        files = [p for p in walked if p.suffix.lower() == ".json" and not _is_coco(p)]
    except OSError as error:
        raise LabelmeError(f"{folder}: cannot be listed ({error.strerror})") from error
    if not files:
        inside = "" if recursive else " (folders inside: --recursive)"
        raise LabelmeError(f"{folder}: has no *.json file{inside}")
    return files


def read_image(annotation: Annotation) -> NDArray[np.uint8]:
    """Open the image of an annotation, from `imageData` or else from `imagePath`.

    The path is taken relative to the JSON file and must stay in its folder, see
    `unmask.paths.path_inside`. Where there is no such file in it, one of the same name directly in
    the folder is taken: annotations are moved together with their photos.

    Args:
        annotation: From `read_annotation`.

    Returns:
        RGB uint8 (H, W, 3), upright.

    Raises:
        LabelmeError: There is no such image, it cannot be opened, it lies outside the folder, or it
            is not as large as the annotation says.
    """
    return decode_image(annotation, image_file(annotation, [annotation.path.parent]))


def image_file(annotation: Annotation, folders: Sequence[Path]) -> bytes:
    """Return the image file of an annotation, embedded or from the first folder that has it."""
    if annotation.image_data is not None:
        return annotation.image_data
    where = f"{annotation.path}: imagePath"
    if annotation.image_path is None:
        raise LabelmeError(f"{where}: is missing, and so is imageData")
    path = locate_photo([annotation.image_path], folders, where)
    return read_file(path, MAX_PHOTO_BYTES, where)


def locate_photo(written: Sequence[object], folders: Sequence[Path], where: str) -> Path:
    """Return the file that one of these means: the path as written, or else its bare name.

    Raises:
        LabelmeError: No folder has it; a path that leads out of its folder is one that it has not.
    """
    names = [*written, *(PureWindowsPath(n).name for n in written if isinstance(n, str))]
    problem: DataError | None = None
    for folder in folders:
        for name in names:
            try:
                path = path_inside(folder, name, where)
            except DataError as error:
                problem = problem or error
                continue
            if os.path.isfile(path):  # noqa: PTH113 (a name may be too long for `Path.is_file`)
                return path
    tried = " or ".join(map(str, folders))
    reason = problem or f"{where}: no such file in {tried}. Received: {str(written[0])[:80]!r}"
    raise LabelmeError(f"{reason} (photos in another folder: --images)")


def decode_image(annotation: Annotation, content: bytes) -> NDArray[np.uint8]:
    """Decode the image file of an annotation and check its size."""
    name = "imagePath" if annotation.image_data is None else "imageData"
    try:
        image = load_image(content)
    except ImageError as error:
        reason = str(error).removeprefix("<bytes>: ")
        raise LabelmeError(f"{annotation.path}: {name}: {reason}") from error
    for key, said, real in (
        ("imageHeight", annotation.height, image.shape[0]),
        ("imageWidth", annotation.width, image.shape[1]),
    ):
        if said is not None and said != real:
            raise LabelmeError(
                f"{annotation.path}: {key}: is {said}, but the image has {real} (upright, "
                f"{image.shape[1]} x {image.shape[0]})"
            )
    return image


def read_file(path: Path, limit: int, where: str) -> bytes:
    """Read a regular file of at most so many bytes: no pipe that hangs, no device without end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise LabelmeError(f"{where}: {path.name} is not a regular file")
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise LabelmeError(f"{where}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        if isinstance(error, LabelmeError):
            raise
        raise LabelmeError(f"{where}: is no path ({error})") from error
    if len(content) > limit:
        raise LabelmeError(f"{where}: {path.name} is larger than the limit of {limit >> 20} MiB")
    return content


def _is_coco(path: Path) -> bool:
    """Tell a result of an earlier conversion; whatever else is wrong is told when it is read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return stream.read(len(_COCO_BEGINNING)) == _COCO_BEGINNING
    except OSError:
        return False

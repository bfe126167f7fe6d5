"""YOLO's segmentation format: a text file a photo, a polygon a line, numbers from 0 to 1."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.errors import LabelmeError
from unmask.image import find_images
from unmask.labelme.annotation import polygon_shape, rectangle_shape
from unmask.labelme.drawing import Instance, single_polygon
from unmask.labelme.fields import Foreign, Size, Wants, fail, formats_module, integer, label_name
from unmask.labelme.files import MAX_JSON_BYTES, read_file

YAML = "data.yaml"
"""The file that names the photos and the classes."""

# Other programs round: so far outside the photo a point may lie.
_SLACK = 0.01


def yolo_polygon(instance: Instance) -> NDArray[np.float64]:
    """Return an instance as one polygon, (P, 2) in shares of the photo's width and height."""
    height, width = instance.mask.shape
    return np.clip(single_polygon(instance) / [width, height], 0, 1)


def yolo_text(objects: Iterable[tuple[str, NDArray[np.float64]]], categories: Sequence[str]) -> str:
    """Return the text file of a photo."""
    lines = (
        f"{categories.index(label)} " + " ".join(f"{v:.8g}" for v in points.ravel())
        for label, points in objects
    )
    return "".join(f"{line}\n" for line in lines)


def data_yaml(categories: Sequence[str], train: str, val: str) -> str:
    """Return the file that names the photos and the classes; its own folder is their root."""
    names = "".join(f"  {i}: {_quoted(name)}\n" for i, name in enumerate(categories))
    return f"train: {train}\nval: {val}\nnames:\n{names}"


def _quoted(name: str) -> str:
    """Quote as JSON, but for its surrogate pairs, which YAML does not have."""
    inside = (json.dumps(c, ensure_ascii=c <= "\uffff")[1:-1] for c in name)
    return f'"{"".join(inside)}"'


def read_yolo(path: Path, images: Path | None = None) -> Iterator[Foreign | LabelmeError]:
    """Read a folder of `images` and `labels` by its `data.yaml`, which may be named itself.

    The label file of `.../images/.../NAME.jpg` is `.../labels/.../NAME.txt`; a photo without one
    shows nothing. Photos may lie in a folder of their own, `images`: then the label file of
    `NAME.jpg` in it is `labels/NAME.txt`, where none of them lies in a folder called images.

    Yields:
        The photos.

    Raises:
        LabelmeError: The YAML file, the photos or all label files are missing, or there are no
            classes.
        MissingPackageError: PyYAML is not installed.
    """
    settings = path / YAML if path.is_dir() else path
    names = _names(settings)
    root = settings.parent
    folder = images or root
    found = [photo.relative_to(folder) for photo in find_images(folder, recursive=True)]
    inside = [photo for photo in found if "images" in photo.parts[:-1]]
    photos = inside or ([] if images is None else found)
    if not photos:
        place = " in a folder called images (elsewhere: --images)" if images is None else ""
        raise LabelmeError(f"{folder}: has no photos{place}")
    labels = [root / _label_file(photo) for photo in photos]
    if not any(file.exists() for file in labels):
        raise LabelmeError(f"{root}: has none of the label files, {labels[0]} for example")
    for photo, file in zip(photos, labels, strict=True):
        yield Foreign([photo.as_posix()], f"{folder}: {photo}", partial(_shapes, file, names))


def _label_file(photo: Path) -> Path:
    parts = list(photo.with_suffix(".txt").parts)
    if "images" not in parts[:-1]:
        return Path("labels", *parts)
    parts[max(i for i, part in enumerate(parts[:-1]) if part == "images")] = "labels"
    return Path(*parts)


def _names(path: Path) -> Mapping[int, str]:
    yaml = formats_module("yaml", "YOLO's data.yaml")
    try:
        data = yaml.safe_load(read_file(path, MAX_JSON_BYTES, f"{path}"))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, LabelmeError):
            raise
        raise LabelmeError(f"{path}: is not valid YAML ({error})") from error
    names = data.get("names") if isinstance(data, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        fail(f"{path}: names", "must be the names of the classes", names)
    return {
        integer(key, f"{path}: names"): label_name(name, f"{path}: names[{key}]")
        for key, name in names.items()
    }


def _shapes(
    path: Path, names: Mapping[int, str], size: Size, wants: Wants
) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    content = read_file(path, MAX_JSON_BYTES, f"{path}").decode("utf-8", "replace")
    for number, line in enumerate(content.splitlines(), 1):
        words, where = line.split(), f"{path}: line {number}"
        if words and wants(label := _class(words[0], names, f"{where}: class")):
            yield _line(label, words, size, where)


def _class(word: str, names: Mapping[int, str], where: str) -> str:
    kind = integer(word, where)
    if kind not in names:
        fail(where, f"must be one of {', '.join(map(str, names))}", word)
    return names[kind]


def _line(label: str, words: Sequence[str], size: Size, where: str) -> dict[str, Any]:
    try:
        values = np.array(words[1:], float)
    except ValueError:
        values = np.array([np.nan])
    # Comparisons with NaN are false.
    if not ((values >= -_SLACK) & (values <= 1 + _SLACK)).all():
        fail(where, "must have numbers from 0 to 1 after the class", " ".join(words))
    scale = np.array([size[1], size[0]])
    if len(values) == 4:
        if (values[2:] <= 0).any():
            fail(where, "must have a box of positive width and height", " ".join(words))
        middle, sides = values[:2] * scale, values[2:] * scale
        corners = np.array([middle - sides / 2, middle + sides / 2 - 1])
        return rectangle_shape(label, corners)
    if len(values) < 6 or len(values) % 2:
        fail(where, "must have 4 numbers or three points or more after the class", len(values))
    return polygon_shape(label, values.reshape(-1, 2) * scale)

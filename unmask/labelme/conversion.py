"""A folder of annotations becomes images, masks and a COCO file."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.errors import LabelmeError, UnmaskError
from unmask.image import PathLike, copyable_suffix, save_image, save_mask
from unmask.io import prepare_folder, write_bytes_atomic, write_text_atomic
from unmask.labelme.annotation import label_tuple, read_annotation, read_document
from unmask.labelme.drawing import DEFAULT_LINE_WIDTH, Instance, draw_instances, draw_mask
from unmask.labelme.files import (
    COCO_DESCRIPTION,
    decode_image,
    find_annotations,
    image_file,
    locate_photo,
)
from unmask.paths import check_outputs

IMAGES, MASKS = "images", "masks"
"""Folders of the result."""


@dataclass(frozen=True)
class Conversion:
    """What `convert` did.

    Attributes:
        converted: The files that were converted.
        errors: One error for each file that was not.
        labels: How many shapes each label has, chosen or not, in the files that could be read.
        left_out: The same of the labels that were not chosen.
    """

    converted: tuple[Path, ...]
    errors: tuple[LabelmeError, ...]
    labels: Mapping[str, int]
    left_out: Mapping[str, int]


def convert(
    source: PathLike | Iterable[PathLike],
    destination: PathLike,
    *,
    labels: str | Sequence[str] | None = None,
    coco: PathLike | None = None,
    images: PathLike | None = None,
    recursive: bool = False,
    encoding: str | None = None,
    line_width: float = DEFAULT_LINE_WIDTH,
    progress: Callable[[list[Path]], Iterable[Path]] = iter,
) -> Conversion:
    """Convert Labelme files to `images/NAME.jpg|png` and `masks/NAME.png`, and to COCO.

    Images are copied unchanged where every reader sees the same pixels in them, and written as PNG
    otherwise (EXIF-turned, transparent, CMYK, ...). Masks are 0 and 255. A broken file is reported
    and does not keep the others from being converted.

    Args:
        source: A folder (its `*.json` files), a JSON file, or several of them.
        destination: The folder to write to.
        labels: The label or labels to draw, in the order of their COCO ids; None draws all.
        coco: Where to write a COCO JSON, or None. Its masks are run lengths, exactly the pixels of
            the instance masks; its file names are relative to `destination`.
        images: The folder of the photos; beside the JSON files when None, see `read_image`.
        recursive: Whether the folders inside `source` are searched, too. They come again in the
            result, and in `images` where it has such folders.
        encoding: Of JSON files that are not UTF-8, "gbk" for example.
        line_width: Width of lines and line strips in pixels.
        progress: Wraps the list of files to watch the work, `rich.progress.track` for example.

    Returns:
        What was converted and what was not.

    Raises:
        LabelmeError: There are no files to convert, or no folder `images`.
        DataError: A result would replace an annotation or a photo, or lie among them.
        SettingError: The encoding is unknown.
        UnmaskError: `destination` cannot be written to.
        OSError: `coco` cannot be written.

    Example:
        >>> report = convert("photos", "dataset", labels=["mask"])  # doctest: +SKIP
        >>> len(report.converted), [str(error) for error in report.errors]  # doctest: +SKIP
        (176, [])
    """
    wanted = label_tuple(labels)
    work = _Work(Path(destination), wanted, images, encoding, line_width, coco is not None)
    if images is not None and not Path(images).is_dir():
        raise LabelmeError(f"{images}: no such folder")
    names = _names(source, recursive, work.destination)
    _check_outputs(names, work, coco)
    for folder in (IMAGES, MASKS):
        prepare_folder(work.destination / folder)
    converted: list[_Converted] = []
    errors: list[LabelmeError] = []
    found: Counter[str] = Counter()
    known: dict[Path, Path] = {}
    for path in progress(list(names)):
        try:
            other = known.setdefault(names[path], path)
            if other is not path:
                raise LabelmeError(f"{path}: {other} has the same name")
            converted.append(_convert_one(path, names[path], work, found))
        except LabelmeError as error:
            errors.append(error)
        except (UnmaskError, OSError) as error:
            errors.append(LabelmeError(f"{path}: cannot be converted ({error})"))
    if coco is not None:
        categories = sorted(found) if wanted is None else wanted
        write_text_atomic(coco, json.dumps(_coco(converted, categories)))
    left_out = {} if wanted is None else {k: n for k, n in found.items() if k not in wanted}
    paths = tuple(item.path for item in converted)
    return Conversion(paths, tuple(errors), dict(found), left_out)


@dataclass(frozen=True)
class _Work:
    destination: Path
    labels: tuple[str, ...] | None
    images: PathLike | None
    encoding: str | None
    line_width: float
    coco: bool

    def folders(self, path: Path, name: Path) -> list[Path]:
        """Return where the photo of an annotation may lie, the likelier place first."""
        if self.images is None:
            return [path.parent]
        return list(dict.fromkeys([self.images / name.parent, Path(self.images)]))


@dataclass(frozen=True)
class _Converted:
    path: Path
    image_name: str
    size: tuple[int, int]
    objects: tuple[tuple[str, dict[str, Any]], ...]


# === Before ===


def _names(
    source: PathLike | Iterable[PathLike], recursive: bool, destination: Path
) -> dict[Path, Path]:
    """Return the annotations, and what their results are called: a relative path, no suffix."""
    names: dict[Path, Path] = {}
    for given in [source] if isinstance(source, (str, os.PathLike)) else source:
        root = Path(given) if Path(given).is_dir() else Path(given).parent
        for path in find_annotations(given, recursive=recursive, leave_out=[destination]):
            names[path] = path.relative_to(root).with_name(path.stem)
    return names


def _check_outputs(names: Mapping[Path, Path], work: _Work, coco: PathLike | None) -> None:
    inputs = list(names)
    for path, name in names.items():
        # A broken file is reported when it is converted.
        with contextlib.suppress(LabelmeError):
            written = read_document(path, work.encoding).get("imagePath")
            inputs.append(locate_photo(written, work.folders(path, name), ""))
    images, masks = work.destination / IMAGES, work.destination / MASKS
    outputs = [
        place
        for name in names.values()
        for place in (images / f"{name}.jpg", images / f"{name}.png", masks / f"{name}.png")
    ]
    check_outputs(outputs if coco is None else [*outputs, coco], inputs)
    # What lies beside the inputs may be photos as well.
    folders = {path.parent for path in inputs} | ({Path(work.images)} if work.images else set())
    check_outputs({path.parent for path in outputs}, folders)


# === One file ===


def _convert_one(path: Path, name: Path, work: _Work, found: Counter[str]) -> _Converted:
    annotation = read_annotation(path, labels=work.labels, encoding=work.encoding)
    found.update(annotation.labels)
    content = image_file(annotation, work.folders(path, name))
    image = decode_image(annotation, content)
    size = (image.shape[0], image.shape[1])
    objects: list[tuple[str, dict[str, Any]]] = []
    if work.coco:
        mask = np.zeros(size, bool)
        for instance in draw_instances(annotation, size, line_width=work.line_width):
            mask |= instance.mask
            objects.append((instance.label, _coco_object(instance)))
    else:
        mask = draw_mask(annotation, size, line_width=work.line_width)
    suffix = copyable_suffix(content)
    image_path = work.destination / IMAGES / f"{name}{suffix or '.png'}"
    if suffix is None:
        save_image(image_path, image)
    else:
        write_bytes_atomic(image_path, content)
    save_mask(work.destination / MASKS / f"{name}.png", mask)
    relative = image_path.relative_to(work.destination).as_posix()
    return _Converted(path, relative, size, tuple(objects))


# === COCO ===


def _coco(converted: Iterable[_Converted], categories: Sequence[str]) -> dict[str, Any]:
    ids = {label: i for i, label in enumerate(categories, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, item in enumerate(converted, 1):
        height, width = item.size
        images.append(
            {"id": image_id, "file_name": item.image_name, "width": width, "height": height}
        )
        for label, drawn in item.objects:
            numbers = {"id": len(annotations) + 1, "image_id": image_id, "category_id": ids[label]}
            annotations.append(numbers | drawn)
    return {
        "info": {"description": COCO_DESCRIPTION},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": label, "supercategory": ""} for label, i in ids.items()],
    }


def _coco_object(instance: Instance) -> dict[str, Any]:
    mask = instance.mask
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    box = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    return {
        "segmentation": {
            "counts": _run_lengths(box, left * len(mask) + top, mask.shape),
            "size": list(mask.shape),
        },
        "area": int(box.sum()),
        "bbox": [left, top, box.shape[1], box.shape[0]],
        "iscrowd": 0,
    }


def _run_lengths(box: NDArray[np.bool_], first: int, size: tuple[int, ...]) -> list[int]:
    """COCO's uncompressed run lengths: down the columns, the first run counts zeros.

    Args:
        box: The part of the mask that is not empty.
        first: Place of its first pixel, down the columns.
        size: Height and width of the whole mask.
    """
    changes = np.diff(np.pad(box, ((1, 1), (0, 0))), axis=0)
    column, row = np.nonzero(changes.T)
    places = first + column * size[0] + row
    # A run that reaches the bottom goes on at the top of the next column.
    goes_on = np.flatnonzero(np.diff(places) == 0)
    places = np.delete(places, np.concatenate([goes_on, goes_on + 1]))
    lengths: list[int] = np.diff(np.concatenate([[0], places, [size[0] * size[1]]])).tolist()
    return lengths if lengths[-1] else lengths[:-1]

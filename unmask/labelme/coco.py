"""COCO's JSON: polygons or run lengths, written and read."""

from __future__ import annotations

import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import LabelmeError
from unmask.labelme.annotation import mask_shape, polygon_shapes, read_document, rectangle_shape
from unmask.labelme.drawing import Instance, polygons_of
from unmask.labelme.fields import (
    Foreign,
    Size,
    Wants,
    check_size,
    fail,
    formats_module,
    integer,
    items,
    label_name,
    mapping,
    numbers,
    polygon,
    read_each,
    side,
    text,
)
from unmask.labelme.files import COCO_DESCRIPTION, MAX_COCO_BYTES

# Five bits each: longer runs are in no photo.
_MOST_DIGITS = 12


def coco_text(
    photos: Iterable[tuple[str, Size, Sequence[tuple[str, dict[str, Any]]]]],
    categories: Sequence[str],
) -> str:
    """Return a COCO file of photos: file name, size, and for each object its label and fields."""
    ids = {label: i for i, label in enumerate(categories, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (name, (height, width), objects) in enumerate(photos, 1):
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for label, drawn in objects:
            own = {"id": len(annotations) + 1, "image_id": image_id, "category_id": ids[label]}
            annotations.append(own | drawn)
    content = {
        "info": {"description": COCO_DESCRIPTION},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": label, "supercategory": ""} for label, i in ids.items()],
    }
    return json.dumps(content)


def coco_object(instance: Instance, *, rle: bool) -> dict[str, Any]:
    """Return what COCO says of an instance, but for its numbers."""
    left, top, right, bottom = instance.box
    segmentation: Any
    if rle:
        found = pycocotools().encode(np.asfortranarray(instance.mask, np.uint8))
        segmentation = {"size": list(instance.mask.shape), "counts": found["counts"].decode()}
    else:
        segmentation = [np.round(points, 3).ravel().tolist() for points in polygons_of(instance)]
    return {
        "segmentation": segmentation,
        "area": int(instance.mask.sum()),
        "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
    }


def read_coco(path: Path) -> Iterator[Foreign | LabelmeError]:
    """Read a COCO file, one photo after the other; shapes of crowds get the flag "crowd".

    Yields:
        The photos, and errors of what belongs to none.

    Raises:
        LabelmeError: The file is no COCO file.
    """
    data = read_document(path, None, MAX_COCO_BYTES)
    lists = {k: items(data.get(k), f"{path}: {k}") for k in ("images", "annotations", "categories")}
    labels: dict[int, str] = {}
    for i, value in enumerate(lists["categories"]):
        where = f"{path}: categories[{i}]"
        category = mapping(value, where)
        number = integer(category.get("id"), f"{where}.id")
        if number in labels:
            fail(f"{where}.id", "must not be that of another category", number)
        labels[number] = label_name(category.get("name"), f"{where}.name")
    of_photo: dict[object, list[int]] = defaultdict(list)
    for i, value in enumerate(lists["annotations"]):
        where = f"{path}: annotations[{i}]"
        try:
            image_id = mapping(value, where).get("image_id")
            of_photo[integer(image_id, f"{where}.image_id")].append(i)
        except LabelmeError as error:
            yield error

    ids = Counter(_ids(lists["images"]))

    def photo(entry: tuple[int, Any]) -> Foreign:
        where = f"{path}: images[{entry[0]}]"
        image = mapping(entry[1], where)
        number = integer(image.get("id"), f"{where}.id")
        own = of_photo.pop(number, [])
        if ids[number] > 1:
            fail(f"{where}.id", "must not be that of another photo", number)
        name = text(image.get("file_name"), f"{where}.file_name")
        drawn = {f"{path}: annotations[{n}]": lists["annotations"][n] for n in own}
        return Foreign([name], f"{where}.file_name", partial(_shapes, image, where, drawn, labels))

    yield from read_each(photo, enumerate(lists["images"]))
    for unknown, own in of_photo.items():
        yield LabelmeError(
            f"{path}: annotations[{own[0]}].image_id: no photo has it. Received: {unknown}"
        )


def _ids(images: Iterable[Any]) -> Iterator[int]:
    for image in images:
        with contextlib.suppress(LabelmeError):  # told when the photo is read
            yield integer(mapping(image, "").get("id"), "")


def _shapes(
    image: Mapping[str, Any],
    where: str,
    annotations: Mapping[str, Mapping[str, Any]],
    labels: Mapping[int, str],
    size: Size,
    wants: Wants,
) -> Iterator[dict[str, Any]]:
    for key, real in zip(("height", "width"), size, strict=True):
        if image.get(key) is not None:
            check_size(side(image[key], f"{where}.{key}"), real, f"{where}.{key}")
    for group, (place, annotation) in enumerate(annotations.items(), 1):
        category = integer(annotation.get("category_id"), f"{place}.category_id")
        if category not in labels:
            fail(f"{place}.category_id", "must be the id of a category", category)
        if wants(labels[category]):
            crowd = {"flags": {"crowd": True}} if annotation.get("iscrowd") else {}
            for shape in _instance(labels[category], annotation, place, group, size):
                yield shape | crowd


def _instance(
    label: str, annotation: Mapping[str, Any], where: str, group: int, size: Size
) -> list[dict[str, Any]]:
    drawn, field = annotation.get("segmentation"), f"{where}.segmentation"
    if not drawn:  # a box alone
        return [_box(label, annotation.get("bbox"), f"{where}.bbox")]
    if isinstance(drawn, list):
        polygons = [polygon(points, f"{field}[{i}]") for i, points in enumerate(drawn)]
        return polygon_shapes(label, polygons, group)
    runs = mapping(drawn, field)
    if runs.get("size") != list(size):
        fail(f"{field}.size", f"must be the photo's, {list(size)}", runs.get("size"))
    counts, where = runs.get("counts"), f"{field}.counts"
    if isinstance(counts, str):
        return [_mask(label, _decoded(counts, where), size, where)]
    whole = [integer(n, f"{where}[{i}]") for i, n in enumerate(items(counts, where))]
    return [_mask(label, whole, size, where)]


def _mask(label: str, counts: Sequence[int], size: Size, where: str) -> dict[str, Any]:
    """Return the shape of run lengths down the columns, zeros first.

    Raises:
        LabelmeError: They do not fill the photo, or cover nothing of it.
    """
    total = size[0] * size[1]
    if min(counts, default=0) < 0 or sum(counts) != total:
        raise LabelmeError(
            f"{where}: must be run lengths of {total} pixels in all. Received: {sum(counts)}"
        )
    if not any(counts[1::2]):
        fail(where, "must cover a pixel", counts)
    flat = np.repeat(np.arange(len(counts)) % 2 > 0, counts)
    return mask_shape(label, flat.reshape(size, order="F"))


def _box(label: str, value: Any, where: str) -> dict[str, Any]:
    box = numbers(items(value, where))
    if box is None or box.shape != (4,) or (box[2:] <= 0).any():
        fail(where, "must be x, y, width and height", value)
    return rectangle_shape(label, np.array([box[:2], box[:2] + box[2:] - 1]))


def _decoded(counts: str, where: str) -> list[int]:
    """Return the run lengths of COCO's text, as `pycocotools` compresses them.

    A character has six bits from "0" up: five of a number, the lowest first, and whether more
    follow; the highest of all is the sign. From the fourth on, a number is the difference to the
    run before the last.
    """
    runs: list[int] = []
    number = digits = 0
    for character in counts:
        bits = ord(character) - ord("0")
        if not 0 <= bits < 64 or digits == _MOST_DIGITS:
            fail(where, "must be run lengths as COCO writes them", counts)
        number |= (bits & 31) << 5 * digits
        digits += 1
        if not bits & 32:
            if bits & 16:
                number -= 1 << 5 * digits
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = digits = 0
    if digits:
        fail(where, "must not end within a number", counts)
    return runs


def pycocotools() -> Any:
    """Return the module of compressed run lengths, or raise `MissingPackageError`."""
    return formats_module("pycocotools.mask", "COCO's run length encoding")

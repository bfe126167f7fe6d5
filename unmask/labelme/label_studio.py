"""Label Studio's JSON export: polygons, rectangles, ellipses and brush strokes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from unmask.errors import LabelmeError
from unmask.labelme.annotation import mask_shape, polygon_shape, read_json
from unmask.labelme.fields import (
    Foreign,
    Size,
    Wants,
    check_size,
    fail,
    items,
    label_name,
    mapping,
    numbers,
    read_each,
    text,
)

# Results that cover nothing, or say something of other results or of the whole photo.
_WITHOUT_AREA = (
    "choices", "datetime", "keypoint", "keypointlabels", "labels", "number", "pairwise", "ranker",
    "rating", "relation", "taxonomy", "textarea",
)  # fmt: skip
_ELLIPSE_CORNERS = 64
# Label Studio puts eight digits before the names of files that are uploaded.
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")


def read_label_studio(path: Path) -> Iterator[Foreign | LabelmeError]:
    """Read the export "JSON" (not "JSON-MIN"), one task after the other.

    Of several annotations of a task the last one that was not cancelled counts; predictions, and
    what covers nothing, are passed over.

    Returns:
        The photos, and errors of tasks that cannot be read.

    Raises:
        LabelmeError: The file is no list of tasks.
    """
    tasks = enumerate(items(read_json(path, None), f"{path}"))
    return read_each(lambda entry: _task(entry[1], f"{path}: [{entry[0]}]"), tasks)


def _task(value: Any, where: str) -> Foreign:
    task = mapping(value, where)
    names = _photo(mapping(task.get("data"), f"{where}.data"), f"{where}.data")
    return Foreign(names, f"{where}.data", partial(_shapes, _results(task, where)))


def _photo(data: Mapping[str, Any], where: str) -> list[str]:
    written = text(data.get("image"), f"{where}.image")
    try:
        parts = urlsplit(written.replace("\\", "/"))
    except ValueError:
        fail(f"{where}.image", "must be a path or an address", written)
    # /data/local-files/?d=PATH; unlike `parse_qs`, a plus stays one.
    query = dict(part.partition("=")[::2] for part in parts.query.split("&"))
    name = unquote(query.get("d") or parts.path)
    return [name, _UPLOADED.sub("", name.rsplit("/", 1)[-1])]


def _results(task: Mapping[str, Any], where: str) -> dict[str, Mapping[str, Any]]:
    annotations = items(task.get("annotations"), f"{where}.annotations")
    for j, value in reversed(list(enumerate(annotations))):
        place = f"{where}.annotations[{j}]"
        annotation = mapping(value, place)
        if annotation.get("was_cancelled"):
            continue
        results = items(annotation.get("result"), f"{place}.result")
        return {f"{place}.result[{k}]": mapping(r, place) for k, r in enumerate(results)}
    return {}


def _shapes(
    results: Mapping[str, Mapping[str, Any]], size: Size, wants: Wants
) -> Iterator[dict[str, Any]]:
    labels = {str(r.get("id")): w for w, r in results.items() if r.get("type") == "labels"}
    for where, result in results.items():
        kind = text(result.get("type"), f"{where}.type")
        if kind in _WITHOUT_AREA:
            continue
        form = kind.removesuffix("labels")
        if form != "brush" and form not in _OUTLINES:
            fail(f"{where}.type", f"must be one of brush, {', '.join(_OUTLINES)}", kind)
        own = where if form != kind else labels.get(str(result.get("id")))
        if own is None:
            fail(f"{where}.id", "must be that of a result of the type labels", result.get("id"))
        label = _label(results[own], own)
        if not wants(label):
            continue
        for key, real in zip(("original_height", "original_width"), size, strict=True):
            check_size(result.get(key), real, f"{where}.{key}")
        if result.get("image_rotation"):
            fail(f"{where}.image_rotation", "must be 0", result["image_rotation"])
        value = mapping(result.get("value"), f"{where}.value")
        if form == "brush":
            yield mask_shape(label, brush_mask(value.get("rle"), size, f"{where}.value.rle"))
            continue
        points = _OUTLINES[form](value, f"{where}.value")
        yield polygon_shape(label, points * [size[1] / 100, size[0] / 100])


def _label(result: Mapping[str, Any], where: str) -> str:
    kind, value = result["type"], mapping(result.get("value"), f"{where}.value")
    names = items(value.get(kind), f"{where}.value.{kind}")
    return label_name(names[0] if names else None, f"{where}.value.{kind}[0]")


# === Outlines in hundredths of the photo ===


def _polygon(value: Mapping[str, Any], where: str) -> NDArray[np.float64]:
    points = numbers(items(value.get("points"), f"{where}.points"))
    if points is None or points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        fail(f"{where}.points", "must be three points or more", value.get("points"))
    return points


def _fields(value: Mapping[str, Any], where: str, *keys: str) -> NDArray[np.float64]:
    for key in keys:
        if numbers([value.get(key)]) is None:
            fail(f"{where}.{key}", "must be a finite number", value.get(key))
    return np.array([value[key] for key in keys], float)


def _rectangle(value: Mapping[str, Any], where: str) -> NDArray[np.float64]:
    x, y, width, height = _fields(value, where, "x", "y", "width", "height")
    _unturned(value, where)
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])


def _ellipse(value: Mapping[str, Any], where: str) -> NDArray[np.float64]:
    x, y, across, down = _fields(value, where, "x", "y", "radiusX", "radiusY")
    _unturned(value, where)
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)
    return np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], 1)


def _unturned(value: Mapping[str, Any], where: str) -> None:
    if value.get("rotation"):
        fail(f"{where}.rotation", "must be 0; draw a polygon instead", value["rotation"])


_OUTLINES = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "ellipse": _ellipse,
}


# === Brush strokes ===


def brush_mask(value: Any, size: Size, where: str) -> NDArray[np.bool_]:
    """Decode Label Studio's packed run lengths of an RGBA picture; what is not clear is mask.

    A header holds the number of values (32 bits), the bits of a value less one (5), and four
    times the bits of a length less one (4). Each run then has one bit (repeated or not), two that
    choose the length's bits, the length less one, and one value or as many as its length.

    Raises:
        LabelmeError: They end too early, do not fill the photo, or cover nothing of it.
    """
    packed = numbers(items(value, where))
    if packed is None or not ((packed >= 0) & (packed <= 255) & (packed % 1 == 0)).all():
        fail(where, "must be whole numbers from 0 to 255", value)
    bits = _Bits(packed.astype(np.uint8))
    try:
        total, width = bits.number(32), bits.number(5) + 1
        if total != size[0] * size[1] * 4:
            fail(where, f"must hold {size[0] * size[1] * 4} values", total)
        lengths = [bits.number(4) + 1 for _ in range(4)]
        pixels, done = np.zeros(total, np.int64), 0
        while done < total:
            repeated = bits.number(1)
            end = done + bits.number(lengths[bits.number(2)]) + 1
            run = bits.numbers(1 if repeated else end - done, width)
            pixels[done:end] = run if repeated else run[: total - done]
            done = end
    except IndexError:
        raise LabelmeError(f"{where}: ends too early") from None
    if not pixels[3::4].any():
        fail(where, "must cover a pixel", value)
    return pixels[3::4].reshape(size) > 0


class _Bits:
    """A string of bits, read from its beginning."""

    def __init__(self, content: NDArray[np.uint8]) -> None:
        self._bits, self._place = np.unpackbits(content), 0

    def number(self, width: int) -> int:
        return int(self.numbers(1, width)[0])

    def numbers(self, count: int, width: int) -> NDArray[np.int64]:
        end = self._place + count * width
        if end > len(self._bits):
            raise IndexError
        taken = self._bits[self._place : end].reshape(count, width)
        self._place = end
        return taken @ (1 << np.arange(width, dtype=np.int64)[::-1])

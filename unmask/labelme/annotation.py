"""Labelme's files: what they say of shapes, labels and their image, and how they are written."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unmask.errors import ImageError, LabelmeError, SettingError
from unmask.face import tight_box
from unmask.image import load_mask
from unmask.io import PathLike, write_bytes_atomic
from unmask.labelme.fields import (
    LARGEST_COORDINATE,
    base64_bytes,
    encodes,
    fail,
    integer,
    items,
    label_name,
    mapping,
    numbers,
    optional,
    side,
    text,
)
from unmask.labelme.files import MAX_JSON_BYTES, read_file

_VERSION = "5.5.0"  # of what is written

WITHOUT_AREA = ("point", "points")
"""Shapes that cover nothing."""

_POINT_COUNTS: dict[str, tuple[int, int | None]] = {
    "polygon": (3, None),
    "rectangle": (2, 4),
    "oriented_rectangle": (4, 4),
    "circle": (2, 2),
    "line": (2, 2),
    "linestrip": (2, None),
    "mask": (2, 2),
    "point": (1, 1),
    "points": (1, None),
}


@dataclass(frozen=True, eq=False)
class Shape:
    """One shape of an annotation.

    Attributes:
        index: Its place in the file's list `shapes`.
        label: The class.
        shape_type: "polygon", "rectangle", "oriented_rectangle", "circle", "line", "linestrip",
            "mask", "point" or "points".
        points: (P, 2) float64, (x, y) in pixels of the upright image. Of a circle, the centre and a
            point on the outline; of a mask, its upper left and lower right pixel.
        group_id: Shapes of the same label and group are one instance; None stands alone.
        mask_file: The image file of a shape of the type "mask", None for the others.
    """

    index: int
    label: str
    shape_type: str
    points: NDArray[np.float64] = field(repr=False)
    group_id: int | None = None
    mask_file: bytes | None = field(default=None, repr=False)

    def load_mask(self) -> NDArray[np.bool_] | None:
        """Return the pixels of a shape of the type "mask", boolean (h, w), None for the others.

        Raises:
            LabelmeError: The image is damaged, or not as large as the points say.
        """
        if self.mask_file is None:
            return None
        where = f"shapes[{self.index}].mask"
        try:
            mask = load_mask(self.mask_file)
        except ImageError as error:
            raise LabelmeError(f"{where}: {str(error).removeprefix('<bytes>: ')}") from error
        width, height = np.ptp(self.points, axis=0) + 1
        # Corners with fractions are rounded one by one, which may move the far one by a pixel.
        if abs(mask.shape[1] - width) > 1 or abs(mask.shape[0] - height) > 1:
            raise LabelmeError(
                f"{where}: has {mask.shape[1]} x {mask.shape[0]} pixels, but its points span "
                f"{width:g} x {height:g}"
            )
        return mask


@dataclass(frozen=True, eq=False)
class Annotation:
    """One Labelme file.

    Attributes:
        path: The JSON file.
        shapes: Its shapes of the labels that were asked for, in the file's order.
        labels: How many shapes of each label the file has, asked for or not; "" stands for none.
        image_path: The image's path as written, or None.
        image_data: The image file embedded in the JSON, or None.
        height: `imageHeight`, or None where the file does not say.
        width: `imageWidth`, or None where the file does not say.
    """

    path: Path
    shapes: tuple[Shape, ...]
    labels: Mapping[str, int] = field(default_factory=dict)
    image_path: str | None = None
    image_data: bytes | None = field(default=None, repr=False)
    height: int | None = None
    width: int | None = None


def read_annotation(
    path: PathLike, *, labels: str | Collection[str] | None = None, encoding: str | None = None
) -> Annotation:
    """Read and check a Labelme file; the image is not opened, nor are the masks inside.

    Numbers may be written as text, integers with a fraction of zero. What the masks do not depend
    on (flags, descriptions, the version) is not looked at.

    Args:
        path: The JSON file, at most 128 MiB.
        labels: The label or labels to read; None reads all.
        encoding: Of a file that is not UTF-8 (nor UTF-16 or UTF-32), "gbk" for example.

    Returns:
        The annotation.

    Raises:
        LabelmeError: The file cannot be read, or a field is missing, of a wrong type, not finite or
            out of range.
        SettingError: The encoding is unknown.

    Example:
        >>> annotation = read_annotation("photos/a.json", labels=["mask"])  # doctest: +SKIP
        >>> annotation.shapes[0]  # doctest: +SKIP
        Shape(index=0, label='mask', shape_type='polygon', group_id=None)
    """
    path = Path(path)
    data = read_document(path, encoding)
    shapes = items(data.get("shapes"), f"{path}: shapes")
    wanted = label_tuple(labels)
    return Annotation(
        path=path,
        shapes=tuple(
            _shape(item, i, f"{path}: shapes[{i}]")
            for i, item in enumerate(shapes)
            if wanted is None or _label(item) in wanted
        ),
        labels=Counter(labels_of(shapes)),
        image_path=optional(text, data.get("imagePath"), f"{path}: imagePath"),
        image_data=optional(base64_bytes, data.get("imageData"), f"{path}: imageData"),
        height=optional(side, data.get("imageHeight"), f"{path}: imageHeight"),
        width=optional(side, data.get("imageWidth"), f"{path}: imageWidth"),
    )


def read_document(path: Path, encoding: str | None, limit: int | None = None) -> dict[str, Any]:
    """Read a JSON file that holds an object; see `read_annotation`."""
    return mapping(read_json(path, encoding, limit), f"{path}")


def read_json(path: Path, encoding: str | None, limit: int | None = None) -> Any:
    """Read a JSON file, whatever it holds; see `read_annotation`."""
    try:
        "".encode(encoding or "utf-8")  # a wrong name is an error whatever the file holds
    except LookupError as error:
        raise SettingError(f"{error}. Received: encoding={encoding!r}") from error
    content = read_file(path, limit or MAX_JSON_BYTES, f"{path}")
    try:
        try:
            return json.loads(content)
        except UnicodeDecodeError:
            if encoding is None:
                raise
            return json.loads(content.decode(encoding))
    except UnicodeDecodeError as error:
        tried = f"neither UTF-8 nor {encoding}" if encoding else "not UTF-8"
        raise LabelmeError(
            f"{path}: is {tried} ({error.reason}); give its encoding, --encoding gbk for example"
        ) from error
    except (ValueError, RecursionError) as error:  # broken JSON, endless nesting
        raise LabelmeError(f"{path}: is not valid JSON ({error})") from error


def label_tuple(labels: str | Collection[str] | None) -> tuple[str, ...] | None:
    """Return one label or several as a tuple without repetitions; None stays None."""
    if labels is None:
        return None
    wanted = (labels,) if isinstance(labels, str) else tuple(dict.fromkeys(labels))
    return tuple(label_name(label, "labels") for label in wanted)


def labels_of(shapes: Any) -> list[str]:
    """Return the labels of shapes as they stand in a file, "" for none."""
    return [_label(shape) for shape in shapes] if isinstance(shapes, list) else []


# === Fields ===


def _label(shape: Any) -> str:
    label = shape.get("label") if isinstance(shape, dict) else None
    return label if isinstance(label, str) and encodes(label) else ""


def _shape(value: Any, index: int, where: str) -> Shape:
    data = mapping(value, where)
    # Labelme 3 had only polygons, and did not say so.
    shape_type = optional(text, data.get("shape_type"), f"{where}.shape_type") or "polygon"
    if shape_type not in _POINT_COUNTS:
        fail(f"{where}.shape_type", f"must be one of {', '.join(_POINT_COUNTS)}", shape_type)
    return Shape(
        index=index,
        label=label_name(data.get("label"), f"{where}.label"),
        shape_type=shape_type,
        points=_points(data.get("points"), shape_type, f"{where}.points"),
        group_id=optional(integer, data.get("group_id"), f"{where}.group_id"),
        mask_file=base64_bytes(data.get("mask"), f"{where}.mask") if shape_type == "mask" else None,
    )


def _points(value: Any, shape_type: str, where: str) -> NDArray[np.float64]:
    items(value, where)
    least, most = _POINT_COUNTS[shape_type]
    if len(value) < least or (most is not None and len(value) > most):
        count = f"{least}" if most == least else f"{least} or more" if most is None else "2 or 4"
        fail(where, f"a {shape_type} must have {count} points", len(value))
    if shape_type == "rectangle" and len(value) == 3:
        fail(where, "a rectangle must have 2 or 4 points", 3)
    points = numbers(value)
    if points is None or points.shape != (len(value), 2):
        # All at once is quick; one by one finds the culprit.
        each = (numbers(item) for item in value)
        bad = next(i for i, point in enumerate(each) if point is None or point.shape != (2,))
        fail(
            f"{where}[{bad}]",
            f"must be two finite numbers, at most {LARGEST_COORDINATE} from 0",
            value[bad],
        )
    return points


# === Writing ===


def polygon_shape(
    label: str, points: NDArray[np.floating], group: int | None = None, **more: Any
) -> dict[str, Any]:
    """Return a polygon of (P, 2) points as Labelme writes it; `more` are other fields."""
    return _written(label, "polygon", points, group) | more


def polygon_shapes(
    label: str, polygons: Sequence[NDArray[np.floating]], group: int, **more: Any
) -> list[dict[str, Any]]:
    """Return the shapes of one object, which have a group only where there are several."""
    number = group if len(polygons) > 1 else None
    return [polygon_shape(label, points, number, **more) for points in polygons]


def rectangle_shape(
    label: str, corners: NDArray[np.floating], group: int | None = None
) -> dict[str, Any]:
    """Return a rectangle as Labelme writes it, its corners (2, 2) the centres of corner pixels."""
    return _written(label, "rectangle", corners, group)


def mask_shape(label: str, mask: NDArray[np.bool_], group: int | None = None) -> dict[str, Any]:
    """Return a mask (H, W) as Labelme writes it, cut to the pixels that it covers."""
    left, top, right, bottom = tight_box(mask) or (0, 0, 1, 1)
    stream = io.BytesIO()
    patch = mask[top:bottom, left:right]
    Image.fromarray(patch.astype(np.uint8) * np.uint8(255)).save(stream, format="PNG")
    corners = np.array([[left, top], [right - 1, bottom - 1]], float)
    encoded = base64.b64encode(stream.getvalue()).decode()
    return _written(label, "mask", corners, group) | {"mask": encoded}


def write_annotated(
    photo: Path,
    content: bytes,
    size: tuple[int, int],
    shapes: Sequence[Mapping[str, Any]],
    *,
    where: object,
    flags: Mapping[str, bool] | None = None,
) -> None:
    """Write a photo, of this height and width, and its Labelme file beside it.

    The shapes are those of the functions above; `flags` say what is true of the whole photo.

    Raises:
        LabelmeError: Another photo is there; the message begins with `where`.
    """
    document = {
        "version": _VERSION,
        "flags": dict(flags or {}),
        "shapes": list(shapes),
        "imagePath": photo.name,
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }
    # Before the photo is written: its name need not be UTF-8.
    encoded = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    if not photo.exists():
        write_bytes_atomic(photo, content)
    elif photo.read_bytes() != content:
        raise LabelmeError(f"{where}: {photo} exists already, and is another photo")
    write_bytes_atomic(photo.with_suffix(".json"), encoded)


def _written(
    label: str, shape_type: str, points: NDArray[np.floating], group: int | None
) -> dict[str, Any]:
    return {
        "label": label,
        "points": [[round(float(x), 3), round(float(y), 3)] for x, y in points],
        "group_id": group,
        "description": "",
        "shape_type": shape_type,
        "flags": {},
        "mask": None,
    }

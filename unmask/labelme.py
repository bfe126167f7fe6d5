"""Labelme annotations: JSON files to masks, training samples and COCO.

Reads what Labelme 3 to 6 write: polygons, rectangles (two corners, or four in any rotation),
circles, lines and line strips of a given width, and masks; points cover nothing and are passed
over. Shapes with the same label and `group_id` are one instance. Labelme itself is not needed.

Coordinates are drawn with pixel centres at integers, as everywhere in this package: a pixel belongs
to a polygon if its centre lies inside or on the outline (scikit-image's `draw.polygon`). What
reaches over the frame is cut off at it. Polygons lie on the upright image, because Labelme applies
the EXIF orientation when it opens one, and so does `unmask.image`.

Every error names the file, the shape's index and the field, as in
`a.json: shapes[3].points[2]: must be a finite number. Received: nan`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple, NoReturn, overload

import numpy as np
from numpy.typing import NDArray
from skimage import draw

from unmask.errors import ImageError, LabelmeError
from unmask.image import PathLike, copyable_suffix, load_image, save_image, save_mask
from unmask.io import write_bytes_atomic, write_text_atomic

DEFAULT_LINE_WIDTH = 10.0
"""Width in pixels of lines and line strips, for which the format has no field; Labelme's own."""

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
_WITHOUT_AREA = ("point", "points")
_LARGEST_COORDINATE = 1_000_000


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
        mask: Boolean (h, w) for the type "mask", None for the others.
        flags: The annotator's check boxes.
        description: The annotator's note.
    """

    index: int
    label: str
    shape_type: str
    points: NDArray[np.float64] = field(repr=False)
    group_id: int | None = None
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)
    flags: Mapping[str, bool] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, eq=False)
class Annotation:
    """One Labelme file.

    Attributes:
        path: The JSON file.
        shapes: Its shapes, in the file's order.
        image_path: The image's path as written, or None.
        image_data: The image file embedded in the JSON, or None.
        height: `imageHeight`, or None where the file does not say.
        width: `imageWidth`, or None where the file does not say.
        version: The Labelme that wrote it, "" where the file does not say.
        flags: The annotator's check boxes for the whole image.
    """

    path: Path
    shapes: tuple[Shape, ...]
    image_path: str | None = None
    image_data: bytes | None = field(default=None, repr=False)
    height: int | None = None
    width: int | None = None
    version: str = ""
    flags: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Instance:
    """One object: all shapes of one label and group.

    Attributes:
        label: Its class.
        mask: Boolean (H, W), as large as the image; never empty.
        group_id: Its group, or None.
    """

    label: str
    mask: NDArray[np.bool_] = field(repr=False)
    group_id: int | None = None


# === Reading ===


def read_annotation(path: PathLike) -> Annotation:
    """Read and check a Labelme file; the image is not opened.

    Args:
        path: The JSON file.

    Returns:
        The annotation.

    Raises:
        LabelmeError: The file cannot be read, or a field is missing, of a wrong type, not finite or
            out of range.

    Example:
        >>> annotation = read_annotation("photos/a.json")  # doctest: +SKIP
        >>> annotation.shapes[0]  # doctest: +SKIP
        Shape(index=0, label='mask', shape_type='polygon', group_id=None, flags={}, description='')
    """
    path = Path(path)
    data = _mapping(_read_json(path), f"{path}")
    data_where, shapes = f"{path}: imageData", data.get("shapes")
    if not isinstance(shapes, list):
        _fail(f"{path}: shapes", "must be a list", shapes)
    embedded = data.get("imageData")
    return Annotation(
        path=path,
        shapes=tuple(_shape(item, i, f"{path}: shapes[{i}]") for i, item in enumerate(shapes)),
        image_path=_optional(_text, data.get("imagePath"), f"{path}: imagePath"),
        image_data=_optional(_base64, embedded, data_where),
        height=_optional(_side, data.get("imageHeight"), f"{path}: imageHeight"),
        width=_optional(_side, data.get("imageWidth"), f"{path}: imageWidth"),
        version=_optional(_text, data.get("version"), f"{path}: version") or "",
        flags=_optional(_flags, data.get("flags"), f"{path}: flags") or {},
    )


def read_image(annotation: Annotation) -> NDArray[np.uint8]:
    """Open the image of an annotation, from `imageData` or else from `imagePath`.

    The path is taken relative to the JSON file and must stay in its folder: absolute paths, drive
    letters, `..` and links that lead out of the folder are refused, because an annotation from
    somewhere else must not decide which files of this machine are read. Both kinds of slashes
    separate folders.

    Args:
        annotation: From `read_annotation`.

    Returns:
        RGB uint8 (H, W, 3), upright.

    Raises:
        LabelmeError: There is no such image, it cannot be opened, it lies outside the folder, or it
            is not as large as the annotation says.

    Example:
        >>> image = read_image(read_annotation("photos/a.json"))  # doctest: +SKIP
    """
    return _decode(annotation, _image_bytes(annotation))


# === Drawing ===


def draw_shape(
    shape: Shape, size: tuple[int, int], *, line_width: float = DEFAULT_LINE_WIDTH
) -> NDArray[np.bool_]:
    """Draw one shape.

    Args:
        shape: The shape; what lies outside the image is cut off.
        size: Height and width of the image.
        line_width: Width of lines and line strips in pixels; their ends and joints are round.

    Returns:
        Boolean (H, W); nothing is True for points.

    Example:
        >>> corners = np.array([[1.0, 0.0], [2.0, 1.0]])
        >>> draw_shape(Shape(0, "mask", "rectangle", corners), (2, 4)).astype(int)
        array([[0, 1, 1, 0],
               [0, 1, 1, 0]])
    """
    mask = np.zeros(size, bool)
    x, y = shape.points[:, 0], shape.points[:, 1]
    if shape.shape_type == "circle":
        radius = math.hypot(x[1] - x[0], y[1] - y[0])
        if radius > 0:
            mask[draw.disk((y[0], x[0]), radius, shape=size)] = True
    elif shape.shape_type in ("line", "linestrip"):
        for start, end in zip(shape.points[:-1], shape.points[1:], strict=True):
            _draw_segment(mask, start, end, line_width)
    elif shape.mask is not None:
        _paste(mask, shape.mask, round(x.min()), round(y.min()))
    elif shape.shape_type == "rectangle" and len(x) == 2:
        _fill_polygon(mask, x[[0, 1, 1, 0]], y[[0, 0, 1, 1]])
    elif shape.shape_type not in _WITHOUT_AREA:
        _fill_polygon(mask, x, y)
    return mask


def draw_instances(
    annotation: Annotation,
    size: tuple[int, int],
    *,
    labels: str | Collection[str] | None = None,
    line_width: float = DEFAULT_LINE_WIDTH,
) -> list[Instance]:
    """Draw every object of an annotation into its own mask.

    Args:
        annotation: From `read_annotation`.
        size: Height and width of the image.
        labels: The label or labels to draw; None draws all.
        line_width: Width of lines and line strips in pixels.

    Returns:
        The instances, in the order in which they begin in the file.

    Raises:
        LabelmeError: A shape covers no pixel: it lies outside the image or has no area.

    Example:
        >>> corners = np.array([[0.0, 0.0], [1.0, 1.0]])
        >>> shapes = [Shape(i, "mask", "rectangle", corners + i, group_id=7) for i in (0, 1)]
        >>> [found] = draw_instances(Annotation(Path("a.json"), tuple(shapes)), (3, 3))
        >>> int(found.mask.sum())
        7
    """
    wanted = _label_tuple(labels)
    grouped: dict[tuple[str, object], Instance] = {}
    for shape in annotation.shapes:
        if shape.shape_type in _WITHOUT_AREA or (wanted is not None and shape.label not in wanted):
            continue
        mask = draw_shape(shape, size, line_width=line_width)
        if not mask.any():
            raise LabelmeError(
                f"{annotation.path}: shapes[{shape.index}].points: the {shape.shape_type} covers "
                f"no pixel of the image, {size[1]} x {size[0]}"
            )
        # A shape without a group is alone: its own index keeps it apart from all others.
        own = ("alone", shape.index) if shape.group_id is None else ("group", shape.group_id)
        known = grouped.get((shape.label, own))
        if known is not None:
            mask |= known.mask
        grouped[shape.label, own] = Instance(shape.label, mask, shape.group_id)
    return list(grouped.values())


def draw_mask(
    annotation: Annotation,
    size: tuple[int, int],
    *,
    labels: str | Collection[str] | None = None,
    line_width: float = DEFAULT_LINE_WIDTH,
) -> NDArray[np.bool_]:
    """Draw all objects of an annotation into one mask.

    Args:
        annotation: From `read_annotation`.
        size: Height and width of the image.
        labels: The label or labels to draw; None draws all.
        line_width: Width of lines and line strips in pixels.

    Returns:
        Boolean (H, W), True = an object.

    Raises:
        LabelmeError: A shape covers no pixel.

    Example:
        >>> bool(draw_mask(Annotation(Path("a.json"), ()), (2, 2)).any())
        False
    """
    instances = draw_instances(annotation, size, labels=labels, line_width=line_width)
    return _union(instances, size)


# === Data sets ===


class Sample(NamedTuple):
    """One image of a `Dataset`.

    Attributes:
        image: RGB uint8 (H, W, 3).
        masks: Boolean (N, H, W), one for each instance.
        class_ids: (N,) int32: place of the instance's label in `Dataset.labels`, plus 1, because 0
            means background.
    """

    image: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    class_ids: NDArray[np.int32]


class Dataset(Sequence[Sample]):
    """Labelme files as a sequence of samples; each is read when it is asked for.

    Args:
        source: A folder (its `*.json` files, sorted), a JSON file, or several of them.
        labels: The label or labels to keep, in the order of their class ids; None keeps all,
            sorted, for which every file is read once.
        line_width: Width of lines and line strips in pixels.

    Attributes:
        paths: The JSON files.
        labels: The labels; class id 1 is the first.

    Raises:
        LabelmeError: No files, or a broken one.

    Example:
        >>> dataset = Dataset("photos", labels=["mask"])  # doctest: +SKIP
        >>> image, masks, class_ids = dataset[0]  # doctest: +SKIP
    """

    def __init__(
        self,
        source: PathLike | Iterable[PathLike],
        labels: str | Sequence[str] | None = None,
        *,
        line_width: float = DEFAULT_LINE_WIDTH,
    ) -> None:
        self.paths = find_annotations(source)
        wanted = _label_tuple(labels)
        self.labels = _all_labels(self.paths) if wanted is None else wanted
        self.line_width = line_width

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Sample | Dataset:
        if isinstance(index, slice):
            return Dataset(self.paths[index], self.labels, line_width=self.line_width)
        annotation = read_annotation(self.paths[index])
        image = read_image(annotation)
        size = image.shape[:2]
        instances = draw_instances(annotation, size, labels=self.labels, line_width=self.line_width)
        masks = np.array([item.mask for item in instances], bool).reshape(-1, *size)
        ids = [self.labels.index(item.label) + 1 for item in instances]
        return Sample(image, masks, np.array(ids, np.int32))


def find_annotations(source: PathLike | Iterable[PathLike]) -> list[Path]:
    """List Labelme files.

    Args:
        source: Files and folders, or one of them. A folder stands for the `*.json` files directly
            inside, sorted; hidden ones are left out.

    Returns:
        The JSON files, in the order given.

    Raises:
        LabelmeError: A folder has no JSON file, or cannot be listed.

    Example:
        >>> find_annotations("a.json")
        [PosixPath('a.json')]
    """
    given = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    found: list[Path] = []
    for path in map(Path, given):
        found += _json_files(path) if path.is_dir() else [path]
    return found


# === Converting a folder ===


@dataclass(frozen=True)
class Conversion:
    """What `convert` did.

    Attributes:
        converted: The files that were converted.
        errors: One error for each file that was not.
        labels: How many shapes each label has, chosen or not, in the files that could be read.
    """

    converted: tuple[Path, ...]
    errors: tuple[LabelmeError, ...]
    labels: Mapping[str, int]


def convert(
    source: PathLike | Iterable[PathLike],
    destination: PathLike,
    *,
    labels: str | Sequence[str] | None = None,
    coco: PathLike | None = None,
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
        line_width: Width of lines and line strips in pixels.
        progress: Wraps the list of files to watch the work, `rich.progress.track` for example.

    Returns:
        What was converted and what was not.

    Raises:
        LabelmeError: There are no files to convert.
        ImageError: An image or a mask cannot be written.
        OSError: Another result cannot be written.

    Example:
        >>> report = convert("photos", "dataset", labels=["mask"])  # doctest: +SKIP
        >>> len(report.converted), [str(error) for error in report.errors]  # doctest: +SKIP
        (176, [])
    """
    destination = Path(destination)
    wanted = _label_tuple(labels)
    converted: list[_Converted] = []
    errors: list[LabelmeError] = []
    found: Counter[str] = Counter()
    names: dict[str, Path] = {}
    for path in progress(find_annotations(source)):
        try:
            annotation = read_annotation(path)
            found.update(shape.label for shape in annotation.shapes)
            other = names.setdefault(path.stem, path)
            if other is not path:
                raise LabelmeError(f"{path}: {other} has the same name")
            converted.append(_convert_one(annotation, destination, wanted, line_width))
        except LabelmeError as error:
            errors.append(error)
    if coco is not None:
        categories = sorted(found) if wanted is None else wanted
        write_text_atomic(coco, json.dumps(_coco(converted, categories)))
    return Conversion(tuple(item.path for item in converted), tuple(errors), dict(found))


@dataclass(frozen=True)
class _Converted:
    path: Path
    image_name: str
    size: tuple[int, int]
    objects: tuple[tuple[str, dict[str, Any]], ...]


def _convert_one(
    annotation: Annotation, destination: Path, labels: Sequence[str] | None, line_width: float
) -> _Converted:
    content = _image_bytes(annotation)
    image = _decode(annotation, content)
    size = image.shape[:2]
    instances = draw_instances(annotation, size, labels=labels, line_width=line_width)
    stem = annotation.path.stem
    suffix = copyable_suffix(content)
    image_path = destination / "images" / f"{stem}{suffix or '.png'}"
    if suffix is None:
        save_image(image_path, image)
    else:
        write_bytes_atomic(image_path, content)
    save_mask(destination / "masks" / f"{stem}.png", _union(instances, size))
    objects = tuple((item.label, _coco_object(item.mask)) for item in instances)
    return _Converted(annotation.path, f"images/{image_path.name}", size, objects)


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
        "info": {"description": "Converted from Labelme annotations"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": label, "supercategory": ""} for label, i in ids.items()],
    }


def _coco_object(mask: NDArray[np.bool_]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return {
        "segmentation": {"counts": _run_lengths(mask), "size": list(mask.shape)},
        "area": int(mask.sum()),
        "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
        "iscrowd": 0,
    }


def _run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """COCO's uncompressed run lengths: down the columns, the first run counts zeros."""
    flat = mask.ravel(order="F")
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths: list[int] = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return [0, *lengths] if flat[0] else lengths


# === Inside: images ===


def _image_bytes(annotation: Annotation) -> bytes:
    if annotation.image_data is not None:
        return annotation.image_data
    where = f"{annotation.path}: imagePath"
    if annotation.image_path is None:
        raise LabelmeError(f"{where}: is missing, and so is imageData")
    path = _inside(annotation.path.parent, annotation.image_path, where)
    try:
        return path.read_bytes()
    except OSError as error:
        raise LabelmeError(
            f"{where}: cannot be read ({error.strerror}). Received: {annotation.image_path!r}"
        ) from error


def _inside(folder: Path, written: str, where: str) -> Path:
    """Join folder and path as written, refusing whatever would leave the folder."""
    # A Windows path understands both kinds of slashes, and so sees every way out.
    relative = PureWindowsPath(written)
    if relative.drive or relative.root or ".." in relative.parts:
        _fail(where, "must be a relative path inside the annotation's folder", written)
    try:
        root = Path(os.path.realpath(folder))
        path = Path(os.path.realpath(root.joinpath(*relative.parts)))
    except (OSError, ValueError) as error:
        raise LabelmeError(f"{where}: is no path ({error}). Received: {written!r}") from error
    if root not in path.parents:
        _fail(where, "must not lead out of the annotation's folder", written)
    if not path.is_file():
        _fail(where, "no such file", written)
    return path


def _decode(annotation: Annotation, content: bytes) -> NDArray[np.uint8]:
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


# === Inside: drawing ===


def _fill_polygon(mask: NDArray[np.bool_], x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Set the pixels inside or on a polygon, even-odd, row by row.

    The pixels are those of scikit-image's `draw.polygon`, which tests every pixel against every
    edge: 2 seconds instead of milliseconds for a polygon across a photo of 12 megapixels.
    """
    # An edge is cut by a row at one of its ends, but not at the other, lest a corner count twice.
    # Leaving out the lower ends drops the bottom outline, leaving out the upper ends the top one.
    for first_row in (np.ceil, lambda value: np.floor(value) + 1):
        rows, cuts = _crossings(x, y, first_row, mask.shape[0])
        order = np.lexsort((cuts, rows))
        # Rounded, so that a cut meant to lie on a pixel centre does not miss it by a hair.
        cuts = np.clip(np.round(cuts[order], 9), -1, mask.shape[1])
        starts, stops = np.ceil(cuts[::2]).astype(int), np.floor(cuts[1::2]).astype(int) + 1
        for row, start, stop in zip(rows[order][::2], np.maximum(starts, 0), stops, strict=True):
            mask[row, start:stop] = True


def _crossings(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    first_row: Callable[[float], float],
    height: int,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Where the outline cuts each row: the rows, an even number of times each, and the cuts' x."""
    rows: list[NDArray[np.intp]] = []
    cuts: list[NDArray[np.float64]] = []
    for x0, y0, x1, y1 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
        low, high = np.clip([first_row(min(y0, y1)), first_row(max(y0, y1))], 0, height)
        if low < high:
            rows.append(np.arange(int(low), int(high)))
            cuts.append(x0 + (rows[-1] - y0) * (x1 - x0) / (y1 - y0))
    if not rows:
        return np.empty(0, np.intp), np.empty(0)
    return np.concatenate(rows), np.concatenate(cuts)


def _draw_segment(
    mask: NDArray[np.bool_], start: NDArray[np.float64], end: NDArray[np.float64], width: float
) -> None:
    """Set the pixels whose centre is at most half the width away from the segment."""
    reach = width / 2
    last = np.array(mask.shape[::-1]) - 1
    low = np.clip(np.floor(np.minimum(start, end) - reach), 0, last + 1).astype(int)
    high = np.clip(np.ceil(np.maximum(start, end) + reach), -1, last).astype(int)
    x, y = np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1)[:, None]
    (dx, dy), (x0, y0) = end - start, start
    along = ((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, np.finfo(float).tiny)
    along = np.clip(along, 0, 1)
    near = np.hypot(x - x0 - along * dx, y - y0 - along * dy) <= reach
    mask[low[1] : high[1] + 1, low[0] : high[0] + 1] |= near


def _paste(mask: NDArray[np.bool_], patch: NDArray[np.bool_], left: int, top: int) -> None:
    """Put a patch at a place that may lie partly outside."""
    height, width = mask.shape
    part = patch[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    top, left = max(top, 0), max(left, 0)
    mask[top : top + part.shape[0], left : left + part.shape[1]] = part


def _union(instances: Iterable[Instance], size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    for instance in instances:
        mask |= instance.mask
    return mask


# === Inside: files ===


def _json_files(folder: Path) -> list[Path]:
    try:
        files = sorted(p for p in folder.glob("*.json") if not p.name.startswith("."))
    except OSError as error:
        raise LabelmeError(f"{folder}: cannot be listed ({error.strerror})") from error
    if not files:
        raise LabelmeError(f"{folder}: has no *.json file")
    return files


def _all_labels(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(sorted({shape.label for p in paths for shape in read_annotation(p).shapes}))


def _label_tuple(labels: str | Collection[str] | None) -> tuple[str, ...] | None:
    if labels is None:
        return None
    return (labels,) if isinstance(labels, str) else tuple(dict.fromkeys(labels))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise LabelmeError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # broken JSON, broken text, endless nesting
        raise LabelmeError(f"{path}: is not valid JSON ({error})") from error


# === Inside: fields ===


def _shape(value: Any, index: int, where: str) -> Shape:
    data = _mapping(value, where)
    # Labelme 3 had only polygons, and did not say so.
    shape_type = _optional(_text, data.get("shape_type"), f"{where}.shape_type") or "polygon"
    if shape_type not in _POINT_COUNTS:
        _fail(f"{where}.shape_type", f"must be one of {', '.join(_POINT_COUNTS)}", shape_type)
    label = _text(data.get("label"), f"{where}.label")
    if not label:
        _fail(f"{where}.label", "must not be empty", label)
    points = _points(data.get("points"), shape_type, f"{where}.points")
    mask = None
    if shape_type == "mask":
        mask = _mask(data.get("mask"), points, f"{where}.mask")
    return Shape(
        index=index,
        label=label,
        shape_type=shape_type,
        points=points,
        group_id=_optional(_integer, data.get("group_id"), f"{where}.group_id"),
        mask=mask,
        flags=_optional(_flags, data.get("flags"), f"{where}.flags") or {},
        description=_optional(_text, data.get("description"), f"{where}.description") or "",
    )


def _points(value: Any, shape_type: str, where: str) -> NDArray[np.float64]:
    if not isinstance(value, list):
        _fail(where, "must be a list", value)
    least, most = _POINT_COUNTS[shape_type]
    if len(value) < least or (most is not None and len(value) > most):
        count = f"{least}" if most == least else f"{least} or more" if most is None else "2 or 4"
        _fail(where, f"a {shape_type} must have {count} points", len(value))
    if shape_type == "rectangle" and len(value) == 3:
        _fail(where, "a rectangle must have 2 or 4 points", 3)
    return np.array([_point(item, f"{where}[{i}]") for i, item in enumerate(value)])


def _point(value: Any, where: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        _fail(where, "must be [x, y]", value)
    return _number(value[0], where), _number(value[1], where)


def _mask(value: Any, points: NDArray[np.float64], where: str) -> NDArray[np.bool_]:
    try:
        # Labelme stores 0 and 1, so that everything but black belongs to the mask.
        mask = np.any(load_image(_base64(value, where)), axis=-1)
    except ImageError as error:
        reason = str(error).removeprefix("<bytes>: ")
        raise LabelmeError(f"{where}: {reason}") from error
    width, height = np.ptp(points, axis=0) + 1
    # Corners with fractions are rounded one by one, which may move the far one by a pixel.
    if abs(mask.shape[1] - width) > 1 or abs(mask.shape[0] - height) > 1:
        raise LabelmeError(
            f"{where}: has {mask.shape[1]} x {mask.shape[0]} pixels, but its points span "
            f"{width:g} x {height:g}"
        )
    return np.asarray(mask)


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _fail(where, "must be a JSON object", value)
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        _fail(where, "must be a string", value)
    return value


def _integer(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        _fail(where, "must be an integer", value)
    return value


def _side(value: Any, where: str) -> int:
    side = _integer(value, where)
    if side < 1:
        _fail(where, "must be positive", value)
    return side


def _number(value: Any, where: str) -> float:
    # Infinity comes in by 1e999 as well as by name, and an integer may be too large for a float.
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or not -math.inf < value < math.inf
    ):
        _fail(where, "must be a finite number", value)
    if abs(value) > _LARGEST_COORDINATE:
        _fail(where, f"must lie between -{_LARGEST_COORDINATE} and {_LARGEST_COORDINATE}", value)
    return float(value)


def _flags(value: Any, where: str) -> dict[str, bool]:
    flags = _mapping(value, where)
    for name, state in flags.items():
        if not isinstance(state, bool):
            _fail(f"{where}[{name!r}]", "must be true or false", state)
    return flags


def _base64(value: Any, where: str) -> bytes:
    try:
        return base64.b64decode(_text(value, where), validate=True)
    except (binascii.Error, ValueError) as error:
        if isinstance(error, LabelmeError):
            raise
        raise LabelmeError(f"{where}: is not base64 ({error})") from error


def _optional(check: Callable[[Any, str], Any], value: Any, where: str) -> Any:
    return None if value is None else check(value, where)


def _fail(where: str, demand: str, value: Any) -> NoReturn:
    received = repr(value)
    if len(received) > 80:
        received = f"{received[:80]}..."
    raise LabelmeError(f"{where}: {demand}. Received: {received}")

"""A folder of annotations becomes images and masks, and data sets of other programs."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.errors import LabelmeError, UnmaskError
from unmask.image import copyable_suffix, save_image, save_mask
from unmask.io import PathLike, prepare_folder, write_bytes_atomic, write_text_atomic
from unmask.labelme.annotation import label_tuple, labels_of, read_annotation, read_document
from unmask.labelme.coco import coco_object, coco_text, pycocotools
from unmask.labelme.drawing import DEFAULT_LINE_WIDTH, draw_instances
from unmask.labelme.fields import encodes, fail
from unmask.labelme.files import (
    decode_image,
    find_annotations,
    image_file,
    locate_photo,
)
from unmask.labelme.split import SPLIT_FILE, draw_split, groups_of, split_text
from unmask.labelme.voc import ANNOTATIONS, CLASSES, LISTS, OBJECTS, VocPhoto
from unmask.labelme.yolo import YAML, data_yaml, yolo_polygon, yolo_text
from unmask.paths import check_outputs

IMAGES, MASKS, LABELS = "images", "masks", "labels"
"""Folders of the result; the last one is YOLO's."""

_PARTS = ("train", "val")


@dataclass(frozen=True)
class Split:
    """How photos are dealt out to training and validation.

    Attributes:
        share: Share of the photos that should validate, see `unmask.labelme.split.draw_split`.
        persons: A CSV file with the columns file and person, whose photos stay together; those of
            one folder when None.
        seed: Of the choice.
    """

    share: float
    persons: PathLike | None = None
    seed: int = 0


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
    rle: bool = False,
    yolo: bool = False,
    voc: bool = False,
    split: Split | None = None,
    images: PathLike | None = None,
    recursive: bool = False,
    encoding: str | None = None,
    line_width: float = DEFAULT_LINE_WIDTH,
    progress: Callable[[list[Path]], Iterable[Path]] = iter,
) -> Conversion:
    """Convert Labelme files to `images/NAME.jpg|png` and `masks/NAME.png`, to COCO, YOLO and VOC.

    Images are copied unchanged where every reader sees the same pixels in them, and written as PNG
    otherwise (EXIF-turned, transparent, CMYK, ...). Masks are 0 and 255. A broken file is reported
    and does not keep the others from being converted.

    Args:
        source: A folder (its `*.json` files), a JSON file, or several of them.
        destination: The folder to write to.
        labels: The label or labels to draw, in the order of their COCO ids; None draws all.
        coco: Where to write a COCO JSON, or None; with a split, NAME-train.json and NAME-val.json.
            Its file names are relative to `destination`; its polygons are those of the files, and
            the outlines of what was drawn otherwise.
        rle: Whether its masks are compressed run lengths instead, exactly the instances' pixels.
        yolo: Whether to write `labels/NAME.txt` and `data.yaml`; each instance is one polygon.
        voc: Whether to write `Annotations/NAME.xml`, and PNG files of numbers in
            `SegmentationObject` and `SegmentationClass`.
        split: Which photos validate, written to `split.csv` and to the lists of YOLO and VOC; None
            for no split.
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
        DataError: A result would replace an annotation or a photo, or lie among them; a split is
            impossible.
        SettingError: The encoding is unknown.
        MissingPackageError: `rle` needs pycocotools.
        UnmaskError: `destination` cannot be written to.
        OSError: `coco` cannot be written.

    Example:
        >>> report = convert("photos", "dataset", labels=["mask"])  # doctest: +SKIP
        >>> len(report.converted), [str(error) for error in report.errors]  # doctest: +SKIP
        (176, [])
    """
    wanted = label_tuple(labels)
    coco = None if coco is None else Path(coco)
    work = _Work(Path(destination), wanted, images, encoding, line_width, coco, rle, yolo, voc)
    if images is not None and not Path(images).is_dir():
        raise LabelmeError(f"{images}: no such folder")
    if rle:
        pycocotools()
    names = _names(source, recursive, work.destination)
    inputs, written = _survey(names, work)
    parts = {}
    if split is not None:
        inputs += [] if split.persons is None else [Path(split.persons)]
        groups = groups_of([name.as_posix() for name in names.values()], split.persons)
        parts = draw_split(groups, split.share, split.seed)
    _check_outputs(names, inputs, work)
    categories = sorted(written) if wanted is None else wanted
    for folder in (IMAGES, MASKS):
        prepare_folder(work.destination / folder)
    converted: list[_Converted] = []
    errors: list[LabelmeError] = []
    found: Counter[str] = Counter()
    known: dict[Path, Path] = {}
    lists = coco or yolo or voc or parts
    for path in progress(list(names)):
        try:
            other = known.setdefault(names[path], path)
            if other is not path:
                raise LabelmeError(f"{path}: {other} has the same name")
            if lists and not encodes(f"{names[path]}"):
                fail(f"{path}: name", "must be UTF-8 to be written to other files", path.name)
            converted.append(_convert_one(path, names[path], work, categories, found))
        except LabelmeError as error:
            errors.append(error)
        except (UnmaskError, OSError, ValueError) as error:
            errors.append(LabelmeError(f"{path}: cannot be converted ({error})"))
    _write_lists(converted, work, categories, parts)
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
    coco: Path | None
    rle: bool
    yolo: bool
    voc: bool

    def coco_files(self) -> dict[str, Path]:
        """Return the COCO files of all photos, "", and of each part of a split."""
        if self.coco is None:
            return {}
        parts = {part: self.coco.with_stem(f"{self.coco.stem}-{part}") for part in _PARTS}
        return {"": self.coco, **parts}

    def folders(self, path: Path, name: Path) -> list[Path]:
        """Return where the photo of an annotation may lie, the likelier place first."""
        if self.images is None:
            return [path.parent]
        return list(dict.fromkeys([self.images / name.parent, Path(self.images)]))


@dataclass(frozen=True)
class _Converted:
    path: Path
    name: Path
    photo: str  # in the folder `images`
    size: tuple[int, int]
    coco: tuple[tuple[str, dict[str, Any]], ...]


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


def _survey(names: Mapping[Path, Path], work: _Work) -> tuple[list[Path], set[str]]:
    """Return the files that are read, and the labels in them."""
    inputs, labels = list(names), set()
    for path, name in names.items():
        # A broken file is reported when it is converted.
        with contextlib.suppress(LabelmeError):
            document = read_document(path, work.encoding)
            labels |= set(labels_of(document.get("shapes"))) - {""}
            inputs.append(locate_photo([document.get("imagePath")], work.folders(path, name), ""))
    return inputs, labels


def _check_outputs(names: Mapping[Path, Path], inputs: Sequence[Path], work: _Work) -> None:
    kinds = [(IMAGES, ".jpg"), (IMAGES, ".png"), (MASKS, ".png")]
    lists = []
    if work.yolo:
        kinds += [(LABELS, ".txt")]
        lists += [YAML, *(f"{part}.txt" for part in _PARTS)]
    if work.voc:
        kinds += [(ANNOTATIONS, ".xml"), (OBJECTS, ".png"), (CLASSES, ".png")]
    outputs = [
        work.destination / folder / f"{n}{end}" for n in names.values() for folder, end in kinds
    ]
    files = [work.destination / name for name in (SPLIT_FILE, *lists)]
    check_outputs([*outputs, *files, *work.coco_files().values()], inputs)
    # What lies beside the inputs may be photos as well.
    folders = {path.parent for path in inputs} | ({Path(work.images)} if work.images else set())
    check_outputs({path.parent for path in outputs}, folders)


# === One file ===


def _convert_one(
    path: Path, name: Path, work: _Work, categories: Sequence[str], found: Counter[str]
) -> _Converted:
    annotation = read_annotation(path, labels=work.labels, encoding=work.encoding)
    found.update(annotation.labels)
    content = image_file(annotation, work.folders(path, name))
    image = decode_image(annotation, content)
    size = (image.shape[0], image.shape[1])
    coco: list[tuple[str, dict[str, Any]]] = []
    yolo: list[tuple[str, NDArray[np.float64]]] = []
    voc = VocPhoto(size, categories, f"{path}") if work.voc else None
    mask = np.zeros(size, bool)
    for instance in draw_instances(annotation, size, line_width=work.line_width):
        mask |= instance.mask
        if work.coco:
            coco.append((instance.label, coco_object(instance, rle=work.rle)))
        if work.yolo:
            yolo.append((instance.label, yolo_polygon(instance)))
        if voc:
            voc.add(instance)
    suffix = copyable_suffix(content)
    image_path = work.destination / IMAGES / f"{name}{suffix or '.png'}"
    if suffix is None:
        save_image(image_path, image)
    else:
        write_bytes_atomic(image_path, content)
    save_mask(work.destination / MASKS / f"{name}.png", mask)
    if work.yolo:
        labels = work.destination / LABELS / f"{name}.txt"
        write_text_atomic(labels, yolo_text(yolo, categories))
    photo = image_path.relative_to(work.destination / IMAGES).as_posix()
    if voc:
        voc.write(work.destination, name, photo)
    return _Converted(path, name, photo, size, tuple(coco))


# === After ===


def _write_lists(
    converted: Sequence[_Converted],
    work: _Work,
    categories: Sequence[str],
    parts: Mapping[str, str],
) -> None:
    """Write the files that name all photos, or those of each part of a split."""
    of_part = {"": list(converted)}
    if parts:
        of_part = {p: [c for c in converted if parts[c.name.as_posix()] == p] for p in _PARTS}
        of_photo = {c.photo: parts[c.name.as_posix()] for c in converted}
        write_text_atomic(work.destination / SPLIT_FILE, split_text(of_photo))
    for part, members in of_part.items():
        if work.coco:
            photos = ((f"{IMAGES}/{c.photo}", c.size, c.coco) for c in members)
            content = coco_text(photos, categories)
            write_text_atomic(work.coco_files()[part], content)
        if work.yolo and part:
            lines = "".join(f"./{IMAGES}/{c.photo}\n" for c in members)
            write_text_atomic(work.destination / f"{part}.txt", lines)
        if work.voc:
            lines = "".join(f"{c.name.as_posix()}\n" for c in members)
            name = part or "trainval"
            write_text_atomic(work.destination / LISTS / f"{name}.txt", lines)
    if work.yolo:
        lists = [f"{part}.txt" for part in _PARTS] if parts else [IMAGES, IMAGES]
        write_text_atomic(work.destination / YAML, data_yaml(categories, *lists))

"""Pascal VOC: boxes in XML, and the objects' pixels in PNG files of numbers."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unmask.errors import ImageError, LabelmeError
from unmask.io import write_bytes_atomic
from unmask.labelme.annotation import mask_shape, rectangle_shape
from unmask.labelme.drawing import Instance
from unmask.labelme.fields import (
    Foreign,
    Size,
    Wants,
    check_size,
    fail,
    label_name,
    numbers,
    read_each,
    side,
    text,
)
from unmask.labelme.files import MAX_JSON_BYTES, MAX_PHOTO_BYTES, read_file
from unmask.paths import walk_files

ANNOTATIONS, CLASSES, OBJECTS = "Annotations", "SegmentationClass", "SegmentationObject"
"""Folders of a VOC data set."""

LISTS = "ImageSets/Segmentation"
"""Folder of the lists of its photos."""

PHOTO_FOLDERS = ("JPEGImages", "images")
"""Where its photos are: as published, and as written here."""

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
# 255 stands for pixels that belong to nothing.
_MOST = 254
# XML cannot hold them at all; a carriage return would come back as a line feed.
_NOT_IN_XML = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")


class VocPhoto:
    """A photo's objects, numbered as they come; where they overlap, the later one counts."""

    def __init__(self, size: Size, categories: Sequence[str], where: str) -> None:
        """Begin with none; errors begin with `where`."""
        self._categories, self._where = categories, where
        self._objects, self._classes = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        self._items: list[ElementTree.Element] = []

    def add(self, instance: Instance) -> None:
        """Add an object.

        Raises:
            LabelmeError: A PNG file cannot number it, or XML not hold its label.
        """
        number, kind = len(self._items) + 1, self._categories.index(instance.label) + 1
        if max(number, kind) > _MOST:
            fail(self._where, f"VOC numbers at most {_MOST} objects and classes", max(number, kind))
        if _NOT_IN_XML.search(instance.label):
            place = f"{self._where}: shapes[{instance.shapes[0].index}].label"
            fail(place, "must not have control characters in VOC", instance.label)
        self._objects[instance.mask] = number
        self._classes[instance.mask] = kind
        item = ElementTree.Element("object")
        _add(item, name=instance.label, pose="Unspecified", truncated=0, difficult=0)
        left, top, right, bottom = instance.box
        box = (left + 1, top + 1, right, bottom)  # VOC counts pixels from 1
        _add(ElementTree.SubElement(item, "bndbox"), **dict(zip(_CORNERS, box, strict=True)))
        self._items.append(item)

    def write(self, folder: Path, name: Path, photo: str) -> None:
        """Write the XML and the two PNG files."""
        height, width = self._objects.shape
        root = ElementTree.Element("annotation")
        _add(root, folder="images", filename=photo)
        _add(ElementTree.SubElement(root, "size"), width=width, height=height, depth=3)
        _add(root, segmented=int(bool(self._items)))
        root.extend(self._items)
        ElementTree.indent(root)
        xml = ElementTree.tostring(root, encoding="utf-8")
        write_bytes_atomic(folder / ANNOTATIONS / f"{name}.xml", xml + b"\n")
        for kind, numbered in ((OBJECTS, self._objects), (CLASSES, self._classes)):
            write_bytes_atomic(folder / kind / f"{name}.png", _numbered_png(numbered))


def read_voc(path: Path) -> Iterator[Foreign | LabelmeError]:
    """Read a VOC data set, a folder with `Annotations` or of XML files, one file after the other.

    An object's pixels are those of its number in SegmentationObject, and its box where there are
    none.

    Returns:
        The photos, and errors of files that cannot be read.

    Raises:
        LabelmeError: There are no XML files.
    """
    folder = path / ANNOTATIONS if (path / ANNOTATIONS).is_dir() else path
    files = [p for p in walk_files(folder, recursive=True) if p.suffix.lower() == ".xml"]
    if not files:
        raise LabelmeError(f"{folder}: has no *.xml file")

    def photo(file: Path) -> Foreign:
        root = _read_xml(file)
        name = text(root.findtext("filename"), f"{file}: filename")
        numbered = path / OBJECTS / file.relative_to(folder).with_suffix(".png")
        names = [name, *(f"{images}/{name}" for images in PHOTO_FOLDERS)]
        return Foreign(names, f"{file}: filename", partial(_shapes, root, f"{file}", numbered))

    return read_each(photo, files)


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, *_: object) -> None:
        """Refuse what makes entities, which can grow without end, in whatever encoding."""
        raise LabelmeError("must not have a DOCTYPE")


def _read_xml(path: Path) -> ElementTree.Element:
    content = read_file(path, MAX_JSON_BYTES, f"{path}")
    try:
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_Builder()))
    except LabelmeError as error:
        raise LabelmeError(f"{path}: {error}") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise LabelmeError(f"{path}: is not valid XML ({error})") from error
    if root.tag != "annotation":
        fail(f"{path}", "must be an XML file of <annotation>", root.tag)
    return root


def _shapes(
    root: ElementTree.Element, where: str, numbered: Path, size: Size, wants: Wants
) -> Iterator[dict[str, Any]]:
    for key, real in zip(("height", "width"), size, strict=True):
        said = root.findtext(f"size/{key}")
        if said is not None:
            check_size(side(said, f"{where}: size/{key}"), real, f"{where}: size/{key}")
    objects = _read_numbers(numbered, size)
    for number, item in enumerate(root.findall("object"), 1):
        place = f"{where}: object[{number}]"
        label = label_name(item.findtext("name"), f"{place}/name")
        if not wants(label):
            continue
        mask = objects == number
        if mask.any():
            yield mask_shape(label, mask)
            continue
        said_box = [item.findtext(f"bndbox/{key}") for key in _CORNERS]
        box = numbers(said_box)
        if box is None or (box[2:] < box[:2]).any():
            fail(f"{place}/bndbox", f"must have the numbers {', '.join(_CORNERS)}", said_box)
        yield rectangle_shape(label, box.reshape(2, 2) - 1)


def _read_numbers(path: Path, size: Size) -> NDArray[np.uint8]:
    """Return the numbers of a PNG with a palette; zeros where there is none."""
    if not path.exists():
        return np.zeros(size, np.uint8)
    content = read_file(path, MAX_PHOTO_BYTES, f"{path}")
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode not in ("P", "L") or image.size != size[::-1]:
                raise ImageError(
                    f"must have one channel and {size[1]} x {size[0]} pixels. Received: "
                    f"{image.mode}, {image.size[0]} x {image.size[1]}"
                )
            return np.asarray(image, np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise LabelmeError(f"{path}: {error}") from error


def _numbered_png(numbers_: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(numbers_, "L")
    image.putpalette(_palette().ravel().tolist())
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def _palette() -> NDArray[np.uint8]:
    """VOC's colours: a number's bits, dealt out to red, green and blue, highest first."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1]
    channels = [np.pad(bits[:, channel::3], ((0, 0), (0, 8)))[:, :8] for channel in range(3)]
    return np.stack([np.packbits(channel, axis=1)[:, 0] for channel in channels], 1)


def _add(parent: ElementTree.Element, **fields: object) -> None:
    for key, value in fields.items():
        ElementTree.SubElement(parent, key).text = str(value)

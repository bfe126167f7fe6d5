"""Annotations of other programs become Labelme files beside their photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from unmask.errors import LabelmeError, UnmaskError
from unmask.image import load_image
from unmask.io import PathLike
from unmask.labelme.annotation import label_tuple, write_annotated
from unmask.labelme.coco import read_coco
from unmask.labelme.fields import Foreign, Wants
from unmask.labelme.files import MAX_PHOTO_BYTES, locate_photo, read_file
from unmask.labelme.label_studio import read_label_studio
from unmask.labelme.voc import PHOTO_FOLDERS, read_voc
from unmask.labelme.yolo import read_yolo

ForeignFormat = Literal["coco", "label-studio", "voc", "yolo"]
"""What can be read."""

_READERS: Mapping[str, Callable[[Path], Iterator[Foreign | LabelmeError]]] = MappingProxyType(
    {"coco": read_coco, "label-studio": read_label_studio, "voc": read_voc, "yolo": read_yolo}
)


@dataclass(frozen=True)
class Imported:
    """What `import_annotations` did.

    Attributes:
        written: The Labelme files.
        errors: One error for each photo, or part of a file, that was left out.
        labels: How many objects each label has, chosen or not, in the photos that could be read.
    """

    written: tuple[Path, ...]
    errors: tuple[LabelmeError, ...]
    labels: Mapping[str, int]


def import_annotations(
    form: ForeignFormat,
    source: PathLike,
    destination: PathLike,
    *,
    images: PathLike | None = None,
    labels: str | Collection[str] | None = None,
    progress: Callable[[list[Foreign | LabelmeError]], Iterable[Foreign | LabelmeError]] = iter,
) -> Imported:
    """Convert annotations of another program to Labelme files, with their photos beside them.

    Polygons stay polygons, run lengths and brush strokes become masks, exactly; boxes become
    rectangles. Photos lie in `destination` as in the folder that they come from, but for folders
    called images or JPEGImages. No file is ever replaced.

    Args:
        form: What `source` is: "coco" and "label-studio", a JSON file; "voc", a folder with
            `Annotations`; "yolo", a folder with `data.yaml`.
        source: The file or folder.
        destination: Folder to write to; that of the photos leaves them where they are.
        images: Folder of the photos; beside or in `source` when None.
        labels: The label or labels to take over; None takes all.
        progress: Wraps the list of photos to watch the work.

    Returns:
        What was written, and what was not.

    Raises:
        LabelmeError: `source` is not of that format, or there is no folder `images`.
        MissingPackageError: A format needs a package that is not installed.

    Example:
        >>> import_annotations("coco", "coco.json", "photos")   # doctest: +SKIP
        Imported(written=(PosixPath('photos/a.json'),), errors=(), labels={'mask': 1})
    """
    source, destination = Path(source), Path(destination)
    folder = Path(images) if images is not None else source if source.is_dir() else source.parent
    if images is not None and not folder.is_dir():
        raise LabelmeError(f"{images}: no such folder")
    wanted = label_tuple(labels)
    found: Counter[str] = Counter()

    def wants(label: str) -> bool:
        found[label] += 1
        return wanted is None or label in wanted

    read = _READERS[form]
    if form == "yolo" and images is not None:
        read = partial(read_yolo, images=folder)
    written: list[Path] = []
    errors: list[LabelmeError] = []
    for item in progress(list(read(source))):
        try:
            if isinstance(item, LabelmeError):
                raise item
            written.append(_write(item, folder, destination, wants))
        except LabelmeError as error:
            errors.append(error)
        except (UnmaskError, OSError, ValueError) as error:
            place = item.where if isinstance(item, Foreign) else source
            errors.append(LabelmeError(f"{place}: cannot be imported ({error})"))
    return Imported(tuple(written), tuple(errors), dict(found))


def _write(item: Foreign, folder: Path, destination: Path, wants: Wants) -> Path:
    photo = locate_photo(item.photos, [folder], item.where)
    content = read_file(photo, MAX_PHOTO_BYTES, item.where)
    height, width = load_image(content).shape[:2]
    shapes = list(item.shapes((height, width), wants))
    place = photo.relative_to(folder)
    target = destination.joinpath(
        *(p for p in place.parts[:-1] if p not in PHOTO_FOLDERS), place.name
    )
    annotation = target.with_suffix(".json")
    if annotation.exists():
        raise LabelmeError(f"{item.where}: {annotation} exists already")
    write_annotated(target, content, (height, width), shapes, where=item.where)
    return annotation

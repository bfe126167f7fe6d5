"""`unmask labelme`: Labelme annotations to images, masks and other programs' formats, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from unmask.cli.arguments import (
    ExistingDirectory,
    ExistingFile,
    ExistingPath,
    File,
    Folder,
    PositiveFloat,
    Seed,
    Share,
)
from unmask.cli.progress import report, track

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_LINE_WIDTH = 10.0


def labelme(
    source: ExistingPath,
    destination: Folder,
    /,
    *,
    labels: list[str] | None = None,
    form: Annotated[
        Literal["labelme", "coco", "label-studio", "voc", "yolo"], Parameter(name="--from")
    ] = "labelme",
    coco: File | None = None,
    rle: bool = False,
    yolo: bool = False,
    voc: bool = False,
    val: Share | None = None,
    persons: ExistingFile | None = None,
    seed: Seed = 0,
    images: ExistingDirectory | None = None,
    recursive: bool = False,
    encoding: str | None = None,
    line_width: PositiveFloat = _LINE_WIDTH,
) -> int:
    """Convert Labelme annotations to masks, COCO, YOLO and VOC, or those formats to Labelme.

    Every JSON file of SOURCE goes to DESTINATION/images and DESTINATION/masks (PNG, 255 = object).
    A broken file is reported, the others are converted all the same; the exit status is 1 then.
    With --from, DESTINATION gets Labelme's JSON files and the photos; no file is replaced.

    Args:
        source: Folder of JSON files, or one file; with --from the JSON file of COCO or Label
            Studio, VOC's folder with Annotations, or YOLO's with data.yaml.
        destination: Folder to write to.
        labels: Labels to draw, exactly as they are written. Default: all.
        form: What SOURCE is. Only --labels and --images go with other formats than labelme.
        coco: Also write a COCO JSON (polygons) to this file.
        rle: Compressed run lengths in place of COCO's polygons, exact to the pixel.
        yolo: Also write YOLO's segmentation format: labels and data.yaml.
        voc: Also write Pascal VOC: Annotations, SegmentationObject and SegmentationClass.
        val: Deal out this share of the photos to validation; those of one folder stay together.
        persons: CSV file with the columns file and person: those of one person stay together.
        seed: Of the split.
        images: Folder of the photos. Default: they lie beside the JSON files.
        recursive: Also convert the folders inside SOURCE.
        encoding: Of JSON files that are not UTF-8, gbk for example.
        line_width: Width of lines and line strips, pixels.
    """
    from unmask.errors import SettingError
    from unmask.labelme import Split, convert, import_annotations

    if form != "labelme":
        others = coco or rle or yolo or voc or val is not None or persons or seed
        if others or recursive or encoding or line_width != _LINE_WIDTH:
            raise SettingError(f"only --labels and --images go with --from {form}")
        imported = import_annotations(
            form,
            source,
            destination,
            images=images,
            labels=labels,
            progress=lambda photos: track(photos, "importing"),
        )
        problems = [*imported.errors, *_unused_labels(labels, imported.labels, imported.written)]
        for problem in problems:
            report(problem)
        print(f"{len(imported.written)} Labelme files written to {destination}")
        return 1 if problems else 0
    if persons and val is None:
        raise SettingError(f"--persons goes with --val. Received: {persons}")
    if rle and not coco:
        raise SettingError("--rle goes with --coco")
    converted = convert(
        source,
        destination,
        labels=labels,
        coco=coco,
        rle=rle,
        yolo=yolo,
        voc=voc,
        split=None if val is None else Split(val, persons, seed),
        images=images,
        recursive=recursive,
        encoding=encoding,
        line_width=line_width,
        progress=lambda files: track(files, "converting"),
    )
    unused = _unused_labels(labels, converted.labels, converted.converted)
    problems = [*converted.errors, *unused]
    for problem in problems:
        report(problem)
    total = len(converted.converted) + len(converted.errors)
    print(f"{len(converted.converted)} of {total} annotations converted to {destination}")
    if converted.left_out:
        print(f"labels that were left out: {_counted(converted.left_out)}")
    return 1 if problems else 0


def _unused_labels(
    wanted: list[str] | None, found: Mapping[str, int], done: Sequence[Path]
) -> list[str]:
    """Most likely a label that no shape has is a slip of the pen, and all masks are empty."""
    return [
        f"no shape has the label {label!r}; labels found: {_counted(found) or 'none'}"
        for label in wanted or ()
        if label not in found and done
    ]


def _counted(labels: Mapping[str, int]) -> str:
    return ", ".join(f"{label!r} ({n})" for label, n in sorted(labels.items()))

"""`unmask labelme`: a folder of Labelme annotations to images and masks, and to COCO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.cli.arguments import ExistingDirectory, ExistingPath, File, Folder, PositiveFloat
from unmask.cli.progress import report, track

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unmask.labelme import Conversion


def labelme(
    source: ExistingPath,
    destination: Folder,
    /,
    *,
    labels: list[str] | None = None,
    coco: File | None = None,
    images: ExistingDirectory | None = None,
    recursive: bool = False,
    encoding: str | None = None,
    line_width: PositiveFloat = 10.0,
) -> int:
    """Convert Labelme annotations to masks and COCO.

    Every JSON file of SOURCE goes to DESTINATION/images and DESTINATION/masks (PNG, 255 = object).
    A broken file is reported, the others are converted all the same; the exit status is 1 then.

    Args:
        source: Folder of JSON files, or one file.
        destination: Folder to write to.
        labels: Labels to draw, exactly as they are written. Default: all.
        coco: Also write a COCO JSON (masks as run lengths) to this file.
        images: Folder of the photos. Default: they lie beside the JSON files.
        recursive: Also convert the folders inside SOURCE.
        encoding: Of JSON files that are not UTF-8, gbk for example.
        line_width: Width of lines and line strips, pixels.
    """
    from unmask.labelme import convert

    converted = convert(
        source,
        destination,
        labels=labels,
        coco=coco,
        images=images,
        recursive=recursive,
        encoding=encoding,
        line_width=line_width,
        progress=lambda files: track(files, "converting"),
    )
    problems = [*converted.errors, *_unused_labels(labels, converted)]
    for problem in problems:
        report(problem)
    total = len(converted.converted) + len(converted.errors)
    print(f"{len(converted.converted)} of {total} annotations converted to {destination}")
    if converted.left_out:
        print(f"labels that were left out: {_counted(converted.left_out)}")
    return 1 if problems else 0


def _unused_labels(wanted: list[str] | None, converted: Conversion) -> list[str]:
    """Most likely a label that no shape has is a slip of the pen, and all masks are empty."""
    found = _counted(converted.labels) or "none"
    return [
        f"no shape has the label {label!r}; labels found: {found}"
        for label in wanted or ()
        if label not in converted.labels and converted.converted
    ]


def _counted(labels: Mapping[str, int]) -> str:
    return ", ".join(f"{label!r} ({n})" for label, n in sorted(labels.items()))

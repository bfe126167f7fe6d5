"""Predicted masks as Labelme's files, to be corrected by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask._version import __version__
from unmask.errors import UnmaskError
from unmask.image import load_photo
from unmask.io import prepare_folder
from unmask.labelme.annotation import polygon_shapes, write_annotated
from unmask.labelme.drawing import outlines
from unmask.labelme.files import MAX_PHOTO_BYTES, read_file
from unmask.paths import text_about

if TYPE_CHECKING:
    from unmask.pipeline import Unmasker
    from unmask.segmentation.regions import MaskRegion

PREDICTED = "predicted"
"""Labelme's flag of a photo and of its shapes: untick it when they are corrected."""

# What is more likely no mask is left out: it would have to be deleted each time.
_LEAST_SCORE = 0.5

# How far a polygon may be from the outline, as a share of the mask's size, and at least in pixels:
# an IoU of 0.99 with some thirty points.
_TOLERANCE, _LEAST_TOLERANCE = 0.005, 0.5


@dataclass(frozen=True)
class Annotated:
    """What became of a photo.

    Attributes:
        photo: The photo.
        annotation: Its Labelme file.
        masks: Number of masks in a file that was written; None where nothing was written.
        error: Why nothing was written; None where the file was there already.
    """

    photo: Path
    annotation: Path
    masks: int | None = None
    error: str | None = None


def annotate_photos(
    unmasker: Unmasker,
    photos: Sequence[Path],
    out: Path,
    *,
    label: str = "mask",
    inside: Mapping[Path, Path] | None = None,
) -> Iterator[Annotated]:
    """Write a Labelme file for each photo, with polygons around what is likely a mask.

    A file that exists is never touched, be it from an earlier call or from somebody's hand. A
    photo that is not in `out` is copied there, as Labelme and trainings expect it.

    Args:
        unmasker: Finds the masks.
        photos: The photos.
        out: Folder to write to; it may be that of the photos.
        label: Label of the polygons.
        inside: Folder inside `out` for a photo; `out` itself where it is not named.

    Yields:
        One report a photo.

    Raises:
        UnmaskError: `out` cannot be written to.

    Example:
        >>> from unmask import Unmasker
        >>> for done in annotate_photos(Unmasker(), [Path("a.jpg")], Path("out")):  # doctest: +SKIP
        ...     print(done.annotation, done.masks)
        out/a.json 1
    """
    prepare_folder(out)
    taken: dict[str, Path] = {}
    for photo in photos:
        target = out / (inside or {}).get(photo, Path()) / photo.name
        annotation = target.with_suffix(".json")
        other = taken.setdefault(str(annotation).casefold(), photo)
        masks, problem = None, None
        try:
            if other is not photo:
                raise UnmaskError(f"{photo}: {other} has the same name")
            if not annotation.exists():
                masks = _annotate(unmasker, photo, target, label)
        except UnicodeEncodeError:
            problem = (
                f"{photo}: its name, or the label {label!r}, is not UTF-8 as Labelme's files are"
            )
        except (UnmaskError, OSError) as error:
            problem = text_about(photo, error)
        yield Annotated(photo, annotation, masks, problem)


def _annotate(unmasker: Unmasker, photo: Path, target: Path, label: str) -> int:
    content = read_file(photo, MAX_PHOTO_BYTES, f"{photo}")
    pixels = load_photo(content, max_pixels=unmasker.max_pixels).pixels
    regions = [r for r in unmasker.find(pixels) if r.score >= _LEAST_SCORE]
    shapes = [s for n, region in enumerate(regions, 1) for s in _shapes(region, label, n)]
    size = (pixels.shape[0], pixels.shape[1])
    write_annotated(target, content, size, shapes, where=photo, flags={PREDICTED: True})
    return len(regions)


def _shapes(region: MaskRegion, label: str, group: int) -> list[dict[str, Any]]:
    tolerance = max(_LEAST_TOLERANCE, _TOLERANCE * region.area**0.5)
    pieces = outlines(region.patch, tolerance)
    about = {
        "description": f"predicted by unmask {__version__}, score {region.score:.2f}",
        "flags": {PREDICTED: True},
    }
    return polygon_shapes(label, [piece + region.box[:2] for piece in pieces], group, **about)

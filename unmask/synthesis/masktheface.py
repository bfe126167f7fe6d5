"""Reading the templates of MaskTheFace: `masks.cfg` beside RGBA PNG files."""

from __future__ import annotations

import configparser
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError
from unmask.paths import path_inside
from unmask.synthesis.template import Loops, MaskTemplate

_FIELDS = ("mask_a", "mask_b", "mask_c", "mask_d", "mask_e", "mask_f")
# The first that a name begins with; others are cloth.
_KINDS = {"surgical": "surgical", "kn95": "respirator", "n95": "respirator"}
_LOOPS = Loops((236, 236, 236), 0.014)


def load_masktheface(folder: str | Path) -> list[MaskTemplate]:
    """Read a folder of MaskTheFace templates.

    Each section of `masks.cfg` names a PNG (`template`) and six points, `mask_a` to `mask_f`: left,
    middle and right of the upper edge, then of the lower. A name that ends in `_left` or `_right`
    is the view for a turned head. Ear loops are taken out of a picture, as the synthesizer draws
    its own; points at the end of a loop move to the nearest point of the body.

    Args:
        folder: The folder, as in MaskTheFace's repository (`masks/`).

    Returns:
        The templates in the order of the file, for `MaskSynthesizer(templates=...)`.

    Raises:
        DataError: `masks.cfg` or a picture is missing or unreadable, or a field is missing or
            wrong; the message names file, section and field.
    """
    path = Path(folder) / "masks.cfg"
    if not path.is_file():
        raise DataError(f"{path}: not found")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable configuration: {error}") from error
    if not parser.sections():
        raise DataError(f"{path}: holds no template")
    return [_read_section(path, parser[name]) for name in parser.sections()]


def _read_section(path: Path, section: configparser.SectionProxy) -> MaskTemplate:
    where = f"{path}: [{section.name}]"
    rgba = _read_picture(path.parent, _field(section, "template", where), where)
    points = np.stack([_read_point(section, name, where) for name in _FIELDS])
    limit = np.array(rgba.shape[1::-1])
    # Published points lie up to a hundredth of the width outside.
    outside = ((points < -0.05 * limit) | (points > 1.05 * limit)).any(axis=1)
    if outside.any():
        field = _FIELDS[int(np.argmax(outside))]
        raise DataError(
            f"{where} {field}: outside the picture of {limit[0]} x {limit[1]}. "
            f"Received: {field}={section[field]!r}"
        )
    rgba = _without_loops(rgba)
    rows, columns = np.nonzero(rgba[..., 3] > 127)
    if not len(rows):
        raise DataError(f"{where} template: the picture is transparent everywhere")
    nearest = [np.argmin((columns - x) ** 2 + (rows - y) ** 2) for x, y in points]
    pinned = np.stack([columns[nearest], rows[nearest]], axis=1).astype(np.float32)
    name, ending, view = section.name.rpartition("_")
    if not ending or view.lower() not in ("left", "right"):
        name, view = section.name, "front"
    kind = next((k for start, k in _KINDS.items() if name.lower().startswith(start)), "cloth")
    return MaskTemplate(kind, rgba, pinned, view.lower(), _LOOPS, name)


def _field(section: configparser.SectionProxy, name: str, where: str) -> str:
    value = section.get(name)
    if not value:
        raise DataError(f"{where} {name}: missing")
    return value


def _read_point(section: configparser.SectionProxy, name: str, where: str) -> NDArray[np.float64]:
    text = _field(section, name, where)
    try:
        point = np.array([float(part) for part in text.split(",")])
    except ValueError:
        point = np.empty(0)
    if point.shape != (2,) or not np.isfinite(point).all():
        raise DataError(f"{where} {name}: must be two finite numbers. Received: {name}={text!r}")
    return point


def _read_picture(folder: Path, name: str, where: str) -> NDArray[np.uint8]:
    path = path_inside(folder, name, f"{where} template")
    if not path.is_file():
        raise DataError(f"{where} template: {path} not found")
    content = np.fromfile(path, np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if len(content) else None
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4 or picture.dtype != np.uint8:
        raise DataError(f"{where} template: {path} is not an 8-bit RGBA picture")
    return np.ascontiguousarray(picture[..., [2, 1, 0, 3]])


def _without_loops(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Clear thin parts of the coverage: a loop is thinner than a twelfth of the picture."""
    size = max(rgba.shape[1] // 12, 3)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    core = cv2.morphologyEx(np.pad(rgba[..., 3], size), cv2.MORPH_OPEN, kernel)
    # Opening rounds corners; growing it a little and keeping what was there brings them back.
    core = cv2.dilate(core, np.ones((size // 3 * 2 + 1,) * 2, np.uint8))[size:-size, size:-size]
    result = rgba.copy()
    result[..., 3] = np.minimum(rgba[..., 3], core)
    return result

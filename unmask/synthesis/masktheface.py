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
_KINDS = (
    ("surgical", "surgical"),
    ("cloth", "cloth"),
    ("kn95", "respirator"),
    ("n95", "respirator"),
)
_WHITE = (236, 236, 236)


def load_masktheface(folder: str | Path) -> list[MaskTemplate]:
    """Read a folder of MaskTheFace templates.

    Each section of `masks.cfg` names a PNG (`template`) and six points, `mask_a` to `mask_f`: left,
    middle and right of the upper edge, then of the lower. A name that ends in `_left` or `_right`
    is the view for a turned head. Ear loops that are part of a picture are taken out of it (they do
    not count as mask, and the synthesizer draws its own); points at the end of a loop move to the
    nearest corner of the body.

    Args:
        folder: The folder, as in MaskTheFace's repository (`masks/`).

    Returns:
        The templates in the order of the file, for `MaskSynthesizer(templates=...)`.

    Raises:
        DataError: `masks.cfg` or a picture is missing or unreadable, or a field is missing or
            wrong; the message names file, section and field.

    Example:
        >>> templates = load_masktheface("masks")  # doctest: +SKIP
        >>> synth = MaskSynthesizer(templates=templates)  # doctest: +SKIP

    Source: https://github.com/aqeelanwar/MaskTheFace (MIT).
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
    name, view = section.name, "front"
    for suffix in ("left", "right"):
        if name.lower().endswith(f"_{suffix}"):
            name, view = name[: -len(suffix) - 1], suffix
    rgba = _without_loops(rgba)
    if not (rgba[..., 3] > 127).any():
        raise DataError(f"{where} template: the picture is transparent everywhere")
    points = np.stack([_nearest_body_point(rgba, point) for point in points])
    kind = next((kind for prefix, kind in _KINDS if name.lower().startswith(prefix)), "cloth")
    return MaskTemplate(kind, rgba, points.astype(np.float32), view, Loops(_WHITE, 0.014), name)


def _field(section: configparser.SectionProxy, name: str, where: str) -> str:
    value = section.get(name)
    if not value:
        raise DataError(f"{where} {name}: missing")
    return value


def _read_point(section: configparser.SectionProxy, name: str, where: str) -> NDArray[np.float64]:
    text = _field(section, name, where)
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError as error:
        raise DataError(
            f"{where} {name}: must be two numbers. Received: {name}={text!r}"
        ) from error
    if not np.isfinite([x, y]).all():
        raise DataError(f"{where} {name}: must be finite. Received: {name}={text!r}")
    return np.array([x, y])


def _read_picture(folder: Path, name: str, where: str) -> NDArray[np.uint8]:
    path = path_inside(folder, name, f"{where} template")
    if not path.is_file():
        raise DataError(f"{where} template: {path} not found")
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4 or picture.dtype != np.uint8:
        raise DataError(f"{where} template: {path} is not an 8-bit RGBA picture")
    return np.ascontiguousarray(picture[..., [2, 1, 0, 3]])


def _without_loops(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Clear thin parts of the coverage: a loop is thinner than a twelfth of the picture."""
    size = max(rgba.shape[1] // 12, 3)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    bordered = cv2.copyMakeBorder(
        rgba[..., 3], size, size, size, size, cv2.BORDER_CONSTANT, value=0
    )
    core = cv2.morphologyEx(bordered, cv2.MORPH_OPEN, kernel)
    # Opening rounds corners; growing it a little and keeping what was there brings them back.
    core = cv2.dilate(core, np.ones((size // 3 * 2 + 1,) * 2, np.uint8))[size:-size, size:-size]
    result = rgba.copy()
    result[..., 3] = np.minimum(rgba[..., 3], core)
    return result


def _nearest_body_point(rgba: NDArray[np.uint8], point: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, columns = np.nonzero(rgba[..., 3] > 127)
    nearest = int(np.argmin((columns - point[0]) ** 2 + (rows - point[1]) ** 2))
    return np.array([columns[nearest], rows[nearest]], np.float64)

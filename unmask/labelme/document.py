"""Labelme's JSON files, as they are written here."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_VERSION = "5.5.0"


def polygon_shape(
    label: str, points: NDArray[np.floating], group: int | None = None, **more: Any
) -> dict[str, Any]:
    """Return a polygon of (P, 2) points as Labelme writes it; `more` are other fields."""
    return _shape(label, "polygon", points, group) | more


def rectangle_shape(
    label: str, corners: NDArray[np.floating], group: int | None = None
) -> dict[str, Any]:
    """Return a rectangle as Labelme writes it, its corners (2, 2) the centres of corner pixels."""
    return _shape(label, "rectangle", corners, group)


def mask_shape(label: str, mask: NDArray[np.bool_], group: int | None = None) -> dict[str, Any]:
    """Return a mask (H, W) as Labelme writes it, cut to the pixels that it covers."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left, bottom, right = (0, 0, 0, 0)
    if len(rows):
        top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    stream = io.BytesIO()
    patch = mask[top : bottom + 1, left : right + 1]
    Image.fromarray(patch.astype(np.uint8) * np.uint8(255)).save(stream, format="PNG")
    corners = np.array([[left, top], [right, bottom]], float)
    encoded = base64.b64encode(stream.getvalue()).decode()
    return _shape(label, "mask", corners, group) | {"mask": encoded}


def document_text(
    photo: str,
    size: tuple[int, int],
    shapes: Sequence[Mapping[str, Any]],
    flags: Mapping[str, bool] | None = None,
) -> str:
    """Return the text of a file about a photo beside it.

    Args:
        photo: The photo's file name.
        size: Its height and width, upright.
        shapes: From the functions above.
        flags: What is true of the whole photo.
    """
    content = {
        "version": _VERSION,
        "flags": dict(flags or {}),
        "shapes": list(shapes),
        "imagePath": photo,
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _shape(
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

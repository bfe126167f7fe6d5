"""What a photo's file holds besides 8-bit RGB, read beside it and put back into its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from unmask.decode import STORED_TURN, has_grey_profile, to_rgb, to_rgba, turn_of
from unmask.encode import WITH_16_BITS, WITH_ALPHA

COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""What a completed photo is, in IPTC's vocabulary of digital source types."""

COMPOSITE_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about=""'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    f' Iptc4xmpExt:DigitalSourceType="{COMPOSITE}"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()
"""An XMP packet that says so."""

# EXIF tags that are still true of a result, all texts; the others tell how the file was stored.
_KEPT_TAGS = frozenset({270, 271, 272, 305, 306, 315, 316, 18246, 33432, *range(40091, 40096)})
# Among the camera's details: width and height; and where in the old file further ones were.
_SIDES, _OFFSETS = (0xA002, 0xA003), frozenset({0xA005})


@dataclass(frozen=True, eq=False)
class Origin:
    """What a photo's file holds besides 8-bit RGB.

    Attributes:
        format: Pillow's name of the format.
        content: The file's bytes; None for a PIL image.
        exif: EXIF data for the upright picture, if any.
        dpi: Horizontal and vertical pixels an inch of the upright picture, if known.
        pixels: The upright picture in the file's own depth and channels where RGB uint8 says less:
            uint8 RGBA or grey, uint16 RGB, RGBA or grey.
    """

    format: str | None
    content: bytes | None
    exif: bytes | None
    dpi: tuple[float, float] | None
    pixels: NDArray[np.uint8] | NDArray[np.uint16] | None


def read_origin(
    image: Image.Image, upright: Image.Image, content: bytes | None, rgb: NDArray[np.uint8]
) -> Origin:
    """Read what a file holds besides its RGB pixels.

    `image` is the decoded picture, `upright` the same turned, `rgb` (H, W, 3) the latter as it is
    used, and `content` the file's bytes, if it was one.
    """
    return Origin(
        # A multi-picture JPEG begins with the picture that is meant.
        format="JPEG" if image.format == "MPO" else image.format,
        content=content,
        exif=_exif(image, upright.size),
        dpi=_dpi(image),
        pixels=_own_pixels(image, upright, content, rgb),
    )


def deep_pixels(
    image: Image.Image, upright: Image.Image, content: bytes | None
) -> NDArray[np.uint16] | None:
    """Return colours of 16 bits, upright (H, W, 3 or 4), of which Pillow keeps the high byte alone.

    Arguments are as for `read_origin`; None where the file has no such colours.
    """
    import cv2

    if content is None or image.mode not in ("RGB", "RGBA", "LA"):
        return None
    if not (image.format == "TIFF" or (image.format == "PNG" and content[24] > 8)):
        return None
    try:
        deep = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if deep is None or deep.dtype != np.uint16 or deep.ndim != 3:
        return None
    values = deep[..., [2, 1, 0, 3][: deep.shape[2]]].astype(np.uint16)
    shown = np.asarray(upright.convert("RGBA") if upright.mode == "LA" else upright)
    # OpenCV turns some formats itself. What two decoders do not agree about is not kept.
    for candidate in (values, _turned(values, _stored_turn(image))):
        if np.array_equal(candidate >> 8, shown):
            return candidate
    return None


def _turned(values: NDArray[np.uint16], turn: Image.Transpose | None) -> NDArray[np.uint16]:
    if turn is None:
        return values
    channels = (Image.fromarray(values[..., c]).transpose(turn) for c in range(values.shape[2]))
    return np.stack([np.asarray(channel, np.uint16) for channel in channels], axis=-1)


def restore(
    pixels: NDArray[np.uint8],
    changed: NDArray[np.bool_],
    own: NDArray[Any] | None,
    file_format: str,
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Put a file's own values back where nothing has changed, as far as a format holds them."""
    if own is None or (own.ndim == 3 and own.shape[2] == 4 and file_format not in WITH_ALPHA):
        return pixels
    if own.dtype == np.uint16 and file_format not in WITH_16_BITS:
        own = (own >> 8).astype(np.uint8)
    highest = np.iinfo(own.dtype).max
    new = (pixels[changed] * np.array(highest // 255, own.dtype)).astype(own.dtype)
    if own.ndim == 2 and (new == new[:, :1]).all():
        new = new[:, 0]
    elif own.ndim == 2:
        own = np.repeat(own[..., None], 3, axis=-1)
    elif own.shape[2] == 4:
        new = np.pad(new, ((0, 0), (0, 1)), constant_values=highest)
    restored = own.copy()
    restored[changed] = new
    return restored


def _exif(image: Image.Image, size: tuple[int, int]) -> bytes | None:
    """What EXIF data say of the picture, and not of how it was stored."""
    try:
        exif = image.getexif()
        kept = Image.Exif()
        for tag, value in exif.items():
            if tag in _KEPT_TAGS:
                kept[tag] = value
        for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            details = {t: v for t, v in exif.get_ifd(tag).items() if t not in _OFFSETS}
            details |= {t: v for t, v in zip(_SIDES, size, strict=True) if t in details}
            if details:
                kept[tag] = details
        return kept.tobytes() if kept else None
    except Exception:  # a photo is worth keeping even if what is written beside it is not readable
        return None


def _stored_turn(image: Image.Image) -> Image.Transpose | None:
    return image.info.get(STORED_TURN, turn_of(image))


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError):
        return None
    if not (0 < x < 65536 and 0 < y < 65536):
        return None
    sideways = _stored_turn(image) not in (
        None,
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
    )
    return (y, x) if sideways else (x, y)


def _own_pixels(
    image: Image.Image, upright: Image.Image, content: bytes | None, rgb: NDArray[np.uint8]
) -> NDArray[np.uint8] | NDArray[np.uint16] | None:
    """Return deep, transparent and grey pixels as they are, or as their profile shows them."""
    profile = upright.info.get("icc_profile")
    # Not where a profile has led to other values.
    kept = not has_grey_profile(profile) or np.array_equal(
        np.asarray(to_rgb(upright, None)[0]), rgb
    )
    if kept and upright.mode.startswith("I;16"):
        return _deep_grey(upright)
    deep = deep_pixels(image, upright, content) if kept else None
    if deep is not None:
        return deep
    if upright.has_transparency_data:
        return np.array(to_rgba(upright, profile))
    return np.array(upright) if kept and upright.mode == "L" else None


def _deep_grey(image: Image.Image) -> NDArray[np.uint16]:
    grey = np.asarray(image).astype(np.uint16)
    if not image.has_transparency_data:
        return grey
    alpha = np.where(grey == image.info["transparency"], 0, 0xFFFF).astype(np.uint16)
    return np.dstack([grey, grey, grey, alpha])

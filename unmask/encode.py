"""Pixels to files, each written whole or not at all, with what belongs to a photo besides."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from unmask.decode import png_chunks
from unmask.errors import ImageError
from unmask.io import PathLike, write_bytes_atomic

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""The formats that are written, by suffix in lower case."""

WITH_ALPHA = ("PNG", "TIFF", "WEBP")
WITH_16_BITS = ("PNG", "TIFF")

_WITH_PROFILE = ("JPEG", "PNG", "WEBP", "TIFF")
_OPTIONS: dict[str, dict[str, Any]] = {
    # No colour subsampling: a pasted face would bleed across its border.
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    # Pixels outside the mask are promised to stay as they were; JPEG is there for small files.
    "WEBP": {"lossless": True, "exact": True},
    "BMP": {},
}
_PNG_NOTES = (b"iCCP", b"pHYs", b"eXIf", b"iTXt")
_JPEG_EXIF = 65_533  # bytes that a segment holds
_PNG_START = 33  # bytes of the signature and of the header's chunk


def format_of(path: PathLike) -> str:
    """Return the format that a path's suffix stands for.

    Raises:
        ImageError: No format that is written has this suffix.

    Example:
        >>> format_of("photo.JPG")
        'JPEG'
    """
    suffix = Path(path).suffix
    if suffix.lower() not in FORMATS:
        raise ImageError(f"{path}: unknown suffix {suffix!r}, use one of {', '.join(FORMATS)}")
    return FORMATS[suffix.lower()]


def write_encoded(path: PathLike, encode: Callable[[str], bytes]) -> None:
    """Write a picture in the format of the path's suffix, whole or not at all.

    `encode` makes the file's bytes in that format; missing folders are created.

    Raises:
        ImageError: Unknown suffix, or a file that cannot be written; the message names it.
    """
    form = format_of(path)
    try:
        write_bytes_atomic(path, encode(form))
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror or error})") from error


def encode_image(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    file_format: str,
    *,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    xmp: bytes | None = None,
) -> bytes:
    """Return pixels as the bytes of an image file.

    Args:
        pixels: uint8 (H, W), (H, W, 3) or (H, W, 4): grey, RGB or RGBA; uint16 for PNG and TIFF.
        file_format: A value of `FORMATS`.
        icc_profile: The profile that `pixels` are in. BMP cannot hold one.
        exif: EXIF data as JPEG files hold it. BMP cannot hold it; where it is too long for JPEG,
            the maker's notes are left out, or else all of it.
        dpi: Horizontal and vertical pixels an inch. WebP cannot hold them.
        xmp: An XMP packet. BMP cannot hold one.

    Raises:
        ImageError: The format cannot hold them; the message has no name yet.
    """
    notes: dict[str, Any] = {"icc_profile": icc_profile, "exif": exif, "dpi": dpi, "xmp": xmp}
    notes = {name: value for name, value in notes.items() if value is not None}
    if file_format not in _WITH_PROFILE:
        notes = {"dpi": dpi} if dpi is not None else {}
    if file_format == "JPEG" and len(exif or b"") > _JPEG_EXIF:
        notes["exif"] = _shorter(notes["exif"])
    if file_format == "PNG" and "xmp" in notes:
        notes["pnginfo"] = PngInfo()
        notes["pnginfo"].add_itxt("XML:com.adobe.xmp", notes.pop("xmp").decode())
    try:
        if file_format == "TIFF":
            return _tiff(pixels, notes)
        if pixels.dtype == np.uint16 and pixels.ndim == 3:
            return _deep_png(pixels, notes)
        buffer = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(pixels))
        image.save(buffer, format=file_format, **_OPTIONS[file_format], **notes)
        return buffer.getvalue()
    except (OSError, ValueError, RuntimeError, OverflowError, struct.error) as error:
        raise ImageError(f"cannot be written ({error})") from error


def _shorter(exif: bytes) -> bytes:
    """EXIF data without the maker's notes, or none if they are still too long for a JPEG."""
    data = Image.Exif()
    data.load(exif)
    data.get_ifd(ExifTags.IFD.Exif).pop(ExifTags.IFD.MakerNote, None)
    shorter = data.tobytes()
    return shorter if len(shorter) <= _JPEG_EXIF else b""


def _deep_png(pixels: NDArray[Any], notes: dict[str, Any]) -> bytes:
    """Encode colours of 16 bits; Pillow, which has only 8, writes the notes about them."""
    import cv2

    order = [2, 1, 0, 3][: pixels.shape[2]]
    done, encoded = cv2.imencode(".png", pixels[..., order])
    if not done:
        raise ValueError(f"pixels cannot be encoded. Received: shape={pixels.shape}")
    example = io.BytesIO()
    Image.new("RGB", (1, 1)).save(example, "PNG", **notes)
    chunks = png_chunks(example.getvalue())
    wanted = b"".join(chunk for kind, chunk in chunks if kind in _PNG_NOTES)
    content = encoded.tobytes()
    return content[:_PNG_START] + wanted + content[_PNG_START:]


def _tiff(pixels: NDArray[Any], notes: dict[str, Any]) -> bytes:
    """Encode as one deflated strip; Pillow writes neither 16-bit colours nor all EXIF data."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    strip = zlib.compress(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    if "exif" in notes:
        exif = Image.Exif()
        exif.load(notes["exif"])
        for tag, value in exif.items():
            directory[tag] = exif.get_ifd(tag) or value
    directory[TiffImagePlugin.IMAGEWIDTH] = width
    directory[TiffImagePlugin.IMAGELENGTH] = height
    directory[TiffImagePlugin.BITSPERSAMPLE] = (8 * pixels.itemsize,) * channels
    directory[TiffImagePlugin.COMPRESSION] = 8  # Adobe deflate
    directory[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 1 if channels == 1 else 2  # RGB
    directory[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    directory[TiffImagePlugin.ROWSPERSTRIP] = height
    directory[TiffImagePlugin.STRIPOFFSETS] = 0  # the directory puts in where it ends
    directory[TiffImagePlugin.STRIPBYTECOUNTS] = len(strip)
    if channels == 4:
        directory[TiffImagePlugin.EXTRASAMPLES] = 2  # alpha that colours are not multiplied by
    if "dpi" in notes:
        directory[TiffImagePlugin.RESOLUTION_UNIT] = 2  # inch
        directory[TiffImagePlugin.X_RESOLUTION], directory[TiffImagePlugin.Y_RESOLUTION] = notes[
            "dpi"
        ]
    if "icc_profile" in notes:
        directory.tagtype[TiffImagePlugin.ICCPROFILE] = 7  # bytes of no known kind
        directory[TiffImagePlugin.ICCPROFILE] = notes["icc_profile"]
    if "xmp" in notes:
        directory.tagtype[TiffImagePlugin.XMP] = 1  # bytes
        directory[TiffImagePlugin.XMP] = notes["xmp"]
    stream = io.BytesIO()
    directory.save(stream)
    stream.write(strip)
    return stream.getvalue()

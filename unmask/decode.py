"""From the bytes of an image file to a Pillow image, whatever is wrong beside its pixels.

Sizes are checked from the header, before any pixel is decoded. Nothing of Pillow's settings is
changed: they belong to the whole process.
"""

from __future__ import annotations

import importlib
import io
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from unmask.errors import ImageError, ImageFormatError

STORED_TURN = "stored turn"
"""Where `decode` notes, in `info`, how the file's picture was turned."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
_PNG = b"\x89PNG\r\n\x1a\n"
# What a PNG's pixels are made of, and what else counts for a photo.
_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_USEFUL = _PNG_PIXELS | {b"eXIf", b"pHYs", b"iCCP"}
# Pillow refuses larger profiles than 1 MB; those of scanners have several.
_MAX_PROFILE = 16_000_000
# Cameras write one scan, programs up to about 20. Each is a walk over all pixels.
_MAX_SCANS = 100
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(content: bytes, check: Callable[[int, int], None]) -> Image.Image:
    """Decode the first picture of an image file.

    Args:
        content: JPEG, PNG, WebP, BMP, TIFF or GIF, and AVIF or HEIC where Pillow or pillow-heif
            can read them.
        check: Called with width and height before the pixels are decoded.

    Returns:
        The picture, as stored, its pixels loaded.

    Raises:
        ImageError: The content is no such image, or is damaged; the message has no name yet.
    """
    if not content:
        raise ImageError("empty file")
    if content.startswith(b"\xff\xd8") and _scans(content) > _MAX_SCANS:
        raise ImageError(f"has more than {_MAX_SCANS} scans, which no camera writes")
    try:
        return _load(content, check)
    except ImageError:
        raise
    except Exception as error:  # Pillow passes on whatever broken bytes lead its decoders to
        for kept in (_PNG_USEFUL, _PNG_PIXELS) if content.startswith(_PNG) else ():
            try:
                return _repaired(content, kept, check)
            except ImageError:
                raise
            except Exception:  # the first error is the one to tell
                continue
        raise ImageError(f"truncated or damaged image ({error})") from error


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What the EXIF orientation asks for; broken EXIF data means "as stored"."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a photo is worth opening even if what is written beside it is not readable
        return None


def to_rgb(image: Image.Image, profile: Any) -> tuple[Image.Image, bytes | None]:
    """Convert any Pillow mode to RGB; returns the profile if the result is still in it."""
    image = _with_8_bits(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        rgb = Image.alpha_composite(white, to_rgba(image, profile)).convert("RGB")
        return rgb, _rgb_profile(profile) if image.mode not in ("L", "LA", "La", "1") else None
    if image.mode in ("CMYK", "L"):
        return _by_profile(image, profile) or image.convert("RGB"), None
    if image.mode not in ("1", "P", "RGB", "RGBX", "YCbCr", "HSV"):
        raise ImageError(f"pixels of the kind {image.mode!r} cannot be converted to RGB")
    # Pillow turns a JPEG's YCbCr to RGB itself, so the profile describes RGB in all these modes.
    return image.convert("RGB"), _rgb_profile(profile)


def to_rgba(image: Image.Image, profile: Any) -> Image.Image:
    """Convert a picture with transparency; grey pixels go through their profile, as in `to_rgb`."""
    rgba = _with_8_bits(image).convert("RGBA")
    red, green, blue, alpha = rgba.split()
    # Not by the mode: Pillow opens grey and alpha of 16 bits as RGBA.
    grey = has_grey_profile(profile) and red == green == blue
    colours = _by_profile(red, profile) if grey else None
    if colours is None:
        return rgba
    colours.putalpha(alpha)
    return colours


def has_grey_profile(profile: Any) -> bool:
    """Tell from its header (ICC.1, byte 16) whether a profile describes grey pixels."""
    return isinstance(profile, bytes) and profile[16:20] == b"GRAY"


def _with_8_bits(image: Image.Image) -> Image.Image:
    """Bring grey pixels of more bits, and the one value of theirs that is transparent, to 8."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image)
    grey = _grey_to_8_bits(values, image.mode)
    if not image.has_transparency_data:
        return Image.fromarray(grey)
    alpha = np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([grey, alpha]))


def _grey_to_8_bits(values: NDArray[Any], mode: str) -> NDArray[np.uint8]:
    if mode == "F":
        # Comparisons with NaN are false, so this refuses NaN as well.
        if not (values.min() >= 0 and values.max() <= 1):
            raise ImageError(
                "floating point pixels must lie between 0 (black) and 1 (white), they go from "
                f"{values.min():g} to {values.max():g}"
            )
        return np.rint(values * 255).astype(np.uint8)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ImageError(
            f"integer pixels go from {values.min()} to {values.max()}, only 16 bits are understood"
        )
    return (values.astype(np.uint16) >> 8).astype(np.uint8)


def _by_profile(image: Image.Image, profile: Any) -> Image.Image | None:
    """Convert CMYK or grey pixels to sRGB through their profile; None if it cannot be used."""
    if not isinstance(profile, bytes):
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _rgb_profile(profile: Any) -> bytes | None:
    """Keep a profile only if its header says that it describes RGB (ICC.1, byte 16)."""
    return profile if isinstance(profile, bytes) and profile[16:20] == b"RGB " else None


def _load(content: bytes, check: Callable[[int, int], None]) -> Image.Image:
    image = _opened(content)
    check(image.width, image.height)
    stored = turn_of(image)
    image.load()
    # Pillow turns a TIFF upright by itself, and then knows nothing of it any more.
    image.info[STORED_TURN] = stored
    return image


def _opened(content: bytes) -> Image.Image:
    """As `Image.open`, without its limit of pixels, which is the whole process's."""
    Image.init()
    for name in _FORMATS:
        factory, accept = Image.OPEN.get(name, (None, None))
        # A string says that the format is known, but not built in.
        if factory is not None and accept is not None and accept(content[:16]) is True:
            return factory(io.BytesIO(content), "")
    if content[4:8] == b"ftyp":
        try:
            heif = importlib.import_module("pillow_heif")
        except ImportError as error:
            raise ImageFormatError(
                "is HEIC or AVIF, which needs pillow-heif (pip install pillow-heif)"
            ) from error
        return heif.HeifImageFile(io.BytesIO(content))
    raise ImageFormatError("not a readable JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC image")


def _repaired(
    content: bytes, kept: frozenset[bytes], check: Callable[[int, int], None]
) -> Image.Image:
    """Decode a PNG without the notes that Pillow stumbles over."""
    parts, profile = [_PNG], None
    for kind, whole in png_chunks(content):
        if kind == b"iCCP" and len(whole) > 64:
            profile = _profile(whole[8:-4])
        elif kind in kept:
            parts.append(whole)
    image = _load(b"".join(parts), check)
    if profile is not None:
        image.info["icc_profile"] = profile
    return image


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and the whole of each chunk of a PNG."""
    start = len(_PNG)
    while start + 12 <= len(content):
        stop = start + 12 + int.from_bytes(content[start : start + 4], "big")
        yield content[start + 4 : start + 8], content[start:stop]
        start = stop


def _profile(data: bytes) -> bytes | None:
    name, _, packed = data.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return profile if name and unpacker.eof else None


def lossy_webp(content: bytes) -> bool:
    """Tell whether the first picture of a WebP file was encoded with loss."""
    at = 12
    while at < len(content):
        kind, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8 "
        # A picture of an animation is inside a chunk that begins with 16 bytes about it.
        at += 24 if kind == b"ANMF" else 8 + size + size % 2
    return False


def _scans(content: bytes) -> int:
    """Count the scans of a JPEG's first picture."""
    scans, at = 0, 2
    while scans <= _MAX_SCANS and content[at : at + 1] == b"\xff":
        marker = content[at + 1 : at + 2]
        if marker == b"\xff":  # a fill byte
            at += 1
            continue
        if marker in (b"\xd9", b""):
            break
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == b"\xda":
            scans += 1
            # Within the data a marker is 0xFF with neither 0 nor a restart after it.
            following = _MARKER.search(content, at)
            at = following.start() if following else len(content)
    return scans

"""The only door for pixels: open any photo as RGB uint8, and write it whole or not at all.

Everything behind this module may rely on one form: a C-contiguous array of shape (H, W, 3), RGB,
uint8, turned the way the camera was held. Conversions lose as little as 8 bits allow:

- transparent pixels are composited on white, as a browser shows them;
- 16-bit channels keep their high byte (so 8-bit values stored in 16 bits come back unchanged);
- floating point pixels are read as 0 = black, 1 = white;
- CMYK and grey pixels with an ICC profile go through it to sRGB, without one by Pillow's formula;
- of an animation, a multi-page TIFF or a multi-picture JPEG the first picture is taken.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from unmask.errors import ImageError
from unmask.io import atomic_path

DEFAULT_MAX_PIXELS = 80_000_000
"""Photos above this many pixels are refused: below Pillow's own alarm, above most cameras."""

_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_READABLE = sorted(set(_FORMATS.values()))
IMAGE_SUFFIXES = frozenset(_FORMATS)
"""Suffixes, in lower case, of the formats that are read and written."""

_LOSSLESS_MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")
_FORMATS_WITH_PROFILE = ("JPEG", "PNG", "WEBP", "TIFF")
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    # No colour subsampling: a pasted face would bleed across its border.
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    # Pixels outside the mask are promised to stay as they were; JPEG is there for small files.
    "WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

PathLike: TypeAlias = "str | os.PathLike[str]"


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo.

    Attributes:
        pixels: RGB uint8 (H, W, 3), upright.
        icc_profile: The ICC profile that `pixels` are in, or None for sRGB.
        name: The file it came from, or what stands for it in messages.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    icc_profile: bytes | None = field(default=None, repr=False)
    name: str = "<array>"


ImageSource: TypeAlias = (
    "PathLike | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8] | Photo"
)


# === Reading ===


def load_photo(
    source: ImageSource, *, max_pixels: int = DEFAULT_MAX_PIXELS, min_side: int = 1
) -> Photo:
    """Open a photo, whatever it is, as upright RGB uint8.

    The size is checked against the limits from the header, before any pixel is decoded.

    Args:
        source: A path, the bytes of an image file, or a file object open for reading bytes (JPEG,
            PNG, WebP, BMP or TIFF); a PIL image; an RGB uint8 array (H, W, 3), which is copied; or
            a `Photo`.
        max_pixels: Largest accepted width times height.
        min_side: Smallest accepted width and height, in pixels.

    Returns:
        The photo. Its ICC profile is kept where the pixels are still in it.

    Raises:
        ImageError: The image is missing, empty, truncated, damaged, too large, too small, or of an
            unknown format; the message begins with its name.
        TypeError: `source` is of none of the types above.

    Example:
        >>> photo = load_photo(np.zeros((64, 48, 3), np.uint8))
        >>> photo.pixels.shape, photo.name
        ((64, 48, 3), '<array>')
    """
    limits = _Limits(max_pixels, min_side)
    if isinstance(source, Photo):
        _check_array(source.pixels, source.name)
        limits.check(source.pixels.shape[1], source.pixels.shape[0], source.name)
        return source
    if isinstance(source, np.ndarray):
        _check_array(source, "<array>")
        limits.check(source.shape[1], source.shape[0], "<array>")
        return Photo(np.array(source, order="C"))
    if isinstance(source, Image.Image):
        return _from_pil(source, getattr(source, "filename", "") or "<PIL image>", limits)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_stream(io.BytesIO(source), "<bytes>", limits)
    if isinstance(source, (str, os.PathLike)):
        return _from_path(Path(source), limits)
    if hasattr(source, "read"):
        return _from_file_object(source, limits)
    raise TypeError(
        "source must be a path, bytes, a file object, a PIL image, an RGB uint8 array or a Photo. "
        f"Received: source={type(source).__name__}"
    )


def load_image(
    source: ImageSource, *, max_pixels: int = DEFAULT_MAX_PIXELS, min_side: int = 1
) -> NDArray[np.uint8]:
    """Open a photo as an RGB uint8 array (H, W, 3): `load_photo` without the profile and name.

    Args:
        source: See `load_photo`.
        max_pixels: Largest accepted width times height.
        min_side: Smallest accepted width and height, in pixels.

    Returns:
        RGB uint8 (H, W, 3), upright.

    Raises:
        ImageError: See `load_photo`.

    Example:
        >>> load_image(Image.new("L", (2, 1), 128)).tolist()
        [[[128, 128, 128], [128, 128, 128]]]
    """
    return load_photo(source, max_pixels=max_pixels, min_side=min_side).pixels


def load_mask(source: ImageSource, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[np.bool_]:
    """Open a mask: True where the picture is brighter than middle grey.

    Args:
        source: See `load_photo`; also a boolean array (H, W), which is copied.
        max_pixels: Largest accepted width times height.

    Returns:
        Boolean (H, W), True = mask.

    Raises:
        ImageError: See `load_photo`.

    Example:
        >>> load_mask(Image.new("L", (2, 1), 255)).tolist()
        [[True, True]]
    """
    if isinstance(source, np.ndarray) and source.dtype == bool:
        _check_mask(source, "<array>")
        return np.array(source, dtype=bool)
    pixels = load_image(source, max_pixels=max_pixels)
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    return np.greater(grey, 127)


def find_images(paths: PathLike | Iterable[PathLike], *, recursive: bool = False) -> list[Path]:
    """List image files from files and folders.

    Args:
        paths: Files and folders, or one of them. A folder stands for the files directly inside
            whose suffix is one of `IMAGE_SUFFIXES`; hidden files are left out. Anything else is
            listed as it is, so that opening it says what is wrong with it.
        recursive: Whether folders inside folders are searched, too (hidden ones are not).

    Returns:
        The paths, sorted; a file that is reached in two ways appears once.

    Raises:
        ImageError: A folder cannot be listed.

    Example:
        >>> find_images("portrait.jpg")
        [PosixPath('portrait.jpg')]
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found: dict[str, Path] = {}
    for path in map(Path, given):
        try:
            images = list(_walk(path, recursive)) if path.is_dir() else [path]
        except OSError as error:
            raise ImageError(f"{path}: cannot be listed ({error})") from error
        for image in images:
            found.setdefault(os.path.realpath(image), image)
    return sorted(found.values())


def copyable_suffix(content: bytes) -> str | None:
    """Tell whether an image file can be copied as it is, or has to be converted for others.

    Args:
        content: The bytes of an image file that `load_photo` accepts.

    Returns:
        ".jpg" or ".png" if every reader sees in the file the very pixels that `load_image` gives:
        8-bit grey or RGB, no EXIF turn, no transparency; None otherwise.

    Example:
        >>> copyable_suffix(Path("portrait.webp").read_bytes()) is None  # doctest: +SKIP
        True
    """
    with Image.open(io.BytesIO(content), formats=_READABLE) as image:
        # Grey pixels with a profile are converted through it, see `_to_rgb`.
        plain = image.mode == "RGB" or (image.mode == "L" and "icc_profile" not in image.info)
        deep = image.format == "PNG" and content[24] > 8  # the header's bit depth
        if not plain or deep or image.has_transparency_data or _turn(image) is not None:
            return None
        # A multi-picture JPEG begins with the picture that is meant.
        return {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png"}.get(image.format or "")


# === Writing ===


def save_image(
    path: PathLike, pixels: NDArray[np.uint8], *, icc_profile: bytes | None = None
) -> None:
    """Write an RGB image in the format of the path's suffix, whole or not at all.

    PNG, WebP, BMP and TIFF are written without loss, JPEG at quality 95 without colour subsampling.

    Args:
        path: The file to write (.jpg, .jpeg, .png, .webp, .bmp, .tif, .tiff); missing folders are
            created, an existing file is replaced.
        pixels: RGB uint8 (H, W, 3).
        icc_profile: The profile that `pixels` are in. BMP cannot hold one.

    Raises:
        ImageError: Unknown suffix, an array that is no RGB image, or a file that cannot be written.

    Example:
        >>> save_image("out/black.png", np.zeros((64, 64, 3), np.uint8))
    """
    _check_array(pixels, str(path))
    _write(Path(path), Image.fromarray(np.ascontiguousarray(pixels)), icc_profile)


def save_mask(path: PathLike, mask: NDArray[np.bool_]) -> None:
    """Write a mask as an 8-bit grey image, 255 = mask, whole or not at all.

    Args:
        path: The file to write (.png, .bmp, .tif, .tiff: a mask bears no loss).
        mask: Boolean (H, W).

    Raises:
        ImageError: Another suffix, an array that is no mask, or a file that cannot be written.

    Example:
        >>> save_mask("out/hole.png", np.zeros((64, 64), bool))
    """
    _check_mask(mask, str(path))
    if Path(path).suffix.lower() not in _LOSSLESS_MASK_SUFFIXES:
        raise ImageError(
            f"{path}: a mask is written to one of {', '.join(_LOSSLESS_MASK_SUFFIXES)}"
        )
    _write(Path(path), Image.fromarray(mask.astype(np.uint8) * 255), None)


# === Inside: decoding ===


@dataclass(frozen=True)
class _Limits:
    max_pixels: int
    min_side: int

    def check(self, width: int, height: int, name: str) -> None:
        if width * height > self.max_pixels:
            raise ImageError(
                f"{name}: {width} x {height} pixels are more than the limit of {self.max_pixels}; "
                "raise max_pixels if you trust the file"
            )
        if min(width, height) < self.min_side:
            raise ImageError(
                f"{name}: {width} x {height} pixels, each side needs at least {self.min_side}"
            )


def _from_path(path: Path, limits: _Limits) -> Photo:
    name = str(path)
    try:
        if path.is_dir():
            raise ImageError(f"{name}: is a folder, not an image")
        if path.exists() and not path.is_file():
            raise ImageError(f"{name}: is not a regular file")
        with path.open("rb") as stream:
            return _from_stream(stream, name, limits)
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such file") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name}: cannot be read ({error})") from error


def _from_file_object(source: Any, limits: _Limits) -> Photo:
    label = getattr(source, "name", None)
    name = label if isinstance(label, str) and label else "<file object>"
    try:
        content = source.read()
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: cannot be read ({error})") from error
    if not isinstance(content, bytes):
        raise ImageError(f"{name}: must be opened for reading bytes (mode 'rb')")
    return _from_stream(io.BytesIO(content), name, limits)


def _from_stream(stream: BinaryIO, name: str, limits: _Limits) -> Photo:
    if not stream.read(1):
        raise ImageError(f"{name}: empty file")
    stream.seek(0)
    try:
        image = Image.open(stream, formats=_READABLE)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name}: too many pixels ({error})") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{name}: not a readable JPEG, PNG, WebP, BMP or TIFF image") from error
    except Exception as error:  # Pillow passes on whatever broken bytes lead its parsers to
        raise ImageError(f"{name}: damaged image ({error})") from error
    with image:
        return _from_pil(image, name, limits)


def _from_pil(image: Image.Image, name: str, limits: _Limits) -> Photo:
    limits.check(image.width, image.height, name)
    if not image.width or not image.height:
        raise ImageError(f"{name}: has no pixels ({image.width} x {image.height})")
    try:
        image.load()
        upright = _turned(image)
        rgb, profile = _to_rgb(upright, image.info.get("icc_profile"))
        return Photo(np.array(rgb), profile, name)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # Pillow passes on whatever broken bytes lead its decoders to
        raise ImageError(f"{name}: truncated or damaged image ({error})") from error


def _turned(image: Image.Image) -> Image.Image:
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What the EXIF orientation asks for; broken EXIF data means "as stored"."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a photo is worth opening even if what is written beside it is not readable
        return None


# === Inside: colour ===


def _to_rgb(image: Image.Image, profile: Any) -> tuple[Image.Image, bytes | None]:
    """Convert any Pillow mode to RGB; returns the profile if the result is still in it."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_grey_to_8_bits(np.asarray(image), image.mode)).convert("RGB"), None
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        rgb = Image.alpha_composite(white, rgba).convert("RGB")
        return rgb, _rgb_profile(profile) if image.mode not in ("L", "LA", "La", "1") else None
    if image.mode in ("CMYK", "L"):
        return _by_profile(image, profile) or image.convert("RGB"), None
    if image.mode not in ("1", "P", "RGB", "RGBX", "YCbCr", "HSV"):
        raise ImageError(f"pixels of the kind {image.mode!r} cannot be converted to RGB")
    # Pillow turns a JPEG's YCbCr to RGB itself, so the profile describes RGB in all these modes.
    return image.convert("RGB"), _rgb_profile(profile)


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


# === Inside: files and checks ===


def _walk(folder: Path, recursive: bool) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            # Links to folders are not followed: they can lead round in circles.
            if recursive and not entry.is_symlink():
                yield from _walk(entry, recursive)
        elif entry.suffix.lower() in IMAGE_SUFFIXES:
            yield entry


def _write(path: Path, image: Image.Image, icc_profile: bytes | None) -> None:
    file_format = _FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise ImageError(
            f"{path}: unknown suffix {path.suffix!r}, use one of {', '.join(_FORMATS)}"
        )
    options = dict(_SAVE_OPTIONS[file_format])
    if icc_profile is not None and file_format in _FORMATS_WITH_PROFILE:
        options["icc_profile"] = icc_profile
    try:
        with atomic_path(path) as temporary:
            image.save(temporary, format=file_format, **options)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be written ({error})") from error


def _check_array(pixels: Any, name: str) -> None:
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        kind = pixels.dtype if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise ImageError(f"{name}: pixels must be RGB uint8 (H, W, 3). Received: dtype={kind}")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ImageError(f"{name}: pixels must be RGB uint8 (H, W, 3). Received: {pixels.shape=}")


def _check_mask(mask: Any, name: str) -> None:
    if not isinstance(mask, np.ndarray) or mask.dtype != bool:
        kind = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
        raise ImageError(f"{name}: a mask must be boolean (H, W). Received: dtype={kind}")
    if mask.ndim != 2 or 0 in mask.shape:
        raise ImageError(f"{name}: a mask must be boolean (H, W). Received: {mask.shape=}")

"""The only door for pixels: open any photo as RGB uint8, and write it whole or not at all.

Everything behind this module may rely on one form: a C-contiguous array of shape (H, W, 3), RGB,
uint8, turned the way the camera was held. Conversions lose as little as 8 bits allow:

- transparent pixels are composited on white, as a browser shows them;
- 16-bit channels keep their high byte (so 8-bit values stored in 16 bits come back unchanged);
- floating point pixels are read as 0 = black, 1 = white;
- CMYK and grey pixels with an ICC profile go through it to sRGB, without one by Pillow's formula;
- of an animation, a multi-page TIFF or a multi-picture JPEG the first picture is taken.

What a file holds besides is kept beside the pixels, so that `save_photo` can put it back.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unmask.decode import decode, lossy_webp, to_rgb, to_rgba, turn_of
from unmask.encode import FORMATS, encode_image, write_encoded
from unmask.errors import ImageError, ImageSizeError
from unmask.io import PathLike
from unmask.origin import COMPOSITE_XMP, Origin, deep_pixels, read_origin, restore
from unmask.paths import walk_files

DEFAULT_MAX_PIXELS = 80_000_000
"""Photos above this many pixels are refused: below Pillow's own alarm, above most cameras."""

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the brightness of a pixel (Rec. 601)."""

_READ_ONLY = ".mpo .apng .gif .avif .heic .heif .hif"
# Named as what cannot be read, lest they be missed in silence.
_UNREADABLE = ".jxl .jp2 .psd .dng .cr2 .cr3 .nef .arw .raf .orf .rw2"
IMAGE_SUFFIXES = frozenset([*FORMATS, *_READ_ONLY.split(), *_UNREADABLE.split()])
"""Suffixes, in lower case, of pictures: of those that are read, and of those that ought to be."""

_LOSSLESS_MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")
_LOSSY = ("JPEG", "MPO", "AVIF", "HEIF")
# An uncompressed file has at most so many bytes a pixel; notes and previews come on top.
_BYTES_A_PIXEL, _BYTES_BESIDE = 8, 64_000_000


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo.

    Attributes:
        pixels: RGB uint8 (H, W, 3), upright.
        icc_profile: The ICC profile that `pixels` are in, or None for sRGB.
        name: The file it came from, or what stands for it in messages.
        origin: What else it held; None for an array.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    icc_profile: bytes | None = field(default=None, repr=False)
    name: str = "<array>"
    origin: Origin | None = field(default=None, repr=False)


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
            PNG, WebP, BMP, TIFF or GIF; AVIF and HEIC where Pillow or pillow-heif can read them);
            a PIL image; an RGB uint8 array (H, W, 3), which is copied; or a `Photo`.
        max_pixels: Largest accepted width times height; a `Photo` has been accepted.
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
        # Who has opened it has set the limit of pixels.
        limits = _Limits(source.pixels.size, min_side)
        limits.check(source.pixels.shape[1], source.pixels.shape[0], source.name)
        return source
    if isinstance(source, np.ndarray):
        _check_array(source, "<array>")
        limits.check(source.shape[1], source.shape[0], "<array>")
        return Photo(np.array(source, order="C"))
    image, content, name = _open(source, limits)
    with _naming(name):
        return _photo(image, content, name)


def load_image(
    source: ImageSource, *, max_pixels: int = DEFAULT_MAX_PIXELS, min_side: int = 1
) -> NDArray[np.uint8]:
    """Open a photo as an RGB uint8 array (H, W, 3): `load_photo` without the profile and name.

    Raises:
        ImageError: See `load_photo`.

    Example:
        >>> load_image(Image.new("L", (2, 1), 128)).tolist()
        [[[128, 128, 128], [128, 128, 128]]]
    """
    return load_photo(source, max_pixels=max_pixels, min_side=min_side).pixels


def load_mask(
    source: ImageSource | NDArray[Any],
    *,
    shape: tuple[int, int] | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> NDArray[np.bool_]:
    """Open a mask, as any program writes it.

    True is, in this order of precedence:

    - with an alpha channel that is fully transparent somewhere: what is not fully transparent,
      whatever its colour;
    - in a picture with a palette: what is not black, or, where nothing is black, not index 0;
    - in a JPEG, AVIF, HEIC or lossy WebP file, whose values are not exact: what is brighter than
      middle grey;
    - in everything else: what is not 0, in any channel, at the full depth of the values.

    Args:
        source: See `load_photo`; also an array of numbers or booleans, (H, W), (H, W, 1) or, with
            the channels grey and alpha, RGB or RGBA, (H, W, 2), (H, W, 3) or (H, W, 4).
        shape: Height and width that it must have, those of its photo; any when None.
        max_pixels: Largest accepted width times height.

    Returns:
        Boolean (H, W), True = mask.

    Raises:
        ImageError: As for `load_photo`; an array has another shape or type, or values that are
            not finite; or the mask has another size than `shape`.
        TypeError: `source` is of none of the types above.

    Example:
        >>> load_mask(np.array([[0, 1], [2, 255]])).tolist()
        [[False, True], [True, True]]
    """
    if isinstance(source, Photo):
        mask, name = _nonzero(source.pixels, source.name), source.name
    elif isinstance(source, np.ndarray):
        mask, name = _nonzero(source, "<mask>"), "<mask>"
    else:
        image, content, name = _open(source, _Limits(max_pixels, 1))
        with _naming(name):
            mask = _mask_of(image, content)
    if shape is not None and mask.shape != tuple(shape[:2]):
        raise ImageError(
            f"{name}: a mask must have its photo's size, {shape[1]} x {shape[0]} pixels. "
            f"Received: {mask.shape[1]} x {mask.shape[0]}"
        )
    return mask


def load_classes(source: ImageSource, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[np.uint8]:
    """Open a picture of class numbers, as data sets for segmentation have them.

    Args:
        source: See `load_photo`; grey or with a palette, of which the numbers count.
        max_pixels: Largest accepted width times height.

    Returns:
        (H, W) uint8, the numbers as they are stored.

    Raises:
        ImageError: As for `load_photo`; or the picture has colours without a palette.

    Example:
        >>> load_classes(Image.new("P", (2, 1), 3)).tolist()
        [[3, 3]]
    """
    image, _, name = _open(source, _Limits(max_pixels, 1))
    if image.mode not in ("L", "P"):
        raise ImageError(
            f"{name}: class numbers are grey or have a palette. Received: mode={image.mode}"
        )
    return np.array(image)


def find_images(
    paths: PathLike | Iterable[PathLike],
    *,
    recursive: bool = False,
    leave_out: Collection[PathLike] = (),
) -> list[Path]:
    """List image files from files and folders.

    Args:
        paths: Files and folders, or one of them. A folder stands for the files directly inside
            whose suffix is one of `IMAGE_SUFFIXES`; hidden files are left out. Anything else is
            listed as it is, so that opening it says what is wrong with it.
        recursive: Whether folders inside folders are searched, too (hidden ones are not).
        leave_out: Files and folders inside folders that are passed over, results for example.

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
            images = [path]
            if path.is_dir():
                inside = walk_files(path, recursive=recursive, leave_out=leave_out)
                images = [file for file in inside if _is_image(file)]
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
    """
    image = decode(content, lambda width, height: None)
    # Grey pixels with a profile are converted through it, see `to_rgb`.
    plain = image.mode == "RGB" or (image.mode == "L" and "icc_profile" not in image.info)
    deep = image.format == "PNG" and content[24] > 8  # the header's bit depth
    if not plain or deep or image.has_transparency_data or turn_of(image) is not None:
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
        path: The file to write, with a suffix of `unmask.encode.FORMATS`; missing folders are
            created, an existing file is replaced.
        pixels: RGB uint8 (H, W, 3).
        icc_profile: The profile that `pixels` are in. BMP cannot hold one.

    Raises:
        ImageError: Unknown suffix, an array that is no RGB image, or a file that cannot be written.

    Example:
        >>> save_image("out/black.png", np.zeros((64, 64, 3), np.uint8))
    """
    _check_array(pixels, str(path))
    write_encoded(path, lambda form: encode_image(pixels, form, icc_profile=icc_profile))


def save_photo(path: PathLike, pixels: NDArray[np.uint8], photo: Photo) -> None:
    """Write what became of a photo, with everything of its file that the format can hold.

    The path is as for `save_image`; the pixels have the size of the photo, which they were made
    from.

    Raises:
        ImageError: See `save_image`.

    Example:
        >>> photo = load_photo("portrait.png")                  # doctest: +SKIP
        >>> save_photo("out/portrait.png", photo.pixels, photo)  # doctest: +SKIP
    """
    _check_array(pixels, str(path))
    write_encoded(path, lambda form: encode_photo(pixels, photo, form))


def encode_photo(pixels: NDArray[np.uint8], photo: Photo, file_format: str) -> bytes:
    """Return what became of a photo, RGB uint8 of its size, as a file of a format such as "PNG".

    A photo that has not changed stays as it is, byte for byte, if its file is of that format.
    Otherwise pixels that have not changed keep their 16 bits, their transparency, or their being
    grey; and EXIF data, resolution and colour profile are written again. A photo that has changed
    says so in XMP, in IPTC's words: a composite with what a trained algorithm made.

    Raises:
        ImageError: The format cannot hold them; the message has no name yet.
    """
    origin = photo.origin
    changed = np.asarray((pixels != photo.pixels).any(axis=2))
    xmp = COMPOSITE_XMP if changed.any() else None
    if origin is None:
        return encode_image(pixels, file_format, icc_profile=photo.icc_profile, xmp=xmp)
    if origin.content is not None and origin.format == file_format and not changed.any():
        return origin.content
    return encode_image(
        restore(pixels, changed, origin.pixels, file_format),
        file_format,
        icc_profile=photo.icc_profile,
        exif=origin.exif,
        dpi=origin.dpi,
        xmp=xmp,
    )


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
    write_encoded(path, lambda form: encode_image(mask.astype(np.uint8) * 255, form))


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """Return a boolean (H, W) mask as the bytes of a PNG file, 255 = mask."""
    return encode_image(mask.astype(np.uint8) * 255, "PNG")


# === Inside: opening ===


@dataclass(frozen=True)
class _Limits:
    max_pixels: int
    min_side: int

    def check(self, width: int, height: int, name: str) -> None:
        if not width or not height:
            raise ImageError(f"{name}: has no pixels ({width} x {height})")
        if width * height > self.max_pixels:
            raise ImageSizeError(
                f"{name}: {width} x {height} pixels are more than the limit of {self.max_pixels}; "
                "raise max_pixels if you trust the file"
            )
        if min(width, height) < self.min_side:
            raise ImageError(
                f"{name}: {width} x {height} pixels, each side needs at least {self.min_side}"
            )

    @property
    def max_bytes(self) -> int:
        return _BYTES_A_PIXEL * self.max_pixels + _BYTES_BESIDE


def _open(source: Any, limits: _Limits) -> tuple[Image.Image, bytes | None, str]:
    """Return the picture as stored, its pixels decoded; the file's bytes; and a name for it."""
    if isinstance(source, Image.Image):
        name = str(getattr(source, "filename", "") or "<PIL image>")
        limits.check(source.width, source.height, name)
        with _naming(name):
            source.load()
        return source, None, name
    content, name = _read(source, limits.max_bytes)
    if len(content) > limits.max_bytes:
        raise ImageSizeError(
            f"{name}: has more than {limits.max_bytes} bytes; raise max_pixels if you trust it"
        )
    try:
        image = decode(content, lambda width, height: limits.check(width, height, name))
    except ImageError as error:
        text = str(error)
        text = text if text.startswith(f"{name}: ") else f"{name}: {text}"
        raise type(error)(text) from error
    return image, content, name


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say in errors which picture they are about."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # Pillow passes on whatever broken bytes lead its decoders to
        raise ImageError(f"{name}: truncated or damaged image ({error})") from error


def _read(source: Any, most: int) -> tuple[bytes, str]:
    """Return the bytes of a source, at most one more than allowed, and a name for it."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "<bytes>"
    if isinstance(source, (str, os.PathLike)):
        return _read_path(Path(source), most), os.fspath(source)
    if hasattr(source, "read"):
        label = getattr(source, "name", None)
        name = label if isinstance(label, str) and label else "<file object>"
        try:
            parts = list(_parts(source, most + 1))
        except (OSError, ValueError) as error:
            raise ImageError(f"{name}: cannot be read ({error})") from error
        if not all(isinstance(part, bytes) for part in parts):
            raise ImageError(f"{name}: must be opened for reading bytes (mode 'rb')")
        return b"".join(parts), name
    raise TypeError(
        "source must be a path, bytes, a file object, a PIL image, an array or a Photo. "
        f"Received: source={type(source).__name__}"
    )


def _parts(stream: Any, most: int) -> Iterator[Any]:
    """Read up to the end or a limit; a raw stream returns what it has, not what is asked for."""
    while most > 0:
        part = stream.read(most)
        yield part
        if not isinstance(part, bytes) or not part:
            return
        most -= len(part)


def _read_path(path: Path, most: int) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(f"{path}: is a folder, not an image")
        if path.exists() and not path.is_file():
            raise ImageError(f"{path}: is not a regular file")
        with path.open("rb") as stream:
            return stream.read(most + 1)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{path}: cannot be read ({error})") from error


def _photo(image: Image.Image, content: bytes | None, name: str) -> Photo:
    turn = turn_of(image)
    upright = image if turn is None else image.transpose(turn)
    rgb, profile = to_rgb(upright, image.info.get("icc_profile"))
    pixels = np.array(rgb)
    origin = read_origin(image, upright, content, pixels)
    return Photo(pixels, profile, name, origin)


# === Inside: masks ===


def _mask_of(image: Image.Image, content: bytes | None) -> NDArray[np.bool_]:
    turn = turn_of(image)
    upright = image if turn is None else image.transpose(turn)
    if upright.has_transparency_data:
        alpha = np.asarray(to_rgba(upright, None).getchannel("A"))
        if not alpha.all():
            return alpha > 0
    if image.format in _LOSSY or (image.format == "WEBP" and lossy_webp(content or b"")):
        return np.asarray(to_rgb(upright, None)[0].convert("L")) > 127
    if upright.mode == "P":
        coloured = _nonzero(np.asarray(upright.convert("RGB")), "<mask>")
        return np.asarray(upright) != 0 if coloured.all() else coloured
    if upright.mode in ("1", "L", "I", "F") or upright.mode.startswith("I;16"):
        return _nonzero(np.asarray(upright), "<mask>")
    # Transparency was looked at.
    deep = deep_pixels(image, upright, content)
    colours = np.asarray(upright.convert("RGB")) if deep is None else deep[..., :3]
    return _nonzero(colours, "<mask>")


def _nonzero(values: NDArray[Any], name: str) -> NDArray[np.bool_]:
    if values.dtype.kind not in "biuf":
        raise ImageError(f"{name}: a mask holds numbers. Received: dtype={values.dtype}")
    if values.ndim not in (2, 3) or 0 in values.shape or values.shape[2:] > (4,):
        raise ImageError(
            f"{name}: a mask must be (H, W), or (H, W, C) with 1 to 4 channels. "
            f"Received: shape={values.shape}"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ImageError(f"{name}: a mask must be finite. Received: NaN or infinity")
    set_ = values.astype(bool)
    if set_.ndim == 2:
        return set_
    if set_.shape[2] in (2, 4):
        visible = set_[..., -1]
        set_ = set_[..., :-1] if visible.all() else visible[..., None]
    return np.asarray(set_.any(axis=2))


# === Inside: files and checks ===


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


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

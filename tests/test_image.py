"""What the loader promises: one form for every photo, a clear error for everything else."""

from __future__ import annotations

import functools
import io
import os
import struct
import sys
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

from unmask.encode import encode_image
from unmask.errors import ImageError, ImageFormatError, ImageSizeError
from unmask.image import (
    Photo,
    find_images,
    load_image,
    load_mask,
    load_photo,
    save_image,
    save_mask,
    save_photo,
)
from unmask.origin import COMPOSITE

LOSSLESS = [".png", ".webp", ".bmp", ".tif", ".tiff", ".PNG"]


def photo_pixels(height: int = 40, width: int = 30) -> np.ndarray:
    """A picture that changes along both axes and channels, so that no turn or swap goes unseen."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 8, y * 6, (x + y) * 3], axis=-1).astype(np.uint8)


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=image_format, **options)
    return stream.getvalue()


@functools.cache  # it holds the time
def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def deep_grey_with_alpha(grey: NDArray[np.uint16], alpha: NDArray[np.int64]) -> bytes:
    """A PNG of a kind that neither Pillow nor OpenCV writes."""
    height, width = grey.shape
    rows = np.dstack([grey, alpha]).astype(">u2").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">2I5B", width, height, 16, 4, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def linear_grey_profile() -> bytes:
    """An ICC version 2 profile for grey pixels that are proportional to light."""
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"g\0" + bytes(78),
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D),
        b"kTRC": b"curv" + bytes(4) + struct.pack(">I", 0),
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(
        ">I4sI4s4s4s", start + len(body), b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ "
    )
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + table + body


# === One form for every kind of pixel ===


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_formats_return_the_same_pixels(tmp_path: Path, suffix: str) -> None:
    pixels = photo_pixels()
    save_image(tmp_path / f"a{suffix}", pixels)
    loaded = load_photo(tmp_path / f"a{suffix}")
    assert np.array_equal(loaded.pixels, pixels)
    assert loaded.pixels.dtype == np.uint8
    assert loaded.pixels.flags.writeable
    assert loaded.pixels.flags.c_contiguous
    assert loaded.name == str(tmp_path / f"a{suffix}")


def test_jpeg_is_close(tmp_path: Path) -> None:
    pixels = photo_pixels()
    save_image(tmp_path / "a.jpg", pixels)
    assert np.abs(load_image(tmp_path / "a.jpg").astype(int) - pixels).mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied_once(orientation: int, image_format: str) -> None:
    pixels = np.kron(photo_pixels(5, 4) * 4, np.ones((8, 8, 1), np.uint8))
    # What a camera stores when the upright picture is `pixels`: the inverse of the turn.
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turned))
    options = {"quality": 100, "subsampling": 0} if image_format == "JPEG" else {}
    options |= {"lossless": True} if image_format == "WEBP" else {}
    loaded = load_image(encode(stored, image_format, exif=exif, **options))
    assert loaded.shape == pixels.shape
    assert np.abs(loaded.astype(int) - pixels).max() <= (4 if image_format == "JPEG" else 0)


def test_orientation_of_a_pil_image_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = encode(Image.new("RGB", (20, 10)), "JPEG", exif=exif)
    assert load_image(Image.open(io.BytesIO(stored))).shape == (20, 10, 3)


def test_broken_exif_leaves_the_photo_as_stored() -> None:
    content = encode(Image.new("RGB", (20, 10)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" * 3)
    assert load_image(content).shape == (10, 20, 3)


def test_transparency_is_composited_on_white() -> None:
    rgba = Image.new("RGBA", (3, 1), (200, 0, 0, 255))
    rgba.putpixel((1, 0), (200, 0, 0, 0))
    rgba.putpixel((2, 0), (0, 0, 0, 128))
    expected = [[[200, 0, 0], [255, 255, 255], [127, 127, 127]]]
    assert load_image(encode(rgba, "PNG")).tolist() == expected
    assert load_image(encode(rgba, "WEBP", lossless=True, exact=True)).tolist() == expected


def test_grey_with_alpha() -> None:
    image = Image.new("LA", (2, 1), (10, 255))
    image.putpixel((1, 0), (10, 0))
    assert load_image(encode(image, "PNG")).tolist() == [[[10] * 3, [255] * 3]]


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7, 1, 2, 3])
    image.putpixel((1, 0), 1)
    assert load_image(encode(image, "PNG")).tolist() == [[[9, 8, 7], [1, 2, 3]]]
    assert load_image(encode(image, "PNG", transparency=0)).tolist() == [[[255] * 3, [1, 2, 3]]]


def test_transparent_colour_of_an_opaque_png() -> None:
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert load_image(encode(image, "PNG", transparency=(1, 2, 3))).tolist() == [
        [[255] * 3, [4, 5, 6]]
    ]


def test_grey_and_one_bit() -> None:
    assert load_image(encode(Image.new("L", (1, 1), 77), "PNG")).tolist() == [[[77] * 3]]
    assert load_image(encode(Image.new("1", (1, 1), 1), "TIFF")).tolist() == [[[255] * 3]]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_keep_the_high_byte(suffix: str, channels: int) -> None:
    grey = np.array([[0, 255, 256, 128 * 257, 65535]], np.uint16)
    stored = grey if channels == 1 else np.stack([grey] * channels, axis=-1)
    if channels == 4:
        stored[..., 3] = 65535
    done, content = cv2.imencode(suffix, stored)
    assert done
    assert load_image(content.tobytes())[0, :, 0].tolist() == [0, 0, 1, 128, 255]


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_tiff_in_both_byte_orders(order: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.array([[0, 0x1234, 0xFFFF]], np.uint16), byteorder=order)
    assert load_image(stream.getvalue())[0, :, 1].tolist() == [0, 0x12, 0xFF]


def test_float_tiff_is_scaled_from_0_to_1() -> None:
    image = Image.fromarray(np.array([[0, 0.5, 1]], np.float32))
    assert load_image(encode(image, "TIFF"))[0, :, 2].tolist() == [0, 128, 255]


@pytest.mark.parametrize("value", [-0.1, 2.0, np.nan, np.inf])
def test_float_tiff_out_of_range_is_refused(value: float) -> None:
    image = Image.fromarray(np.array([[0, value]], np.float32))
    with pytest.raises(ImageError, match="between 0"):
        load_image(encode(image, "TIFF"))


def test_32_bit_integers_are_refused() -> None:
    with pytest.raises(ImageError, match="70000"):
        load_image(Image.fromarray(np.array([[0, 70000]], np.int32)))


def test_cmyk_becomes_rgb_and_drops_its_profile() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    photo = load_photo(encode(image, "JPEG", icc_profile=b"not a profile" * 20))
    red, green, blue = photo.pixels.reshape(-1, 3).mean(axis=0)
    assert red > 240
    assert max(green, blue) < 15
    assert photo.icc_profile is None


def test_grey_goes_through_its_profile_to_srgb() -> None:
    content = encode(Image.new("L", (4, 4), 128), "PNG", icc_profile=linear_grey_profile())
    photo = load_photo(content)
    # sRGB(128 / 255 of the light) = 1.055 * 0.50196 ** (1 / 2.4) - 0.055 = 0.7367 -> 187.9
    assert photo.pixels[0, 0, 0] == pytest.approx(188, abs=1)
    assert photo.icc_profile is None


@pytest.mark.parametrize("mode", ["I;16", "LA", "16 bits and alpha", "L and transparent"])
def test_every_kind_of_grey_goes_through_its_profile(tmp_path: Path, mode: str) -> None:
    note = chunk(b"iCCP", b"Name\0\0" + zlib.compress(linear_grey_profile()))
    stored = np.full((30, 40), 64, np.uint16)
    stored[0, 0] = 1
    if mode == "LA":
        content = encode(
            Image.fromarray(np.dstack([stored, 255 * (stored > 1)]).astype("u1")), "PNG"
        )
    elif mode == "16 bits and alpha":
        content = deep_grey_with_alpha(stored * 257, 65535 * (stored > 1))
    elif mode == "I;16":
        content = encode(Image.fromarray(stored * 257), "PNG")
    else:
        content = encode(Image.fromarray(stored.astype(np.uint8)), "PNG", transparency=1)
    photo = load_photo(content[:33] + note + content[33:])
    # sRGB(64 / 255 of the light) = 1.055 * 0.25098 ** (1 / 2.4) - 0.055 = 0.5381 -> 137.2
    assert photo.pixels[1, 1].tolist() == [137] * 3
    save_photo(tmp_path / "a.png", painted(photo), photo)
    assert np.array_equal(load_image(tmp_path / "a.png"), painted(photo))
    assert kept(tmp_path / "a.png").mode == ("RGB" if mode == "I;16" else "RGBA")


@pytest.mark.parametrize("own", [0, 256 * 9 + 8])
def test_transparent_grey_of_16_bits(tmp_path: Path, own: int) -> None:
    stored = np.array([[own, 256 * 9 + 7, 256 * 9 + 8, 65535]] * 10, np.uint16).repeat(8, axis=1)
    content = encode(Image.fromarray(stored), "PNG")
    content = content[:33] + chunk(b"tRNS", struct.pack(">H", own)) + content[33:]
    photo = load_photo(content)
    expected = np.where(stored == own, 255, stored >> 8)
    assert np.array_equal(photo.pixels, np.dstack([expected] * 3))
    assert np.array_equal(load_mask(content), stored != own)
    result = painted(photo)
    changed = (result != photo.pixels).any(-1)
    save_photo(tmp_path / "a.png", result, photo)
    written = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(written[~changed][:, 0], stored[~changed])
    assert np.array_equal(written[~changed][:, 3], 65535 * (stored[~changed] != own))


def test_lab_is_refused_by_name() -> None:
    with pytest.raises(ImageError, match="'LAB'"):
        load_image(Image.new("LAB", (2, 2)))


# === Sources ===


def test_all_sources_give_the_same(tmp_path: Path) -> None:
    pixels = photo_pixels()
    path = tmp_path / "a.png"
    save_image(path, pixels)
    with path.open("rb") as stream:
        from_stream = load_photo(stream)
    sources = [str(path), path.read_bytes(), bytearray(path.read_bytes()), Image.open(path), pixels]
    for source in [*sources, memoryview(path.read_bytes()), from_stream, Photo(pixels)]:
        assert np.array_equal(load_image(source), pixels)
    assert from_stream.name == str(path)


def test_arrays_are_copied_and_photos_are_not() -> None:
    pixels = photo_pixels()
    photo = load_photo(pixels)
    assert not np.shares_memory(photo.pixels, pixels)
    assert load_photo(photo) is photo
    assert load_image(pixels[::-1, ::2]).flags.c_contiguous


def test_an_unbuffered_stream_is_read_to_its_end(monkeypatch) -> None:
    class Raw(io.RawIOBase):
        """As a pipe, it gives what it has."""

        def __init__(self, content: bytes) -> None:
            self.rest = content

        def read(self, size: int = -1) -> bytes:
            part, self.rest = self.rest[: min(size, 100)], self.rest[min(size, 100) :]
            return part

    content = encode(Image.fromarray(photo_pixels()), "PNG")
    assert np.array_equal(load_image(Raw(content)), photo_pixels())
    monkeypatch.setattr("unmask.image._BYTES_BESIDE", 0)
    with pytest.raises(ImageSizeError, match="more than 9600 bytes"):
        load_image(Raw(content + bytes(20_000)), max_pixels=1200)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), bool),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="RGB uint8"):
        load_photo(array)
    with pytest.raises(ImageError, match="RGB uint8"):
        save_image(tmp_path / "never.png", array)
    assert not any(tmp_path.iterdir())


def test_a_source_of_no_known_type() -> None:
    with pytest.raises(TypeError, match="source=int"):
        load_photo(3)  # type: ignore[arg-type]


def test_text_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with (tmp_path / "a.txt").open() as stream, pytest.raises(ImageError, match="bytes"):
        load_photo(stream)  # type: ignore[arg-type]


# === Errors ===


def test_missing_empty_folder_and_noise(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "noise.jpg").write_bytes(b"this is no image" * 10)
    for name, reason in [
        ("missing.jpg", "no such file"),
        ("empty.jpg", "empty file"),
        ("noise.jpg", "not a readable"),
        (".", "is a folder"),
        ("noise.jpg/a.png", "cannot be read"),
    ]:
        with pytest.raises(ImageError) as caught:
            load_photo(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: {reason}")


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="regular file"):
        load_photo(tmp_path / "pipe.png")


def test_the_first_picture_of_a_gif() -> None:
    pictures = [Image.new("P", (8, 6), colour) for colour in (1, 2)]
    for picture in pictures:
        picture.putpalette([0, 0, 0, 9, 8, 7, 200, 0, 0])
    content = encode(pictures[0], "GIF", save_all=True, append_images=pictures[1:])
    assert load_image(content)[0, 0].tolist() == [9, 8, 7]


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without AVIF")
def test_avif() -> None:
    loaded = load_image(encode(Image.fromarray(photo_pixels()), "AVIF", quality=100))
    assert np.abs(loaded.astype(int) - photo_pixels()).mean() < 2


def test_heic_without_pillow_heif_says_what_is_missing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # what Python does without it
    with pytest.raises(ImageError, match=r"^<bytes>: is HEIC or AVIF.*pillow-heif"):
        load_photo(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


def test_other_formats_are_refused() -> None:
    with pytest.raises(ImageFormatError, match="not a readable JPEG"):
        load_photo(encode(Image.new("RGB", (8, 8)), "PPM"))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "note",
    [
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2_000_000))),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(2_000_000))),
        chunk(b"tEXt", b"Comment\0" + b"x" * 70_000_000),
        chunk(b"tEXt", b"Comment\0text")[:-1] + b"!",
        chunk(b"zTXt", b"Comment\0\0no such stream"),
        chunk(b"iCCP", b"Name\0\0no such stream"),
        chunk(b"iCCP", b"Name\0\7")[:-1] + b"!",
        chunk(b"pHYs", b"\0"),
        chunk(b"gAMA", b"")[:-1] + b"!",
    ],
    ids=lambda note: f"{note[4:8].decode()}-{len(note)}",
)
def test_notes_do_not_keep_a_png_from_opening(note: bytes, after: bool) -> None:
    content = encode(Image.fromarray(photo_pixels()), "PNG")
    at = len(content) - 12 if after else 33
    assert np.array_equal(load_image(content[:at] + note + content[at:]), photo_pixels())


def test_a_profile_that_is_too_large_for_pillow_stays() -> None:
    profile = srgb_profile()[:16] + b"RGB " + bytes(3_000_000)
    content = encode(Image.fromarray(photo_pixels()), "PNG")
    note = chunk(b"iCCP", b"Name\0\0" + zlib.compress(profile))
    assert load_photo(content[:33] + note + content[33:]).icc_profile == profile


def test_a_jpeg_of_countless_scans_is_refused() -> None:
    content = encode(Image.fromarray(photo_pixels()), "JPEG", progressive=True)
    # An APP segment may hold anything; the scans of the picture itself count.
    harmless = b"\xff\xe5" + struct.pack(">H", 60_002) + b"\xff\xda" * 30_000
    assert load_image(content[:2] + harmless + content[2:]).shape == (40, 30, 3)
    last = content[content.rindex(b"\xff\xda") : -2]
    with pytest.raises(ImageError, match="more than 100 scans"):
        load_image(content[:-2] + last * 200 + content[-2:])


def test_a_file_of_countless_bytes_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("unmask.image._BYTES_BESIDE", 1000)
    content = encode(Image.fromarray(photo_pixels()), "PNG")
    (tmp_path / "a.png").write_bytes(content + bytes(20_000))
    for source in (
        tmp_path / "a.png",
        content + bytes(20_000),
        io.BytesIO(content + bytes(20_000)),
    ):
        with pytest.raises(ImageError, match=r"more than 10600 bytes; raise max_pixels"):
            load_image(source, max_pixels=1200)
    assert load_image(tmp_path / "a.png").shape == (40, 30, 3)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_truncation_is_an_image_error(image_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), image_format)
    for share in (0.02, 0.2, 0.5, 0.9):
        with pytest.raises(ImageError, match=r"^<bytes>: "):
            load_photo(content[: int(len(content) * share)])


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_flipped_bytes_never_raise_anything_else(image_format: str) -> None:
    generator = np.random.default_rng(1)
    content = encode(Image.fromarray(photo_pixels()), image_format)
    for _ in range(150):
        damaged = bytearray(content)
        for position in generator.integers(0, len(content), 3):
            damaged[position] = generator.integers(0, 256)
        try:
            pixels = load_image(bytes(damaged), max_pixels=1_000_000)
        except ImageError:
            continue
        assert pixels.ndim == 3


def png_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_bombs_are_refused_by_their_header(side: int) -> None:
    # The data behind the header is far too short: had decoding begun, the error were another.
    with pytest.raises(ImageError, match="pixels"):
        load_photo(png_that_claims(side, side))


def test_more_pixels_than_pillow_likes_are_a_matter_of_the_limit(monkeypatch) -> None:
    content = encode(Image.new("1", (160, 125)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9_000)  # it refuses twice as many
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        photo = load_photo(content, max_pixels=20_000)
    assert photo.pixels.shape == (125, 160, 3)
    # Who has opened it has decided.
    assert load_photo(photo) is photo


def test_limits_are_settable() -> None:
    pixels = photo_pixels(40, 30)
    assert load_image(pixels, max_pixels=1200, min_side=30).shape == (40, 30, 3)
    with pytest.raises(ImageSizeError, match="limit of 1199"):
        load_image(pixels, max_pixels=1199)
    with pytest.raises(ImageError, match="at least 31"):
        load_image(encode(Image.fromarray(pixels), "PNG"), min_side=31)


# === Profiles, masks, writing ===


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_the_profile_survives_a_round_trip(tmp_path: Path, suffix: str) -> None:
    save_image(tmp_path / f"a{suffix}", photo_pixels(), icc_profile=srgb_profile())
    assert load_photo(tmp_path / f"a{suffix}").icc_profile == srgb_profile()


def test_bmp_is_written_without_the_profile(tmp_path: Path) -> None:
    save_image(tmp_path / "a.bmp", photo_pixels(), icc_profile=srgb_profile())
    assert load_photo(tmp_path / "a.bmp").icc_profile is None


def test_masks_round_trip(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    save_mask(tmp_path / "a.png", mask)
    assert np.array_equal(load_mask(tmp_path / "a.png"), mask)
    assert set(np.unique(np.asarray(Image.open(tmp_path / "a.png")))) == {0, 255}
    copy = load_mask(mask)
    assert np.array_equal(copy, mask)
    assert not np.shares_memory(copy, mask)


MASK = np.zeros((9, 12), bool)
MASK[2:7, 3:8] = True
TWO_LABELS = np.where(MASK, np.arange(12) % 2 + 1, 0).astype(np.uint8)


def coloured(colour: tuple[int, ...], background: tuple[int, ...], mode: str) -> Image.Image:
    pixels = np.where(MASK[..., None], np.array(colour), np.array(background)).astype(np.uint8)
    return Image.fromarray(pixels, mode)


def with_palette(index: NDArray[np.uint8], palette: list[int], **info: object) -> Image.Image:
    image = Image.fromarray(index)
    image.putpalette(palette)
    image.info.update(info)
    return image


def sixteen_bits(channels: int, value: int = 255) -> Image.Image | bytes:
    pixels = np.repeat((MASK * value).astype(np.uint16)[..., None], channels, axis=2)
    if channels == 4:
        pixels[..., 3] = 65535
    return cv2.imencode(".png", pixels)[1].tobytes()


VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0]
MASKS = {
    "0 and 1": Image.fromarray(MASK.astype(np.uint8)),
    "labels": Image.fromarray(TWO_LABELS),
    "one bit": Image.fromarray(MASK),
    "VOC": with_palette(TWO_LABELS, VOC),
    "palette with another background": with_palette(TWO_LABELS, [90, 90, 90, *VOC[3:]]),
    "palette that begins with white": with_palette(1 - MASK.astype(np.uint8), [255] * 3 + [0] * 3),
    "transparent palette": with_palette(TWO_LABELS, [7, 7, 7, *VOC[3:]], transparency=0),
    "grey with alpha": coloured((0, 255), (0, 0), "LA"),
    "red on transparent": coloured((255, 0, 0, 255), (0, 0, 0, 0), "RGBA"),
    "black on transparent white": coloured((0, 0, 0, 255), (255, 255, 255, 0), "RGBA"),
    "opaque RGBA": coloured((0, 0, 3, 255), (0, 0, 0, 255), "RGBA"),
    "blue": coloured((0, 0, 1), (0, 0, 0), "RGB"),
    "16 bits": Image.fromarray(MASK.astype(np.uint16)),
    "16 bits, RGB": sixteen_bits(3),
    "16 bits, RGBA": sixteen_bits(4),
    "32 bits": Image.fromarray(MASK.astype(np.int32) * 100_000),
    "floating point": Image.fromarray(MASK.astype(np.float32) * 1e-3),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_every_kind(name: str) -> None:
    assert np.array_equal(load_mask(MASKS[name]), MASK)
    if isinstance(MASKS[name], Image.Image) and MASKS[name].mode not in ("I", "F"):
        assert np.array_equal(load_mask(encode(MASKS[name], "PNG")), MASK)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint16, np.int64, np.float16, float])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_masks_from_arrays(dtype: type, channels: int | None) -> None:
    array = MASK.astype(dtype)
    array = array if channels is None else np.repeat(array[..., None], channels, axis=2)
    assert np.array_equal(load_mask(array, shape=(9, 12)), MASK)
    assert np.array_equal(load_mask(-array if dtype is not bool else array), MASK)


def test_noise_around_a_mask_in_a_jpeg_is_no_mask() -> None:
    mask = np.zeros((64, 64), bool)
    mask[20:43, 13:50] = True
    content = encode(Image.fromarray(mask.astype(np.uint8) * 255), "JPEG", quality=40)
    assert np.array_equal(load_mask(content), mask)


@pytest.mark.parametrize("options", [{}, {"exif": b"Exif\0\0II*\0"}, {"save_all": True}])
def test_noise_around_a_mask_in_a_lossy_webp_is_no_mask(options: dict[str, object]) -> None:
    y, x = np.mgrid[:96, :96]
    mask = (x - 48) ** 2 + (y - 40) ** 2 < 30**2
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    if "save_all" in options:
        options = options | {"append_images": [Image.new("L", image.size)]}
    content = encode(image, "WEBP", quality=80, **options)
    assert abs(int(load_mask(content).sum()) - int(mask.sum())) < 15
    assert not load_mask(content)[0].any()
    faint = Image.fromarray(mask.astype(np.uint8))
    assert np.array_equal(load_mask(encode(faint, "WEBP", lossless=True, **options)), mask)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[0.0, np.nan]]), "NaN"),
        (np.array([[0.0, np.inf]]), "infinity"),
        (np.array([["0", "1"]]), "dtype=<U1"),
        (np.array([[None, 1]]), "dtype=object"),
        (np.zeros((2, 2, 5)), r"shape=\(2, 2, 5\)"),
        (np.zeros((1, 2, 2, 1)), r"shape=\(1, 2, 2, 1\)"),
        (np.zeros(4), r"shape=\(4,\)"),
        (np.zeros((0, 4)), r"shape=\(0, 4\)"),
        (np.zeros((4, 6)), "its photo's size, 8 x 4 pixels. Received: 6 x 4"),
        (Image.new("L", (6, 4)), "Received: 6 x 4"),
    ],
)
def test_what_is_no_mask(array: np.ndarray | Image.Image, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        load_mask(array, shape=(4, 8))


def test_masks_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="a mask is written to one of"):
        save_mask(tmp_path / "a.jpg", np.zeros((2, 2), bool))
    with pytest.raises(ImageError, match="boolean"):
        save_mask(tmp_path / "a.png", np.zeros((2, 2), np.uint8))  # type: ignore[arg-type]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    save_image(path, photo_pixels())
    before = path.read_bytes()
    with pytest.raises(ImageError, match=r"a\.jpg: cannot be written"):
        save_image(path, np.zeros((1, 70_000, 3), np.uint8))  # wider than JPEG can be
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.jpg"]


def test_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"'\.gif'.*\.png"):
        save_image(tmp_path / "a.gif", photo_pixels())


# === What a file holds besides ===


def kept(path: Path) -> Image.Image:
    image = Image.open(path)
    image.load()
    return image


def painted(photo: Photo, colour: tuple[int, int, int] = (200, 30, 60)) -> NDArray[np.uint8]:
    pixels = photo.pixels.copy()
    pixels[4:9, 6:20] = colour
    return pixels


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpe", ".webp", ".bmp", ".tif"])
def test_what_has_not_changed_is_copied_byte_for_byte(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"a{suffix}"
    save_image(source, photo_pixels())
    source.write_bytes(source.read_bytes() + b"a camera's own data")
    photo = load_photo(source)
    save_photo(tmp_path / f"b{suffix}", photo.pixels, photo)
    assert (tmp_path / f"b{suffix}").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF", "PIL"])
def test_notes_are_kept_and_the_picture_is_upright(
    tmp_path: Path, source: str, suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0132] = 6, "2021:05:04 10:11:12"
    exif.get_ifd(0x8769).update({0x829A: 0.5, 0xA002: 40, 0xA003: 30})
    exif.get_ifd(0x8825)[1] = "N"
    notes = {"exif": exif, "dpi": (300, 150), "icc_profile": srgb_profile()}
    if source == "TIFF":  # of which Pillow writes no details
        stored = encode_image(photo_pixels(30, 40), "TIFF", **notes | {"exif": exif.tobytes()})
    else:
        picture = Image.fromarray(photo_pixels(30, 40))
        stored = encode(picture, source.replace("PIL", "PNG"), **notes)
    photo = load_photo(Image.open(io.BytesIO(stored)) if source == "PIL" else stored)
    save_photo(tmp_path / f"a{suffix}", painted(photo), photo)
    image = kept(tmp_path / f"a{suffix}")
    assert image.size == (30, 40)
    found = image.getexif()
    assert found.get(0x0112, 1) == 1
    assert found[0x0132] == "2021:05:04 10:11:12"
    details = found.get_ifd(0x8769)
    assert (float(details[0x829A]), details[0xA002], details[0xA003]) == (0.5, 30, 40)
    assert found.get_ifd(0x8825)[1] == "N"
    assert image.info["icc_profile"] == srgb_profile()
    if suffix != ".webp":
        assert image.info["dpi"] == pytest.approx((150, 300), abs=0.5)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_changed_photo_says_what_it_is(tmp_path: Path, suffix: str, deep: bool) -> None:
    source = photo_pixels(30, 40)
    if deep:
        photo = load_photo(encode_image(source.astype(np.uint16) * 256 + 7, "PNG"))
    else:
        photo = load_photo(source)
    target = tmp_path / f"a{suffix}"
    save_photo(target, painted(photo), photo)
    assert COMPOSITE.encode() in kept(target).info["xmp"]
    save_photo(target, photo.pixels, photo)
    assert COMPOSITE.encode() not in target.read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_kept(tmp_path: Path, mode: str, suffix: str) -> None:
    rgba = Image.fromarray(np.dstack([photo_pixels(), photo_pixels()[..., 0]]), "RGBA")
    image = rgba.quantize(32) if mode == "P" else rgba.convert(mode)
    own = np.asarray(image.convert("RGBA"))
    for source in (image, encode(image, "PNG")):
        photo = load_photo(source)
        result = painted(photo)
        changed = (result != photo.pixels).any(-1)
        save_photo(tmp_path / f"a{suffix}", result, photo)
        written = np.asarray(kept(tmp_path / f"a{suffix}"))
        assert np.array_equal(written[~changed], own[~changed])
        assert (written[changed] == (200, 30, 60, 255)).all()
    save_photo(tmp_path / "a.bmp", result, photo)
    assert np.array_equal(load_image(tmp_path / "a.bmp"), result)


@pytest.mark.parametrize("source", [".png", ".tiff"])
@pytest.mark.parametrize("target", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("turn", [1, 6])
def test_16_bits_are_kept(
    tmp_path: Path, source: str, target: str, channels: int, turn: int
) -> None:
    shape = (30, 40) if channels == 1 else (30, 40, channels)
    stored = np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)
    content = cv2.imencode(source, stored)[1].tobytes()
    exif = Image.Exif()
    exif[0x0112] = turn
    if source == ".png":
        content = content[:33] + chunk(b"eXIf", exif.tobytes()[6:]) + content[33:]
    elif turn != 1:
        picture = stored if channels == 1 else stored[..., [2, 1, 0, 3][:channels]]
        content = encode_image(picture, "TIFF", exif=exif.tobytes())
    upright = np.rot90(stored, -1) if turn == 6 else stored
    photo = load_photo(content)
    colour = (200, 200, 200) if channels == 1 else (200, 30, 60)
    result = painted(photo, colour)
    changed = (result != photo.pixels).any(-1)
    save_photo(tmp_path / f"a{target}", result, photo)
    written = cv2.imread(str(tmp_path / f"a{target}"), cv2.IMREAD_UNCHANGED)
    assert written.dtype == np.uint16
    assert np.array_equal(written[~changed], upright[~changed])
    assert (written[changed][..., -1 if channels == 1 else 2] == 200 * 257).all()


def test_16_bits_keep_their_notes(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "camera"
    example = encode(
        Image.new("RGB", (1, 1)), "PNG", exif=exif, dpi=(300, 300), icc_profile=srgb_profile()
    )
    notes = example[33 : example.index(b"IDAT") - 4]
    content = cv2.imencode(".png", np.full((30, 40, 3), 1000, np.uint16))[1].tobytes()
    exif_chunk = chunk(b"eXIf", exif.tobytes()[6:])
    photo = load_photo(content[:33] + notes.replace(exif_chunk, b"") + exif_chunk + content[33:])
    for suffix in (".png", ".tif"):
        save_photo(tmp_path / f"a{suffix}", painted(photo), photo)
        image = kept(tmp_path / f"a{suffix}")
        assert image.getexif()[0x010F] == "camera"
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.5)
        assert image.info["icc_profile"] == srgb_profile()
        assert np.array_equal(load_image(tmp_path / f"a{suffix}"), painted(photo))


@pytest.mark.parametrize(("tag", "kept_tags"), [(0x927C, {0x829A: 0.5}), (0x9286, {})])
def test_exif_data_that_are_too_long_for_jpeg(
    tmp_path: Path, tag: int, kept_tags: dict[int, float]
) -> None:
    exif = Image.Exif()
    exif[0x010F] = "camera"
    exif.get_ifd(0x8769).update({tag: bytes(70_000), 0x829A: 0.5})
    photo = load_photo(encode(Image.fromarray(photo_pixels()), "PNG", exif=exif))
    save_photo(tmp_path / "a.jpg", painted(photo), photo)
    assert kept(tmp_path / "a.jpg").getexif().get_ifd(0x8769) == kept_tags
    save_photo(tmp_path / "a.png", painted(photo), photo)
    assert len(kept(tmp_path / "a.png").getexif().get_ifd(0x8769)[tag]) == 70_000


def test_grey_stays_grey_unless_it_is_painted_on_in_colour(tmp_path: Path) -> None:
    photo = load_photo(Image.fromarray(photo_pixels()[..., 0]))
    for colour, mode in (((9, 9, 9), "L"), ((9, 8, 7), "RGB")):
        save_photo(tmp_path / "a.png", painted(photo, colour), photo)
        assert kept(tmp_path / "a.png").mode == mode
        assert np.array_equal(load_image(tmp_path / "a.png"), painted(photo, colour))


# === Finding ===


def test_find_images(tmp_path: Path) -> None:
    for name in ["b.JPG", "a.png", ".hidden.png", "notes.txt", "sub/c.webp", "sub/.d/e.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_images(tmp_path) == [tmp_path / "a.png", tmp_path / "b.JPG"]
    assert find_images([tmp_path / "b.JPG", tmp_path, str(tmp_path / "a.png")]) == [
        tmp_path / "a.png",
        tmp_path / "b.JPG",
    ]
    assert find_images(tmp_path, recursive=True)[-1] == tmp_path / "sub" / "c.webp"
    assert len(find_images(tmp_path, recursive=True)) == 3


def test_pictures_of_every_kind_are_found(tmp_path: Path) -> None:
    kinds = ["jfif", "jpe", "gif", "avif", "heic", "HEIF", "dng", "jxl"]
    for kind in [*kinds, "txt", "json", "mp4"]:
        (tmp_path / f"a.{kind}").touch()
    assert {path.suffix[1:] for path in find_images(tmp_path)} == set(kinds)


def test_find_images_keeps_what_cannot_be_opened(tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    assert find_images(missing) == [missing]
    assert find_images([]) == []


def test_find_images_survives_circular_links(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    found = find_images(tmp_path, recursive=True)
    assert found == [tmp_path / "a.png", tmp_path / "self.png"]
    with pytest.raises(ImageError):
        load_photo(tmp_path / "self.png")

"""What the loader promises: one form for every photo, a clear error for everything else."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from unmask.errors import ImageError
from unmask.image import (
    Photo,
    find_images,
    load_image,
    load_mask,
    load_photo,
    save_image,
    save_mask,
)

LOSSLESS = [".png", ".webp", ".bmp", ".tif", ".tiff", ".PNG"]


def photo_pixels(height: int = 40, width: int = 30) -> np.ndarray:
    """A picture that changes along both axes and channels, so that no turn or swap goes unseen."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 8, y * 6, (x + y) * 3], axis=-1).astype(np.uint8)


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=image_format, **options)
    return stream.getvalue()


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


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


def test_other_formats_are_refused() -> None:
    with pytest.raises(ImageError, match="not a readable JPEG"):
        load_photo(encode(Image.new("RGB", (8, 8)), "GIF"))


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
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_bombs_are_refused_by_their_header(side: int) -> None:
    # The data behind the header is far too short: had decoding begun, the error were another.
    with pytest.raises(ImageError, match="pixels"):
        load_photo(png_that_claims(side, side))


def test_limits_are_settable() -> None:
    pixels = photo_pixels(40, 30)
    assert load_image(pixels, max_pixels=1200, min_side=30).shape == (40, 30, 3)
    with pytest.raises(ImageError, match="limit of 1199"):
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


def test_masks_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="a mask is written to one of"):
        save_mask(tmp_path / "a.jpg", np.zeros((2, 2), bool))
    with pytest.raises(ImageError, match="boolean"):
        save_mask(tmp_path / "a.png", np.zeros((2, 2), np.uint8))  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="boolean"):
        load_mask(np.zeros((2, 2, 3), bool))


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

"""Labelme files: what is drawn, what is refused, and what a folder becomes."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.draw import polygon2mask

from unmask.errors import DataError, LabelmeError, SettingError
from unmask.image import load_image, load_mask, save_image
from unmask.labelme import (
    Annotation,
    Shape,
    convert,
    draw_instances,
    draw_mask,
    find_annotations,
    read_annotation,
    read_image,
)

SIZE = (40, 50)
TRIANGLE = [[5, 5], [30, 5], [5, 30]]


def shape_json(shape_type: str = "polygon", points: Any = None, **more: Any) -> dict[str, Any]:
    base = {"label": "mask", "points": points or TRIANGLE, "shape_type": shape_type}
    return base | {"group_id": None, "description": "", "flags": {}} | more


def document(*shapes: Any, **more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"version": "5.5.0", "flags": {}, "shapes": list(shapes)}
    base |= {"imagePath": "a.png", "imageData": None}
    return base | {"imageHeight": SIZE[0], "imageWidth": SIZE[1]} | more


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def encoded(array: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write an annotation beside its image."""
    save_image(tmp_path / "a.png", pixels())

    def write(data: Any, name: str = "a.json") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
        return path

    return write


def drawn(write: Callable[..., Path], *shapes: dict[str, Any], **options: Any) -> np.ndarray:
    return draw_mask(read_annotation(write(document(*shapes))), SIZE, **options)


# === Drawing ===


@pytest.mark.parametrize("points", [[[10, 3], [14, 6]], [[14, 3], [10, 6]], [[14, 6], [10, 3]]])
def test_rectangle_from_any_two_corners(write: Callable[..., Path], points: list[Any]) -> None:
    expected = np.zeros(SIZE, bool)
    expected[3:7, 10:15] = True
    assert np.array_equal(drawn(write, shape_json("rectangle", points)), expected)


@pytest.mark.parametrize("shape_type", ["rectangle", "oriented_rectangle"])
def test_rectangle_with_four_corners(write: Callable[..., Path], shape_type: str) -> None:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    corners = [[20, 10], [30, 20], [20, 30], [10, 20]]
    expected = abs(x - 20) + abs(y - 20) <= 10
    assert np.array_equal(drawn(write, shape_json(shape_type, corners)), expected)


def test_circle(write: Callable[..., Path]) -> None:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    expected = (x - 20) ** 2 + (y - 15) ** 2 < 10.5**2
    assert np.array_equal(drawn(write, shape_json("circle", [[20, 15], [20, 25.5]])), expected)


def test_lines_have_the_width_that_is_asked_for(write: Callable[..., Path]) -> None:
    mask = drawn(write, shape_json("line", [[10, 20], [40, 20]]), line_width=6)
    assert np.array_equal(np.flatnonzero(mask[:, 25]), np.arange(17, 24))
    # Round ends: half a disk of radius 3 beyond each.
    assert np.array_equal(np.flatnonzero(mask[20]), np.arange(7, 44))
    assert not mask[17, 7]


def test_linestrip_is_the_union_of_its_lines(write: Callable[..., Path]) -> None:
    points = [[10, 10], [40, 12.5], [25, 35], [25, 35]]
    strip = drawn(write, shape_json("linestrip", points))
    lines = [drawn(write, shape_json("line", points[i : i + 2])) for i in range(3)]
    assert np.array_equal(strip, lines[0] | lines[1] | lines[2])
    assert strip.sum() == pytest.approx(10 * (30.1 + 27.04) + 25 * np.pi, rel=0.1)


def test_mask_shapes(write: Callable[..., Path]) -> None:
    patch = np.random.default_rng(1).random((5, 7)) < 0.5
    # Labelme stores 0 and 1; its corners are the first and the last pixel.
    shape = shape_json("mask", [[20, 10], [26, 14]], mask=encoded(patch.astype(np.uint8)))
    expected = np.zeros(SIZE, bool)
    expected[10:15, 20:27] = patch
    assert np.array_equal(drawn(write, shape), expected)
    shape["mask"] = encoded(patch.astype(np.uint8) * 255)
    assert np.array_equal(drawn(write, shape), expected)


@pytest.mark.parametrize(("left", "top"), [(-3, -2), (47, 38), (-3, 38)])
def test_mask_shapes_over_the_frame_are_cut(
    write: Callable[..., Path], left: int, top: int
) -> None:
    patch = np.random.default_rng(2).random((5, 7)) < 0.8
    points = [[left, top], [left + 6, top + 4]]
    expected = np.zeros((SIZE[0] + 20, SIZE[1] + 20), bool)
    expected[top + 10 : top + 15, left + 10 : left + 17] = patch
    shape = shape_json("mask", points, mask=encoded(patch.astype(np.uint8)))
    assert np.array_equal(drawn(write, shape), expected[10:-10, 10:-10])


def test_points_cover_nothing(write: Callable[..., Path]) -> None:
    shapes = [shape_json("point", [[3, 3]]), shape_json("points", [[3, 3], [4, 4]])]
    annotation = read_annotation(write(document(*shapes)))
    assert not list(draw_instances(annotation, SIZE))
    assert not draw_mask(annotation, SIZE).any()


def test_groups_join_shapes_of_one_label(write: Callable[..., Path]) -> None:
    shapes = [
        shape_json("rectangle", [[0, 0], [4, 4]], group_id=1),
        shape_json("rectangle", [[10, 10], [14, 14]]),
        shape_json("rectangle", [[20, 20], [24, 24]], group_id=1),
        shape_json("rectangle", [[30, 30], [34, 34]], group_id=1, label="hand"),
        shape_json("rectangle", [[12, 12], [16, 16]]),
    ]
    annotation = read_annotation(write(document(*shapes)))
    instances = draw_instances(annotation, SIZE)
    found = [(item.label, item.group_id, int(item.mask.sum())) for item in instances]
    assert found == [("mask", 1, 50), ("mask", None, 25), ("hand", 1, 25), ("mask", None, 25)]
    assert draw_mask(annotation, SIZE).sum() == 50 + 25 + 25 - 9 + 25


@pytest.mark.parametrize(
    "shape",
    [
        shape_json(points=[[60, 5], [90, 5], [60, 30]]),
        shape_json(points=[[5.2, 5.2]] * 3),
        shape_json("circle", [[9, 9], [9, 9]]),
        shape_json("rectangle", [[-9, -9], [-1, 40]]),
        shape_json("mask", [[0, 0], [1, 1]], mask=encoded(np.zeros((2, 2), np.uint8))),
    ],
)
def test_shapes_that_cover_no_pixel(write: Callable[..., Path], shape: dict[str, Any]) -> None:
    annotation = read_annotation(write(document(shape_json(), shape)))
    with pytest.raises(LabelmeError, match=r"a\.json: shapes\[1\]\.points: .* covers no pixel"):
        draw_mask(annotation, SIZE)


def test_random_polygons_agree_with_scikit_image() -> None:
    generator = np.random.default_rng(3)
    for i in range(60):
        points = generator.uniform(-10, 60, (generator.integers(3, 12), 2))
        # Corners on pixel centres and between two of them try the outline itself.
        points = points if i % 3 == 0 else np.round(points * (i % 3)) / (i % 3)
        annotation = Annotation(Path("a.json"), (Shape(0, "mask", "polygon", points),))
        expected = polygon2mask(SIZE, points[:, ::-1])
        if expected.any():  # a polygon that misses the image is an error
            assert np.array_equal(draw_mask(annotation, SIZE), expected)


# === Versions ===


def test_version_3_has_polygons_without_a_type(write: Callable[..., Path]) -> None:
    old = {
        "version": "3.16.1",
        "flags": {},
        "shapes": [{"label": "mask", "line_color": None, "fill_color": None, "points": TRIANGLE}],
        "lineColor": [0, 255, 0, 128],
        "fillColor": [255, 0, 0, 128],
        "imagePath": "a.png",
        "imageData": None,
    }
    annotation = read_annotation(write(old))
    assert annotation.shapes[0].shape_type == "polygon"
    assert (annotation.height, annotation.width) == (None, None)
    assert read_image(annotation).shape == (*SIZE, 3)
    assert draw_mask(annotation, SIZE).any()


@pytest.mark.parametrize(
    "change",
    [
        {"flags": {"hard": 0, "good": 1}},
        {"flags": [1]},
        {"description": 5},
        {"group_id": "1"},
        {"group_id": 1.0},
        {"group_id": ""},
        {"shape_type": None},
        {"points": [["5", 5.0], [30, "5"], [5, 3e1]]},
    ],
)
def test_needless_strictness(write: Callable[..., Path], change: dict[str, Any]) -> None:
    expected = drawn(write, shape_json())
    assert np.array_equal(drawn(write, shape_json() | change), expected)


def test_sizes_and_groups_as_other_programs_write_them(write: Callable[..., Path]) -> None:
    shapes = [shape_json(group_id=number) for number in ("1", 1, 1.0)]
    path = write(document(*shapes, imageWidth=50.0, imageHeight="40", version=5, flags=None))
    annotation = read_annotation(path)
    assert read_image(annotation).shape == (*SIZE, 3)
    assert len(list(draw_instances(annotation, SIZE))) == 1


def test_base64_with_line_breaks(write: Callable[..., Path]) -> None:
    broken = "\r\n".join(re.findall(".{1,60}", encoded(pixels()[::-1])))
    assert np.array_equal(
        read_image(read_annotation(write(document(imageData=broken)))), pixels()[::-1]
    )
    patch = "\n".join(re.findall(".{1,9}", encoded(np.ones((2, 2), np.uint8))))
    assert drawn(write, shape_json("mask", [[0, 0], [1, 1]], mask=patch)).sum() == 4


def test_other_encodings(tmp_path: Path) -> None:
    text = json.dumps(document(shape_json(label="口罩"), imagePath="口罩.png"), ensure_ascii=False)
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "gbk"):
        (tmp_path / f"{encoding}.json").write_bytes(text.encode(encoding))
        # UTF-8 is tried first: folders of two computers may hold both.
        annotation = read_annotation(tmp_path / f"{encoding}.json", encoding="gbk")
        assert annotation.labels == {"口罩": 1}
        assert annotation.image_path == "口罩.png"
    with pytest.raises(LabelmeError, match=r"gbk\.json: is not UTF-8 .*--encoding"):
        read_annotation(tmp_path / "gbk.json")
    with pytest.raises(LabelmeError, match=r"gbk\.json: is neither UTF-8 nor ascii"):
        read_annotation(tmp_path / "gbk.json", encoding="ascii")
    for unknown in ("klingon", "hex"):
        with pytest.raises(SettingError, match=f"Received: encoding='{unknown}'"):
            read_annotation(tmp_path / "utf-8.json", encoding=unknown)


def test_shapes_of_other_labels_are_counted_but_not_read(write: Callable[..., Path]) -> None:
    others = [
        shape_json(label="Mask"),
        shape_json(label="mask "),
        shape_json(label="hand", points=[[1, "x"]]),
        shape_json("blob", label="hand"),
        shape_json("mask", [[0, 0], [1, 1]], mask="?", label="hand"),
        shape_json(label=None),
        7,
    ]
    annotation = read_annotation(write(document(*others, shape_json())), labels="mask")
    assert [shape.index for shape in annotation.shapes] == [7]
    assert annotation.labels == {"Mask": 1, "mask ": 1, "hand": 3, "": 2, "mask": 1}
    with pytest.raises(LabelmeError, match=r"shapes\[2\]\.points"):
        read_annotation(annotation.path, labels=["mask", "hand"])


# === Broken files ===


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": [[1, 2]]}, r"shapes[1].points: a polygon must have 3 or more points"),
        ({"points": []}, r"shapes[1].points: a polygon must have 3 or more points. Received: 0"),
        ({"points": None}, r"shapes[1].points: must be a list. Received: None"),
        ({"points": [[1, 2], [3, 4], [5]]}, r"shapes[1].points[2]: must be two finite numbers"),
        ({"points": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}, r"shapes[1].points[0]: must be two fin"),
        ({"points": [[1, 2], "34", [5, 6]]}, r"shapes[1].points[1]: must be two finite numbers"),
        ({"points": [[1, float("nan")], [1, 1], [1, 1]]}, r"shapes[1].points[0]: must be two fin"),
        ({"points": [[1, 2], [float("-inf"), 0], [1, 1]]}, r"shapes[1].points[1]: must be two f"),
        ({"points": [[1, 2], ["three", 0], [1, 1]]}, r"shapes[1].points[1]: must be two finite"),
        ({"points": [[1, 2], [10**400, 0], [1, 1]]}, r"shapes[1].points[1]: must be two finite"),
        ({"points": [[1, 2], [1e30, 0], [1, 1]]}, r"shapes[1].points[1]: must be two finite"),
        ({"points": [[1, 2], {"x": 0}, [1, 1]]}, r"shapes[1].points[1]: must be two finite"),
        ({"label": None}, r"shapes[1].label: must be a string. Received: None"),
        ({"label": ""}, r"shapes[1].label: must not be empty"),
        ({"label": "\udcff"}, r"shapes[1].label: must not have half a surrogate pair"),
        ({"shape_type": "blob"}, r"shapes[1].shape_type: must be one of polygon, rectangle"),
        ({"shape_type": "circle"}, r"shapes[1].points: a circle must have 2 points. Received: 3"),
        ({"shape_type": "rectangle"}, r"shapes[1].points: a rectangle must have 2 or 4 points"),
        ({"group_id": "left"}, r"shapes[1].group_id: must be an integer. Received: 'left'"),
        ({"group_id": 1.5}, r"shapes[1].group_id: must be an integer. Received: 1.5"),
        ({"group_id": True}, r"shapes[1].group_id: must be an integer. Received: True"),
        ({"shape_type": "mask", "points": [[0, 0], [1, 1]]}, r"shapes[1].mask: must be a string"),
    ],
)
def test_broken_shapes(write: Callable[..., Path], change: dict[str, Any], message: str) -> None:
    path = write(document(shape_json(), shape_json() | change))
    with pytest.raises(LabelmeError) as caught:
        read_annotation(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("no base", "is not base64"),
        (base64.b64encode(b"no picture").decode(), "not a readable"),
        (encoded(np.ones((9, 9), np.uint8)), "has 9 x 9 pixels, but its points span 2 x 2"),
        ("", "empty file"),
    ],
)
def test_broken_masks(write: Callable[..., Path], mask: str, message: str) -> None:
    path = write(document(shape_json("mask", [[0, 0], [1, 1]], mask=mask)))
    with pytest.raises(LabelmeError) as caught:
        draw_mask(read_annotation(path), SIZE)
    assert str(caught.value).startswith(f"{path}: shapes[0].mask: {message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shapes": None}, "shapes: must be a list. Received: None"),
        ({"shapes": [3]}, "shapes[0]: must be a JSON object. Received: 3"),
        ({"imageHeight": 40.5}, "imageHeight: must be an integer. Received: 40.5"),
        ({"imageHeight": float("inf")}, "imageHeight: must be an integer. Received: inf"),
        ({"imageWidth": 0}, "imageWidth: must be positive. Received: 0"),
        ({"imagePath": 7}, "imagePath: must be a string. Received: 7"),
        ({"imageData": "YWI"}, "imageData: is not base64"),
    ],
)
def test_broken_documents(write: Callable[..., Path], change: dict[str, Any], message: str) -> None:
    path = write(document() | change)
    with pytest.raises(LabelmeError) as caught:
        read_annotation(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2", "\0", '{"shapes": [' + "[" * 100_000, "9" * 9999]
)
def test_what_is_no_json(write: Callable[..., Path], text: str) -> None:
    with pytest.raises(LabelmeError, match=r"a\.json: is not valid JSON"):
        read_annotation(write(text))


def test_missing_files_and_other_json(write: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(LabelmeError, match=r"none\.json: cannot be read"):
        read_annotation(tmp_path / "none.json")
    with pytest.raises(LabelmeError, match=r"a\.json: must be a JSON object\. Received: \[1\]"):
        read_annotation(write("[1]"))


def test_files_that_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    (tmp_path / "gone.json").symlink_to(tmp_path / "none")
    with (tmp_path / "huge.json").open("wb") as handle:
        handle.truncate(1 << 40)
    monkeypatch.setattr("unmask.labelme.annotation.MAX_JSON_BYTES", 1 << 20)
    messages = {
        "pipe": "is not a regular file",
        "zero": "is not a regular file",
        "loop": "cannot be read",
        "gone": "cannot be read",
        "huge": "is larger than the limit of 1 MiB",
    }
    assert {path.stem for path in find_annotations(tmp_path)} == set(messages)
    for name, message in messages.items():
        with pytest.raises(LabelmeError, match=rf"{name}\.json: .*{message}"):
            read_annotation(tmp_path / f"{name}.json")
    with pytest.raises(LabelmeError, match="cannot be read"):
        read_annotation(tmp_path / ("n" * 300 + ".json"))
    with pytest.raises(LabelmeError, match="is no path"):
        read_annotation("a\0.json")


def test_outlines_that_go_up_and_down_for_minutes(write: Callable[..., Path]) -> None:
    size = (3000, 30)
    saw = [[x / 50, 2999 * (x % 2)] for x in range(1500)]
    annotation = read_annotation(write(document(shape_json(points=saw * 2))))
    with pytest.raises(LabelmeError, match=r"a\.json: shapes\[0\]\.points: the polygon crosses"):
        draw_mask(annotation, size)


# === Images ===


def test_embedded_images_win(write: Callable[..., Path]) -> None:
    other = pixels()[::-1]
    path = write(document(imageData=encoded(other), imagePath="../elsewhere.png"))
    assert np.array_equal(read_image(read_annotation(path)), other)


@pytest.mark.parametrize(
    "written",
    ["D:\\photos\\a.png", "/home/me/a.png", r"..\images\a.png", "gone/a.png", r"\\h\s\a.png"],
)
def test_photos_that_were_moved(write: Callable[..., Path], written: str) -> None:
    beside = read_annotation(write(document(imagePath=written)))
    assert np.array_equal(read_image(beside), pixels())
    elsewhere = read_annotation(write(document(imagePath=written), "annotations/a.json"))
    with pytest.raises(LabelmeError, match=r"imagePath: .*--images"):
        read_image(elsewhere)


def test_image_errors_name_the_annotation(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    for change, message in [
        ({"imagePath": "none.png"}, r"imagePath: no such file in .*\. Received: 'none.png'"),
        ({"imagePath": r"sub\..\..\c.png"}, r"imagePath: must be a path inside.*--images"),
        ({"imagePath": None}, "imagePath: is missing, and so is imageData"),
        ({"imagePath": ""}, "imagePath: is missing, and so is imageData"),
        ({"imagePath": "n" * 300 + ".png"}, "imagePath: no such file in"),
        ({"imagePath": "broken.png"}, "imagePath: truncated or damaged"),
        ({"imageData": "aGVsbG8="}, "imageData: not a readable"),
        ({"imageWidth": 51}, "imageWidth: is 51, but the image has 50"),
        ({"imageHeight": 50, "imageWidth": 40}, "imageHeight: is 50, but the image has 40"),
    ]:
        with pytest.raises(LabelmeError, match=rf"a\.json: {message}"):
            read_image(read_annotation(write(document(**change))))


# === Converting ===


def test_convert_a_folder(write: Callable[..., Path], tmp_path: Path) -> None:
    hand = shape_json("rectangle", [[0, 0], [9, 4]], label="hand")
    write(document(shape_json(), hand), "one.json")
    write(document(shape_json(points=[[1, 1]])), "two.json")
    write(document(), "three.json")
    out = tmp_path / "out"
    report = convert(tmp_path, out, coco=out / "coco.json")
    assert [path.name for path in report.converted] == ["one.json", "three.json"]
    assert len(report.errors) == 1
    assert "two.json: shapes[0].points" in str(report.errors[0])
    assert report.labels == {"mask": 1, "hand": 1}
    assert convert(tmp_path, tmp_path / "chosen", labels=["hand"]).left_out == {"mask": 2}
    assert (out / "images" / "one.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    assert not (out / "masks" / "two.png").exists()
    assert not load_mask(out / "masks" / "three.png").any()

    coco = json.loads((out / "coco.json").read_text())
    assert coco["categories"] == [
        {"id": 1, "name": "hand", "supercategory": ""},
        {"id": 2, "name": "mask", "supercategory": ""},
    ]
    assert [image["file_name"] for image in coco["images"]] == [
        "images/one.png",
        "images/three.png",
    ]
    assert (coco["images"][0]["height"], coco["images"][0]["width"]) == SIZE
    triangle, rectangle = coco["annotations"]
    assert (triangle["id"], triangle["image_id"], triangle["category_id"]) == (1, 1, 2)
    assert (rectangle["bbox"], rectangle["area"]) == ([0, 0, 10, 5], 50)
    assert triangle["segmentation"] == [np.ravel(TRIANGLE).tolist()]
    assert rectangle["segmentation"] == [[0, 0, 0, 4, 9, 4, 9, 0]]


def test_turned_images_are_written_upright(write: Callable[..., Path], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels()).save(tmp_path / "turned.jpg", exif=exif)
    # The camera was held upright: 50 high and 40 wide is what Labelme showed.
    corner = shape_json("rectangle", [[30, 0], [39, 9]])
    size = {"imageHeight": 50, "imageWidth": 40, "imagePath": "turned.jpg"}
    report = convert(write(document(corner, **size)), tmp_path / "out")
    assert not report.errors
    with Image.open(tmp_path / "out" / "images" / "a.png") as written:
        image = np.asarray(written)
    assert image.shape == (50, 40, 3)
    assert np.array_equal(image, load_image(tmp_path / "turned.jpg"))
    mask = load_mask(tmp_path / "out" / "masks" / "a.png")
    assert mask[:10, 30:].all()
    assert mask.sum() == 100


def test_images_that_readers_disagree_about_are_converted(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    Image.fromarray(np.dstack([pixels(), pixels()[..., 0]])).save(tmp_path / "alpha.png")
    Image.fromarray(pixels()).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(pixels()).save(tmp_path / "plain.jpg")
    save_image(tmp_path / "photo.webp", pixels())
    suffixes = {"alpha.png": ".png", "cmyk.jpg": ".png", "plain.jpg": ".jpg", "photo.webp": ".png"}
    for name, suffix in suffixes.items():
        path = write(document(shape_json(), imagePath=name), f"{name}.json")
        assert not convert(path, tmp_path / "out").errors
        out = tmp_path / "out" / "images" / f"{name}{suffix}"
        assert np.array_equal(load_image(out), load_image(tmp_path / name))
        with Image.open(out) as written:
            assert written.mode == "RGB"


def test_two_files_of_one_name(write: Callable[..., Path], tmp_path: Path) -> None:
    save_image(tmp_path / "sub" / "a.png", pixels())
    paths = [write(document(shape_json())), write(document(), "sub/a.json")]
    report = convert(paths, tmp_path / "out")
    assert len(report.converted) == 1
    assert "has the same name" in str(report.errors[0])
    assert load_mask(tmp_path / "out" / "masks" / "a.png").any()


def test_folders_inside(write: Callable[..., Path], tmp_path: Path) -> None:
    write(document(shape_json()))
    write(document(imagePath="b.png"), "day1/a.json")
    write(document(imagePath="c.png"), "day2/c.d.json")
    save_image(tmp_path / "day1" / "b.png", pixels())
    save_image(tmp_path / "day2" / "c.png", pixels())
    assert len(convert(tmp_path, tmp_path / "flat").converted) == 1
    out = tmp_path / "out"
    for _ in range(2):  # the second time, with the results of the first inside
        report = convert(tmp_path, out, recursive=True, coco=tmp_path / "day1" / "coco.json")
        assert not report.errors
        made = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
        assert made == [
            *("images/a.png", "images/day1/a.png", "images/day2/c.d.png"),
            *("masks/a.png", "masks/day1/a.png", "masks/day2/c.d.png"),
        ]
        coco = json.loads((tmp_path / "day1" / "coco.json").read_text())
        assert [image["file_name"] for image in coco["images"]] == made[:3]
    # Nor is the COCO file an annotation where another one is written.
    assert not convert(tmp_path / "day1", tmp_path / "new", coco=tmp_path / "new.json").errors


def test_photos_in_another_folder(write: Callable[..., Path], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    save_image(photos / "a.png", pixels())
    save_image(photos / "day1" / "a.png", pixels()[::-1])
    write(document(shape_json(), imagePath=r"..\..\photos\a.png"), "json/a.json")
    (tmp_path / "json" / "day1").mkdir()
    write(document(shape_json(), imagePath="a.png"), "json/day1/a.json")
    out = tmp_path / "out"
    report = convert(tmp_path / "json", out, images=photos, recursive=True)
    assert not report.errors
    assert np.array_equal(load_image(out / "images" / "a.png"), pixels())
    assert np.array_equal(load_image(out / "images" / "day1" / "a.png"), pixels()[::-1])
    with pytest.raises(LabelmeError, match="gone: no such folder"):
        convert(tmp_path / "json", out, images=tmp_path / "gone")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("source", "photo", "destination", "options"),
    [
        ("p/masks", "p/masks/a.png", "p", {}),
        ("p/images", "p/images/a.png", "p", {}),
        ("p/images", "p/images/other.png", "p", {}),  # whose name is that of a result
        ("p/json", "p/images/a.png", "p", {"images": "p/images"}),
        ("p", "p/a.png", "o", {"coco": "p/a.json"}),
        ("p", "p/a.png", "o", {"coco": "p/a.png"}),
    ],
)
def test_results_never_replace_what_they_are_made_of(
    write: Callable[..., Path],
    tmp_path: Path,
    source: str,
    photo: str,
    destination: str,
    options: dict[str, str],
) -> None:
    (tmp_path / source).mkdir(parents=True)
    written = os.path.relpath(tmp_path / photo, tmp_path / source)
    write(document(shape_json(), imagePath=written), f"{source}/a.json")
    save_image(tmp_path / photo, pixels())
    save_image(tmp_path / photo.replace("other", "a"), pixels())
    before = contents(tmp_path)
    paths = {name: tmp_path / value for name, value in options.items()}
    with pytest.raises(DataError, match="would replace the input"):
        convert(tmp_path / source, tmp_path / destination, **paths)
    assert contents(tmp_path) == before


def test_a_bad_entry_leaves_the_others_alone(write: Callable[..., Path], tmp_path: Path) -> None:
    write(document(shape_json()))
    write(document(imagePath="n" * 300 + ".png"), "long.json")
    write(document(shape_json("mask", [[0, 0], [1, 1]], mask=encoded(pixels()))), "mask.json")
    write('{"shapes": [' + "[" * 100_000, "deep.json")
    os.mkfifo(tmp_path / "pipe.json")
    os.mkfifo(tmp_path / "pipe.png")
    write(document(imagePath="pipe.png"), "photo.json")
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "out" / "masks" / "busy.png").mkdir(parents=True)
    write(document(), "busy.json")
    report = convert(tmp_path, tmp_path / "out", recursive=True)
    assert [path.name for path in report.converted] == ["a.json"]
    names = ["busy", "deep", "long", "loop", "mask", "photo", "pipe"]
    assert [Path(str(error).split(".json")[0]).name for error in report.errors] == names


def test_names_that_are_not_utf8(write: Callable[..., Path], tmp_path: Path) -> None:
    write(document(shape_json()))
    write(document(shape_json(label="\ud83d")), "label.json")
    write(document(shape_json()), os.fsdecode(b"b\xff.json"))
    out = tmp_path / "out"
    options: list[dict[str, Any]] = [{"voc": True}, {"yolo": True}, {"coco": out / "coco.json"}]
    for number, option in enumerate(options):
        report = convert(tmp_path, out / f"{number}", **option)
        assert [path.name for path in report.converted] == ["a.json"]
        name, label = report.errors
        assert str(name).endswith(
            r"name: must be UTF-8 to be written to other files. Received: 'b\udcff.json'"
        )
        assert "half a surrogate pair. Received: '\\ud83d'" in str(label)
    assert len(convert(tmp_path, out / "masks alone").converted) == 2


def test_what_voc_cannot_say_is_told_before_anything_is_written(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    square = [[1, 1], [2, 2]]
    write(document(*[shape_json("rectangle", square)] * 255), "many.json")
    write(document(shape_json(label="a\x01b")), "control.json")
    report = convert(tmp_path, tmp_path / "out", voc=True)
    control, many = map(str, report.errors)
    assert f"{tmp_path}/control.json: shapes[0].label: must not have control" in control
    assert control.endswith(r"Received: 'a\x01b'")
    assert many == (
        f"{tmp_path}/many.json: VOC numbers at most 254 objects and classes. Received: 255"
    )
    assert not list((tmp_path / "out").rglob("*.png"))

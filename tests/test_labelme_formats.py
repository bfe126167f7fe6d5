"""Labelme's annotations to the formats of other programs and back: the masks stay the same."""

from __future__ import annotations

import base64
import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from unmask import cli
from unmask.errors import DataError, LabelmeError
from unmask.image import load_image, save_image
from unmask.labelme import (
    Split,
    convert,
    draw_instances,
    find_annotations,
    import_annotations,
    read_annotation,
    read_image,
)
from unmask.labelme.coco import _decoded
from unmask.labelme.drawing import outlines
from unmask.labelme.split import draw_split, groups_of
from unmask.metrics import iou

SIZE = (90, 120)
POLYGON = [[10.5, 20.25], [60, 15], [70.125, 50], [40, 70], [12, 55]]


def shape(shape_type: str, points: Any, label: str = "mask", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": shape_type} | more


def blob(seed: int, share: float = 0.9) -> np.ndarray:
    """Pieces with holes, as a careless brush leaves them."""
    noise = np.random.default_rng(seed).random(SIZE).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return smooth > np.quantile(smooth, share)


def mask_json(mask: np.ndarray, **more: Any) -> dict[str, Any]:
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(stream, format="PNG")
    encoded = base64.b64encode(stream.getvalue()).decode()
    corners = [[0, 0], [SIZE[1] - 1, SIZE[0] - 1]]
    return shape("mask", corners, mask=encoded, **more)


SHAPES = {
    "one": [shape("polygon", POLYGON), shape("rectangle", [[80, 60], [110, 85]], "hand, left")],
    "two": [
        shape("polygon", [[5, 5], [50, 5], [50, 40], [5, 40]], group_id=1),
        shape("polygon", [[60, 50], [110, 50], [110, 80], [60, 80]], group_id=1),
        shape("circle", [[20, 70], [20, 80]]),
    ],
    "day1/three": [mask_json(blob(1))],
    "day1/none": [],
    "day2/over": [shape("polygon", [[-20, 10], [60, -9], [60, 60]])],
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annotated photos, not to be changed."""
    folder = tmp_path_factory.mktemp("src")
    for number, (name, shapes) in enumerate(SHAPES.items()):
        photo = folder / f"{name}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        save_image(photo, pixels)
        content = {"shapes": shapes, "imagePath": photo.name, "imageData": None}
        photo.with_suffix(".json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def converted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in every format, not to be changed."""
    out = tmp_path_factory.mktemp("converted")
    report = convert(source, out, recursive=True, coco=out / "coco.json", yolo=True, voc=True)
    assert not report.errors
    return out


@pytest.fixture
def changed(converted: Path, tmp_path: Path) -> Path:
    """A copy of `converted` to be changed."""
    return shutil.copytree(converted, tmp_path / "out")


def masks(folder: Path) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Return the instances of every annotation, the largest first."""
    found = {}
    for path in find_annotations(folder, recursive=True):
        annotation = read_annotation(path)
        size = read_image(annotation).shape[:2]
        drawn = [(i.label, i.mask) for i in draw_instances(annotation, size)]
        name = path.relative_to(folder).with_suffix("").as_posix()
        found[name] = sorted(drawn, key=lambda item: -int(item[1].sum()))
    return found


def check_same(before: Path, after: Path, least: float) -> None:
    first, second = masks(before), masks(after)
    assert second.keys() == first.keys()
    for name, instances in first.items():
        assert [label for label, _ in second[name]] == [label for label, _ in instances]
        for (_, a), (_, b) in zip(instances, second[name], strict=True):
            assert iou(a, b) >= least, name
    for path in find_annotations(after, recursive=True):
        photo = before / path.relative_to(after).with_suffix(".png")
        assert np.array_equal(read_image(read_annotation(path)), load_image(photo))


# === Round trips ===


def test_coco_and_back(source: Path, converted: Path, tmp_path: Path) -> None:
    back = tmp_path / "back"
    report = import_annotations("coco", converted / "coco.json", back)
    assert not report.errors
    assert len(report.written) == len(SHAPES)
    check_same(source, back, 0.99)
    # Polygons stay what was drawn.
    [found] = read_annotation(back / "one.json", labels="mask").shapes
    assert found.points.tolist() == POLYGON
    assert [s.group_id for s in read_annotation(back / "two.json").shapes] == [1, 1, None]


def test_compressed_runs_and_other_readers(source: Path, converted: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    exact = tmp_path / "out" / "coco.json"
    assert not convert(source, tmp_path / "out", recursive=True, coco=exact, rle=True).errors
    assert not import_annotations("coco", exact, tmp_path / "back").errors
    check_same(source, tmp_path / "back", 1.0)
    drawn = [mask for instances in masks(source).values() for _, mask in instances]
    # Polygons: half a pixel less around each small piece.
    for path, least in ((exact, 1.0), (converted / "coco.json", 0.7)):
        found = coco.COCO(str(path))
        assert len(found.anns) == len(drawn)
        for annotation in found.loadAnns(found.getAnnIds()):
            mask = found.annToMask(annotation) > 0
            assert max(iou(mask, other) for other in drawn) >= least
            if path == exact:
                assert annotation["area"] == mask.sum()


def test_yolo_and_back(source: Path, converted: Path, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    words = (converted / "labels" / "one.txt").read_text().split()
    assert words[0] == "1"  # "hand, left" comes first
    assert np.allclose(np.array(words[1:3], float) * [120, 90], POLYGON[0], atol=1e-5)
    assert (converted / "labels" / "day1" / "none.txt").read_text() == ""
    report = import_annotations("yolo", converted, tmp_path / "back")
    assert not report.errors
    check_same(source, tmp_path / "back", 0.96)  # day1/three: pieces that cuts join
    check_same(source / "day2", tmp_path / "back" / "day2", 0.99)


def test_voc_and_back(source: Path, converted: Path, tmp_path: Path) -> None:
    with Image.open(converted / "SegmentationClass" / "one.png") as numbered:
        assert sorted(set(np.asarray(numbered).ravel().tolist())) == [0, 1, 2]
        assert numbered.getpalette()[3:9] == [128, 0, 0, 0, 128, 0]
    report = import_annotations("voc", converted, tmp_path / "back")
    assert not report.errors
    check_same(source, tmp_path / "back", 1.0)


def test_voc_boxes_alone_and_chosen_labels(changed: Path, tmp_path: Path) -> None:
    (changed / "SegmentationObject" / "one.png").unlink()
    import_annotations("voc", changed, tmp_path / "back", labels="hand, left")
    [hand] = read_annotation(
        tmp_path / "back" / "one.json",
    ).shapes
    assert (hand.shape_type, hand.points.tolist()) == ("rectangle", [[80, 60], [110, 85]])


def write_photo(folder: Path, *shapes: dict[str, Any], name: str = "a") -> None:
    save_image(folder / f"{name}.png", np.zeros((*SIZE, 3), np.uint8))
    content = {"shapes": shapes, "imagePath": f"{name}.png", "imageData": None}
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_yolo_fills_polygons_that_overlap(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    corners = ([[5, 5], [30, 5], [30, 30], [5, 30]], [[20, 20], [45, 20], [45, 45], [20, 45]])
    write_photo(tmp_path / "src", *(shape("polygon", c, "\U0001f637", group_id=1) for c in corners))
    convert(tmp_path / "src", tmp_path / "out", yolo=True)
    import_annotations("yolo", tmp_path / "out", tmp_path / "back")
    [(label, mask)] = masks(tmp_path / "back")["a"]
    assert label == "\U0001f637"
    assert mask.sum() == 2 * 26**2 - 11**2


def test_yolo_labels_and_photos_apart(changed: Path, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    report = import_annotations("yolo", changed, tmp_path / "one", images=changed / "images")
    assert (len(report.written), report.labels) == (5, {"mask": 5, "hand, left": 1})
    (changed / "images").rename(tmp_path / "photos")
    report = import_annotations("yolo", changed, tmp_path / "two", images=tmp_path / "photos")
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    with pytest.raises(LabelmeError, match="gone: no such folder"):
        import_annotations("yolo", changed, tmp_path / "new", images=tmp_path / "gone")
    with pytest.raises(LabelmeError, match="no photos in a folder called images"):
        import_annotations("yolo", changed, tmp_path / "new")
    (changed / "labels").rename(tmp_path / "labels")
    with pytest.raises(LabelmeError, match=r"none of the label files, .*/labels/.*\.txt for exam"):
        import_annotations("yolo", changed, tmp_path / "new", images=tmp_path / "photos")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_outlines_of_what_brushes_leave() -> None:
    for seed in range(20):
        mask = blob(seed, 0.3 + seed / 30)
        image = np.zeros(SIZE, np.uint8)
        pieces = [piece.astype(np.int32) for piece in outlines(mask)]
        for piece in pieces:
            one = np.zeros(SIZE, np.uint8)
            cv2.fillPoly(one, [piece], 1)
            image |= one
        assert iou(image > 0, mask) > 0.999
    rough, fine = (sum(map(len, outlines(mask, t))) for t in (1.5, 0.0))
    assert rough < fine / 2


# === Label Studio ===


def test_label_studio(tmp_path: Path) -> None:
    save_image(tmp_path / "photos" / "a b.png", np.zeros((*SIZE, 3), np.uint8))
    brushed = np.zeros(SIZE, bool)
    brushed[10:30, 40:80] = True
    results = [
        studio("polygonlabels", {"points": [[0, 0], [50, 0], [50, 50], [0, 50]]}),
        studio("brushlabels", {"format": "rle", "rle": packed(brushed)}),
        studio("rectanglelabels", {"x": 50, "y": 50, "width": 25, "height": 10, "rotation": 0}),
        studio("ellipselabels", {"x": 50, "y": 50, "radiusX": 10, "radiusY": 10, "rotation": 0}),
        {"type": "choices", "value": {"choices": ["good"]}},
    ]
    path = tmp_path / "export.json"
    path.write_text(
        json.dumps(
            [
                {
                    "id": 7,
                    "data": {"image": "/data/upload/1/0a1b2c3d-a%20b.png"},
                    "annotations": [{"result": results}, {"was_cancelled": True, "result": []}],
                }
            ]
        )
    )
    report = import_annotations("label-studio", path, tmp_path / "back", images=tmp_path / "photos")
    assert [str(error) for error in report.errors] == []
    annotation = read_annotation(tmp_path / "back" / "a b.json")
    assert annotation.shapes[0].points.tolist() == [[0, 0], [60, 0], [60, 45], [0, 45]]
    drawn = [instance.mask for instance in draw_instances(annotation, SIZE)]
    assert np.array_equal(drawn[1], brushed)
    assert abs(drawn[3].sum() / (np.pi * 12 * 9) - 1) < 0.03
    # Not what was there before: the second import replaces nothing.
    again = import_annotations("label-studio", path, tmp_path / "back", images=tmp_path / "photos")
    assert "exists already" in str(again.errors[0])


def test_label_studio_labels_apart(tmp_path: Path) -> None:
    save_image(tmp_path / "a+b.png", np.zeros((*SIZE, 3), np.uint8))
    box = {"x": 50, "y": 50, "width": 25, "height": 10}
    results = [
        studio("rectangle", box) | {"id": "r1"},
        studio("labels", box) | {"id": "r1"},
        studio("ellipse", {"x": 5, "y": 5, "radiusX": 1, "radiusY": 1}) | {"id": "r2"},
    ]
    tasks = [
        {"data": {"image": image}, "annotations": [{"result": result}]}
        for image, result in (
            ("/data/local-files/?d=a+b.png", results[:2]),
            ("a+b.png", results[1:]),
            ("a+b.png", [studio("bitmasklabels", {})]),
            ("//[a.png", results[:2]),
        )
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    report = import_annotations("label-studio", path, tmp_path)
    [found] = read_annotation(report.written[0]).shapes
    assert (found.label, found.points[2].tolist()) == ("mask", [90, 54])
    alone, unknown, address = map(str, report.errors)
    told = "[1].annotations[0].result[1].id: must be that of a result of the type labels"
    assert told in alone
    assert alone.endswith("Received: 'r2'")
    assert "result[0].type: must be one of brush, polygon, rectangle, ellipse." in unknown
    assert "[3].data.image: must be a path or an address. Received: '//[a.png'" in address


def studio(kind: str, value: dict[str, Any]) -> dict[str, Any]:
    size = {"original_height": SIZE[0], "original_width": SIZE[1], "image_rotation": 0}
    return {"type": kind, "value": value | {kind: ["mask"]}} | size


def packed(mask: np.ndarray) -> list[int]:
    """Label Studio's run lengths, half of them not repeated."""
    values = np.repeat(mask.ravel(), 4) * 255
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    ends = [*(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    start = 0
    for end in ends:
        while start < end:
            length = min(end - start, 60_000)
            if length <= 16:
                bits += "0" + "01" + f"{length - 1:04b}" + f"{values[start]:08b}" * length
            else:
                bits += "1" + "11" + f"{length - 1:016b}" + f"{values[start]:08b}"
            start += length
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


# === Bad input ===


def coco_errors(converted: Path, folder: Path, kind: str, change: dict[str, Any]) -> list[str]:
    """Change a value of a COCO file, and return the errors; the other photos come all the same."""
    data = json.loads((converted / "coco.json").read_text())
    data[kind][0] |= change
    path = folder / "coco.json"
    path.write_text(json.dumps(data))
    report = import_annotations("coco", path, folder / "back", images=converted)
    shutil.rmtree(folder / "back")
    assert len(report.written) >= len(SHAPES) - 1
    return [str(error) for error in report.errors]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segmentation": [[1, 2, 3]]}, "segmentation[0]: must be x"),
        ({"segmentation": [["a"] * 6]}, "segmentation[0]: must be fi"),
        ({"segmentation": "x"}, "segmentation: must be a JSON object"),
        ({"segmentation": {"size": [1, 1], "counts": []}}, "segmentation.size: must"),
        (
            {"segmentation": {"size": list(SIZE), "counts": [5, -5]}},
            "segmentation.counts: must be run lengths of 10800 pixels",
        ),
        ({"segmentation": [], "bbox": [1, 2, 0, 4]}, "bbox: must be x"),
        (
            {"segmentation": {"size": list(SIZE), "counts": [10800]}},
            "segmentation.counts: must cover a pixel. Received: [10800]",
        ),
        ({"category_id": 9}, "category_id: must be the id of"),
        ({"image_id": 99}, "image_id: no photo has it. Received: 99"),
        ({"image_id": None}, "image_id: must be an integer"),
    ],
)
def test_errors_of_coco_annotations(
    converted: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    [error] = coco_errors(converted, tmp_path, "annotations", change)
    assert f"coco.json: annotations[0].{message}" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 91}, "height: is 91, but the photo has 90"),
        ({"height": "91"}, "height: is 91, but the photo has 90"),
        ({"file_name": "../src/one.png"}, "file_name: must be a path inside"),
        ({"file_name": "gone.png"}, "file_name: no such file"),
        ({"file_name": 3}, "file_name: must be a string. Received: 3"),
    ],
)
def test_errors_of_coco_images(
    converted: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    [error] = coco_errors(converted, tmp_path, "images", change)
    assert f"coco.json: images[0].{message}" in error


def test_coco_numbers_as_text_and_long_ids(tmp_path: Path) -> None:
    first, images, annotations = 1_700_000_000_000_000_001, [], []
    for i, x in enumerate((10, 30)):
        save_image(tmp_path / f"{i}.png", np.zeros((*SIZE, 3), np.uint8))
        images.append({"id": first + i, "file_name": f"{i}.png", "height": f"{SIZE[0]}"})
        box = {"bbox": [x, 5, 8, 8], "category_id": f"{first + i}"}
        annotations.append(box | {"image_id": f"{first + i}"})
    categories = [{"id": first, "name": "a"}, {"id": first + 1, "name": "b"}]
    path = tmp_path / "coco.json"

    def run() -> list[str]:
        data = {"images": images, "annotations": annotations, "categories": categories}
        path.write_text(json.dumps(data))
        return [str(e) for e in import_annotations("coco", path, tmp_path / "back").errors]

    assert run() == []
    for name, label, x in (("0", "a", 10), ("1", "b", 30)):
        [found] = read_annotation(tmp_path / "back" / f"{name}.json").shapes
        assert (found.label, found.points[0].tolist()) == (label, [x, 5])
    images[1]["id"] = f"{first}"
    annotations.pop()
    assert run() == [
        f"{path}: images[{i}].id: must not be that of another photo. Received: {first}"
        for i in (0, 1)
    ]
    categories[1]["id"] = first
    with pytest.raises(LabelmeError, match=rf"categories\[1\]\.id: must not .* Received: {first}"):
        run()
    categories[0]["name"] = "\ud83d"
    with pytest.raises(LabelmeError, match=r"categories\[0\]\.name: must not have half a surr"):
        run()


def test_coco_crowds_are_told_from_single_objects(converted: Path, tmp_path: Path) -> None:
    data = json.loads((converted / "coco.json").read_text())
    first, second, *_ = data["annotations"]
    data["annotations"] = [first | {"iscrowd": 1}, second]
    (tmp_path / "coco.json").write_text(json.dumps(data))
    report = import_annotations("coco", tmp_path / "coco.json", tmp_path, images=converted)
    shapes = [s for p in report.written for s in json.loads(p.read_text())["shapes"]]
    crowd, single = (len(a["segmentation"]) for a in (first, second))
    assert [s["flags"] for s in shapes] == [{"crowd": True}] * crowd + [{}] * single


def test_a_broken_object_of_another_label(converted: Path, tmp_path: Path) -> None:
    data = json.loads((converted / "coco.json").read_text())
    unwanted = next(c["id"] for c in data["categories"] if c["name"] != "mask")
    broken = next(a for a in data["annotations"] if a["category_id"] == unwanted)
    broken["segmentation"] = "x"
    (tmp_path / "coco.json").write_text(json.dumps(data))
    report = import_annotations(
        "coco", tmp_path / "coco.json", tmp_path / "back", images=converted, labels="mask"
    )
    assert (len(report.written), report.errors) == (len(SHAPES), ())
    assert report.labels == {"mask": 5, "hand, left": 1}


def test_large_coco_files(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unmask.labelme.annotation.MAX_JSON_BYTES", 9)
    assert import_annotations("coco", converted / "coco.json", tmp_path / "back").written


def test_compressed_runs_as_pycocotools_reads_them() -> None:
    coded = pytest.importorskip("pycocotools.mask")
    for seed in range(20):
        mask = blob(seed, seed / 20)
        counts = coded.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
        runs = _decoded(counts, "a")
        drawn = np.repeat(np.arange(len(runs)) % 2, runs).reshape(SIZE, order="F")
        assert np.array_equal(drawn, mask)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("", "must be run lengths of 10800 pixels in all. Received: 0"),
        ("52", "must be run lengths of 10800 pixels in all. Received: 7"),
        ("O", "must be run lengths of 10800 pixels in all. Received: -1"),
        ("5P", "must not end within a number. Received: '5P'"),
        ("P" * 13, "must be run lengths as COCO writes them. Received: 'PPPPPPPPPPPPP'"),
        ("\xe9", "must be run lengths as COCO writes them. Received: '\xe9'"),
        ("`a:", "must cover a pixel"),
    ],
)
def test_damaged_compressed_runs(
    converted: Path, tmp_path: Path, counts: str, message: str
) -> None:
    change = {"segmentation": {"size": list(SIZE), "counts": counts}}
    [error] = coco_errors(converted, tmp_path, "annotations", change)
    assert f"annotations[0].segmentation.counts: {message}" in error


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.1 0.1 0.2", "line 1: must have 4 numbers or three points"),
        ("9 0.1 0.1 0.2 0.2 0.1 0.3", "line 1: class: must be one of 0, 1. Received: '9'"),
        ("0 0.1 0.1 0.2 0.2 0.1 nan", "line 1: must have numbers from 0 to 1"),
        ("0 10 10 20 20 10 30", "line 1: must have numbers from 0 to 1"),
        ("x 0 0 1 1", "line 1: class: must be an integer"),
        ("0 0.5 0.5 0 0.1", "line 1: must have a box of positive width and height. Received: '0"),
        ("0 0.5 0.5 0.1 -0.005", "line 1: must have a box of positive width and height"),
    ],
)
def test_yolo_errors(changed: Path, tmp_path: Path, line: str, message: str) -> None:
    pytest.importorskip("yaml")
    (changed / "labels" / "two.txt").write_text(line)
    report = import_annotations("yolo", changed, tmp_path / "back")
    assert len(report.written) == len(SHAPES) - 1
    assert f"{changed / 'labels' / 'two.txt'}: {message}" in str(report.errors[0])


def test_yolo_without_classes(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "data.yaml").write_text("names: 3")
    with pytest.raises(LabelmeError, match=r"data\.yaml: names: must be the names"):
        import_annotations("yolo", tmp_path, tmp_path / "back")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<annotation>", "<annotation", "is not valid XML"),
        ("<annotation>", "<!DOCTYPE a []><annotation>", "must not have a DOCTYPE"),
        ("<filename>two.png", "<filename>/etc/passwd", "filename: must be a path inside"),
        ("<height>90", "<height>9", "size/height: is 9, but the photo has 90"),
        ("<name>mask", "<name>", "object[1]/name: must not be empty"),
    ],
)
def test_voc_errors(changed: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    path = changed / "Annotations" / "two.xml"
    path.write_text(path.read_text().replace(old, new, 1))
    report = import_annotations("voc", changed, tmp_path / "back")
    assert len(report.written) == len(SHAPES) - 1
    assert f"{path}: {message}" in str(report.errors[0])


def test_a_doctype_in_another_encoding(changed: Path, tmp_path: Path) -> None:
    path = changed / "Annotations" / "two.xml"
    path.write_bytes(f"<!DOCTYPE a []>{path.read_text()}".encode("utf-16"))
    [error] = import_annotations("voc", changed, tmp_path / "back").errors
    assert str(error) == f"{path}: must not have a DOCTYPE"


def test_label_studio_errors(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", np.zeros((*SIZE, 3), np.uint8))
    tasks = []
    changes: list[tuple[dict[str, Any], str]] = [
        ({"value": {"points": [[0, 0]]}}, "value.polygonlabels: must be a list. Received: None"),
        ({"value": {"points": [[0, 0]], "polygonlabels": ["m"]}}, "value.points: must be three"),
        ({"original_height": 3}, "original_height: is 3, but the photo has 90"),
        ({"image_rotation": 90}, "image_rotation: must be 0. Received: 90"),
        ({"type": "brushlabels", "value": {"brushlabels": ["m"], "rle": [1, 2]}}, "ends too early"),
        ({"type": "brushlabels", "value": {"brushlabels": ["m"], "rle": [300]}}, "from 0 to 255"),
    ]
    for change, _ in changes:
        result = studio("polygonlabels", {"points": [[0, 0], [9, 0], [9, 9]]}) | change
        tasks.append({"data": {"image": "a.png"}, "annotations": [{"result": [result]}]})
    path = tmp_path / "export.json"
    path.write_text(json.dumps([*tasks, 5, {"data": {}}]))
    errors = [str(error) for error in import_annotations("label-studio", path, tmp_path).errors]
    for number, (_, message) in enumerate(changes):
        assert f"export.json: [{number}].annotations[0].result[0]" in errors[number]
        assert message in errors[number]
    told = "\n".join(errors)
    assert "[6]: must be a JSON object" in told
    assert "[7].data.image: must be a string" in told


# === Splits ===


def test_nobody_is_on_both_sides() -> None:
    rng = np.random.default_rng(0)
    groups = {f"{i}": f"person{rng.integers(40)}" for i in range(400)}
    shares = []
    for seed in range(10):
        parts = draw_split(groups, 0.2, seed)
        sides = [{groups[n] for n, p in parts.items() if p == part} for part in ("train", "val")]
        assert not sides[0] & sides[1]
        assert parts == draw_split(groups, 0.2, seed)
        shares.append(sum(part == "val" for part in parts.values()) / 400)
    assert 0.15 < min(shares) <= max(shares) < 0.25
    assert draw_split(groups, 0.2, 1) != draw_split(groups, 0.2, 2)
    for share in (0.0, 1.0):
        assert set(draw_split(groups, share).values()) == {"train", "val"}


def test_a_split_by_folder(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    coco = out / "c.json"
    options: dict[str, Any] = {"coco": coco, "yolo": True, "voc": True, "split": Split(0.4)}
    assert not convert(source, out, recursive=True, **options).errors
    with (out / "split.csv").open(newline="") as handle:
        parts = dict(list(csv.reader(handle))[1:])
    assert parts["day1/three.png"] == parts["day1/none.png"]
    assert set(parts.values()) == {"train", "val"}
    chosen = [name for name, part in parts.items() if part == "val"]
    assert (out / "val.txt").read_text().splitlines() == [f"./images/{name}" for name in chosen]
    listed = (out / "ImageSets" / "Segmentation" / "val.txt").read_text().splitlines()
    assert listed == [name.removesuffix(".png") for name in chosen]
    val = json.loads((tmp_path / "out" / "c-val.json").read_text())
    assert [image["file_name"] for image in val["images"]] == [f"images/{n}" for n in chosen]
    assert not coco.exists()
    # What was written is a folder that trains.
    from unmask.segmentation.data import read_examples

    assert [example.name for example in read_examples(out, "val")] == chosen


def test_a_split_by_person(source: Path, tmp_path: Path) -> None:
    table = tmp_path / "persons.csv"
    people = dict(zip(SHAPES, ("anna", "ben", "anna", "ben", "anna"), strict=True))
    rows = "".join(f"{name}.png,{person}\n" for name, person in people.items())
    table.write_text("file,person\n" + rows)
    out = tmp_path / "out"
    assert not convert(source, out, recursive=True, split=Split(0.5, table)).errors
    with (out / "split.csv").open(newline="") as handle:
        parts = dict(list(csv.reader(handle))[1:])
    sides = {(people[name.removesuffix(".png")], part) for name, part in parts.items()}
    assert len(sides) == 2
    table.write_text("file,person\n.,ben\none.png,anna\n")
    with pytest.raises(DataError, match=r"persons\.csv: file: lacks 4 of the 5 photos"):
        convert(source, tmp_path / "new", recursive=True, split=Split(0.5, table))
    with pytest.raises(DataError, match="one group cannot both"):
        convert(source / "day1", tmp_path / "new", split=Split(0.5))


def test_persons_of_files_with_dots_in_their_names(tmp_path: Path) -> None:
    table = tmp_path / "persons.csv"
    rows = ["a.v1.PNG,anna", "a.v2.json,ben", "day.1\\a.v2,cem", "b.png,dan"]
    table.write_text("\n".join(["file,person", *rows]))
    people = {"a.v1": "anna", "a.v2": "ben", "day.1/a.v2": "cem", "b": "dan", "b.png": "dan"}
    assert groups_of(people, table) == people


# === The command ===


def test_the_command_imports(
    converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["labelme", str(converted), str(tmp_path / "back"), "--from", "voc"]
    assert cli.main(words) == 0
    assert "5 Labelme files written" in capsys.readouterr().out
    assert cli.main(words) == 1
    assert capsys.readouterr().err.count("exists already") == 5
    assert cli.main([*words, "--yolo"]) == 2
    assert "only --labels and --images go with --from voc" in capsys.readouterr().err

"""Each recipe at toy size: drawn data on disk, and what makes its network and batches small."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skimage.data import astronaut


@dataclass(frozen=True)
class Toy:
    """What a recipe is tried with.

    Attributes:
        data: Data folders.
        overrides: Values by dotted key.
    """

    data: list[Path]
    overrides: dict[str, Any] = field(default_factory=dict)


TOYS: dict[str, Callable[[Path], Toy]] = {}
"""From a recipe's name to what makes its toy in an empty folder; added by `toy`."""


def toy(*recipes: str) -> Callable[[Callable[[Path], Toy]], Callable[[Path], Toy]]:
    """Register a function for some recipes."""

    def add(make: Callable[[Path], Toy]) -> Callable[[Path], Toy]:
        TOYS.update(dict.fromkeys(recipes, make))
        return make

    return add


def face_points(x: float, y: float, width: float) -> np.ndarray:
    """Return 98 points of a plain frontal face; (x, y) between the eyes, `width` of the jaw."""

    def ring(center_x: float, center_y: float, a: float, b: float, count: int) -> np.ndarray:
        turn = np.linspace(np.pi, 3 * np.pi, count, endpoint=False)
        return np.stack([center_x + a * np.cos(turn), center_y + b * np.sin(turn)], axis=1)

    def line(start: tuple[float, float], end: tuple[float, float], count: int) -> np.ndarray:
        return np.linspace(start, end, count)

    turn = np.linspace(np.pi, 0, 33)
    jaw = np.stack([0.5 * np.cos(turn), 0.1 + 0.65 * np.sin(turn)], axis=1)
    parts = [
        jaw, line((-0.38, -0.13), (-0.1, -0.13), 9), line((0.1, -0.13), (0.38, -0.13), 9),
        line((0, 0), (0, 0.28), 4), line((-0.1, 0.33), (0.1, 0.33), 5),
        ring(-0.2, 0, 0.1, 0.03, 8), ring(0.2, 0, 0.1, 0.03, 8),
        ring(0, 0.48, 0.19, 0.06, 12), ring(0, 0.48, 0.16, 0.02, 8),
        np.array([(-0.2, 0), (0.2, 0)]),
    ]  # fmt: skip
    return (np.array([x, y]) + width * np.concatenate(parts)).astype(np.float32)


def draw_faces(folder: Path, count: int = 6, suffix: str = ".png") -> Path:
    """Write shifted, tinted copies of one face with landmarks; the last third is for validation."""
    folder.mkdir(parents=True)
    face, points = np.ascontiguousarray(astronaut()[:256, 96:352]), face_points(125, 97, 85)
    rng = np.random.default_rng(0)
    rows, landmarks = [], []
    for index in range(count):
        shift = rng.uniform(-5, 5, 2)
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
        image = cv2.warpAffine(face, matrix, (256, 256), borderMode=cv2.BORDER_REFLECT)
        image = np.clip(image * rng.uniform(0.8, 1.1, 3), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index}{suffix}"), image[..., ::-1])
        landmarks.append(points + shift.astype(np.float32))
        split = "val" if 3 * index >= 2 * count else "train"
        rows.append([f"{index}{suffix}", "male" if index % 2 else "female", split])
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([["file", "gender", "split"], *rows])
    np.savez(
        folder / "landmarks98.npz",
        files=np.array([row[0] for row in rows]),
        landmarks98=np.stack(landmarks),
    )
    return folder


def draw_labelled(folder: Path, count: int = 12) -> Path:
    """Write photos with a blue mask, and beside each a PNG of class numbers."""
    folder.mkdir(parents=True)
    for index in range(count):
        image = np.ascontiguousarray(astronaut()[:256, 96:352])
        image = np.clip(image * (0.7 + 0.03 * index), 0, 255).astype(np.uint8)
        label = np.zeros(image.shape[:2], np.uint8)
        label[115 : 165 + index, 85:165] = 2
        image[label > 0] = (90, 140, 220)
        cv2.imwrite(str(folder / f"{index:02d}.jpg"), image[..., ::-1])
        cv2.imwrite(str(folder / f"{index:02d}.png"), label)
    return folder


def _scenes(folder: Path, **overrides: Any) -> Toy:
    draw_faces(folder / "faces_wide")
    draw_labelled(folder / "mask_segmentation")
    photos = {"photos.masks_labelme": 0.0, "photos.mask_segmentation": 1.0}
    return Toy([folder], {**photos, "batch_size": 2, **overrides})


def draw_parsed(folder: Path, count: int = 6) -> Path:
    """Write faces, and beside each a PNG of CelebAMask-HQ's class numbers."""
    draw_faces(folder, count, ".jpg")
    with np.load(folder / "landmarks98.npz") as archive:
        files, landmarks = archive["files"], archive["landmarks98"]
    parts = {
        1: (0, 33), 7: (33, 42), 6: (42, 51), 2: (51, 60), 5: (60, 68), 4: (68, 76),
        11: (76, 88), 10: (88, 96),
    }  # fmt: skip
    for name, points in zip(files, landmarks, strict=True):
        label = np.full((256, 256), 13, np.uint8)
        for number, (start, stop) in parts.items():
            hull = cv2.convexHull(np.rint(points[start:stop]).astype(np.int32))
            cv2.fillConvexPoly(label, hull, number)
            cv2.polylines(label, [hull], True, number, 2)  # brows are lines
        cv2.imwrite(str(folder / name.replace(".jpg", ".png")), label)
    return folder


@toy("lite/parsing")
def parsing(folder: Path) -> Toy:
    """A thin U-Net on small views."""
    network = {"widths": [8, 8, 8, 8, 8], "blocks": [1, 1, 1, 1, 1]}
    draw_parsed(folder / "faces_celebahq")
    return Toy([folder], {**network, "side": 64, "batch_size": 2, "hold_out": 2})


@toy("lite/segmentation")
def unet(folder: Path) -> Toy:
    network = {"widths": [8, 8, 8, 8, 8], "blocks": [1, 1, 1, 1, 1]}
    return _scenes(
        folder, **network, **{"photos.pseudo_labels": 0.0}, sides=[64], features="", distillation=0
    )


@toy("lite/mask-teacher")
def teacher(folder: Path) -> Toy:
    import keras

    features = folder / "inception.weights.h5"
    toy = _scenes(folder, sides=[96], features=str(features))
    keras.utils.set_random_seed(0)
    keras.applications.InceptionV3(
        include_top=False, pooling="avg", input_shape=(96, 96, 3), weights=None
    ).save_weights(features)
    return toy


@toy("lite/verifier")
def verifier(folder: Path) -> Toy:
    network = {"widths": [8, 8], "blocks": [0, 1]}
    regions = {"regions.faces": 4, "regions.scenes": 4, "photos.pseudo_labels": 0.0}
    return _scenes(folder, **network, **regions)


@toy("lite/loops")
def loops(folder: Path) -> Toy:
    draw_faces(folder / "faces_wide")
    network = {"widths": [8, 8, 8, 8, 8], "blocks": [1, 1, 1, 1, 1]}
    return Toy([folder], {**network, "batch_size": 1, "held_back": 2})


# Few proposals: without a compiler each costs a dozen operations.
_FEW = {
    "config.PRE_NMS_LIMIT": 24, "config.POST_NMS_ROIS_TRAINING": 8,
    "config.TRAIN_ROIS_PER_IMAGE": 6,
}  # fmt: skip


@toy("lite/mask-rcnn")
def small_mask_rcnn(folder: Path) -> Toy:
    return _scenes(folder, **_FEW, **{"photos.pseudo_labels": 0.0}, side=64, validation_photos=1)


@toy("paper/mask-rcnn")
def paper_mask_rcnn(folder: Path) -> Toy:
    # The recipe, with a network that is built in seconds.
    return _scenes(folder, **_FEW, network="lite", side=64, validation_photos=1)


@toy("lite/landmarks", "paper/landmarks")
def landmarks(folder: Path) -> Toy:
    """One small hourglass on faces that count as photos of WFLW would."""
    draw_faces(folder / "faces_wide")
    overrides = {
        "network.stacks": 1, "network.width": 16, "network.depth": 1, "batch_size": 2,
        "validation_count": 2, "faces.faces_wide": 1.0,
    }  # fmt: skip
    return Toy([folder], overrides)


@toy("lite/gender")
def gender(folder: Path) -> Toy:
    """A tiny compact network."""
    draw_faces(folder / "faces_wide")
    overrides = {
        "compact.widths": [8, 8], "compact.blocks": [1, 1], "compact.dropout": 0.0,
        "batch_size": 4, "masked_views": 1, "pseudo_labels": False,
    }  # fmt: skip
    return Toy([folder], overrides)


@toy("paper/gender", "paper/gender-notebook")
def gender_classifier(folder: Path) -> Toy:
    """InceptionV3 with random weights on small pictures, and a narrow head."""
    draw_faces(folder / "faces_wide")
    overrides = {
        "classifier.backbone": "random", "classifier.size": 75, "classifier.units": 8,
        "classifier.hidden": 16, "classifier.dropout": 0.0, "batch_size": 4, "masked_views": 1,
    }  # fmt: skip
    return Toy([folder], overrides)


@toy("paper/gender-end-to-end")
def gender_end_to_end(folder: Path) -> Toy:
    """The same from the last block of InceptionV3 on."""
    toy = gender_classifier(folder)
    return Toy(toy.data, {**toy.overrides, "frozen_until": "mixed9"})


def draw_vgg(path: Path) -> Path:
    """Write an archive of a compressed VGG-19, with few and random channels."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}

    def add(name: str, size: int, into: int, out: int) -> int:
        spread = np.sqrt(2 / (size * size * into))
        arrays[f"{name}_kernel"] = rng.normal(0, spread, (size, size, into, out)).astype("float32")
        arrays[f"{name}_bias"] = rng.normal(0, 0.01, out).astype("float32")
        return out

    channels = add("conv0", 1, 3, 3)
    for block in ("11 12", "21 22", "31 32 33 34", "41 42 43 44", "51"):
        for suffix in block.split():
            channels = add(f"conv{suffix}", 3, channels, 4)
        add(f"conv{block[:2]}_aux", 1, channels, 6)
    np.savez(path, **arrays)
    return path


@toy(
    "paper/inpainting", "paper/inpainting-aot", "paper/aot-gan", "lite/inpainting",
    "rivals/aot-gan", "rivals/lafin", "lite/refiner",
)  # fmt: skip
def inpainting(folder: Path) -> Toy:
    """A generator of width 8 at 64 pixels."""
    data = [draw_faces(folder / "faces")]
    return Toy(
        data,
        {
            "features": str(draw_vgg(folder / "vgg.npz")), "batch_size": 2, "samples.side": 64,
            "samples.predicted": 0.0, "generator.width": 8, "generator.depth": 1,
            "discriminator.width": 8,
        },
    )  # fmt: skip


@toy("rivals/deepfill2", "rivals/edgeconnect", "rivals/pluralistic")
def rivals(folder: Path) -> Toy:
    """Networks of width 4 at 96 pixels, the least that Pluralistic's discriminators can see."""
    data = [draw_faces(folder / "faces")]
    changes = {"width": 4, "depth": 1, "discriminator_width": 4, "samples.side": 96}
    return Toy(data, {**changes, "features": str(draw_vgg(folder / "vgg.npz")), "batch_size": 2})


@toy("lite/coarse")
def coarse(folder: Path) -> Toy:
    """A narrow network on a dozen samples."""
    changes = {"width": 8, "blocks": (1, 1, 1), "training_samples": 12, "validation_samples": 4}
    return Toy(
        [draw_faces(folder / "faces")], {**changes, "batch_size": 4, "samples.predicted": 0.0}
    )


@toy("lite/prior")
def prior(folder: Path) -> Toy:
    """Three components of a few faces."""
    return Toy([draw_faces(folder / "faces")], {"components": 4, "kept": 3, "least_valid": 0.3})

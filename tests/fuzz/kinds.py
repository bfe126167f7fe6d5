"""The kinds of files that come from elsewhere: good ones to begin with, damage, and their door."""

from __future__ import annotations

import base64
import io
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzz.mutate import (
    Mutator,
    change_json,
    change_lines,
    change_safetensors,
    change_zip,
    damage,
)
from tests.training.toys import face_points
from unmask.data.faces import gather_faces, read_face_folder
from unmask.data.pack import find_packs, pack_faces, read_pack
from unmask.hdf5 import open_keras_weights
from unmask.image import load_mask, load_photo, save_image
from unmask.labelme import read_annotation, read_image
from unmask.labelme.drawing import draw_mask
from unmask.weights import (
    code,
    find,
    load_arrays,
    load_metadata,
    load_weights,
    read_manifest,
    save_arrays,
)

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: What the table calls it.
        file: Its name, in an empty folder.
        samples: Makes good files.
        mutate: Damages one.
        open: Opens the file of this path, as the package does.
        needs: Packages without which it is skipped.
    """

    name: str
    file: str
    samples: Callable[[], Sequence[bytes]]
    mutate: Mutator
    open: Callable[[Path], object]
    needs: tuple[str, ...] = ()


def _picture(height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


# === Photos and masks ===


def _photos() -> list[bytes]:
    image = Image.fromarray(_picture())
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a note"
    animation = {"save_all": True, "append_images": [image.rotate(90)]}
    return [
        _encoded(image, "JPEG", exif=exif, dpi=(300, 300)),
        _encoded(image, "JPEG", progressive=True, icc_profile=b"\0" * 16 + b"RGB " + b"\0" * 100),
        _encoded(image.convert("CMYK"), "JPEG"),
        _encoded(image, "PNG", exif=exif, dpi=(72, 72)),
        _encoded(image.convert("RGBA"), "PNG"),
        _encoded(image.convert("P"), "PNG", transparency=3),
        _encoded(Image.fromarray(_picture()[..., 0].astype(np.uint16) * 257), "PNG"),
        _encoded(image, "WEBP", exif=exif),
        _encoded(image, "WEBP", lossless=True),
        _encoded(image, "BMP"),
        _encoded(image.convert("1"), "BMP"),
        _encoded(image, "TIFF", compression="tiff_lzw"),
        _encoded(image, "TIFF", exif=exif),
        _encoded(image, "GIF", **animation),
    ]


def _open_photo(path: Path) -> None:
    for load in (load_photo, load_mask):
        load(path)


# === Labelme ===


def _annotations() -> list[bytes]:
    photo = base64.b64encode(_encoded(Image.fromarray(_picture()), "PNG")).decode()
    piece = base64.b64encode(_encoded(Image.new("L", (9, 5), 255), "PNG")).decode()
    kinds: dict[str, list[tuple[float, float]]] = {
        "polygon": [(2, 2), (20, 3), (15, 20.5)], "rectangle": [(1, 1), (9, 9)],
        "circle": [(10, 10), (14, 10)], "line": [(0, 0), (30, 20)], "point": [(3, 3)],
        "linestrip": [(0, 0), (5, 9), (30, 20)], "points": [(1, 2), (3, 4)],
        "mask": [(4, 4), (12, 8)], "oriented_rectangle": [(5, 1), (9, 5), (5, 9), (1, 5)],
    }  # fmt: skip
    shapes = [
        {"label": "mask", "shape_type": kind, "points": points, "group_id": None, "flags": {}}
        | ({"mask": piece} if kind == "mask" else {})
        for kind, points in kinds.items()
    ]
    whole = {
        "version": "5.4.1", "flags": {}, "imagePath": "photo.png", "imageData": photo,
        "imageHeight": 24, "imageWidth": 32, "shapes": shapes,
    }  # fmt: skip
    plain = {**whole, "imageData": None, "shapes": shapes[:1]}
    return [json.dumps(document).encode() for document in (whole, plain)]


def _open_annotation(path: Path) -> None:
    photo = path.with_name("photo.png")
    if not photo.exists():
        photo.write_bytes(_encoded(Image.fromarray(_picture()), "PNG"))
    annotation = read_annotation(path)
    draw_mask(annotation, read_image(annotation).shape[:2])


# === Weights ===


@dataclass
class _Network:
    """What `load_weights` needs of a network, without the seconds that Keras takes to load."""

    weights: Sequence[_Variable]


@dataclass
class _Variable:
    path: str
    shape: tuple[int, ...]

    def assign(self, values: np.ndarray) -> None:
        assert values.shape == self.shape
        assert np.isfinite(values).all()


def _safetensors() -> list[bytes]:
    bias = {"out/bias": np.zeros(4, np.float16)}
    kernel = np.ones((3, 4), np.float32)
    found = []
    with _folder() as folder:
        for stored in ({"out/kernel": kernel.astype(np.float16)}, code("out/kernel", kernel)):
            save_arrays(folder / "a.safetensors", {**stored, **bias}, {"stage": "gender"})
            found.append((folder / "a.safetensors").read_bytes())
    return found


def _open_safetensors(path: Path) -> None:
    load_metadata(path)
    load_arrays(path)
    network: Any = _Network([_Variable("out/kernel", (3, 4)), _Variable("out/bias", (4,))])
    load_weights(network, path)


def _hdf5() -> list[bytes]:
    import h5py

    found = []
    for text in (np.bytes_, h5py.string_dtype()):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            root = file.create_group("model_weights")
            root.attrs["layer_names"] = np.array([b"dense", b"flat"], text)
            group = root.create_group("dense")
            root.create_group("flat").attrs["weight_names"] = np.array([], np.float64)
            group.attrs["weight_names"] = np.array([b"dense/kernel:0", b"dense/bias:0"], text)
            group.create_dataset("dense/kernel:0", data=np.ones((3, 4), np.float32))
            group.create_dataset("dense/bias:0", data=np.ones(4, np.float16), compression="gzip")
        found.append(buffer.getvalue())
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for number, values in enumerate((np.ones((3, 4), np.float32), np.ones(4, np.float32))):
            file[f"layers/dense/vars/{number}"] = values
    return [*found, buffer.getvalue()]


def _open_hdf5(path: Path) -> None:
    with open_keras_weights(path) as weights:
        for layer, held in weights.shapes.items():
            for weight in held:
                weights.read(layer, weight)


def _pth() -> list[bytes]:
    import torch

    found = []
    content = {"fc.weight": torch.ones(4, 3), "fc.bias": torch.nn.Parameter(torch.zeros(4))}
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
        found.append(buffer.getvalue())
    return found


def _change_pth(content: bytes, rng: Any) -> bytes:
    return change_zip(content, rng) if content[:2] == b"PK" else damage(content, rng)


def _open_pth(path: Path) -> None:
    from unmask.torch_checkpoint import read_state_dict

    read_state_dict(path)


# === Tables and archives ===


def _open_manifest(path: Path) -> None:
    for entry in read_manifest(path.parent):
        find(entry.preset, entry.stage, ROOT / "weights")


def _recipes() -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "unmask" / "recipes").glob("*/*.toml"))]


def _open_recipe(path: Path) -> None:
    from unmask.training.recipe import read_recipe
    from unmask.training.task import find_task

    source = read_recipe(path)
    kind = find_task(source.task)
    for number in range(len(source.phases)):
        source.phase(number, kind.recipe_type)


@contextmanager
def _folder() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _face_folder(folder: Path, **more: Any) -> bytes:
    points = np.stack([face_points(125, 97, 85)] * 2)
    files = np.array(["0.png", "1.png"])
    np.savez(folder / "landmarks98.npz", files=files, landmarks98=points, **more)
    return (folder / "landmarks98.npz").read_bytes()


def _landmarks() -> list[bytes]:
    with _folder() as folder:
        more = {"split": np.array(["train", "val"]), "spread": np.zeros(2)}
        return [_face_folder(folder), _face_folder(folder, **more)]


def _open_landmarks(path: Path) -> None:
    read_face_folder(path.parent)


def _packs() -> list[bytes]:
    with _folder() as folder:
        faces = folder / "faces"
        faces.mkdir()
        _face_folder(faces)
        for name in ("0.png", "1.png"):
            save_image(faces / name, _picture(200, 200))
        (faces / "labels.csv").write_text("file,gender,age\n0.png,male,30\n1.png,female,\n")
        pack_faces(gather_faces([folder], {"faces": 1.0}).records, folder / "packed")
        return [path.read_bytes() for path in find_packs(folder / "packed")]


def _open_pack(path: Path) -> None:
    for records in read_pack(path).values():
        for record in records:
            assert record.packed is not None
            record.packed.read()


KINDS = (
    Kind("photos", "photo.jpg", _photos, damage, _open_photo),
    Kind("Labelme", "a.json", _annotations, change_json, _open_annotation),
    Kind("safetensors", "a.safetensors", _safetensors, change_safetensors, _open_safetensors),
    Kind("HDF5", "a.h5", _hdf5, damage, _open_hdf5),
    Kind("PyTorch", "a.pth", _pth, _change_pth, _open_pth, ("torch",)),
    Kind(
        "manifests", "manifest.toml", lambda: [(ROOT / "weights" / "manifest.toml").read_bytes()],
        change_lines, _open_manifest,
    ),
    Kind("recipes", "recipe.toml", _recipes, change_lines, _open_recipe),
    Kind("packed faces", "faces-000.zip", _packs, change_zip, _open_pack),
    Kind("landmarks98", "landmarks98.npz", _landmarks, change_zip, _open_landmarks),
)  # fmt: skip
"""Every kind, by the door that it enters through."""

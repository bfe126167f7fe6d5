"""A face, a folder of faces, a small linear prior and a small feature network, all generated."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut

from unmask.data.faces import FaceRecord, read_face_folder
from unmask.inpainting.features import _BLOCKS
from unmask.inpainting.framing import WINDOW_SIDE
from unmask.inpainting.networks import Networks
from unmask.inpainting.prior import PRIOR_SIDE, LinearPrior, landmark_vector
from unmask.inpainting.trainer import TrainConfig


def face_points(x: float, y: float, width: float) -> NDArray[np.float32]:
    """Return 98 points of a plain frontal face; (x, y) between the eyes, `width` of the jaw."""

    def ring(center_x: float, center_y: float, a: float, b: float, count: int) -> NDArray:
        turn = np.linspace(np.pi, 3 * np.pi, count, endpoint=False)
        return np.stack([center_x + a * np.cos(turn), center_y + b * np.sin(turn)], axis=1)

    def line(start: tuple[float, float], end: tuple[float, float], count: int) -> NDArray:
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


@pytest.fixture(scope="session")
def face() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The astronaut's photo around the face, (256, 256, 3), and roughly placed landmarks."""
    return np.ascontiguousarray(astronaut()[:256, 96:352]), face_points(125, 97, 85)


@pytest.fixture(scope="session")
def face_folder(
    tmp_path_factory: pytest.TempPathFactory, face: tuple[NDArray[np.uint8], NDArray[np.float32]]
) -> Path:
    """Eight shifted, tinted copies of one face; two of them for validation."""
    folder = tmp_path_factory.mktemp("data") / "faces"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows, points = [], []
    for index in range(8):
        shift = rng.uniform(-5, 5, 2)
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
        image = cv2.warpAffine(face[0], matrix, (256, 256), borderMode=cv2.BORDER_REFLECT)
        image = np.clip(image * rng.uniform(0.8, 1.1, 3), 0, 255).astype(np.uint8)
        name = f"{index}.png"
        cv2.imwrite(str(folder / name), image[..., ::-1])
        points.append(face[1] + shift.astype(np.float32))
        split = "val" if index >= 6 else "train"
        rows.append({"file": name, "gender": "male" if index % 2 else "female", "split": split})
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, ["file", "gender", "split"])
        writer.writeheader()
        writer.writerows(rows)
    names = np.array([row["file"] for row in rows])
    np.savez(folder / "landmarks98.npz", files=names, landmarks98=np.stack(points))
    return folder


@pytest.fixture(scope="session")
def records(face_folder: Path) -> list[FaceRecord]:
    """The folder's faces for training."""
    return read_face_folder(face_folder, split="train")


@pytest.fixture(scope="session")
def prior() -> LinearPrior:
    """Return a prior whose faces are smooth colour patterns and whose landmarks stay put."""
    rng = np.random.default_rng(0)
    pixels = PRIOR_SIDE * PRIOR_SIDE * 3
    coarse = rng.normal(size=(6, 5, 5, 3)).astype(np.float32)
    patterns = [cv2.resize(c, (PRIOR_SIDE, PRIOR_SIDE), interpolation=cv2.INTER_CUBIC).ravel()
                for c in coarse]  # fmt: skip
    basis = np.zeros((6, pixels + 196), np.float32)
    basis[:, :pixels] = np.linalg.qr(np.array(patterns).T)[0].T
    landmarks = landmark_vector(face_points(96, 64, 150))
    return LinearPrior(
        mean=np.concatenate([np.full(pixels, 0.5, np.float32), landmarks]),
        basis=basis,
        variance=np.full(6, 100.0, np.float32),
        noise=np.full(pixels + 196, 1e-6, np.float32),
        side=WINDOW_SIDE,
    )


@pytest.fixture(scope="session")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive as `CompressedVgg` reads it, with few and random channels."""
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray] = {}

    def add(name: str, size: int, into: int, out: int) -> int:
        spread = np.sqrt(2 / (size * size * into))
        arrays[f"{name}_kernel"] = rng.normal(0, spread, (size, size, into, out)).astype("float32")
        arrays[f"{name}_bias"] = rng.normal(0, 0.01, out).astype("float32")
        return out

    channels = add("conv0", 1, 3, 3)
    for block in _BLOCKS:
        for suffix in block:
            channels = add(f"conv{suffix}", 3, channels, 4)
        add(f"conv{block[0]}_aux", 1, channels, 6)
    path = tmp_path_factory.mktemp("vgg") / "vgg.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture
def configured(
    face_folder: Path, vgg_file: Path, prior: LinearPrior, tmp_path: Path
) -> Callable[[Networks], TrainConfig]:
    """Settings of a training of two networks on small images."""
    prior.save(tmp_path / "prior.safetensors")

    def make(networks: Networks) -> TrainConfig:
        return TrainConfig(
            folders=[face_folder], prior=tmp_path / "prior.safetensors", features=vgg_file,
            out=tmp_path / "out", networks=networks, side=64, batch_size=2, policy="float32",
        )  # fmt: skip

    return make

"""A face, a folder of faces, a small linear prior and a small feature network, all generated."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut

from tests.training.toys import draw_faces, draw_vgg, face_points
from unmask.data.faces import read_face_folder
from unmask.data.record import FaceRecord, FaceSet
from unmask.inpainting.coarse import (
    COARSE_SIDE,
    CoarseCompletion,
    LinearPrior,
    landmark_vector,
)


@pytest.fixture(scope="session")
def face() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The astronaut's photo around the face, (256, 256, 3), and roughly placed landmarks."""
    return np.ascontiguousarray(astronaut()[:256, 96:352]), face_points(125, 97, 85)


@pytest.fixture(scope="session")
def face_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine shifted, tinted copies of one face; three of them for validation."""
    return draw_faces(tmp_path_factory.mktemp("data") / "faces", 9)


@pytest.fixture(scope="session")
def records(face_folder: Path) -> list[FaceRecord]:
    """The folder's faces for training."""
    return read_face_folder(face_folder, split="train")


@pytest.fixture(scope="session")
def faces(records: list[FaceRecord]) -> FaceSet:
    """The same, each shown as often."""
    return FaceSet(tuple(records), np.ones(len(records)))


@pytest.fixture(scope="session")
def prior() -> LinearPrior:
    """Return a prior whose faces are smooth colour patterns and whose landmarks stay put."""
    rng = np.random.default_rng(0)
    pixels = COARSE_SIDE * COARSE_SIDE * 3
    coarse = rng.normal(size=(6, 5, 5, 3)).astype(np.float32)
    patterns = [cv2.resize(c, (COARSE_SIDE, COARSE_SIDE), interpolation=cv2.INTER_CUBIC).ravel()
                for c in coarse]  # fmt: skip
    basis = np.zeros((6, pixels + 196), np.float32)
    basis[:, :pixels] = np.linalg.qr(np.array(patterns).T)[0].T
    landmarks = landmark_vector(face_points(96, 64, 150))
    return LinearPrior(
        mean=np.concatenate([np.full(pixels, 0.5, np.float32), landmarks]),
        basis=basis,
        variance=np.full(6, 100.0, np.float32),
        noise=np.full(pixels + 196, 1e-6, np.float32),
    )


@pytest.fixture(scope="session")
def linear(prior: LinearPrior) -> CoarseCompletion:
    """Return the coarse completion by that prior alone."""
    return CoarseCompletion(prior)


@pytest.fixture(scope="session")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of a compressed VGG-19, with few and random channels."""
    return draw_vgg(tmp_path_factory.mktemp("vgg") / "vgg.npz")

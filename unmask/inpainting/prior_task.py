"""Fitting the linear prior, in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import gather_faces
from unmask.data.record import FaceRecord, Order, load_canonical
from unmask.data.stream import Stream, default_workers
from unmask.errors import DataError, require
from unmask.inpainting.coarse import COARSE_SIDE, VECTOR_SIZE, LinearPrior, landmark_vector
from unmask.inpainting.window import WINDOW_CORNER, WINDOW_SIDE, window
from unmask.landmark_layout import flip_landmarks
from unmask.training.recipe import Recipe
from unmask.training.task import Task

_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True)
class PriorRecipe(Recipe):
    """A fit of the linear prior. A face's weight, at most 1, is the share of faces that count.

    Attributes:
        components: Principal components to compute; what they leave unexplained is the noise.
        kept: How many of them are kept.
        least_valid: Windows of which no more than this share is inside the photo are left out.
    """

    components: int = 400
    kept: int = 256
    least_valid: float = 0.55

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        if not 1 <= self.kept <= self.components:
            raise ValueError(
                "kept must be between 1 and components. "
                f"Received: kept={self.kept}, components={self.components}"
            )


class PriorTask(Task):
    """Fits the prior by a `PriorRecipe`."""

    recipe_type: ClassVar[type[Recipe]] = PriorRecipe
    stage: ClassVar[str] = "prior"
    closed_form: ClassVar[bool] = True
    recipe: PriorRecipe

    @classmethod
    def parameters(cls, recipe: PriorRecipe) -> int:
        """Return how many numbers the file holds: components, their variances, mean and noise."""
        return recipe.kept * (VECTOR_SIZE + 1) + 2 * VECTOR_SIZE

    def prepare(self) -> None:
        """Cut the windows out."""
        faces = gather_faces(self.places.data, self.recipe.faces, split="train")
        if faces.weights.max() > 1:
            raise DataError("faces: the prior counts each face once; weights are at most 1")
        chosen = Order(faces.weights, self.recipe.seed).epoch(0)
        reader = _WindowReader([faces.records[i] for i in chosen], self.recipe.least_valid)
        with Stream(reader, workers=default_workers()) as stream:
            parts = [next(stream) for _ in range(len(reader))]
        self._windows, self._points = (np.concatenate(part) for part in zip(*parts, strict=True))

    def keep(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Fit to the windows and their mirror images."""
        recipe = self.recipe
        windows = np.concatenate([self._windows, self._windows[:, :, ::-1]])
        if recipe.components >= len(windows):
            raise DataError(f"{len(windows)} windows, too few for {recipe.components} components")
        mirrored = np.stack([flip_landmarks(points, WINDOW_SIDE) for points in self._points])
        points = np.concatenate([self._points, mirrored])
        prior = fit_prior(windows, points, recipe.components, kept=recipe.kept, seed=recipe.seed)
        prior.save(path, {**metadata, "windows": str(len(windows))})


def fit_prior(
    windows: NDArray[np.uint8],
    landmarks: NDArray[np.floating],
    components: int,
    *,
    kept: int | None = None,
    seed: int = 0,
) -> LinearPrior:
    """Learn the linear prior from aligned faces.

    Args:
        windows: (N, 64, 64, 3) uint8 RGB windows of the canonical crop, shrunk.
        landmarks: (N, 98, 2) points in pixels of the full-size window.
        components: How many principal components to compute; what they leave is the noise.
        kept: How many of them to keep; all when None.
        seed: Seed of the randomised singular value decomposition.

    Raises:
        MissingPackageError: scikit-learn is not installed.
    """
    require("fitting the prior", "'unmask[train]'", "sklearn")
    from sklearn.utils.extmath import randomized_svd

    count = len(windows)
    pixels = windows.reshape(count, -1).astype(np.float32) / 255.0
    points = np.stack([landmark_vector(p) for p in landmarks])
    data = np.concatenate([pixels, points], axis=1)
    mean = data.mean(0)
    data -= mean
    _, singular, basis = randomized_svd(data, components, n_iter=3, random_state=seed)
    # In parts, because a residual of all faces takes gigabytes. Its mean is 0.
    parts = np.array_split(data, -(-count // 1000))
    noise = sum(np.square(part - (part @ basis.T) @ basis).sum(0) for part in parts) / count
    return LinearPrior(
        mean=mean,
        basis=basis[:kept].astype(np.float32),
        variance=(singular[:kept] ** 2 / count).astype(np.float32),
        noise=np.maximum(noise, 1e-6).astype(np.float32),
    )


class _WindowReader:
    """Part `number` of the windows and their landmarks, in worker processes too."""

    def __init__(self, records: list[FaceRecord], least_valid: float) -> None:
        self._records, self._least_valid = records, least_valid

    def __len__(self) -> int:
        return -(-len(self._records) // _AT_ONCE)

    def __call__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        size = (COARSE_SIDE, COARSE_SIDE)
        windows = [np.zeros((0, *size, 3), np.uint8)]
        points = [np.zeros((0, 98, 2), np.float32)]
        for record in self._records[number * _AT_ONCE : (number + 1) * _AT_ONCE]:
            face = load_canonical(record)
            if window(face.valid).mean() > self._least_valid:
                small = cv2.resize(window(face.image), size, interpolation=cv2.INTER_AREA)
                windows.append(np.asarray(small, np.uint8)[None])
                points.append((face.landmarks - WINDOW_CORNER)[None])
        return np.concatenate(windows), np.concatenate(points)

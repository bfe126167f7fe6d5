"""Fitting the linear prior, in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import gather_faces
from unmask.data.record import FaceRecord, load_canonical
from unmask.data.stream import Stream, default_workers
from unmask.errors import DataError
from unmask.inpainting.prior import PRIOR_SIDE, fit_prior
from unmask.inpainting.window import WINDOW_LEFT, WINDOW_SIDE, WINDOW_TOP, window
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
        size = 3 * PRIOR_SIDE**2 + 2 * 98
        return recipe.kept * (size + 1) + 2 * size

    def prepare(self) -> None:
        """Cut the windows out."""
        faces = gather_faces(self.places.data, self.recipe.faces, split="train")
        if faces.weights.max() > 1:
            raise DataError("faces: the prior counts each face once; weights are at most 1")
        chosen = faces.epoch(self.recipe.seed, 0)
        reader = _WindowReader([faces.records[i] for i in chosen], self.recipe.least_valid)
        with Stream(reader, workers=default_workers()) as stream:
            parts = [next(stream) for _ in range(len(reader))]
        self._windows, self._points = (np.concatenate(part) for part in zip(*parts, strict=True))

    def keep(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Fit to the windows and their mirror images."""
        kept, components = self.recipe.kept, self.recipe.components
        windows = np.concatenate([self._windows, self._windows[:, :, ::-1]])
        if components >= len(windows):
            raise DataError(f"{len(windows)} windows, too few for {components} components")
        mirrored = np.stack([flip_landmarks(points, WINDOW_SIDE) for points in self._points])
        points = np.concatenate([self._points, mirrored])
        prior = fit_prior(windows, points, components, seed=self.recipe.seed)
        prior = replace(prior, basis=prior.basis[:kept], variance=prior.variance[:kept])
        prior.save(path, {**metadata, "windows": str(len(windows))})


class _WindowReader:
    """Part `number` of the windows and their landmarks, in worker processes too."""

    def __init__(self, records: list[FaceRecord], least_valid: float) -> None:
        self._records, self._least_valid = records, least_valid

    def __len__(self) -> int:
        return -(-len(self._records) // _AT_ONCE)

    def __call__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        windows = [np.zeros((0, PRIOR_SIDE, PRIOR_SIDE, 3), np.uint8)]
        points = [np.zeros((0, 98, 2), np.float32)]
        for record in self._records[number * _AT_ONCE : (number + 1) * _AT_ONCE]:
            face: Any = load_canonical(record)
            if window(face.valid).mean() > self._least_valid:
                size = (PRIOR_SIDE, PRIOR_SIDE)
                small = cv2.resize(window(face.image), size, interpolation=cv2.INTER_AREA)
                windows.append(small[None])
                points.append((face.landmarks - [WINDOW_LEFT, WINDOW_TOP])[None])
        return np.concatenate(windows), np.concatenate(points)

"""What the trainings of this stage learn from: labelled photos, faces, and scenes of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import gather_faces
from unmask.errors import DataError
from unmask.segmentation.scenes import SceneComposer, SceneMix
from unmask.segmentation.sources import Example, FacePool, holds_photos, read_examples
from unmask.training.recipe import Recipe

# Larger photos are shrunk to this side when they are read: no scene shows more of them.
_LARGEST = 1024


@dataclass(frozen=True, kw_only=True)
class SceneRecipe(Recipe):
    """What all recipes of this stage have in common.

    Attributes:
        photos: Folders of labelled photos, by path or by name inside the data folders, and how
            often a photo of each is shown relative to the others; 0 leaves a folder out.
        mix: How often each kind of scene appears.
    """

    photos: Mapping[str, float] = field(default_factory=dict)
    mix: SceneMix = field(default_factory=SceneMix)

    def __post_init__(self) -> None:
        """Refuse what no training could use."""
        super().__post_init__()
        if min(self.photos.values(), default=0.0) < 0 or not any(self.photos.values()):
            raise ValueError(
                "photos must name at least one folder with a weight above 0, and none below. "
                f"Received: photos={dict(self.photos)}"
            )


@dataclass(frozen=True, eq=False)
class PhotoSet:
    """Labelled photos, and how often each is shown.

    Attributes:
        examples: The photos.
        weights: (N,) float64, how often each is shown relative to the others, above 0.
    """

    examples: tuple[Example, ...]
    weights: NDArray[np.float64]


def gather_photos(
    data: Sequence[Path], folders: Mapping[str, float], split: str, run: Path | None = None
) -> PhotoSet:
    """Read the labelled photos that a recipe asks for.

    Args:
        data: Folders that hold the folders which are given by name. One that holds none of these,
            but photos itself, is taken in their place.
        folders: As `SceneRecipe.photos`.
        split: "train" or "val".
        run: As for `read_examples`.

    Raises:
        DataError: A folder is missing or holds no labelled photos, or no photo is left.
    """
    examples: list[Example] = []
    weights: list[float] = []
    for folder, weight in _photo_folders(data, folders).items():
        found = read_examples(folder, split, run=run)
        examples += map(_shrunk, found)
        weights += [weight] * len(found)
    if not examples:
        raise DataError(f"no labelled photos of the split {split!r} in {', '.join(folders)}")
    return PhotoSet(tuple(examples), np.array(weights))


def validation_photos(
    data: Sequence[Path], folders: Mapping[str, float], run: Path | None = None
) -> tuple[Example, ...]:
    """Return the validation photos of the first folder that is not left out."""
    first = next(iter(_photo_folders(data, folders)))
    return tuple(map(_shrunk, read_examples(first, "val", run=run)))


def compose_scenes(
    data: Sequence[Path], recipe: SceneRecipe, run: Path | None = None
) -> SceneComposer:
    """Return what makes training scenes of all that a recipe names.

    Raises:
        DataError: A folder is missing or cannot be used.
    """
    photos = gather_photos(data, recipe.photos, "train", run)
    own = _own_folders(data, recipe.photos)
    places = [place for place in data if place not in own]
    faces = None
    if places and any(recipe.faces.values()):
        faces = FacePool(gather_faces(places, recipe.faces, split="train"), recipe.seed)
    return SceneComposer(photos.examples, photos.weights, faces, recipe.seed, recipe.mix)


class SceneSampler:
    """Batches of scenes whose side changes from batch to batch, with about as many pixels each.

    Small scenes are cheap and many; large ones show what whole photos look like.

    Args:
        composer: Makes the scenes.
        sides: Sides of the scenes in pixels, in turn. Keras infers from the first two batches which
            dimensions vary, so that the first two sides must differ.
        batch_size: Scenes of the largest side in a batch.
    """

    def __init__(self, composer: SceneComposer, sides: Sequence[int], batch_size: int) -> None:
        self._composer, self._sides = composer, tuple(sides)
        self._counts = [round(batch_size * (max(sides) / side) ** 2) for side in sides]

    def __call__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return images (B, S, S, 3) uint8 RGB and masks (B, S, S, 1) uint8, 1 where a mask is."""
        turn, index = divmod(number, len(self._sides))
        first = turn * sum(self._counts) + sum(self._counts[:index])
        scenes = [
            self._composer.scene(first + i, self._sides[index]) for i in range(self._counts[index])
        ]
        images, masks = (np.stack(part) for part in zip(*scenes, strict=True))
        return images, masks[..., None]


def _photo_folders(data: Sequence[Path], folders: Mapping[str, float]) -> dict[Path, float]:
    """Return the folders to read, and how often a photo of each is shown."""
    if own := _own_folders(data, folders):
        return dict.fromkeys(own, 1.0)
    return {_find_folder(data, name): weight for name, weight in folders.items() if weight > 0}


def _own_folders(data: Sequence[Path], folders: Mapping[str, float]) -> list[Path]:
    """Return the data folders that are photos themselves."""
    named = [name for name, weight in folders.items() if weight > 0]
    return [
        place
        for place in data
        if not any((place / name).is_dir() for name in named) and holds_photos(place)
    ]


def _find_folder(data: Sequence[Path], name: str) -> Path:
    places = [*(place / name for place in data), Path(name)]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise DataError(
            f"no folder {name!r} in {', '.join(map(str, data))}; photos.{name}=0 leaves it out"
        )
    return found


def _shrunk(example: Example) -> Example:
    scale = _LARGEST / max(example.mask.shape)
    if scale >= 1:
        return example
    image = cv2.resize(example.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = image.shape[:2]
    mask = cv2.resize(example.mask, (width, height), interpolation=cv2.INTER_NEAREST)
    x, y, side = (scale * value for value in example.focus)
    return replace(
        example, image=np.asarray(image, np.uint8), mask=np.asarray(mask, np.uint8),
        focus=(x, y, side),
    )  # fmt: skip

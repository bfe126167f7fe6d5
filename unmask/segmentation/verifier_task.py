"""Training of the verifier, on worn masks and on what a segmenter takes for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from unmask.data.cache import ByName, digest
from unmask.data.faces import gather_faces, without_test_photos
from unmask.data.photometric import photometric
from unmask.data.stream import Sampler
from unmask.errors import DataError
from unmask.face import CROP_SIZE, coverage, matrix_from_mask_box
from unmask.io import atomic_path
from unmask.segmentation import VIEW_SIDE
from unmask.segmentation.data import FacePool, Pixels
from unmask.segmentation.finder import find_masks, region_view
from unmask.segmentation.lite import (
    VERIFIER_BLOCKS,
    VERIFIER_WIDTHS,
    build_unet,
    build_verifier,
)
from unmask.segmentation.regions import MaskRegion, find_regions
from unmask.segmentation.scenes import SceneComposer, SceneRecipe, compose_scenes
from unmask.training.task import Task, on_bytes
from unmask.weights import file_sha256, find, load_weights

# Stored views show more than the network sees, so that shifted ones find real pixels.
MARGIN = 0.125
STORED_SIDE = round(VIEW_SIDE * (1 + 2 * MARGIN))

_STORED = np.dtype([("view", np.uint8, (STORED_SIDE, STORED_SIDE, 4)), ("worn", np.bool_)])
_SCENE_SIDES = (192, 256, 320)
# Whatever the segmenter faintly believes is worth a refusal.
_faint_masks = partial(find_masks, threshold=0.3, min_score=0.4, thorough=False, twice=False)
_IS_MASK, _IS_NONE = 0.5, 0.05

# Where the eyes are in the crop around a mask (rows, columns), and how much of it a photo has to
# show: of a mask at the border without any face nobody could say what it is.
_EYES, _LEAST_SHOWN = (slice(96, 123), slice(88, 168)), 0.6


@dataclass(frozen=True, kw_only=True)
class RegionSettings:
    """How many faces are shown, with a drawn mask and bare, none twice, and how many scenes."""

    faces: int = 4500
    scenes: int = 5000


@dataclass(frozen=True, kw_only=True)
class VerifierRecipe(SceneRecipe):
    """A recipe for the verifier.

    Attributes:
        widths: Channels, see `build_verifier`.
        blocks: Residual blocks.
        segmenter: The U-Net whose findings are to be judged; the shipped one when None.
        regions: Where the regions come from.
        label_smoothing: Labels become `s / 2` and `1 - s / 2`.
    """

    widths: tuple[int, ...] = VERIFIER_WIDTHS
    blocks: tuple[int, ...] = VERIFIER_BLOCKS
    segmenter: Path | None = None
    regions: RegionSettings = field(default_factory=RegionSettings)
    label_smoothing: float = 0.02


class VerifierTask(Task):
    """Trains the verifier; the last averaged weights are kept, no validation chooses among them."""

    recipe_type = VerifierRecipe
    stage = "verifier"
    recipe: VerifierRecipe

    def __init__(self, recipe: Any, places: Any) -> None:
        super().__init__(recipe, places)
        self.loss = keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing)
        self.metrics = ["accuracy"]

    @classmethod
    def parameters(cls, recipe: VerifierRecipe) -> int:
        """Return how many numbers the network has."""
        return int(build_verifier(recipe.widths, recipe.blocks).count_params())

    def prepare(self) -> None:
        """Gather the regions, once a run."""
        recipe, data = self.recipe, self.places.data
        segmenter = recipe.segmenter or find("lite", "segmentation").path
        made_of: list[Any] = [asdict(recipe.regions), dict(recipe.photos), dict(recipe.faces)]
        made_of += [asdict(recipe.mix), recipe.seed, file_sha256(segmenter)]
        name = digest([json.dumps(made_of).encode()])
        path = self.places.out / f"regions-{name}.npy"
        if not path.is_file():
            unet = build_unet()
            load_weights(unet, segmenter)
            found = without_test_photos(gather_faces(data, recipe.faces, split="train"))
            faces = FacePool(found, recipe.seed)
            scenes = compose_scenes(data, recipe, self.places.out)
            gather_regions(unet, scenes, faces, path, recipe)
        self._sampler = RegionSampler(path, recipe.batch_size, recipe.seed)

    def build(self) -> keras.Model:
        """Build the network, and around it what takes uint8 views."""
        self.network = build_verifier(self.recipe.widths, self.recipe.blocks)
        return on_bytes(self.network)

    def sampler(self) -> Sampler:
        """Return what draws and changes the regions."""
        return self._sampler


Sample = tuple[Pixels, bool]


def gather_regions(
    segmenter: keras.Model, composer: SceneComposer, faces: FacePool, path: Path,
    recipe: VerifierRecipe,
) -> None:  # fmt: skip
    """Write a file of regions for `RegionSampler`.

    Three sources: faces with a drawn mask, and the same faces without it but with the same region;
    the true masks of composed scenes; what the segmenter faintly believes to be one in both.
    """
    console = Console(stderr=True)
    show = partial(track, console=console, disable=not console.is_terminal)
    rng = np.random.default_rng([recipe.seed, 2])
    drawn = dict.fromkeys(faces.draw(rng) for _ in range(20 * recipe.regions.faces))
    samples: list[Sample] = []
    for number in show(list(drawn)[: recipe.regions.faces], "faces"):
        samples += _face_samples(segmenter, faces, number, recipe.seed)
    for index in show(range(recipe.regions.scenes), "scenes"):
        image, mask = composer.scene(index, _SCENE_SIDES[index % len(_SCENE_SIDES)])
        samples += _scene_samples(segmenter, image, mask > 0)
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, np.array(samples, _STORED))


def _face_samples(
    segmenter: keras.Model, faces: FacePool, number: int, seed: int
) -> Iterator[Sample]:
    """Yield a face with a drawn mask, the same region without it, and the segmenter's alarms."""
    bare, _ = faces.plain(number)
    worn = faces.masked(number, number + seed)
    for region in _regions(worn.mask > 0)[:1]:
        yield _view(worn.image, region), True
        yield _view(bare.image, region), False
    for region in _faint_masks(segmenter, bare.image):
        yield _view(bare.image, region), False


def _scene_samples(
    segmenter: keras.Model, image: Pixels, truth: NDArray[np.bool_]
) -> Iterator[Sample]:
    """Yield the true masks, and what the segmenter found that clearly is one or clearly is none.

    Masks whose face is not in the scene are left out.
    """
    for region in _regions(truth):
        if _shows_eyes(image, region):
            yield _view(image, region), True
    for region in _faint_masks(segmenter, image):
        found = region.mask
        common = float((found & truth).sum())
        overlap = common / float((found | truth).sum())
        if overlap >= _IS_MASK:
            if _shows_eyes(image, region):
                yield _view(image, region), True
        elif common <= _IS_NONE * found.sum():
            yield _view(image, region), False


def _shows_eyes(image: Pixels, region: MaskRegion) -> bool:
    inside = coverage(image.shape, matrix_from_mask_box(region.box), CROP_SIZE)
    return bool(inside[_EYES].mean() >= _LEAST_SHOWN)


def _regions(mask: NDArray[np.bool_]) -> list[MaskRegion]:
    return find_regions(mask.astype(np.float32), (mask.shape[0], mask.shape[1]), min_pixels=60)


def _view(image: Pixels, region: MaskRegion) -> Pixels:
    return region_view(image, region, STORED_SIDE, margin=MARGIN)


class RegionSampler(ByName):
    """Batches of regions of a file of `gather_regions`, half of them worn masks, augmented.

    The file stays on disk, from where each process reads the regions that it needs.

    Raises:
        DataError: It is not such a file; all regions are masks, or none is.
    """

    def __init__(self, path: Path, batch_size: int, seed: int) -> None:
        self._batch_size, self._seed = batch_size, seed
        try:
            self._stored: NDArray[np.void] = np.load(path, mmap_mode="r", allow_pickle=False)
            if self._stored.dtype != _STORED:
                raise ValueError(f"holds {self._stored.dtype}")
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: no file of regions ({error})") from error
        worn = self._stored["worn"]
        self._kinds = [np.flatnonzero(worn == kind) for kind in (False, True)]
        if not all(len(kind) for kind in self._kinds):
            raise DataError(
                f"{path}: there must be masks and others among the regions. "
                f"Received: {len(worn)} regions, {int(worn.sum())} masks"
            )

    def __call__(self, number: int) -> tuple[Pixels, NDArray[np.float32]]:
        """Return views (B, S, S, 4) uint8 and labels (B, 1)."""
        rng = np.random.default_rng([self._seed, number])
        labels = np.arange(self._batch_size) % 2
        chosen = [int(rng.choice(self._kinds[label])) for label in labels]
        views = [augment_view(np.asarray(self._stored[i]["view"]), rng) for i in chosen]
        return np.stack(views), labels[:, None].astype(np.float32)


def augment_view(view: Pixels, rng: np.random.Generator) -> Pixels:
    """Move, mirror and recolour a stored view (S, S, 4), cut its margin, spoil its region."""
    moved = _moved(view, rng)
    colours = photometric(np.ascontiguousarray(moved[..., :3]), rng)
    return np.dstack([colours, spoil(np.ascontiguousarray(moved[..., 3]), rng)])


def _moved(view: Pixels, rng: np.random.Generator) -> Pixels:
    centre = (view.shape[0] - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), rng.normal(0, 8), np.exp(rng.normal(0, 0.1)))
    if rng.random() < 0.5:
        matrix = matrix @ np.array([[-1.0, 0.0, 2 * centre], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    matrix[:, 2] += rng.normal(0, 0.04 * VIEW_SIDE, 2) - (view.shape[0] - VIEW_SIDE) / 2
    return np.asarray(cv2.warpAffine(view, matrix, (VIEW_SIDE, VIEW_SIDE)), np.uint8)


def spoil(inside: Pixels, rng: np.random.Generator) -> Pixels:
    """Grow or shrink a region (S, S), or cut a part off, as a segmenter might."""
    change: dict[int, Any] = {0: cv2.dilate, 1: cv2.erode}
    operation = change.get(int(rng.integers(4)))
    if operation is not None:
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(rng.integers(2, 8)),) * 2)
        inside = operation(inside, disk)
    if rng.random() < 0.2:
        angle, shift = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.12)
        side = len(inside)
        y, x = np.mgrid[:side, :side] / side - np.array([0.72, 0.5])[:, None, None]
        inside = np.where(x * np.cos(angle) + y * np.sin(angle) > shift, np.uint8(0), inside)
    return np.asarray(inside, np.uint8)

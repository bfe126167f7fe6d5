"""What is trained to find ear loops: a small U-Net, on drawn masks, whose loops are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import keras
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from unmask.data.faces import gather_faces
from unmask.data.photometric import photometric
from unmask.data.record import FaceSet, Order
from unmask.face import (
    CROP_SIZE,
    canonical_matrix,
    compose,
    square_matrix,
    transform_points,
    warp,
)
from unmask.inference import forward
from unmask.landmark_layout import LAYOUTS
from unmask.segmentation.data import Pixels
from unmask.segmentation.lite import LOOP_BLOCKS, LOOP_WIDTHS, build_loops
from unmask.segmentation.task import MaskLoss
from unmask.segmentation.verifier_task import spoil
from unmask.synthesis.synthesizer import MaskSynthesizer
from unmask.training.recipe import Recipe
from unmask.training.task import Task, on_bytes

_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class LoopsRecipe(Recipe):
    """A recipe for the network that finds ear loops.

    Attributes:
        widths: Channels, see `build_unet`.
        blocks: Residual blocks.
        straps: Share of the faces that get straps around the head, which the synthesizer does not
            draw.
        held_back: How many training faces are held back; these choose the weights.
    """

    widths: tuple[int, ...] = LOOP_WIDTHS
    blocks: tuple[int, ...] = LOOP_BLOCKS
    straps: float = 0.0
    held_back: int = 128


class LoopsTask(Task):
    """Keeps the weights with the best F-score on masks drawn onto faces held back."""

    recipe_type: ClassVar[type[Recipe]] = LoopsRecipe
    stage: ClassVar[str] = "loops"
    monitor: ClassVar[str | None] = "val_f_score"
    recipe: LoopsRecipe

    @classmethod
    def parameters(cls, recipe: LoopsRecipe) -> int:
        """Return how many numbers the network has."""
        return int(build_loops(recipe.widths, recipe.blocks).count_params())

    def prepare(self) -> None:
        """Find the faces, and draw masks onto those held back."""
        recipe = self.recipe
        faces = gather_faces(self.places.data, recipe.faces, split="train")
        count = min(recipe.held_back, len(faces) // 2)
        # The same ones in every phase, whatever its seed.
        last = np.isin(np.arange(len(faces)), np.arange(count) * len(faces) // count)
        self._sampler = LoopSampler(
            faces.only(~last), recipe.straps, batch_size=recipe.batch_size, seed=recipe.seed
        )
        aside = LoopSampler(faces.only(last), recipe.straps, batch_size=count, seed=recipe.seed + 1)
        self._inputs, self._loops = aside(0)

    def build(self) -> keras.Model:
        """Build the network, and around it what takes uint8 views."""
        recipe = self.recipe
        self.network = build_loops(recipe.widths, recipe.blocks)
        self.loss = MaskLoss(dice=1.0)
        return on_bytes(self.network)

    def sampler(self) -> LoopSampler:
        """Return what draws masks onto faces."""
        return self._sampler

    def validate(self) -> dict[str, float]:
        """Measure the F-score of the loops' pixels, all views' together."""
        parts = np.array_split(self._inputs, -(-len(self._inputs) // _BATCH))
        found = np.concatenate(
            [forward(self.network, p.astype(np.float32) / np.float32(255)) for p in parts]
        )
        seen, there = found[..., 0] > 0.5, self._loops[..., 0] > 0
        common, total = float((seen & there).sum()), float(seen.sum() + there.sum())
        return {"val_f_score": 2 * common / max(total, 1.0)}


class LoopSampler:
    """Batches of faces with drawn masks, a function of seed and number alone."""

    def __init__(self, faces: FaceSet, straps: float, *, batch_size: int, seed: int) -> None:
        self._straps = straps
        self._faces, self._batch_size, self._seed = faces, batch_size, seed
        self._order = Order(faces.weights, seed)
        self._synthesizer = MaskSynthesizer(seed)

    def __call__(self, number: int) -> tuple[Pixels, Pixels]:
        """Return views (B, 256, 256, 4), colours and mask, and loops (B, 256, 256, 1), 0 or 1."""
        first = number * self._batch_size
        views = [self._view(first + i) for i in range(self._batch_size)]
        images, loops = (np.stack(part) for part in zip(*views, strict=True))
        return images, loops

    def _view(self, number: int) -> tuple[Pixels, Pixels]:
        """Return a face with a drawn mask as the pipeline frames it, and its loops."""
        rng = np.random.default_rng([self._seed, number])
        record = self._faces.records[self._order[number]]
        matrix = compose(_jitter(rng), canonical_matrix(record.landmarks))
        face = warp(record.read(), matrix, CROP_SIZE)
        landmarks = transform_points(record.landmarks, matrix)
        worn = self._synthesizer(face, landmarks, number)
        image, mask, loops = worn.image, worn.mask, worn.loops
        if rng.random() < self._straps and mask.any():
            image, straps = draw_straps(image, mask, landmarks, rng)
            loops = loops | straps
        if rng.random() < 0.5:
            image, mask, loops = (np.ascontiguousarray(x[:, ::-1]) for x in (image, mask, loops))
        seen = spoil(np.where(mask, np.uint8(255), np.uint8(0)), rng)
        return np.dstack([photometric(image, rng), seen]), loops[..., None].astype(np.uint8)


def draw_straps(
    image: Pixels, mask: NDArray[np.bool_], landmarks: NDArray[np.floating], rng: Generator
) -> tuple[Pixels, NDArray[np.bool_]]:
    """Draw straps from a mask's sides over cheek, ear and hair: the picture, and where they show.

    Args:
        image: (H, W, 3) uint8 RGB face that wears a mask.
        mask: (H, W) bool, not empty.
        landmarks: (98, 2) points in pixels.
        rng: Draws their colour, width and course.
    """
    jaw = landmarks[LAYOUTS[98].jaw]
    across = jaw[-1] - jaw[0]
    width = float(np.hypot(*across))
    thickness = width * rng.uniform(0.012, 0.05)
    colour = _strap_colour(image, mask, rng)
    rows, columns = np.nonzero(mask)
    cover = np.zeros(mask.shape, np.uint8)
    for sign in (-1, 1):
        if rng.random() < 0.25:
            continue
        # Points of the mask's side: from its upper to its lower corner.
        along = (columns * across[0] + rows * across[1]) * sign / width
        side = np.flatnonzero(along > along.max() - 0.06 * width)
        for place, rise in ((0.1, rng.uniform(0.1, 1.1)), (0.9, rng.uniform(-0.3, 0.5))):
            start = side[int(place * (len(side) - 1))]
            begin = np.array([columns[start], rows[start]], np.float64)
            out = sign * across * rng.uniform(0.12, 0.45)
            end = begin + out + np.array([0, -abs(out[0]) * rise])
            bend = (begin + end) / 2 + rng.normal(0, 0.02, 2) * width
            t = np.linspace(0, 1, 12)[:, None]
            curve = (1 - t) ** 2 * begin + 2 * t * (1 - t) * bend + t**2 * end
            points = [np.rint(curve * 16).astype(np.int32)]
            cv2.polylines(cover, points, False, 255, max(round(thickness), 1), cv2.LINE_AA, 4)
    cover[mask] = 0
    opacity = cv2.GaussianBlur(cover, (0, 0), 0.6).astype(np.float32)[..., None] / 255
    shade = cv2.GaussianBlur(np.roll(cover, 2, 0), (0, 0), 1.2).astype(np.float32)[..., None] / 255
    drawn = image * (1 - np.float32(rng.uniform(0, 0.3)) * shade * ~mask[..., None])
    drawn += opacity * (colour - drawn)
    return np.clip(drawn + 0.5, 0, 255).astype(np.uint8), cover > 100


def _strap_colour(image: Pixels, mask: NDArray[np.bool_], rng: Generator) -> NDArray[np.float32]:
    """White, black, or the mask's own colour, in the mask's light."""
    own = np.median(image[mask], axis=0)
    level = float(np.clip(own.max() * rng.uniform(0.8, 1.2), 60, 245))
    colours = (own, np.full(3, level), np.full(3, rng.uniform(10, 60)))
    chosen = colours[rng.choice(3, p=(0.4, 0.4, 0.2))]
    return np.clip(chosen * rng.uniform(0.9, 1.1, 3), 0, 255).astype(np.float32)


def _jitter(rng: Generator) -> NDArray[np.float64]:
    """From the canonical crop to one of landmarks that were guessed under a mask."""
    angle = np.deg2rad(rng.normal(0, 4))
    center = (CROP_SIZE - 1) / 2 + rng.normal(0, 6, 2)
    side = CROP_SIZE * np.exp(rng.normal(0, 0.08))
    return square_matrix(center, side, CROP_SIZE, (np.cos(angle), np.sin(angle)))

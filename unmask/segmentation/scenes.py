"""Scenes to learn from: one face or several, large or small, masked or not, or none at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from unmask.data.faces import gather_faces, without_test_photos
from unmask.data.photometric import photometric
from unmask.landmark_layout import LAYOUTS
from unmask.segmentation.data import Example, FacePool, Pixels, gather_photos, own_folders
from unmask.segmentation.regions import tight_box
from unmask.training.recipe import Recipe

# Drawing a mask costs more than all the rest of a scene, so that each face that has been dressed
# and masked is shown several times, in other scenes and other light: a scene takes one of so many
# faces, and every so many scenes the oldest makes place for a new one.
_FACES_AT_HAND = 512
_SCENES_A_FACE = 4


@dataclass(frozen=True)
class SceneMix:
    """How often each kind of scene appears; the rest are scenes without any face."""

    real: float = 0.45  # one labelled photo, cropped, turned and scaled
    single: float = 0.25  # one face of the pool, masked or not
    group: float = 0.25  # several faces of different sizes on a background
    masked: float = 0.6  # share of the pool's faces that wear a mask


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


class SceneComposer:
    """Composes scenes of photos, shown by their weights, and of faces where there are any.

    A scene depends on `(seed, index, size)` alone.
    """

    def __init__(
        self, photos: Sequence[Example], weights: Sequence[float] | NDArray[np.float64],
        faces: FacePool | None, seed: int = 0, mix: SceneMix | None = None,
    ) -> None:  # fmt: skip
        self._photos, self._faces = list(photos), faces
        self._shares = np.cumsum(weights) / np.sum(weights)
        self._seed, self._mix = seed, mix or SceneMix()
        self._at_hand: dict[int, Example] = {}

    def scene(self, index: int, size: int) -> tuple[Pixels, Pixels]:
        """Return a scene, (size, size, 3) RGB and (size, size), 1 where a face mask is."""
        rng = np.random.default_rng([self._seed, index])
        mix, draw = self._mix, rng.random()
        if draw < mix.real or self._faces is None:
            image, mask = self._alone(self._labelled(rng), size, rng)
        elif draw < mix.real + mix.single:
            image, mask = self._alone(self._face(index, rng), size, rng)
        else:
            image, mask = self._background(size, rng), np.zeros((size, size), np.uint8)
            if draw < mix.real + mix.single + mix.group:
                self._paste_group(image, mask, index, rng)
            elif rng.random() < 0.7:
                for _ in range(rng.integers(1, 4)):
                    _paint_patch(image, mask, rng)
        if rng.random() < 0.12:
            _letterbox(image, mask, rng)
        return photometric(image, rng), mask

    # === Faces ===

    def _labelled(self, rng: Generator) -> Example:
        number = int(np.searchsorted(self._shares, rng.random(), "right"))
        example = self._photos[min(number, len(self._photos) - 1)]
        return _dyed(example, rng) if rng.random() < 0.4 else example

    def _face(self, index: int, rng: Generator) -> Example:
        number = index // _SCENES_A_FACE + int(rng.integers(_FACES_AT_HAND))
        if number not in self._at_hand:
            if len(self._at_hand) >= _FACES_AT_HAND:
                del self._at_hand[min(self._at_hand)]
            self._at_hand[number] = self._dressed_face(number)
        return self._at_hand[number]

    def _dressed_face(self, number: int) -> Example:
        assert self._faces is not None
        rng = np.random.default_rng([self._seed, number, 1])
        chosen = self._faces.draw(rng)
        face, landmarks = self._faces.plain(chosen)
        image, masked = face.image, rng.random() < self._mix.masked
        if rng.random() < 0.4:
            image = image.copy()
            # No hand under a mask.
            _dress(image, landmarks, int(rng.integers(3 if masked else 4)), rng)
        if masked:
            worn = self._faces.masked(chosen, int(rng.integers(2**31)), image)
            return _dyed(worn, rng) if rng.random() < 0.15 else worn
        return replace(face, image=image)

    def _alone(self, example: Example, size: int, rng: Generator) -> tuple[Pixels, Pixels]:
        if rng.random() < 0.65:
            side, center = _natural_framing(example, size, rng)
        else:
            side = size * np.exp(rng.uniform(np.log(0.25), np.log(1.3)))
            margin = 0.15 if side < 0.6 * size else 0.35
            center = size * rng.uniform(margin, 1 - margin, 2)
        matrix = _placement(example, side, center, rng)
        # No replicated border: it would smear a mask that is cut by the frame.
        border = cv2.BORDER_REFLECT_101 if rng.random() < 0.55 else cv2.BORDER_CONSTANT
        colour = [float(c) for c in rng.choice([0, 255, 128]) + np.zeros(3)]
        image = _warp(example.image, matrix, size, border, colour)
        mask = cv2.warpAffine(
            example.mask, matrix, (size, size), flags=cv2.INTER_LINEAR,
            borderMode=border, borderValue=0,
        )  # fmt: skip
        if border == cv2.BORDER_CONSTANT and rng.random() < 0.6:
            inside = cv2.warpAffine(np.ones_like(example.mask), matrix, (size, size)) > 0
            image = np.where(inside[..., None], image, self._background(size, rng))
        return image, mask

    def _paste_group(self, image: Pixels, mask: Pixels, index: int, rng: Generator) -> None:
        size = len(mask)
        largest = np.exp(rng.uniform(np.log(0.12), np.log(0.6)))
        shares = np.sort(largest * rng.uniform(0.5, 1.0, int(rng.integers(1, 6))))
        for share in shares:
            # Below about 12 pixels nobody could tell a mask from a beard.
            side = max(share * size, 18.0)
            example = self._labelled(rng) if rng.random() < 0.2 else self._face(index, rng)
            matrix = _placement(example, side, rng.uniform(0.08, 0.92, 2) * size, rng)
            _paste(image, mask, example, matrix, side, rng)
            if rng.random() < 0.15:
                _paint_patch(image, mask, rng)

    def _background(self, size: int, rng: Generator) -> Pixels:
        draw = rng.random()
        if draw < 0.15:
            return _gradient(size, rng)
        if draw < 0.25 or self._faces is None:
            return _texture(size, rng)
        face, _ = self._faces.plain(self._faces.draw(rng))
        if draw < 0.55:
            # A piece of a picture so much enlarged, or blurred, that no face is left in it.
            scale = size / face.focus[2] * rng.uniform(2.0, 5.0)
        else:
            scale = size / max(face.image.shape[:2]) * rng.uniform(0.7, 1.8)
        angle = rng.uniform(-180, 180) if rng.random() < 0.5 else 0.0
        height, width = face.image.shape[:2]
        matrix = cv2.getRotationMatrix2D(
            (rng.uniform(0, width), rng.uniform(0, height)), angle, scale
        )
        matrix[:, 2] += size / 2 - np.array([width, height]) / 2
        image = _warp(face.image, matrix, size, cv2.BORDER_REFLECT_101)
        if draw > 0.8:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(2, 10))
        return image


def compose_scenes(
    data: Sequence[Path], recipe: SceneRecipe, run: Path | None = None
) -> SceneComposer:
    """Return what makes training scenes of all that a recipe names.

    Raises:
        DataError: A folder is missing or cannot be used.
    """
    photos = gather_photos(data, recipe.photos, "train", run)
    own = own_folders(data, recipe.photos)
    places = [place for place in data if place not in own]
    faces = None
    if places and any(recipe.faces.values()):
        found = without_test_photos(gather_faces(places, recipe.faces, split="train"))
        faces = FacePool(found, recipe.seed)
    return SceneComposer(photos.examples, photos.weights, faces, recipe.seed, recipe.mix)


class SceneSampler:
    """Batches of scenes whose side changes from batch to batch, with about as many pixels each.

    `batch_size` scenes of the largest side go into a batch. Keras infers from the first two which
    dimensions vary, so that the first two sides must differ.
    """

    def __init__(self, composer: SceneComposer, sides: Sequence[int], batch_size: int) -> None:
        self._composer, self._sides = composer, tuple(sides)
        self._counts = [round(batch_size * (max(sides) / side) ** 2) for side in sides]

    def __call__(self, number: int) -> tuple[Pixels, Pixels]:
        """Return images (B, S, S, 3) uint8 RGB and masks (B, S, S, 1) uint8, 1 where a mask is."""
        turn, index = divmod(number, len(self._sides))
        first = turn * sum(self._counts) + sum(self._counts[:index])
        scenes = [
            self._composer.scene(first + i, self._sides[index]) for i in range(self._counts[index])
        ]
        images, masks = (np.stack(part) for part in zip(*scenes, strict=True))
        return images, masks[..., None]


# === Geometry ===


def _natural_framing(
    example: Example, size: int, rng: Generator
) -> tuple[float, NDArray[np.float64]]:
    """Frame a photo as a photographer might have: the whole of it, or a part with the face."""
    x, y, extent = example.focus
    height, width = example.mask.shape
    # Larger than 1.4 canvases, the face square shows nothing but cheek or cloth.
    scale = size * min(np.exp(rng.uniform(-0.15, 0.9)) / max(height, width), 1.4 / extent)
    center = []
    for focus, length in ((x, width), (y, height)):
        spare = length * scale - size
        # Where the photo is larger than the canvas, choose a window with the face in it.
        low, high = max(0.0, focus * scale - 0.9 * size), min(spare, focus * scale - 0.1 * size)
        start = rng.uniform(low, high) if spare > 0 and high > low else spare / 2
        center.append(float(np.clip(focus * scale - start, -0.1 * size, 1.1 * size)))
    return float(extent * scale), np.asarray(center)


def _placement(
    example: Example, side: float, center: NDArray[np.floating], rng: Generator
) -> NDArray[np.float64]:
    """Return the (2, 3) transform that puts the example's face square onto the canvas."""
    x, y, extent = example.focus
    angle = rng.normal(0, 25) if rng.random() < 0.2 else rng.normal(0, 7)
    scale = side / extent
    matrix = cv2.getRotationMatrix2D((x, y), angle, scale)
    stretch = np.diag([np.exp(rng.normal(0, 0.07)), 1.0])
    if rng.random() < 0.5:
        stretch[0, 0] *= -1
    matrix = stretch @ matrix
    matrix[:, 2] += center - (matrix[:, :2] @ [x, y] + matrix[:, 2])
    return np.asarray(matrix, np.float64)


def _warp(
    image: Pixels, matrix: NDArray[np.float64], size: int, border: int,
    colour: Sequence[float] = (0.0, 0.0, 0.0),
) -> Pixels:  # fmt: skip
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.6:
        # Bilinear sampling skips pixels when it shrinks; an area mean first keeps them.
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        matrix = matrix.copy()
        # The middle of the first small pixel lies `offset` into the image.
        offset = 0.5 / scale - 0.5
        matrix[:, 2] += matrix[:, :2].sum(axis=1) * offset
        matrix[:, :2] /= scale
    return np.asarray(
        cv2.warpAffine(
            image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border,
            borderValue=tuple(colour),
        ),
        np.uint8,
    )  # fmt: skip


def _paste(
    image: Pixels, mask: Pixels, example: Example, matrix: NDArray[np.float64], side: float,
    rng: Generator,
) -> None:  # fmt: skip
    size = len(mask)
    x, y, extent = example.focus
    alpha = np.zeros(example.mask.shape, np.float32)
    if rng.random() < 0.7:
        axes = (int(extent * rng.uniform(0.45, 0.6)), int(extent * rng.uniform(0.55, 0.75)))
        cv2.ellipse(alpha, (int(x), int(y)), axes, 0, 0, 360, 1.0, -1)
    else:
        half = extent * rng.uniform(0.5, 1.0)
        low, high = (int(x - half), int(y - half)), (int(x + half), int(y + half))
        cv2.rectangle(alpha, low, high, 1.0, -1)
    alpha = cv2.warpAffine(alpha, matrix, (size, size), flags=cv2.INTER_LINEAR)
    if rng.random() < 0.6:
        alpha = cv2.GaussianBlur(alpha, (0, 0), max(0.5, side * rng.uniform(0.01, 0.06)))
    face = _warp(example.image, matrix, size, cv2.BORDER_REFLECT_101)
    inside = cv2.warpAffine(example.mask, matrix, (size, size), flags=cv2.INTER_LINEAR)
    left, top, width, height = cv2.boundingRect((alpha > 0).astype(np.uint8))
    box = slice(top, top + height), slice(left, left + width)
    blend = image[box] + alpha[box][..., None] * (face[box].astype(np.float32) - image[box])
    image[box] = np.clip(blend, 0, 255).astype(np.uint8)
    mask[box] = np.where(alpha[box] > 0.5, inside[box], mask[box])


def _letterbox(image: Pixels, mask: Pixels, rng: Generator) -> None:
    """Cover a border strip with one colour, as padding does."""
    strip = int(rng.uniform(0.05, 0.35) * len(mask))
    value = 0 if rng.random() < 0.7 else int(rng.integers(256))
    edge = (slice(-strip, None), slice(strip))[int(rng.integers(2))]
    where = (edge,) if rng.random() < 0.5 else (slice(None), edge)
    image[where], mask[where] = value, 0


# === Things that are no masks ===


def _dress(image: Pixels, landmarks: NDArray[np.float32], kind: int, rng: Generator) -> None:
    """Put a hat (0), a scarf (1), dark glasses (2) or a hand (3) on a face, in place."""
    low, high = landmarks.min(0), landmarks.max(0)
    side = float((high - low).max())
    middle = (low + high) / 2
    if kind == 0:
        center, axes = (middle[0], low[1] - 0.12 * side), (0.6 * side, 0.25 * side)
    elif kind == 1:
        drop = rng.uniform(0.25, 0.5)
        center, axes = (middle[0], high[1] + drop * side), (0.75 * side, drop * side)
    elif kind == 2:
        eyes = landmarks[LAYOUTS[len(landmarks)].both_eyes].mean(0)
        center, axes = tuple(eyes), (0.45 * side, 0.12 * side)
    else:
        center = (middle[0] + rng.uniform(-0.3, 0.3) * side, middle[1] + 0.3 * side)
        axes = (0.14 * side, 0.3 * side)
    canvas = np.zeros(image.shape[:2], np.float32)
    cv2.fillPoly(canvas, [_blob(np.asarray(center), axes, rng)], 1.0)
    canvas = cv2.GaussianBlur(canvas, (0, 0), 0.01 * side + 0.3)[..., None]
    if kind == 3:
        # A hand has the colour and the shading of the skin: a piece of cheek.
        shift = (int(rng.uniform(-0.2, 0.2) * side), -int(0.25 * side))
        cloth = np.roll(image, shift, (1, 0)).astype(np.float32) * rng.uniform(0.8, 1.15)
    elif kind == 2:
        cloth = np.full_like(image, int(rng.integers(10, 70))).astype(np.float32)
    else:
        cloth = _fit(_cloth(rng), image.shape[:2]).astype(np.float32)
    image[:] = np.clip(image + canvas * (cloth - image), 0, 255).astype(np.uint8)


def _dyed(example: Example, rng: Generator) -> Example:
    """Give a real mask another colour or print, with its own folds and light."""
    image, mask = example.image, example.mask
    place = tight_box(mask)
    if place is None:
        return example
    box = slice(place[1], place[3]), slice(place[0], place[2])
    inside = mask[box].astype(np.float32)
    light = image[box].astype(np.float32).mean(-1)
    shade = np.clip(light / max(float(light[inside > 0].mean()), 20.0), 0.3, 1.6)[..., None]
    cloth = _fit(_cloth(rng), inside.shape)
    if rng.random() < 0.4:
        cloth = _skin(example, place, rng)
    dyed = np.clip(cloth * shade, 0, 255)
    alpha = cv2.GaussianBlur(inside, (0, 0), 0.8)[..., None]
    changed = image.copy()
    changed[box] = image[box] + alpha * (dyed - image[box])
    return replace(example, image=changed)


def _skin(example: Example, place: tuple[int, int, int, int], rng: Generator) -> Pixels:
    """Return about the colour of the skin above a mask, (3,), which is the hardest to tell."""
    left, top, right, bottom = place
    rise, edge = max((bottom - top) // 3, 1), (right - left) // 4
    above = slice(max(top - rise, 0), max(top, 1)), slice(left + edge, max(right - edge, 1))
    colour = np.median(example.image[above].reshape(-1, 3), axis=0)
    changed = colour * rng.uniform(0.6, 1.3) + rng.normal(0, 14, 3)
    return np.clip(changed, 0, 255).astype(np.uint8)


def _paint_patch(image: Pixels, mask: Pixels, rng: Generator) -> None:
    """Lay a piece of cloth somewhere, in place; where it covers a mask, the mask is hidden."""
    size = len(mask)
    center = rng.uniform(0, size, 2)
    axes = size * np.exp(rng.uniform(np.log(0.04), np.log(0.3), 2))
    shape = np.zeros((size, size), np.uint8)
    cv2.fillPoly(shape, [_blob(center, axes, rng)], 1)
    cloth = _fit(_cloth(rng), (size, size))
    image[shape > 0] = cloth[shape > 0]
    mask[shape > 0] = 0


def _blob(center: ArrayLike, axes: Any, rng: Generator) -> NDArray[np.int32]:
    corners = int(rng.integers(4, 12))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) if corners < 6 else np.linspace(
        0, 2 * np.pi, corners, endpoint=False
    )  # fmt: skip
    radius = rng.uniform(0.75, 1.1, corners)
    points = np.stack([np.cos(angles) * axes[0], np.sin(angles) * axes[1]], 1) * radius[:, None]
    return np.round(points + np.asarray(center)).astype(np.int32)


def _cloth(rng: Generator) -> Pixels:
    return _gradient(96, rng) if rng.random() < 0.5 else _texture(96, rng)


def _gradient(size: int, rng: Generator) -> Pixels:
    corners = np.clip(rng.uniform(0, 255, 3) + rng.normal(0, 30, (2, 2, 3)), 0, 255)
    image = cv2.resize(corners.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.clip(image + rng.normal(0, rng.uniform(0, 8), (size, size, 1)), 0, 255).astype(
        np.uint8
    )


def _texture(size: int, rng: Generator) -> Pixels:
    """Return stripes, checks or blotches in two to three colours."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 40)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kind = int(rng.integers(3))
    if kind == 0:
        wave = np.sin(2 * np.pi * u / period)
    elif kind == 1:
        wave = np.sin(2 * np.pi * u / period) * np.sin(2 * np.pi * v / period)
    else:
        coarse = rng.normal(0, 1, (max(2, int(size / period)),) * 2).astype(np.float32)
        wave = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    wave = np.clip(0.5 + rng.uniform(0.5, 3.0) * wave, 0, 1)[..., None]
    first, second = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
    return (first + wave * (second - first)).astype(np.uint8)


def _fit(image: Pixels, shape: Sequence[int]) -> Pixels:
    return np.asarray(cv2.resize(image, (shape[1], shape[0])), np.uint8)

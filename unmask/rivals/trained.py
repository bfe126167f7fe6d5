"""Small trainings of the compared systems: what `unmask train rivals/NAME` keeps, and its use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.face import (
    CROP_SIZE,
    canonical_matrix,
    compose,
    invert,
    square_matrix,
    transform_points,
    warp,
)
from unmask.inference import forward
from unmask.inpainting import paper
from unmask.inpainting.window import WINDOW_SIDE, draw_landmark_map, window_matrix
from unmask.rivals import deepfill2, edgeconnect, pluralistic
from unmask.rivals.aot import build_aot_generator
from unmask.rivals.completion import HIDDEN, SIDE, Complete, check
from unmask.weights import load_metadata, load_weights

Array = NDArray[np.float32]
Guided = Callable[[Array, Array, Array, int], Array]
"""As `unmask.rivals.completion.Paint`, of any side S, with a landmark map (1, S, S, 1) before the
seed."""

# What the task "inpainting" calls generators.
_KINDS = {"aot": "aot-gan", "lafin": "landmark-guided"}


class Networks(keras.Model):
    """Two networks in one file of weights.

    Args:
        first: The one that is used first.
        second: The other one.
    """

    def __init__(self, first: keras.Model, second: keras.Model) -> None:
        super().__init__(name="networks")
        self.first, self.second = first, second
        self.built = True


def build_networks(system: str, width: int, depth: int) -> keras.Model:
    """Build what is kept of a system.

    Args:
        system: As recipes call it: "deepfill2", "pluralistic", "edgeconnect" or, which is the same,
            "edgeconnect-edges"; of the task "inpainting" the kind, "aot-gan" or "landmark-guided".
        width: Channels of the first layer.
        depth: Number of blocks; DeepFill's and Pluralistic's is fixed.

    Returns:
        The generator; of Pluralistic encoder and generator, of EdgeConnect the network that draws
        edges and the one that paints.

    Example:
        >>> build_networks("edgeconnect", 8, 1).first.name
        'edgeconnect_edge'
    """
    if system == "aot-gan":
        return build_aot_generator(width, depth)
    if system == "landmark-guided":
        return paper.build_generator(width, depth)
    if system == "deepfill2":
        return deepfill2.build_generator(width)
    if system == "pluralistic":
        return Networks(pluralistic.build_encoder(width), pluralistic.build_generator(width))
    # Both have layers of the same names.
    with keras.name_scope("edges"):
        edges = edgeconnect.build_edge_generator(width, depth)
    return Networks(edges, edgeconnect.build_inpaint_generator(width, depth))


def load(name: str, path: Path) -> Complete:
    """Load what a small training has kept and return what completes images with it.

    Args:
        name: The system, of `unmask.rivals.SYSTEMS`.
        path: The kept file.

    Raises:
        WeightsError: It cannot be read, or is no training of that system.
    """
    try:
        metadata = load_metadata(path)
        settings = json.loads(metadata["settings"])
        float(metadata["seconds"])  # figures name them
        sizes = settings if "system" in settings else settings["generator"]
        kind, width = sizes.get("system") or sizes["kind"], int(sizes["width"])
        depth, side = int(sizes["depth"]), int(settings["samples"]["side"])
        if kind != _KINDS.get(name, name):
            raise ValueError(f"it is of {kind!r}")
        if not (0 < 4 * width**2 < path.stat().st_size and 0 < depth <= 64 and 0 < side <= SIDE):
            raise ValueError(f"width {width}, depth {depth}, side {side}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path}: not a small training of {name!r} ({error})") from error
    network = build_networks(kind, width, depth)
    load_weights(network, path)
    return in_window(_painter(kind, network, side), side)


def in_window(paint: Guided, side: int) -> Complete:
    """Return what completes faces in the window that trainings see, at their side.

    Args:
        paint: The network.
        side: Side of what it sees, in pixels.

    Returns:
        The function. Landmarks say where the face is; without them the image, made square, is
        taken for a canonical crop.

    Example:
        >>> complete = in_window(lambda image, mask, points, seed: image + 0.5, 64)
        >>> hole = np.zeros((256, 256), bool); hole[150:200, 100:150] = True
        >>> complete(np.zeros((256, 256, 3), np.uint8), hole)[170, 120].tolist()
        [127, 127, 127]
    """

    def complete(
        image: NDArray[np.uint8],
        hole: NDArray[np.bool_],
        landmarks: NDArray[np.floating] | None = None,
        *,
        seed: int = 0,
    ) -> NDArray[np.uint8]:
        check(image, hole)
        height, width = hole.shape
        matrix = square_matrix(((width - 1) / 2, (height - 1) / 2), max(height, width))
        if landmarks is not None:
            matrix = canonical_matrix(landmarks)
        hidden = hole.astype(np.float32)
        seen = warp(hidden, matrix, CROP_SIZE, border=0) > HIDDEN
        if not seen.any():
            return image.copy()
        whole = ((WINDOW_SIDE - 1) / 2,) * 2
        to_side = square_matrix(whole, WINDOW_SIDE, side)
        matrix = compose(to_side, compose(window_matrix(seen), matrix))
        mask = (warp(hidden, matrix, side, border=0)[..., None] > HIDDEN).astype(np.float32)
        known = warp(image.astype(np.float32) / 255.0, matrix, side) * (1.0 - mask)
        points = np.zeros((0, 2)) if landmarks is None else transform_points(landmarks, matrix)
        guide = draw_landmark_map(points, side)
        painted = paint(known[None], mask[None], guide[None], seed)[0] * mask + known
        back = warp(painted.astype(np.float32), invert(matrix), (height, width))
        pixels = (np.clip(back, 0.0, 1.0) * 255.0).astype(np.uint8)
        return np.where(hole[..., None], pixels, image)

    return complete


def _painter(kind: str, network: Any, side: int) -> Guided:
    if kind in _KINDS.values():
        return lambda image, mask, points, seed: forward(network, image, mask, points)
    if kind == "deepfill2":
        paint = deepfill2.painter_of(network)
    elif kind == "pluralistic":
        paint = pluralistic.painter_of(network.first, network.second)
    else:
        sigma = edgeconnect.SIGMA * side / SIDE
        paint = edgeconnect.painter_of(network.first, network.second, sigma)
    return lambda image, mask, points, seed: paint(image, mask, seed)

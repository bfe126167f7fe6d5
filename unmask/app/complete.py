"""A photo is completed as somebody asks for it, with the package's own `Unmasker`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unmask.errors import PhotoWarning, SettingError
from unmask.image import load_photo
from unmask.pipeline import Unmasker
from unmask.result import Result


def complete(
    unmasker: Unmasker,
    content: bytes,
    *,
    mask: bytes | NDArray[np.bool_] | None = None,
    genders: Sequence[str] = (),
    seed: int = 0,
) -> Result:
    """Complete the faces of a photo.

    Args:
        unmasker: What completes them.
        content: The bytes of an image file.
        mask: The bytes of an image file, or a drawn mask of any size, (H, W) bool; a predicted one
            when None.
        genders: One for all faces, or one a face in the result's order; decided from the faces
            when empty.
        seed: Seed of the film grain.

    Raises:
        ImageError: The photo or the mask cannot be used.
        SettingError: The number of genders is not that of the faces.
    """
    photo = load_photo(content, max_pixels=unmasker.max_pixels)
    if isinstance(mask, np.ndarray):
        height, width = photo.pixels.shape[:2]
        mask = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    # The pipeline takes one gender for all: a run each, of which every face takes its own.
    runs: dict[str | None, Result] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PhotoWarning)
        for gender in dict.fromkeys(genders or (None,)):
            runs[gender] = unmasker(photo, gender=gender, mask=mask, seed=seed)
    first = next(iter(runs.values()))
    if len(genders) > 1 and len(genders) != len(first.faces):
        raise SettingError(
            f"{len(first.faces)} faces take as many genders, or one for all. "
            f"Received: {len(genders)}"
        )
    if len(runs) == 1:
        return first
    image = first.original.copy()
    faces = [runs[gender].faces[index] for index, gender in enumerate(genders)]
    for face in faces:
        image[face.mask] = runs[face.gender].image[face.mask]
    return replace(first, image=image, faces=faces)

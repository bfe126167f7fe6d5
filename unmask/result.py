"""What `unmask.run` returns."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unmask.errors import require
from unmask.gender import UNCERTAIN_BELOW

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from unmask.image import Photo


@dataclass(frozen=True, eq=False)
class Face:
    """One masked face that was found and completed.

    Attributes:
        box: (x0, y0, x1, y1) of the landmarks in photo pixels, cut at the photo's edges.
        score: How sure the mask is, 0 to 1: the larger of the mean probability of its pixels and of
            the verdict on the whole; 1 for a mask that was given.
        gender: "male" or "female": which weights completed the face. A guess of a network with
            two answers, not a statement about the person.
        gender_confidence: Probability of that answer, 0.5 to 1; 1 when it was given. Calibrated:
            of the answers given with 0.8, about eight in ten are right on held-out faces.
        landmarks: (98, 2) or (68, 2) float32 points (x, y) in photo pixels.
        mask: (H, W) bool: every pixel that may have changed.
        crop_before: (256, 256, 3) uint8 RGB, the canonical crop of the photo, black beyond its
            edges.
        crop_after: (256, 256, 3) uint8 RGB, the canonical crop of the result.
        worn: (H, W) bool: the mask that was found or given, somewhat smaller than `mask`.
            `unmask.run(mask=...)` takes it, corrected by hand.
    """

    box: tuple[float, float, float, float]
    score: float
    gender: str
    gender_confidence: float
    landmarks: NDArray[np.float32] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)
    crop_before: NDArray[np.uint8] = field(repr=False)
    crop_after: NDArray[np.uint8] = field(repr=False)
    worn: NDArray[np.bool_] = field(repr=False)

    @property
    def gender_uncertain(self) -> bool:
        """Whether to ask somebody rather than to trust the guess (`unmask.run(gender=...)`)."""
        return self.gender_confidence < UNCERTAIN_BELOW

    @property
    def gender_label(self) -> str:
        """The guess with its confidence, in words for people."""
        doubt = ", uncertain" if self.gender_uncertain else ""
        return f"{self.gender} {self.gender_confidence:.0%}{doubt}"

    def to_dict(self) -> dict[str, Any]:
        """Return what is known of the face as JSON values, without pictures."""
        return {
            "box": [round(float(v), 1) for v in self.box],
            "score": round(self.score, 4),
            "gender": self.gender,
            "gender_confidence": round(self.gender_confidence, 4),
            "gender_uncertain": self.gender_uncertain,
            "landmarks": [[round(float(x), 2), round(float(y), 2)] for x, y in self.landmarks],
            "mask_pixels": int(self.mask.sum()),
        }


@dataclass(frozen=True, eq=False)
class Result:
    """A photo with its masked faces completed.

    Attributes:
        image: (H, W, 3) uint8 RGB, the photo's size.
        faces: The faces that were completed, largest mask first; empty if none was found.
        photo: The photo as it was read.
        skipped: (x0, y0, x1, y1) of the masks that were found but left as they are, in photo
            pixels: the head is turned or hidden so far that its landmarks cannot be told.
            `unmask.run(mask=...)` or `landmarks=` completes them all the same.
    """

    image: NDArray[np.uint8] = field(repr=False)
    faces: list[Face]
    photo: Photo = field(repr=False)
    skipped: list[tuple[float, float, float, float]] = field(default_factory=list)

    @property
    def original(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, the photo's pixels."""
        return self.photo.pixels

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool: every pixel that may have changed."""
        everywhere = [face.mask for face in self.faces]
        return np.any([np.zeros(self.image.shape[:2], bool), *everywhere], axis=0)

    @property
    def icc_profile(self) -> bytes | None:
        """The photo's colour profile, if any."""
        return self.photo.icc_profile

    def __repr__(self) -> str:
        """Say what was found."""
        found = []
        if self.faces:
            listed = "; ".join(face.gender_label for face in self.faces)
            plural = "s" if len(self.faces) > 1 else ""
            found.append(f"{len(self.faces)} masked face{plural} ({listed})")
        if self.skipped:
            found.append(f"{len(self.skipped)} left as found")
        height, width = self.image.shape[:2]
        return f"<Result {width}x{height}: {', '.join(found) or 'no masked face'}>"

    @property
    def pil(self) -> Image.Image:
        """The image as Pillow has it."""
        from PIL import Image

        return Image.fromarray(self.image)

    def _repr_png_(self) -> bytes:
        """Show the image in a notebook."""
        return self.encode("PNG")

    def to_dict(self) -> dict[str, Any]:
        """Return what was found as JSON values, without pictures."""
        return {
            "faces": [face.to_dict() for face in self.faces],
            "skipped": [[round(float(v), 1) for v in box] for box in self.skipped],
        }

    def encode(self, file_format: str) -> bytes:
        """Return the image as the bytes of a file, with what `save` keeps of the photo's file.

        Args:
            file_format: "PNG", "JPEG", "WEBP", "TIFF" or "BMP".

        Raises:
            ImageError: There is no such format.
        """
        from unmask.encode import FORMATS
        from unmask.errors import ImageError
        from unmask.image import encode_photo

        if file_format not in FORMATS.values():
            known = ", ".join(dict.fromkeys(FORMATS.values()))
            raise ImageError(f"format must be one of {known}. Received: {file_format!r}")
        return encode_photo(self.image, self.photo, file_format)

    def save(self, path: str | os.PathLike[str] | BinaryIO, file_format: str = "PNG") -> None:
        """Write the image, whole or not at all; the suffix decides the format.

        What the photo's file held is kept as far as the format can: EXIF data (the picture is
        upright), resolution, colour profile, and of pixels that have not changed transparency and
        16 bits. A photo that has not changed at all is copied as it is if it is of that format.

        Args:
            path: A path, or a binary file to write to.
            file_format: Format for a binary file, see `encode`.

        Raises:
            ImageError: The suffix or the format is unknown, or the file cannot be written.
        """
        from unmask.image import save_photo

        if isinstance(path, (str, os.PathLike)):
            save_photo(path, self.image, self.photo)
        else:
            path.write(self.encode(file_format))

    def panel(self) -> Figure:
        """Draw the steps: input, mask, landmarks and result, one row a face.

        Returns:
            A matplotlib figure that belongs to no window; `figure.savefig(path)` writes it.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        require("a panel", "matplotlib", "matplotlib")
        from unmask.panel import draw_panel

        return draw_panel(self)

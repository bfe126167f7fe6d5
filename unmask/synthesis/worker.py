"""The work on one face: find it, crop it, mask it, write it. Every engine calls this."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError, SettingError, UnmaskError
from unmask.face import CROP_SIZE, canonical_matrix, coverage, transform_points, warp
from unmask.image import load_image, save_image, save_mask
from unmask.paths import path_inside
from unmask.synthesis.drawing import ALL_KINDS
from unmask.synthesis.masktheface import load_masktheface
from unmask.synthesis.sources import PICTURE_FOLDERS, SourceFace
from unmask.synthesis.synthesizer import MaskSynthesizer

FRAMES = ("canonical", "source")
FORMATS = ("png", "jpg")
GENDERS = ("auto", "labels")


@dataclass(frozen=True)
class SynthesisSettings:
    """What decides how the pictures of a folder look; stored with the result.

    Attributes:
        seed: Seed of all masks.
        bank_size: Number of drawn masks.
        kinds: Families to draw.
        templates: MaskTheFace folder whose masks join, or None.
        frame: "canonical" writes the canonical crop of each face, "source" the whole picture.
        size: Side of the canonical crop in pixels.
        image_format: "png", or "jpg" for an eighth of the disk; masks are always PNG.
        gender: "auto" asks the classifier where there is no label, "labels" leaves it unknown.
        val_share: Share of the faces without a split of their own that validate; by their names.
        preset: Whose landmark and gender networks are asked.

    Raises:
        SettingError: A value is out of range.
    """

    seed: int = 0
    bank_size: int = 160
    kinds: tuple[str, ...] = ALL_KINDS
    templates: str | None = None
    frame: str = "canonical"
    size: int = CROP_SIZE
    image_format: str = "png"
    gender: str = "auto"
    val_share: float = 0.05
    preset: str = "lite"

    def __post_init__(self) -> None:
        """Check the values."""
        for name, known in (("frame", FRAMES), ("image_format", FORMATS), ("gender", GENDERS)):
            if getattr(self, name) not in known:
                raise SettingError(
                    f"{name} must be one of {known}. Received: {name}={getattr(self, name)!r}"
                )
        if self.seed < 0:
            raise SettingError(f"seed must not be negative. Received: seed={self.seed}")
        if self.size < 64:
            raise SettingError(f"size must be at least 64. Received: size={self.size}")
        if not 0 <= self.val_share <= 1:
            raise SettingError(
                f"val_share must lie in [0, 1]. Received: val_share={self.val_share}"
            )

    def build(self) -> MaskSynthesizer:
        """Return the synthesizer for these settings."""
        templates = load_masktheface(self.templates) if self.templates else ()
        return MaskSynthesizer(
            self.seed, bank_size=self.bank_size, kinds=self.kinds, templates=templates
        )


@dataclass(frozen=True, eq=False)
class PairResult:
    """What became of one face.

    Attributes:
        file: Name of the source.
        error: Why there is no pair, None where there is one.
        row: The manifest's columns for it; empty after an error.
        landmarks: (98, 2) or (68, 2) in pixels of the written image; None after an error.
    """

    file: str
    error: str | None = None
    row: dict[str, str] = field(default_factory=dict, repr=False)
    landmarks: NDArray[np.float32] | None = field(default=None, repr=False)


class PairMaker:
    """Writes the pictures of one face at a time.

    What it writes depends on the settings, the picture and its relative name alone: neither on
    other faces, nor on their order, nor on who else is at work. It can be pickled; the networks
    are loaded at their first use in each process.

    Args:
        settings: Look of the pictures.
        destination: The folder to fill.
    """

    def __init__(self, settings: SynthesisSettings, destination: Path) -> None:
        self.settings = settings
        self.destination = destination

    def __getstate__(self) -> dict[str, Any]:
        """Leave networks and masks behind: the next process loads its own."""
        return {"settings": self.settings, "destination": self.destination}

    def __call__(self, face: SourceFace) -> PairResult:
        """Make one pair.

        Returns:
            The result; an error is a result as well.
        """
        try:
            return self._make(face)
        except (UnmaskError, OSError) as error:
            text = str(error)
            return PairResult(face.file, text if face.file in text else f"{face.file}: {text}")
        # One face in millions must not end the work, whatever it meets; it is reported.
        except Exception as error:
            return PairResult(face.file, f"{face.file}: {type(error).__name__}: {error}")

    @cached_property
    def _synthesizer(self) -> MaskSynthesizer:
        return self.settings.build()

    @cached_property
    def _locator(self) -> Any:
        from unmask.synthesis.locate import FaceLocator

        return FaceLocator(self._network("landmarks"))

    @cached_property
    def _gender_network(self) -> Any:
        return self._network("gender")

    def _network(self, stage: str) -> Any:
        from unmask.presets import build_stage
        from unmask.weights import find, load_weights

        model = build_stage(self.settings.preset, stage)
        load_weights(model, find(self.settings.preset, stage).path)
        return model

    def _make(self, face: SourceFace) -> PairResult:
        photo = load_image(face.path)
        points, confidence = self._landmarks(photo, face)
        gender, gender_by, sure = self._gender(photo, points, face)
        image, crop_points, covered = self._framed(photo, points)
        masked = self._synthesizer(image, crop_points, number_of(face.file))
        if not masked.mask.any():
            raise DataError(f"{face.path}: the landmarks leave no room for a mask in the picture")
        names = target_names(face.file, self.settings.image_format)
        targets = {k: path_inside(self.destination, name, k) for k, name in names.items()}
        save_image(targets["file"], image)
        save_image(targets["masked"], masked.image)
        save_mask(targets["mask"], masked.mask)
        row = {
            **names,
            "original": face.file,
            "split": face.split or split_of(face.file, self.settings.val_share),
            "gender": gender,
            "gender_by": gender_by,
            "gender_confidence": sure,
            "age": "" if face.age is None else str(face.age),
            "race": "" if face.race is None else str(face.race),
            "source": face.source or "",
            "kind": masked.kind,
            "landmark_confidence": confidence,
            "covered": f"{covered:.3f}",
        }
        return PairResult(face.file, row=row, landmarks=crop_points)

    def _landmarks(
        self, photo: NDArray[np.uint8], face: SourceFace
    ) -> tuple[NDArray[np.float32], str]:
        if face.landmarks is not None:
            return face.landmarks, ""
        found = self._locator(photo, face.framing)
        # Processors add floating point numbers in different orders; a hundredth of a pixel hides
        # that from everything that follows.
        points = np.round(found.points[0], 2).astype(np.float32)
        return points, f"{float(found.confidence[0]):.2f}"

    def _gender(
        self, photo: NDArray[np.uint8], points: NDArray[np.float32], face: SourceFace
    ) -> tuple[str, str, str]:
        """Return the gender, who says so, and how sure it is."""
        if face.gender is not None:
            return face.gender, "label", ""
        if self.settings.gender == "labels":
            return "", "", ""
        from unmask.gender.predict import predict_gender

        crop = np.asarray(warp(photo, canonical_matrix(points), CROP_SIZE), np.uint8)
        male = float(predict_gender(self._gender_network, crop[None], mirror=True)[0])
        return "male" if male >= 0.5 else "female", "classifier", f"{max(male, 1 - male):.2f}"

    def _framed(
        self, photo: NDArray[np.uint8], points: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], float]:
        """Return the image to write, its landmarks, and the share of it that the photo shows."""
        if self.settings.frame == "source":
            return photo, points, 1.0
        matrix = canonical_matrix(points, self.settings.size)
        crop = np.asarray(warp(photo, matrix, self.settings.size), np.uint8)
        covered = coverage(photo.shape, matrix, self.settings.size).mean()
        return crop, transform_points(points, matrix), float(covered)


def target_names(file: str, image_format: str) -> dict[str, str]:
    """Return the relative names of a face's pictures: "file" (bare), "masked" and "mask".

    Example:
        >>> target_names("a/b.jpeg", "png")["mask"]
        'masks/a/b.png'
    """
    stem = PurePosixPath(file).with_suffix("")
    bare, masked, masks = PICTURE_FOLDERS
    return {
        "file": f"{bare}/{stem}.{image_format}",
        "masked": f"{masked}/{stem}.{image_format}",
        "mask": f"{masks}/{stem}.png",
    }


def number_of(file: str) -> int:
    """Return a number between 0 and 2^64 - 1 that belongs to a file's relative name.

    Example:
        >>> number_of("00000.png")
        4663615162190967604
    """
    return int.from_bytes(hashlib.sha256(file.encode("utf-8")).digest()[:8], "big")


def split_of(file: str, val_share: float) -> str:
    """Choose "train" or "val" by a file's relative name, the same at every call."""
    # Another digest than the mask's, so that the masks of both parts are alike.
    place = number_of(f"split/{file}") / 2**64
    return "val" if place < val_share else "train"

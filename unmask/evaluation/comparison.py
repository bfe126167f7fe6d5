"""The paper's Figures 7 and 8: several systems complete the same faces."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unmask.errors import DataError, UnmaskError
from unmask.evaluation.figures import draw_columns
from unmask.evaluation.scenes import Scene
from unmask.face import transform_points
from unmask.inpainting.evaluate import perceptual_distance
from unmask.inpainting.features import FeatureNetwork
from unmask.io import atomic_path, write_json_atomic, write_text_atomic
from unmask.metrics import image_quality
from unmask.rivals import SYSTEMS, System, get_system, load_system, small_training
from unmask.rivals.completion import Complete
from unmask.tables import markdown_table
from unmask.weights import load_metadata

# More rows than this are not read in a figure.
_SHEET_ROWS = 8


@dataclass(frozen=True, eq=False)
class MaskedFace:
    """The canonical crop of a face with a mask, and its truth."""

    name: str  # folder and file
    image: NDArray[np.uint8]  # (256, 256, 3) uint8 RGB, with the mask
    truth: NDArray[np.uint8]  # (256, 256, 3) uint8 RGB, without it
    hole: NDArray[np.bool_]  # (256, 256) bool, what is to be completed
    landmarks: NDArray[np.float32]  # (98, 2) or (68, 2) points in crop pixels

    @classmethod
    def of(cls, scene: Scene) -> MaskedFace:
        """Cut it from a scene."""
        points = transform_points(scene.landmarks, scene.matrix)
        photo, truth = scene.crop(scene.photo), scene.crop(scene.truth)
        return cls(scene.name, photo, truth, scene.hole, points)


@dataclass(frozen=True)
class SystemScores:
    """Figures of one system, means over the faces.

    Attributes:
        title: The system, and whether it is a small training.
        count: Number of faces.
        psnr_hole: PSNR in dB inside the hole, RGB.
        ssim: SSIM of the RGB crop with its known pixels put back, window 7.
        perceptual: Sum over relu1_1 ... relu5_1 of the mean absolute difference of features
            (lower is better); None without a feature network.
        seconds: Median time a face, from photo to photo.
    """

    title: str
    count: int
    psnr_hole: float
    ssim: float
    perceptual: float | None
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """What several systems made of the same faces.

    Attributes:
        faces: The faces.
        scores: One entry a system that could be loaded, by its name; of one with several results
            the first one counts.
        missing: Why the others could not, by name.
        columns: Their results by title, each in the order of the faces.
    """

    faces: Sequence[MaskedFace] = field(repr=False)
    scores: Mapping[str, SystemScores]
    missing: Mapping[str, str]
    columns: Mapping[str, Sequence[NDArray[np.uint8]]] = field(repr=False)

    def table(self) -> str:
        """Return the figures as Markdown."""
        header = ("system", "faces", "PSNR hole", "SSIM", "perceptual", "seconds a face")
        rows = [
            (
                s.title,
                s.count,
                f"{s.psnr_hole:.2f}",
                f"{s.ssim:.4f}",
                "" if s.perceptual is None else f"{s.perceptual:.4f}",
                f"{s.seconds:.2f}",
            )
            for s in self.scores.values()
        ]
        missing = "".join(f"\nNot compared: {reason}.\n" for reason in self.missing.values())
        return markdown_table(header, rows) + missing

    def figure(self, rows: int = _SHEET_ROWS) -> Figure:
        """Draw the first faces: masked, each system's results with their hole PSNR, the truth."""
        faces = self.faces[:rows]
        shown = {title: pictures[:rows] for title, pictures in self.columns.items()}
        captions = {
            title: [
                f"{image_quality(f.truth, p, f.hole).psnr_hole:.1f} dB"
                for f, p in zip(faces, pictures, strict=True)
            ]
            for title, pictures in shown.items()
        }
        ends = [f.image for f in faces], [f.truth for f in faces]
        return draw_columns({"masked": ends[0], **shown, "truth": ends[1]}, captions)

    def write(self, out: Path) -> None:
        """Write `comparison.md`, `comparison.json` and `comparison.png` into a folder."""
        content = {
            "faces": [face.name for face in self.faces],
            "scores": {name: asdict(scores) for name, scores in self.scores.items()},
            "missing": dict(self.missing),
        }
        write_json_atomic(out / "comparison.json", content)
        write_text_atomic(out / "comparison.md", self.table())
        with atomic_path(out / "comparison.png") as temporary:
            self.figure().savefig(temporary, dpi=130)


def compare(
    faces: Sequence[MaskedFace],
    systems: Iterable[str] = tuple(SYSTEMS),
    weights: str | Path | None = None,
    *,
    features: FeatureNetwork | None = None,
    seed: int = 0,
) -> Comparison:
    """Let systems complete the same faces, one system after the other.

    Args:
        faces: The faces.
        systems: Names of `unmask.rivals.SYSTEMS`.
        weights: As for `unmask.rivals.load_system`.
        features: Network for the perceptual distance.
        seed: Seed of the results.

    Returns:
        The comparison. A system whose weights are missing or unusable is named in `missing`.

    Raises:
        DataError: There are no faces, or no system could be loaded.
        SettingError: A system is unknown.

    Example:
        >>> scene = load_scene(record, MaskSynthesizer(1))  # doctest: +SKIP
        >>> print(compare([MaskedFace.of(scene)], ["lite"]).table())  # doctest: +SKIP
    """
    if not faces:
        raise DataError("no faces to compare systems on")
    scores: dict[str, SystemScores] = {}
    missing: dict[str, str] = {}
    columns: dict[str, Sequence[NDArray[np.uint8]]] = {}
    for system in [get_system(name) for name in dict.fromkeys(systems)]:
        try:
            complete = load_system(system.name, weights)
            note = _note(system, weights)
        except UnmaskError as error:
            missing[system.name] = str(error)
            continue
        first, seconds = _run(complete, faces, seed)
        titles = ["\n".join([title, *note.split(", ")]).strip() for title in _titles(system)]
        columns[titles[0]] = first
        for offset, title in enumerate(titles[1:], start=1):
            columns[title], _ = _run(complete, faces, seed + offset)
        title = f"{system.title} ({note})" if note else system.title
        scores[system.name] = _score(title, faces, first, seconds, features)
    if not scores:
        raise DataError(f"nothing to compare: {'; '.join(missing.values()) or 'no system named'}")
    return Comparison(faces, scores, missing, columns)


def _note(system: System, weights: str | Path | None) -> str:
    """Return what has to be said of a system beside its name: that it is not the published one."""
    small = small_training(system.name, weights)
    if small is None:
        return ""
    minutes = float(load_metadata(small)["seconds"]) / 60.0
    return f"small training here, {minutes:.{1 if minutes < 10 else 0}f} minutes"


def _titles(system: System) -> list[str]:
    if system.samples == 1:
        return [system.title]
    return [f"{system.title} {number + 1}" for number in range(system.samples)]


def _run(
    complete: Complete, faces: Sequence[MaskedFace], seed: int
) -> tuple[list[NDArray[np.uint8]], float]:
    results, seconds = [], []
    for face in faces:
        start = time.perf_counter()
        results.append(complete(face.image, face.hole, face.landmarks, seed=seed))
        seconds.append(time.perf_counter() - start)
    return results, float(np.median(seconds))


def _score(
    title: str,
    faces: Sequence[MaskedFace],
    results: Sequence[NDArray[np.uint8]],
    seconds: float,
    features: FeatureNetwork | None,
) -> SystemScores:
    pairs = list(zip(faces, results, strict=True))
    quality = [image_quality(face.truth, result, face.hole) for face, result in pairs]
    distances = None
    if features is not None:
        truths, holes = (np.stack([getattr(f, name) for f in faces]) for name in ("truth", "hole"))
        distances = perceptual_distance(features, truths, np.stack(results), holes)
    return SystemScores(
        title,
        len(pairs),
        float(np.mean([q.psnr_hole for q in quality])),
        float(np.mean([q.ssim_rgb for q in quality])),
        None if distances is None else float(np.mean(distances)),
        seconds,
    )

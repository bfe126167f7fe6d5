"""How well hidden faces are completed, in figures and in pictures.

Faces of the validation split get a drawn mask each, the same one at every call; the hole is the
mask grown as `unmask.run` grows it. Every method completes the usual 192 x 192 window. What lies
outside the original photo (the border of tight crops) is filled by the linear prior first, as in
training and in `unmask.run`, and is not scored. All figures are means over faces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord, load_canonical
from unmask.errors import DataError
from unmask.face import grow
from unmask.image import save_image
from unmask.inpainting.baselines import fill_mean_color, fill_navier_stokes, fill_telea
from unmask.inpainting.data import LandmarkPredictor
from unmask.inpainting.framing import HOLE_GROWTH, WINDOW_LEFT, WINDOW_TOP, window
from unmask.inpainting.losses import FeatureNetwork
from unmask.inpainting.predict import complete_windows, guess_windows
from unmask.inpainting.prior import FirstGuess, LinearPrior
from unmask.metrics import image_quality, psnr_hole
from unmask.presets import GENDERS
from unmask.synthesis import MaskSynthesizer

EVALUATION_SEED = 1234

_CORNER = np.array([WINDOW_LEFT, WINDOW_TOP], np.float32)
_NOWHERE = -1e4  # pixels

# === Cases ===


@dataclass(frozen=True, eq=False)
class Cases:
    """Masked faces with known truth; all arrays start with the face axis N.

    Attributes:
        crops: (N, 256, 256, 3) uint8 canonical crops with the drawn mask.
        images: (N, 192, 192, 3) uint8 windows of them, filled outside the photo.
        truth: (N, 192, 192, 3) uint8 windows without it.
        holes: (N, 192, 192) bool, what is to be completed.
        valid: (N, 192, 192) bool, True where a pixel comes from the photo.
        landmarks: (N, 98, 2) float32 points in window pixels; (N, 68, 2) far outside the window
            where none are known.
        genders: (N,) "male", "female" or "" where unknown.
        kinds: (N,) families of the masks.
    """

    crops: NDArray[np.uint8]
    images: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    holes: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    landmarks: NDArray[np.float32]
    genders: NDArray[np.str_]
    kinds: NDArray[np.str_]

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.truth)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(N, 192, 192) bool, the part of the hole where the truth is known."""
        return self.holes & self.valid

    def guided_by(self, predictor: LandmarkPredictor, prior: FirstGuess) -> Cases:
        """Return the same cases with landmarks found on the masked faces.

        The framing stays that of the true landmarks, so that results compare pixel by pixel.
        """
        landmarks = (predictor(self.crops) - _CORNER).astype(np.float32)
        images = _fill_outside(prior, self.crops, self.holes, self.valid, landmarks)
        return replace(self, images=images, landmarks=landmarks)

    def without_landmarks(self, prior: FirstGuess) -> Cases:
        """Return the same cases for methods that know no landmarks: every map is empty."""
        # The linear prior takes its guess from pixels alone when there are not 98 points.
        landmarks = np.full((len(self), 68, 2), _NOWHERE, np.float32)
        images = np.stack(
            [
                prior.fill_outside(*face)
                for face in zip(window(self.crops), self.holes, self.valid, strict=True)
            ]
        )
        return replace(self, images=images, landmarks=landmarks)


def make_cases(
    records: Sequence[FaceRecord], prior: FirstGuess, *, seed: int = EVALUATION_SEED
) -> Cases:
    """Put a mask on each face; the same seed and records give the same cases.

    Args:
        records: Faces with 98 landmarks.
        prior: Fills what lies outside the photo.
        seed: Seed of the masks.

    Returns:
        The cases. A face whose mask lies on no known pixel is left out.

    Raises:
        DataError: No face is left, or one has not 98 landmarks.
    """
    synthesizer = MaskSynthesizer(seed=seed)
    rows = []
    for number, record in enumerate(records):
        if record.landmarks.shape != (98, 2):
            raise DataError(f"{record.path}: needs 98 landmarks, has {len(record.landmarks)}")
        face = load_canonical(record)
        masked = synthesizer(face.image, face.landmarks, number)
        hole = window(grow(masked.mask, HOLE_GROWTH))
        valid = window(face.valid)
        if (hole & valid).any():
            points = (face.landmarks - _CORNER).astype(np.float32)
            truth, gender = window(face.image), record.gender or ""
            rows.append((masked.image, truth, hole, valid, points, gender, masked.kind))
    if not rows:
        raise DataError("no faces to evaluate on")
    crops, truth, holes, valid, *rest = (np.stack(c) for c in zip(*rows, strict=True))
    images = _fill_outside(prior, crops, holes, valid, rest[0])
    return Cases(crops, images, truth, holes, valid, *rest)


def _fill_outside(
    prior: FirstGuess,
    crops: NDArray[np.uint8],
    holes: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    landmarks: NDArray[np.float32],
) -> NDArray[np.uint8]:
    faces = zip(window(crops), holes, valid, landmarks, strict=True)
    return np.stack([prior.fill_outside(*face) for face in faces])


def choose_faces(
    records: Sequence[FaceRecord], count: int, *, seed: int = EVALUATION_SEED
) -> list[FaceRecord]:
    """Choose faces for a short evaluation: by lot, and half of each gender where there are enough.

    Args:
        records: Faces; those of unknown gender are left out.
        count: How many to choose at most.
        seed: Seed of the lot.
    """
    chosen: list[FaceRecord] = []
    for turn, gender in enumerate(GENDERS):
        group = [record for record in records if record.gender == gender]
        order = np.random.default_rng([seed, turn]).permutation(len(group))
        chosen += [group[i] for i in order[: (count + turn) // 2]]
    return chosen


# === Methods ===

Method = Callable[[Cases], NDArray[np.uint8]]
"""From cases to completed windows (N, 192, 192, 3)."""


def baselines(prior: LinearPrior) -> dict[str, Method]:
    """Return the methods without a network by name."""

    def each(fill: Callable[[Any, Any], NDArray[np.uint8]]) -> Method:
        return lambda c: np.stack([fill(i, h) for i, h in zip(c.images, c.holes, strict=True)])

    return {
        "mean colour": each(fill_mean_color),
        "Telea": each(fill_telea),
        "Navier-Stokes": each(fill_navier_stokes),
        "linear prior": lambda c: guess_windows(prior, c.images, c.holes, c.landmarks),
    }


def first_guess_method(prior: FirstGuess) -> Method:
    """Return the method that stops at the first guess for each face's gender."""

    def complete(cases: Cases) -> NDArray[np.uint8]:
        result = cases.images.copy()
        for gender in np.unique(cases.genders):
            rows = cases.genders == gender
            inputs = cases.images[rows], cases.holes[rows], cases.landmarks[rows]
            result[rows] = guess_windows(prior.for_gender(str(gender) or None), *inputs)
        return result

    return complete


def generator_method(
    models: Mapping[str, keras.Model], prior: FirstGuess | None, *, swapped: bool = False
) -> Method:
    """Return the method that completes each face with its gender's generator.

    Args:
        models: Generators by gender, "male" and "female".
        prior: Makes the first guess.
        swapped: Take the other gender's generator, and first guess, instead.
    """

    def complete(cases: Cases) -> NDArray[np.uint8]:
        result = cases.images.copy()
        for gender, other in (("male", "female"), ("female", "male")):
            rows = cases.genders == gender
            inputs = cases.images[rows], cases.holes[rows], cases.landmarks[rows]
            chosen = other if swapped else gender
            guess = None if prior is None else prior.for_gender(chosen)
            result[rows] = complete_windows(models[chosen], guess, *inputs)
        return result

    return complete


# === Figures ===


@dataclass(frozen=True)
class Scores:
    """Mean figures of one method on one group of faces.

    Attributes:
        method: Name of the method.
        group: "all", a gender, or "mask: KIND".
        count: Number of faces.
        psnr_hole: PSNR in dB inside the hole, RGB.
        psnr_lafin: PSNR in dB of the grey window, LaFIn's protocol.
        ssim_lafin: SSIM with a window of 51 pixels, LaFIn's protocol.
        psnr_rgb: PSNR in dB of the RGB window.
        ssim_rgb: SSIM with a window of 7 pixels.
        perceptual: Sum over relu1_1 ... relu5_1 of the mean absolute difference of features
            (lower is better); None without a feature network.
    """

    method: str
    group: str
    count: int
    psnr_hole: float
    psnr_lafin: float
    ssim_lafin: float
    psnr_rgb: float
    ssim_rgb: float
    perceptual: float | None


@dataclass(frozen=True)
class Evaluation:
    """Results of all methods on the same faces.

    Attributes:
        count: Number of faces.
        hole_share: Mean share of the window that is scored, in [0, 1].
        scores: One entry a method and group.
    """

    count: int
    hole_share: float
    scores: tuple[Scores, ...]

    def of(self, method: str, group: str = "all") -> Scores:
        """Return one entry.

        Raises:
            KeyError: There is none of this method and group.
        """
        for scores in self.scores:
            if (scores.method, scores.group) == (method, group):
                return scores
        raise KeyError(f"no scores of {method!r} on {group!r}")


def evaluate(
    cases: Cases,
    results: Mapping[str, NDArray[np.uint8]],
    features: FeatureNetwork | None = None,
) -> Evaluation:
    """Score completed windows over all faces, per gender and per kind of mask.

    Args:
        cases: The faces.
        results: Completed windows (N, 192, 192, 3) uint8 by name of the method. Only the scored
            part of the hole is looked at; the rest is taken from the truth.
        features: Network for the perceptual distance.

    Returns:
        The figures, methods in the order of `results`.
    """
    groups = {"all": np.ones(len(cases), bool)}
    groups |= {g: cases.genders == g for g in GENDERS[::-1] if (cases.genders == g).any()}
    groups |= {f"mask: {kind}": cases.kinds == kind for kind in sorted(set(cases.kinds.tolist()))}
    scores = []
    for method, completed in results.items():
        figures = _measure(cases, completed)
        distances = perceptual_distance(features, cases, completed) if features else None
        for group, rows in groups.items():
            means = {name: float(values[rows].mean()) for name, values in figures.items()}
            perceptual = None if distances is None else float(distances[rows].mean())
            scores.append(Scores(method, group, int(rows.sum()), perceptual=perceptual, **means))
    return Evaluation(len(cases), float(cases.scored.mean()), tuple(scores))


def perceptual_distance(
    features: FeatureNetwork, cases: Cases, completed: NDArray[np.uint8], *, batch_size: int = 16
) -> NDArray[np.float64]:
    """Return each face's distance to the truth in deep features, (N,).

    Args:
        features: The network; its features for the perceptual loss are compared.
        cases: The faces.
        completed: (N, 192, 192, 3) uint8; outside the scored hole the truth is put back.
        batch_size: Faces that go through the network at once.
    """
    composites = np.where(cases.scored[..., None], completed, cases.truth)
    distances = []
    for start in range(0, len(cases), batch_size):
        rows = slice(start, start + batch_size)
        ours, _ = features(composites[rows].astype(np.float32) / 255.0)
        wanted, _ = features(cases.truth[rows].astype(np.float32) / 255.0)
        layers = zip(ours, wanted, strict=True)
        per_layer = [np.abs(np.asarray(a) - np.asarray(b)).mean((1, 2, 3)) for a, b in layers]
        distances.append(np.sum(per_layer, axis=0))
    return np.concatenate(distances).astype(np.float64)


def markdown_table(evaluation: Evaluation) -> str:
    """Return the figures as Markdown: all measures by gender, then hole PSNR by kind of mask."""
    by_kind = [s for s in evaluation.scores if s.group.startswith("mask: ")]
    lines = [
        f"{evaluation.count} faces; the hole is {100 * evaluation.hole_share:.1f} % of the window.",
        "",
        "| method | faces | n | PSNR hole | PSNR LaFIn | SSIM LaFIn | PSNR RGB | SSIM RGB "
        "| perceptual |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_markdown_row(s) for s in evaluation.scores if s not in by_kind),
        "",
        "Hole PSNR by kind of mask:",
        "",
    ]
    kinds = {s.group.removeprefix("mask: "): s.count for s in by_kind}
    lines.append("| method | " + " | ".join(f"{k} ({n})" for k, n in kinds.items()) + " |")
    lines.append("|---" * (1 + len(kinds)) + "|")
    for method in dict.fromkeys(s.method for s in by_kind):
        cells = (f"{evaluation.of(method, f'mask: {kind}').psnr_hole:.2f}" for kind in kinds)
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _markdown_row(scores: Scores) -> str:
    perceptual = "" if scores.perceptual is None else f"{scores.perceptual:.4f}"
    return (
        f"| {scores.method} | {scores.group} | {scores.count} | {scores.psnr_hole:.2f} "
        f"| {scores.psnr_lafin:.2f} | {scores.ssim_lafin:.4f} | {scores.psnr_rgb:.2f} "
        f"| {scores.ssim_rgb:.4f} | {perceptual} |"
    )


def _measure(cases: Cases, completed: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    faces = zip(cases.truth, completed, cases.scored, strict=True)
    rows = [image_quality(*face) for face in faces]
    names = ("psnr_hole", "psnr_lafin", "ssim_lafin", "psnr_rgb", "ssim_rgb")
    return {name: np.array([getattr(row, name) for row in rows]) for name in names}


# === Pictures ===


def contact_sheet(
    path: str | os.PathLike[str],
    cases: Cases,
    results: Mapping[str, NDArray[np.uint8]],
    *,
    rank_by: str,
    each: int = 4,
) -> list[int]:
    """Save a picture of the best, the median and the worst faces of one method.

    A row shows the masked face, what is known of it, the methods' results and the truth.

    Args:
        path: PNG file to write.
        cases: The faces.
        results: Completed windows by name of the method, one column each.
        rank_by: The method whose hole PSNR decides; its figure is written on the row.
        each: Rows of each of the three groups.

    Returns:
        The faces' places in the cases, in the order of the rows.

    Raises:
        KeyError: `rank_by` is no method in `results`.
    """
    faces = zip(cases.truth, results[rank_by], cases.scored, strict=True)
    quality = np.array([psnr_hole(*face) for face in faces])
    chosen = _spread(np.argsort(-quality, kind="stable"), each)
    known = np.where(cases.holes[..., None], np.uint8(255), cases.images)
    columns = {"masked": cases.images, "known": known, **results, "truth": cases.truth}
    rows = [_titles(list(columns), cases.truth.shape[2])]
    for place in chosen:
        row = np.concatenate([images[place] for images in columns.values()], axis=1)
        rows.append(_write(row, f"{quality[place]:.1f} dB", (4, row.shape[0] - 6)))
    save_image(path, np.concatenate(rows))
    return chosen


def _spread(order: NDArray[np.intp], each: int) -> list[int]:
    """Take places from the start, the middle and the end of an order, none of them twice."""
    middle = max((len(order) - each) // 2, 0)
    places = [*order[:each], *order[middle : middle + each], *order[-each:]]
    return [int(place) for place in dict.fromkeys(places)]


def _titles(names: Sequence[str], width: int) -> NDArray[np.uint8]:
    strip = np.zeros((20, width * len(names), 3), np.uint8)
    for i, name in enumerate(names):
        strip = _write(strip, name, (i * width + 4, 14))
    return strip


def _write(image: NDArray[np.uint8], text: str, corner: tuple[int, int]) -> NDArray[np.uint8]:
    canvas = np.ascontiguousarray(image)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.42
    # A dark outline keeps the letters legible on any picture.
    for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(canvas, text, corner, font, scale, color, thickness, cv2.LINE_AA)
    return canvas

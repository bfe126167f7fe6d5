"""How well hidden faces are completed, in figures and pictures, and beside simple methods.

Faces of the validation split get a drawn mask each, the same one at every call; the hole is the
mask grown as `unmask.run` grows it. Every method completes the usual 192 x 192 window. What lies
outside the original photo (the border of tight crops) is filled by the linear prior first, as in
training and in `unmask.run`, and is not scored. All figures are means over faces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.record import FaceRecord, load_canonical
from unmask.errors import DataError
from unmask.evaluation.figures import draw_columns
from unmask.face import grow
from unmask.inpainting import convert, lite, paper
from unmask.inpainting.coarse import CoarseCompletion
from unmask.inpainting.data import LandmarkPredictor
from unmask.inpainting.features import FeatureNetwork
from unmask.inpainting.predict import complete_faces, complete_windows
from unmask.inpainting.window import HOLE_GROWTH, WINDOW_CORNER, window
from unmask.io import PathLike, atomic_path
from unmask.metrics import image_quality, psnr_hole
from unmask.presets import GENDERS
from unmask.rivals import aot
from unmask.rivals.completion import check
from unmask.synthesis import MaskSynthesizer
from unmask.tables import markdown_table as table
from unmask.weights import load_weights

EVALUATION_SEED = 1234

_NOWHERE = -1e4  # pixels
# Pictures that go through the feature network at once.
_AT_ONCE = 16

# === Cases ===


@dataclass(frozen=True, eq=False)
class Cases:
    """Masked faces with known truth; all arrays start with the face axis N.

    Attributes:
        crops: (N, 256, 256, 3) uint8 canonical crops with the drawn mask.
        truth: (N, 192, 192, 3) uint8 windows without it.
        holes: (N, 192, 192) bool, what is to be completed.
        valid: (N, 192, 192) bool, True where a pixel comes from the photo.
        landmarks: (N, 98, 2) float32 points in window pixels; (N, 68, 2) far outside the window
            where none are known.
        genders: (N,) "male", "female" or "" where unknown.
        kinds: (N,) families of the masks.
    """

    crops: NDArray[np.uint8]
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

    @property
    def images(self) -> NDArray[np.uint8]:
        """(N, 192, 192, 3) uint8 windows of the crops; mirrored outside the photo."""
        return window(self.crops)

    def complete_coarsely(
        self, coarse: CoarseCompletion, genders: NDArray[np.str_] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the images without gaps, and their coarse completions for faces of some gender."""
        return coarse(self.images, self.holes, self.valid, self.landmarks, genders)

    def guided_by(self, predictor: LandmarkPredictor) -> Cases:
        """Return the same cases with landmarks found on the masked faces.

        The framing stays that of the true landmarks, so that results compare pixel by pixel.
        """
        return replace(self, landmarks=(predictor(self.crops) - WINDOW_CORNER).astype(np.float32))

    def without_landmarks(self) -> Cases:
        """Return the same cases for methods that know no landmarks: every map is empty."""
        # The linear prior looks at pixels alone when there are not 98 points.
        return replace(self, landmarks=np.full((len(self), 68, 2), _NOWHERE, np.float32))


def make_cases(records: Sequence[FaceRecord], *, seed: int = EVALUATION_SEED) -> Cases:
    """Put a mask on faces with 98 landmarks; the same seed and records give the same cases.

    A face whose mask lies on no known pixel is left out.

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
            points = (face.landmarks - WINDOW_CORNER).astype(np.float32)
            truth, gender = window(face.image), record.gender or ""
            rows.append((masked.image, truth, hole, valid, points, gender, masked.kind))
    if not rows:
        raise DataError("no faces to evaluate on")
    return Cases(*(np.stack(column) for column in zip(*rows, strict=True)))


def choose_faces(
    records: Sequence[FaceRecord], count: int, *, seed: int = EVALUATION_SEED
) -> list[FaceRecord]:
    """Choose at most `count` faces by lot, half of each gender where there are enough.

    Those of unknown gender are left out.
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


def baselines(linear: CoarseCompletion) -> dict[str, Method]:
    """Return the methods without a network; the linear prior also fills beyond the photo."""

    def each(fill: Callable[[Any, Any], NDArray[np.uint8]]) -> Method:
        def complete(cases: Cases) -> NDArray[np.uint8]:
            filled, _ = cases.complete_coarsely(linear)
            return np.stack([fill(i, h) for i, h in zip(filled, cases.holes, strict=True)])

        return complete

    return {
        "mean colour": each(fill_mean_color),
        "Telea": each(fill_telea),
        "Navier-Stokes": each(fill_navier_stokes),
        "linear prior": coarse_method(linear),
    }


def coarse_method(coarse: CoarseCompletion) -> Method:
    """Return the method that stops at the coarse completion for each face's gender."""
    return lambda cases: cases.complete_coarsely(coarse, cases.genders)[1]


def generator_method(
    models: Mapping[str, keras.Model], coarse: CoarseCompletion, *, swapped: bool = False
) -> Method:
    """Return the method that completes each face with its gender's generator and coarse completion.

    With `swapped` it takes those of the other gender.
    """
    other = {"male": "female", "female": "male"}

    def complete(cases: Cases) -> NDArray[np.uint8]:
        genders = cases.genders
        if swapped:
            genders = np.array([other.get(gender, "") for gender in genders])
        return complete_faces(
            models, coarse, cases.images, cases.holes, cases.valid, cases.landmarks, genders
        )[1]

    return complete


def refiner_method(model: keras.Model, method: Method) -> Method:
    """Return the method that corrects what another completes, by a refine network."""

    def complete(cases: Cases) -> NDArray[np.uint8]:
        images = method(cases)
        return complete_windows(model, images, cases.holes, cases.landmarks, images, in_full=True)

    return complete


GENERATORS: Mapping[str, Callable[[], keras.Model]] = MappingProxyType(
    {
        "lite": lite.build_generator,
        "paper": paper.build_generator,
        "paper-aot": aot.build_aot_variant,
        "aot-gan": aot.build_aot_generator,
        "refiner": lite.build_refiner,
    }
)
"""By name: `lite`, `paper` and `paper-aot` (as published, and with AOT blocks), `aot-gan` (the
plain network, which ignores landmarks), `refiner`."""


def load_generator(path: Path, network: str) -> keras.Model:
    """Load one of `GENERATORS` from weights of ours or from a published checkpoint (.pt, .pth).

    Raises:
        WeightsError: The file is missing or does not fit.
    """
    if path.suffix in (".pt", ".pth"):
        return (aot if network == "aot-gan" else convert).load_published(path)[0]
    model = GENERATORS[network]()
    load_weights(model, path)
    return model


def fill_mean_color(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Paint the hole (H, W) of an image (H, W, 3) uint8 with the mean colour of the known pixels.

    Raises:
        ValueError: Shapes or types do not fit, or nothing is known.

    Example:
        >>> image = np.array([[[10, 10, 10], [30, 30, 30], [0, 0, 0]]], np.uint8)
        >>> fill_mean_color(image, np.array([[False, False, True]]))[0, 2].tolist()
        [20, 20, 20]
    """
    _check(image, hole)
    result = image.copy()
    result[hole] = np.rint(image[~hole].mean(0)).astype(np.uint8)
    return result


def fill_telea(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Carry the known pixels inwards by fast marching (OpenCV); arguments as `fill_mean_color`.

    Reference:
        Telea, An Image Inpainting Technique Based on the Fast Marching Method, 2004.
    """
    return _fill_opencv(image, hole, cv2.INPAINT_TELEA)


def fill_navier_stokes(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Continue lines of equal brightness into the hole (OpenCV); arguments as `fill_mean_color`.

    Reference:
        Bertalmio et al., Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting, 2001.
    """
    return _fill_opencv(image, hole, cv2.INPAINT_NS)


def _fill_opencv(
    image: NDArray[np.uint8], hole: NDArray[np.bool_], method: int
) -> NDArray[np.uint8]:
    _check(image, hole)
    return np.asarray(cv2.inpaint(image, hole.astype(np.uint8), 3.0, method), np.uint8)


def _check(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> None:
    check(image, hole)
    if hole.all():
        raise ValueError("at least one pixel must be known. Received: a hole everywhere")


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
    """Results of all methods on the same faces."""

    count: int
    hole_share: float  # mean share of the window that is scored, in [0, 1]
    scores: tuple[Scores, ...]  # one entry a method and group

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
    """Score windows, (N, 192, 192, 3) by method, over all faces, by gender and by kind of mask.

    Only the scored part of the hole is looked at; the rest is taken from the truth. `features`
    gives the perceptual distance.
    """
    groups = {"all": np.ones(len(cases), bool)}
    groups |= {g: cases.genders == g for g in GENDERS[::-1] if (cases.genders == g).any()}
    groups |= {f"mask: {kind}": cases.kinds == kind for kind in sorted(set(cases.kinds.tolist()))}
    scores = []
    for method, completed in results.items():
        faces = zip(cases.truth, completed, cases.scored, strict=True)
        figures = [asdict(image_quality(*face)) for face in faces]
        distances = None
        if features is not None:
            distances = perceptual_distance(features, cases.truth, completed, cases.scored)
        for group, rows in groups.items():
            chosen = [figures[i] for i in np.flatnonzero(rows)]
            means = {name: float(np.mean([f[name] for f in chosen])) for name in figures[0]}
            perceptual = None if distances is None else float(distances[rows].mean())
            scores.append(Scores(method, group, int(rows.sum()), perceptual=perceptual, **means))
    return Evaluation(len(cases), float(cases.scored.mean()), tuple(scores))


def perceptual_distance(
    features: FeatureNetwork,
    truth: NDArray[np.uint8],
    completed: NDArray[np.uint8],
    scored: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return each picture's distance to the truth in deep features, (N,).

    Args:
        features: The network; its features for the perceptual loss are compared.
        truth: (N, H, W, 3) uint8.
        completed: The same shape; outside the scored hole the truth is put back.
        scored: (N, H, W) bool.
    """
    composites = np.where(scored[..., None], completed, truth)
    distances = []
    for start in range(0, len(truth), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        ours, _ = features(composites[rows].astype(np.float32) / 255.0)
        wanted, _ = features(truth[rows].astype(np.float32) / 255.0)
        layers = zip(ours, wanted, strict=True)
        per_layer = [np.abs(np.asarray(a) - np.asarray(b)).mean((1, 2, 3)) for a, b in layers]
        distances.append(np.sum(per_layer, axis=0))
    return np.concatenate(distances).astype(np.float64)


def markdown_table(evaluation: Evaluation) -> str:
    """Return the figures as Markdown: all measures by gender, then hole PSNR by kind of mask."""
    by_kind = [s for s in evaluation.scores if s.group.startswith("mask: ")]
    header = (
        "method", "faces", "n", "PSNR hole", "PSNR LaFIn", "SSIM LaFIn", "PSNR RGB", "SSIM RGB",
        "perceptual",
    )  # fmt: skip
    rows = [
        (
            s.method, s.group, s.count, f"{s.psnr_hole:.2f}", f"{s.psnr_lafin:.2f}",
            f"{s.ssim_lafin:.4f}", f"{s.psnr_rgb:.2f}", f"{s.ssim_rgb:.4f}",
            "" if s.perceptual is None else f"{s.perceptual:.4f}",
        )
        for s in evaluation.scores
        if s not in by_kind
    ]  # fmt: skip
    kinds = {s.group.removeprefix("mask: "): s.count for s in by_kind}
    kind_rows = [
        (method, *(f"{evaluation.of(method, f'mask: {kind}').psnr_hole:.2f}" for kind in kinds))
        for method in dict.fromkeys(s.method for s in by_kind)
    ]
    share = f"the hole is {100 * evaluation.hole_share:.1f} % of the window."
    return (
        f"{evaluation.count} faces; {share}\n\n{table(header, rows)}\n"
        "Hole PSNR by kind of mask:\n\n"
        + table(("method", *(f"{k} ({n})" for k, n in kinds.items())), kind_rows)
    )


# === Pictures ===


def contact_sheet(
    path: PathLike,
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
    figure = draw_columns(
        {title: list(images[chosen]) for title, images in columns.items()},
        {rank_by: [f"{quality[place]:.1f} dB" for place in chosen]},
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
    return chosen


def _spread(order: NDArray[np.intp], each: int) -> list[int]:
    """Take places from the start, the middle and the end of an order, none of them twice."""
    middle = max((len(order) - each) // 2, 0)
    places = [*order[:each], *order[middle : middle + each], *order[-each:]]
    return [int(place) for place in dict.fromkeys(places)]

"""The coarse completion: what a face behind its hole looks like roughly, at 64 x 64 pixels.

A linear model averages faces: it is fitted in a minute, and blurred, but has the skin tone, the
light and the place of the mouth. A small network (`lite.build_coarse`) corrects it: it sees ten
times more faces a minute than the generator at 192 x 192, and learns what a line cannot, which
light, beard or open mouth goes with the visible half. Both serve both genders; the network is told
which one the generator behind it belongs to. The generator adds the details.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask import presets
from unmask.errors import WeightsError
from unmask.inference import Network, OnnxNetwork, forward, is_onnx
from unmask.inpainting.window import WINDOW_SIDE, draw_landmark_map
from unmask.io import PathLike
from unmask.weights import load_arrays, save_arrays

COARSE_SIDE = 64
"""Side, in pixels, of what both see of the 192 x 192 window."""

GENDERS = presets.GENDERS[::-1]
"""Order of the network's two gender inputs."""

_CELLS = (COARSE_SIDE, COARSE_SIDE)
_PIXELS, _POINTS = 3 * COARSE_SIDE**2, 98
VECTOR_SIZE = _PIXELS + 2 * _POINTS
"""Length of a face as the linear model sees it: its pixels, then its landmarks."""

# Pixels are in [0, 1]; this makes a landmark one canonical pixel off weigh like a grey level of
# about 1/64, so that neither kind of measurement drowns the other.
_LANDMARK_SCALE = 1.0 / 64.0
# How much less than independent measurements the known pixels count, because neighbours err
# together; larger pulls the completion to the mean face.
_SHRINKAGE = 12.0
# Faces that go through the network at once.
_AT_ONCE = 8


@dataclass(frozen=True)
class CoarseCompletion:
    """Completes faces coarsely: the one place that training samples and `unmask.run` ask.

    Attributes:
        linear: The linear model.
        network: A network of `build_coarse` that corrects it; None for none.

    Example:
        >>> one = np.ones(VECTOR_SIZE, np.float32)
        >>> linear = LinearPrior(one / 2, one[None] / VECTOR_SIZE**0.5, one[:1], one)
        >>> images, holes = np.zeros((2, 192, 192, 3), np.uint8), np.zeros((2, 192, 192), bool)
        >>> filled, coarse = CoarseCompletion(linear)(images, holes, ~holes, np.zeros((2, 98, 2)))
        >>> coarse.shape
        (2, 192, 192, 3)
    """

    linear: LinearPrior
    network: Network | None = None

    def __call__(
        self,
        images: NDArray[np.uint8],
        holes: NDArray[np.bool_],
        valid: NDArray[np.bool_],
        landmarks: Sequence[NDArray[np.floating]] | NDArray[np.floating],
        genders: Sequence[str] | NDArray[np.str_] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Complete the hole, and what lies beyond the photo's edge.

        Args:
            images: (B, 192, 192, 3) uint8 RGB windows of canonical crops, B at least 1.
            holes: (B, 192, 192) bool, True where the pixels are unknown.
            valid: (B, 192, 192) bool, True where the pixel comes from the photo.
            landmarks: (98, 2) or (68, 2) points in window pixels of each face; the linear model
                looks at pixels alone when there are 68.
            genders: "male" or "female" for each face, "" for neither, which None is for all.

        Returns:
            Two (B, 192, 192, 3) uint8 arrays: the images with their invalid pixels replaced, and
            those with the hole completed too.

        Raises:
            ValueError: A shape or a gender does not fit.
        """
        faces = zip(images, holes, valid, landmarks, strict=True)
        filled, coarse = (
            np.stack(x) for x in zip(*(self.linear.complete(*face) for face in faces), strict=True)
        )
        codes = gender_codes([""] * len(images) if genders is None else genders)
        if self.network is None:
            return filled, coarse
        for start in range(0, len(images), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            coarse[rows] = _correct(
                self.network, coarse[rows], holes[rows], landmarks[rows], codes[rows]
            )
        return filled, coarse


def load_coarse(linear: PathLike, network: PathLike | None = None) -> CoarseCompletion:
    """Read what makes the coarse completion.

    Args:
        linear: File of the linear prior.
        network: File of the shipped size's network that corrects it; None for none.

    Raises:
        WeightsError: A file is missing or does not fit.
    """
    prior = LinearPrior.load(linear)
    if network is None:
        return CoarseCompletion(prior)
    if is_onnx(network):
        return CoarseCompletion(prior, OnnxNetwork(network))
    from unmask.inpainting.lite import build_coarse
    from unmask.weights import load_weights

    model = build_coarse()
    load_weights(model, network)
    return CoarseCompletion(prior, model)


def gender_codes(genders: Sequence[str] | NDArray[np.str_]) -> NDArray[np.float32]:
    """Return the network's (B, 2) gender input: 1 for "male", 1 for "female", zeros for "".

    Raises:
        ValueError: A gender is something else.
    """
    known = np.asarray(genders)[:, None] == np.array(GENDERS)
    for gender, found in zip(genders, known.any(1), strict=True):
        if gender and not found:
            raise ValueError(f"gender must be 'male', 'female' or ''. Received: gender={gender!r}")
    return known.astype(np.float32)


def _correct(
    network: Network,
    linear: NDArray[np.uint8],
    holes: NDArray[np.bool_],
    landmarks: Sequence[NDArray[np.floating]] | NDArray[np.floating],
    genders: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Correct linear completions inside their holes."""

    def shrunk(arrays: NDArray[Any]) -> NDArray[np.float32]:
        return np.stack([cv2.resize(x, _CELLS, interpolation=cv2.INTER_AREA) for x in arrays])

    small = shrunk(linear).astype(np.float32) / 255.0
    share = shrunk(holes.astype(np.float32))[..., None]
    marks = np.stack([draw_landmark_map(points, WINDOW_SIDE) for points in landmarks])
    # The mirrored face errs differently: the mean of both answers is 0.08 dB nearer the truth.
    pairs = [np.concatenate([x, x[:, :, ::-1]]) for x in (small, share, marks)]
    straight, mirrored = np.split(forward(network, *pairs, np.tile(genders, (2, 1))), 2)
    # The correction alone is enlarged: the linear completion would lose its edges.
    corrections = (straight + mirrored[:, :, ::-1]) / 2 - small
    result = linear.copy()
    for image, correction, hole in zip(result, corrections, holes, strict=True):
        large = cv2.resize(correction, hole.shape, interpolation=cv2.INTER_CUBIC)
        image[hole] = np.clip(image + large * 255.0 + 0.5, 0, 255).astype(np.uint8)[hole]
    return result


# === The linear model ===


@dataclass(frozen=True)
class LinearPrior:
    """A Gaussian model of aligned faces.

    A face at 64 x 64 and its 98 landmarks are one vector: a mean, a few hundred principal
    components with their variances, and independent noise. What is known of a face (the pixels
    outside the hole, the landmarks) determines the components by ridge regression, and those give
    the hidden pixels.

    Attributes:
        mean: (12484,) mean face, pixels in [0, 1] then scaled landmarks.
        basis: (K, 12484) principal components, rows of unit length.
        variance: (K,) variance along each component.
        noise: (12484,) variance that the components leave unexplained.

    Reference:
        Tipping and Bishop, Probabilistic Principal Component Analysis, 1999.
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    variance: NDArray[np.float32]
    noise: NDArray[np.float32]

    def complete(
        self,
        image: NDArray[np.uint8],
        hole: NDArray[np.bool_],
        valid: NDArray[np.bool_],
        landmarks: NDArray[np.floating],
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Complete one face; as `CoarseCompletion`, for one.

        Mirrored pixels, the usual stand-in beyond a photo's edge, would show a second pair of eyes
        or half a mask.
        """
        wanted = (WINDOW_SIDE, WINDOW_SIDE)
        if image.shape != (*wanted, 3) or hole.shape != wanted:
            raise ValueError(
                f"the prior completes windows of {wanted}. "
                f"Received: image {image.shape}, hole {hole.shape}"
            )
        completed = self._fill(image, hole | ~valid, landmarks)
        filled = np.where(valid[..., None], image, completed)
        return filled, np.where(hole[..., None], completed, filled)

    def save(self, path: PathLike, metadata: Mapping[str, str] | None = None) -> None:
        """Write the model to a safetensors file."""
        arrays = {name: getattr(self, name) for name in ("mean", "variance", "noise")}
        stored = {"basis": self.basis.astype(np.float16), **arrays}
        save_arrays(path, stored, {"side": str(WINDOW_SIDE), **(metadata or {})})

    @classmethod
    def load(cls, path: PathLike) -> LinearPrior:
        """Read a model that `save` wrote.

        Raises:
            WeightsError: The file is missing, unreadable, or has other tensors or shapes.
        """
        arrays, metadata = load_arrays(path)
        count = arrays["variance"].size if "variance" in arrays else 0
        shapes = {
            "mean": (VECTOR_SIZE,),
            "basis": (count, VECTOR_SIZE),
            "variance": (count,),
            "noise": (VECTOR_SIZE,),
        }
        found = {name: array.shape for name, array in arrays.items()}
        if found != shapes or metadata.get("side") != str(WINDOW_SIDE):
            raise WeightsError(f"{path}: not a linear prior; tensors {found}, needed {shapes}")
        return cls(**{name: arrays[name].astype(np.float32, order="F") for name in shapes})

    def _fill(
        self, image: NDArray[np.uint8], hole: NDArray[np.bool_], landmarks: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """Return the image with its hole filled."""
        pixels = cv2.resize(image, _CELLS, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
        share = cv2.resize(hole.astype(np.float32), _CELLS, interpolation=cv2.INTER_AREA)
        # A cell that the hole only touches mixes in mask colour, and the one beside it may still
        # hold a rim of the mask that the segmentation missed: both count as unknown.
        known = cv2.dilate(share, np.ones((3, 3), np.uint8)) < 0.02
        small = _follow_border(self._solve(pixels, known, landmarks), pixels, known)
        large = cv2.resize(small, hole.shape, interpolation=cv2.INTER_CUBIC)
        completed = np.clip(large * 255.0 + 0.5, 0, 255).astype(np.uint8)
        return np.where(hole[..., None], completed, image)

    def _solve(
        self, pixels: NDArray[np.float32], known: NDArray[np.bool_], landmarks: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Return the likeliest face, (64, 64, 3)."""
        basis = self.basis.T  # a row a measurement, beside each other in memory
        # Every other known cell in a chequerboard: neighbours say nearly the same, at half cost.
        chequer = np.indices(known.shape).sum(0) % 2 == 0
        indices = np.flatnonzero(np.repeat((known & chequer).ravel(), 3))
        values = pixels.ravel()[indices]
        if len(landmarks) == _POINTS:
            indices = np.concatenate([indices, np.arange(_PIXELS, VECTOR_SIZE)])
            values = np.concatenate([values, landmark_vector(landmarks)])
        deviation = np.sqrt(_SHRINKAGE * self.noise[indices])
        rows = basis[indices] / deviation[:, None]
        # A matrix times its own transpose costs BLAS half of another product.
        normal = rows.T @ rows + np.diag(1.0 / self.variance)
        known_values = (values - self.mean[indices]) / deviation
        coefficients = np.linalg.solve(normal, rows.T @ known_values)
        face = self.mean[:_PIXELS] + basis[:_PIXELS] @ coefficients.astype(np.float32)
        return face.reshape(COARSE_SIDE, COARSE_SIDE, 3)


def landmark_vector(landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return (98, 2) window points as the scaled vector that the model holds."""
    return (np.asarray(landmarks, np.float32) * _LANDMARK_SCALE).ravel()


def _follow_border(
    face: NDArray[np.float32], pixels: NDArray[np.float32], known: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Carry the model's error at the known pixels smoothly into the hole, so no step is left."""
    weight = known.astype(np.float32)
    error = (pixels - face) * weight[..., None]
    correction = np.zeros_like(face)
    for sigma in (6.0, 3.0, 1.5):
        share = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
        blurred = cv2.GaussianBlur(error - correction * weight[..., None], (0, 0), sigma)
        # Deep in the hole the share vanishes, and with it what the border can tell.
        correction = correction + blurred / (share + 0.15)
    return face + correction

"""The linear part of the coarse completion: a Gaussian model of aligned faces, fitted in a minute.

Faces at 64 x 64 and their 98 landmarks are one vector: a mean, a few hundred principal components
with their variances, and independent noise. What is known of a face (the pixels outside the hole,
the landmarks) determines the components by ridge regression, and those give the hidden pixels:
blurred, but with the skin tone, the light and the place of the mouth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.errors import MissingPackageError, WeightsError
from unmask.io import PathLike
from unmask.weights import load_arrays, save_arrays

PRIOR_SIDE = 64
_POINTS = 98
# Pixels are in [0, 1]; this makes a landmark one canonical pixel off weigh like a grey level of
# about 1/64, so that neither kind of measurement drowns the other.
_LANDMARK_SCALE = 1.0 / 64.0
# How much less than independent measurements the known pixels count, because neighbours err
# together; larger pulls the completion to the mean face.
_SHRINKAGE = 12.0


@dataclass(frozen=True)
class LinearPrior:
    """The Gaussian model of aligned faces.

    Attributes:
        mean: (64 * 64 * 3 + 196,) mean face, pixels in [0, 1] then scaled landmarks.
        basis: (K, 64 * 64 * 3 + 196) principal components, rows of unit length.
        variance: (K,) variance along each component.
        noise: (64 * 64 * 3 + 196,) variance that the components leave unexplained.
        side: Side, in pixels, of the square window that the 64 x 64 grid stands for.
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    variance: NDArray[np.float32]
    noise: NDArray[np.float32]
    side: int

    def complete(
        self,
        image: NDArray[np.uint8],
        hole: NDArray[np.bool_],
        valid: NDArray[np.bool_],
        landmarks: NDArray[np.floating],
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Complete one face; as `unmask.inpainting.coarse.CoarseCompletion`, for one.

        Mirrored pixels, the usual stand-in beyond a photo's edge, would show a second pair of eyes
        or half a mask.
        """
        wanted = (self.side, self.side)
        if image.shape != (*wanted, 3) or hole.shape != wanted:
            raise ValueError(
                f"the prior completes windows of {wanted}. "
                f"Received: image {image.shape}, hole {hole.shape}"
            )
        if not valid.all():
            outside = self._fill(image, hole | ~valid, landmarks)
            image = np.where(valid[..., None], image, outside)
        return image, self._fill(image, hole, landmarks)

    def save(self, path: PathLike, metadata: Mapping[str, str] | None = None) -> None:
        """Write the model to a safetensors file."""
        arrays = {name: getattr(self, name) for name in ("mean", "variance", "noise")}
        stored = {"basis": self.basis.astype(np.float16), **arrays}
        save_arrays(path, stored, {"side": str(self.side), **(metadata or {})})

    @classmethod
    def load(cls, path: PathLike) -> LinearPrior:
        """Read a model that `save` wrote.

        Raises:
            WeightsError: The file is missing, unreadable, or has other tensors or shapes.
        """
        arrays, metadata = load_arrays(path)
        size = PRIOR_SIDE * PRIOR_SIDE * 3 + 2 * _POINTS
        components = arrays["variance"].size if "variance" in arrays else 0
        shapes = {
            "mean": (size,),
            "basis": (components, size),
            "variance": (components,),
            "noise": (size,),
        }
        found = {name: array.shape for name, array in arrays.items()}
        if found != shapes or not metadata.get("side", "").isdigit():
            raise WeightsError(f"{path}: not a linear prior; tensors {found}, needed {shapes}")
        values = {name: arrays[name].astype(np.float32) for name in shapes}
        return cls(side=int(metadata["side"]), **values)

    def _fill(
        self, image: NDArray[np.uint8], hole: NDArray[np.bool_], landmarks: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """Return the image with its hole filled."""
        size = (PRIOR_SIDE, PRIOR_SIDE)
        pixels = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
        share = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        # A cell that the hole only touches mixes in mask colour, and the one beside it may still
        # hold a rim of the mask that the segmentation missed: both count as unknown.
        known = cv2.dilate(share, np.ones((3, 3), np.uint8)) < 0.02
        small = _follow_border(self._solve(pixels, known, landmarks), pixels, known)
        large = cv2.resize(small, (self.side, self.side), interpolation=cv2.INTER_CUBIC)
        completed = np.clip(large * 255.0 + 0.5, 0, 255).astype(np.uint8)
        return np.where(hole[..., None], completed, image)

    def _solve(
        self, pixels: NDArray[np.float32], known: NDArray[np.bool_], landmarks: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Return the likeliest face, (64, 64, 3)."""
        # Every other known cell in a chequerboard: neighbours say nearly the same, at half cost.
        chequer = np.indices(known.shape).sum(0) % 2 == 0
        used = np.repeat((known & chequer).ravel(), 3)
        indices = np.flatnonzero(used)
        values = pixels.ravel()[indices]
        weights = 1.0 / (_SHRINKAGE * self.noise[indices])
        if len(landmarks) == _POINTS:
            extra = np.arange(PRIOR_SIDE * PRIOR_SIDE * 3, self.mean.size)
            indices = np.concatenate([indices, extra])
            values = np.concatenate([values, landmark_vector(landmarks)])
            weights = np.concatenate([weights, 1.0 / (_SHRINKAGE * self.noise[extra])])
        rows = self.basis[:, indices]
        weighted = rows * weights
        normal = weighted @ rows.T + np.diag(1.0 / self.variance)
        coefficients = np.linalg.solve(normal, weighted @ (values - self.mean[indices]))
        count = PRIOR_SIDE * PRIOR_SIDE * 3
        face = self.mean[:count] + coefficients.astype(np.float32) @ self.basis[:, :count]
        return face.reshape(PRIOR_SIDE, PRIOR_SIDE, 3)


def landmark_vector(landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return (98, 2) window points as the scaled vector that the model holds."""
    return (np.asarray(landmarks, np.float32) * _LANDMARK_SCALE).ravel()


def fit_prior(
    windows: NDArray[np.uint8], landmarks: NDArray[np.floating], components: int, seed: int = 0
) -> LinearPrior:
    """Learn the Gaussian model from aligned faces.

    Args:
        windows: (N, 64, 64, 3) uint8 RGB windows of the canonical crop, shrunk.
        landmarks: (N, 98, 2) points in pixels of the full-size window.
        components: How many principal components to keep.
        seed: Seed of the randomised singular value decomposition.

    Returns:
        The model; its window side is that of `unmask.inpainting.window`.

    Raises:
        MissingPackageError: scikit-learn is not installed.

    Reference:
        Tipping and Bishop, Probabilistic Principal Component Analysis, 1999.
    """
    try:
        from sklearn.utils.extmath import randomized_svd
    except ImportError as error:
        raise MissingPackageError("scikit-learn fits: pip install 'unmask[train]'") from error

    from unmask.inpainting.window import WINDOW_SIDE

    count = len(windows)
    pixels = windows.reshape(count, -1).astype(np.float32) / 255.0
    points = np.stack([landmark_vector(p) for p in landmarks])
    data = np.concatenate([pixels, points], axis=1)
    mean = data.mean(0)
    data -= mean
    _, singular, basis = randomized_svd(data, components, n_iter=3, random_state=seed)
    # In parts, because a residual of all faces takes gigabytes. Its mean is 0.
    parts = np.array_split(data, -(-count // 1000))
    noise = sum(np.square(part - (part @ basis.T) @ basis).sum(0) for part in parts) / count
    return LinearPrior(
        mean=mean,
        basis=basis.astype(np.float32),
        variance=(singular**2 / count).astype(np.float32),
        noise=np.maximum(noise, 1e-6).astype(np.float32),
        side=WINDOW_SIDE,
    )


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

"""What finds the masks in photos, whichever network does it, and how a U-Net looks at pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.decide import LIMITS
from unmask.errors import WeightsError
from unmask.inference import Network, forward
from unmask.runtime.onnx import OnnxNetwork, is_onnx
from unmask.segmentation import STRIDE
from unmask.segmentation.regions import MaskRegion, find_regions, overlap
from unmask.segmentation.verifier import VERIFIER, build_verifier, verify
from unmask.weights import load_arrays, load_weights

# The Mask R-CNN and all that belongs to its training are imported only where one is used.
if TYPE_CHECKING:
    from unmask.mrcnn.model import MaskRCNN

# Longer side of the first and of the second look at a photo, in pixels.
WORKING_SIDE = 320
FINE_SIDE = 640

# The first look is a mean over this many times its side, each with the mirrored photo: IoU 0.907
# instead of 0.887 on 58 validation photos.
_SCALES = (1.0, 1.3)

# Masks below this share of the photo's longer side deserve, or ask for, a second look.
_SMALL = 0.1

# The last block of a ResNet's fourth stage tells how deep it is.
_LAST_BLOCKS = (("resnet101", "res4w_branch2a/"), ("resnet50", "res4f_branch2a/"))


class MaskFinder(Protocol):
    """What the pipeline needs of a network that finds masks; bring your own by these two methods.

    Example:
        >>> class Nowhere:
        ...     def find(self, photo, *, min_score):
        ...         return []
        ...     def segment(self, crops):
        ...         return np.zeros(crops.shape[:3], np.float32)
        >>> finder: MaskFinder = Nowhere()
    """

    def find(self, photo: NDArray[np.uint8], *, min_score: float) -> list[MaskRegion]:
        """Find the face masks in a photo.

        Args:
            photo: (H, W, 3) uint8 RGB, any size.
            min_score: Masks with a lower score are dropped, 0 to 1.

        Returns:
            The masks in photo pixels, largest first; empty when there is none.
        """
        ...

    def segment(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Look at masks closely, where faces are already framed.

        Args:
            crops: (B, 256, 256, 3) uint8 RGB canonical face crops; B may be 0.

        Returns:
            (B, 256, 256) float32, the probability that a pixel belongs to a mask.
        """
        ...


class UNetFinder:
    """Finds masks with a U-Net; see `find_masks` and `segment_crops`.

    Attributes:
        network: A network of `build_unet`.
        verifier: A network of `build_verifier` that judges what the first one finds; without it a
            mask's score is its mean probability.
        thorough: See `find_masks`.

    Example:
        >>> from unmask.segmentation.lite import LITE, build_unet
        >>> finder = UNetFinder(build_unet(**LITE))
        >>> finder.segment(np.zeros((2, 256, 256, 3), np.uint8)).shape
        (2, 256, 256)
    """

    def __init__(
        self,
        network: Network,
        verifier: Network | None = None,
        *,
        thorough: bool = True,
    ) -> None:
        self.network, self.verifier, self.thorough = network, verifier, thorough

    def find(self, photo: NDArray[np.uint8], *, min_score: float) -> list[MaskRegion]:
        """Find the face masks in a photo; a mask's score is the verifier's, if there is one."""
        if self.verifier is None:
            return find_masks(self.network, photo, min_score=min_score, thorough=self.thorough)
        found = find_masks(self.network, photo, min_score=LIMITS.candidate, thorough=self.thorough)
        scores = verify(self.verifier, photo, found)
        return [
            replace(region, score=float(score), certainty=region.score)
            for region, score in zip(found, scores, strict=True)
            if score >= min_score
        ]

    def segment(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the mean of the probabilities in each crop and in its mirror image."""
        return segment_crops(self.network, crops, mirror=True)


class MaskRCNNFinder:
    """Finds masks with a Mask R-CNN of any size, trained here or with matterport's package.

    Its masks are outlines without doubts. The mean over a crop and its mirror image has some: in
    the pipeline the small network's IoU on 58 validation photos is 0.890, with one look 0.879.

    Attributes:
        detector: A network for detecting. Whatever it detects counts as a mask, of any class, and
            what is below its own `DETECTION_MIN_CONFIDENCE` it does not report.

    Raises:
        ValueError: The network is one for training.

    Example:
        >>> from unmask.segmentation.detector import build_detector
        >>> finder = MaskRCNNFinder(build_detector())                           # doctest: +SKIP
        >>> finder.segment(np.zeros((2, 256, 256, 3), np.uint8)).shape          # doctest: +SKIP
        (2, 256, 256)
    """

    def __init__(self, detector: MaskRCNN) -> None:
        if detector.mode != "inference":
            raise ValueError(
                "detector must be built with mode='inference'. "
                f"Received: a detector with mode={detector.mode!r}"
            )
        self.detector = detector

    def find(self, photo: NDArray[np.uint8], *, min_score: float) -> list[MaskRegion]:
        """Find the face masks in a photo; a mask's score is that of its class."""
        from unmask.segmentation.detector import find_masks

        regions = find_masks(self.detector, photo)
        return [region for region in regions if region.score >= min_score]

    def segment(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the mean of the scores in each crop and in its mirror image.

        A pixel's score is the highest of the masks that cover it, and 0 where none does.
        """
        return (self._scores(crops) + self._scores(crops[:, :, ::-1])[:, :, ::-1]) / np.float32(2)

    def _scores(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        maps = np.zeros(crops.shape[:3], np.float32)
        for found, single in zip(self.detector.detect(list(crops)), maps, strict=True):
            np.max(found["masks"] * found["scores"], axis=-1, initial=0.0, out=single)
        return maps


def load_finder(
    path: str | os.PathLike[str], verifier: str | os.PathLike[str] | None = None
) -> UNetFinder | MaskRCNNFinder:
    """Load what finds masks; the file says which network it is.

    Args:
        path: What a recipe for segmentation has left: of the U-Net, or of either Mask R-CNN.
            Or a `.h5` file in matterport's layout with a ResNet-50 or ResNet-101 and two classes,
            background and mask; it is used with the paper's settings (256 x 256 pixels).
        verifier: For a U-Net, the file of the network that judges what it finds, as
            the recipe `lite/verifier` leaves it. A Mask R-CNN judges itself.

    Returns:
        The finder, ready to use.

    Raises:
        WeightsError: The file cannot be read, or holds another network.

    Example:
        >>> finder = load_finder("RUN/segmentation.safetensors")            # doctest: +SKIP
        >>> finder.find(photo, min_score=0.7)                           # doctest: +SKIP
        [MaskRegion(box=(98.0, 141.0, 167.0, 196.0), score=0.99, shape=(320, 256))]
    """
    path = Path(path)
    if is_onnx(path):
        return UNetFinder(OnnxNetwork(path), None if verifier is None else OnnxNetwork(verifier))
    if path.suffix.lower() in (".h5", ".hdf5"):
        return _load_published(path)
    names = set(load_arrays(path)[0])
    if any(name.startswith("mrcnn_") for name in names):
        return _load_mask_rcnn(path, names)
    from unmask.segmentation.lite import LITE, build_unet

    unet = build_unet(**LITE)
    try:
        load_weights(unet, path)
    except WeightsError as error:
        raise WeightsError(f"{error}. Neither a Mask R-CNN nor a small U-Net") from error
    if verifier is None:
        return UNetFinder(unet)
    judge = build_verifier(**VERIFIER)
    load_weights(judge, verifier)
    return UNetFinder(unet, judge)


def _load_mask_rcnn(path: Path, names: set[str]) -> MaskRCNNFinder:
    from unmask.segmentation import detector

    depth = next((d for d, last in _LAST_BLOCKS if any(n.startswith(last) for n in names)), None)
    model = detector.build_detector() if depth is None else _published(depth)
    load_weights(model.keras_model, path)
    return MaskRCNNFinder(model)


def _load_published(path: Path) -> MaskRCNNFinder:
    from unmask.mrcnn.h5 import stored_backbone

    model = _published(stored_backbone(path))
    model.load_weights(path)
    return MaskRCNNFinder(model)


def _published(backbone: str) -> MaskRCNN:
    """Build the paper's network, or with a "resnet101", as the published COCO file has it."""
    from unmask.mrcnn.model import MaskRCNN
    from unmask.segmentation.paper import PaperConfig

    settings = PaperConfig()
    settings.BACKBONE = backbone
    return MaskRCNN("inference", settings, "logs")


# === How a U-Net looks ===


def segment_crops(
    model: Network, crops: NDArray[np.uint8], batch_size: int = 8, *, mirror: bool = False
) -> NDArray[np.float32]:
    """Segment the masks in canonical face crops.

    Args:
        model: A network of `build_unet`.
        crops: (B, 256, 256, 3) uint8 RGB; other sizes work too when both are multiples of 32.
        batch_size: Crops that go through the network together.
        mirror: Take the mean over each crop and its mirror image.

    Returns:
        (B, 256, 256) float32, the probability that a pixel belongs to a mask.

    Raises:
        ValueError: `crops` has another shape or type.

    Example:
        >>> from unmask.segmentation.lite import LITE, build_unet
        >>> segment_crops(build_unet(**LITE), np.zeros((2, 256, 256, 3), np.uint8)).shape
        (2, 256, 256)
    """
    if (
        crops.ndim != 4
        or crops.shape[-1] != 3
        or crops.dtype != np.uint8
        or crops.shape[1] % STRIDE
        or crops.shape[2] % STRIDE
    ):
        raise ValueError(
            f"crops must be (B, H, W, 3) uint8 with H and W multiples of {STRIDE}. "
            f"Received: shape={crops.shape}, dtype={crops.dtype}"
        )
    if mirror:
        flipped = segment_crops(model, np.ascontiguousarray(crops[:, :, ::-1]), batch_size)
        return (segment_crops(model, crops, batch_size) + flipped[:, :, ::-1]) / np.float32(2)
    parts = [
        forward(model, crops[i : i + batch_size].astype(np.float32) / np.float32(255))[..., 0]
        for i in range(0, len(crops), batch_size)
    ]
    return np.concatenate(parts) if parts else np.zeros(crops.shape[:3], np.float32)


def find_masks(
    model: Network,
    photo: NDArray[np.uint8],
    *,
    threshold: float = 0.5,
    min_score: float = 0.7,
    side: int = WORKING_SIDE,
    fine_side: int | None = FINE_SIDE,
    thorough: bool = True,
) -> list[MaskRegion]:
    """Find the face masks in a photo.

    The photo is looked at with its longer side at `side` pixels. When that shows no mask or small
    ones only, and the photo has the pixels, a second look at `fine_side` follows.

    Args:
        model: A network of `build_unet`.
        photo: (H, W, 3) uint8 RGB, any size.
        threshold: Probability from which on a pixel belongs to a mask, between 0 and 1.
        min_score: Masks with a lower mean probability are dropped.
        side: Longer side of the first look in pixels, a multiple of 32.
        fine_side: Longer side of the second look; None for no second look.
        thorough: Take the mean over the photo and its mirror image, in the first look also at 1.3
            times the side: better outlines for five times the time.

    Returns:
        The masks, largest first; empty when there is none.

    Raises:
        ValueError: `photo` has another shape or type, or a number is out of its range.

    Example:
        >>> from unmask.segmentation.lite import LITE, build_unet
        >>> black = np.zeros((64, 64, 3), np.uint8)
        >>> find_masks(build_unet(**LITE), black, min_score=1.0)
        []
    """
    _check(photo, threshold, side, fine_side)
    shape = (photo.shape[0], photo.shape[1])

    def look(sides: Sequence[int]) -> list[MaskRegion]:
        maps = [probability_map(model, photo, length, mirror=thorough) for length in sides]
        return find_regions(_mean(maps), shape, threshold=threshold, min_score=min_score)

    scales = _SCALES if thorough else (1.0,)
    regions = look([_whole_strides(side * scale) for scale in scales])
    if fine_side is None or not _wants_second_look(regions, shape, side):
        return regions
    fine = look([fine_side])
    missed = [r for r in regions if all(overlap(r, f) < 0.2 for f in fine)]
    return sorted(fine + missed, key=lambda region: -region.area)


def probability_map(
    model: Network,
    photo: NDArray[np.uint8],
    side: int = WORKING_SIDE,
    *,
    square: bool = False,
    mirror: bool = False,
) -> NDArray[np.float32]:
    """Segment a photo with its longer side at `side` pixels, (h, w) float32.

    The shorter side is padded with black to a multiple of 32, or to `side` where the network's
    input is `square`; `mirror` takes the mean over the photo and its mirror image.
    """
    small = _resized(photo, side)
    height, width = small.shape[:2]
    step = side if square else STRIDE
    canvas = np.zeros((-(-height // step) * step, -(-width // step) * step, 3), np.uint8)
    canvas[:height, :width] = small
    return segment_crops(model, canvas[None], mirror=mirror)[0, :height, :width]


def _mean(maps: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the mean of maps of one photo at the size of the last."""
    height, width = maps[-1].shape
    return np.asarray(np.mean([cv2.resize(m, (width, height)) for m in maps], axis=0), np.float32)


def _whole_strides(side: float) -> int:
    return max(STRIDE, round(side / STRIDE) * STRIDE)


def _resized(photo: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    height, width = photo.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(photo, size, interpolation=method), np.uint8)


def _wants_second_look(regions: list[MaskRegion], shape: tuple[int, int], side: int) -> bool:
    longest = max(shape)
    if longest < 1.25 * side:
        return False
    sides = [max(r.box[2] - r.box[0], r.box[3] - r.box[1]) for r in regions]
    return all(length < _SMALL * longest for length in sides)


def _check(photo: NDArray[np.uint8], threshold: float, side: int, fine_side: int | None) -> None:
    if photo.ndim != 3 or photo.shape[-1] != 3 or photo.dtype != np.uint8 or not photo.size:
        raise ValueError(
            f"photo must be (H, W, 3) uint8. Received: shape={photo.shape}, dtype={photo.dtype}"
        )
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be between 0 and 1. Received: threshold={threshold}")
    for name, value in (("side", side), ("fine_side", fine_side)):
        if value is not None and (value < STRIDE or value % STRIDE):
            raise ValueError(f"{name} must be a multiple of {STRIDE}. Received: {name}={value}")

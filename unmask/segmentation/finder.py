"""What finds the masks in photos, whichever network does it, and how a U-Net looks at pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.decide import LIMITS
from unmask.errors import WeightsError
from unmask.face import compose, matrix_from_mask_box, warp
from unmask.inference import Network, OnnxNetwork, forward, is_onnx, mean_probability
from unmask.io import PathLike
from unmask.segmentation import STRIDE, VIEW_SIDE
from unmask.segmentation.regions import MaskRegion, find_regions, overlap
from unmask.weights import load_arrays, load_weights

# The Mask R-CNN and all that belongs to its training are imported only where one is used.
if TYPE_CHECKING:
    from unmask.mrcnn.model import MaskRCNN

# Longer side of the first and of the second look at a photo, in pixels.
WORKING_SIDE = 320
FINE_SIDE = 640

# The first look is a mean over these, each with the mirrored photo: IoU 0.907 instead of 0.887 on
# 58 validation photos.
_SIDES = (WORKING_SIDE, 416)

# Masks below this share of the photo's longer side deserve, or ask for, a second look.
_SMALL = 0.1

# A verdict is a mean over framings: closer, as trained, and wider. With one framing a mask or two
# of 58 validation photos are refused at the threshold at which the mean accepts all.
_MARGINS = (-0.08, 0.0, 0.1)
# Regions that go through the verifier at once, in all framings: a collage has hundreds.
_VERIFIED_AT_ONCE = 32

# Crops that go through the U-Net together.
_BATCH = 8

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
    """Finds masks with a network of `build_unet`.

    One of `build_verifier` judges what it finds; without it a mask's score is its mean probability.
    `thorough` is as for `find_masks`.

    Example:
        >>> from unmask.segmentation.lite import build_unet
        >>> finder = UNetFinder(build_unet())
        >>> finder.segment(np.zeros((2, 256, 256, 3), np.uint8)).shape
        (2, 256, 256)
    """

    def __init__(
        self, network: Network, verifier: Network | None = None, *, thorough: bool = True
    ) -> None:
        self.network, self.verifier, self.thorough = network, verifier, thorough

    def find(self, photo: NDArray[np.uint8], *, min_score: float) -> list[MaskRegion]:
        """Find the face masks in a photo; a mask's score is the verifier's, if there is one."""
        least = min_score if self.verifier is None else LIMITS.candidate
        found = find_masks(self.network, photo, min_score=least, thorough=self.thorough)
        if self.verifier is None:
            return found
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
    """Finds masks with a Mask R-CNN: whatever it detects is one, of any class.

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
        """Return each pixel's highest score, the mean of those in a crop and its mirror image."""
        # In the pipeline the IoU on 58 validation photos is 0.890, with one look 0.879.
        return (self._scores(crops) + self._scores(crops[:, :, ::-1])[:, :, ::-1]) / np.float32(2)

    def _scores(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        maps = np.zeros(crops.shape[:3], np.float32)
        for found, single in zip(self.detector.detect(list(crops)), maps, strict=True):
            np.max(found["masks"] * found["scores"], axis=-1, initial=0.0, out=single)
        return maps


def load_finder(path: PathLike, verifier: PathLike | None = None) -> UNetFinder | MaskRCNNFinder:
    """Load what finds masks; the file says which network it is.

    Args:
        path: What a recipe for segmentation has left: of the U-Net, or of either Mask R-CNN. Or a
            `.h5` file in matterport's layout with a ResNet-50 or ResNet-101 and two classes,
            background and mask; it is used with the paper's settings (256 x 256 pixels).
        verifier: For a U-Net, the file of the network that judges what it finds.

    Raises:
        WeightsError: The file cannot be read, or holds another network.

    Example:
        >>> finder = load_finder("RUN/segmentation.safetensors")            # doctest: +SKIP
        >>> finder.find(photo, min_score=0.7)                           # doctest: +SKIP
        [MaskRegion(box=(98.0, 141.0, 167.0, 196.0), score=0.99, shape=(320, 256))]
    """
    path = Path(path)
    if is_onnx(path):
        network = OnnxNetwork(path)
        if len(network.inputs) != 1 or network.input_shape != (None, None, None, 3):
            raise WeightsError(f"{path}: not a U-Net that finds masks; takes {network.inputs}")
        return UNetFinder(network, None if verifier is None else OnnxNetwork(verifier))
    if path.suffix.lower() in (".h5", ".hdf5"):
        return _load_published(path)
    if names := mask_rcnn_names(path):
        return _load_mask_rcnn(path, names)
    from unmask.segmentation.lite import build_unet, build_verifier

    unet = build_unet()
    try:
        load_weights(unet, path)
    except WeightsError as error:
        raise WeightsError(f"{error}. Neither a Mask R-CNN nor a small U-Net") from error
    if verifier is None:
        return UNetFinder(unet)
    judge = build_verifier()
    load_weights(judge, verifier)
    return UNetFinder(unet, judge)


def mask_rcnn_names(path: Path) -> set[str]:
    """Return the names of a file's weights if they are a Mask R-CNN's, else none."""
    names = set(load_arrays(path)[0])
    return names if any(name.startswith("mrcnn_") for name in names) else set()


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
    model: Network, crops: NDArray[np.uint8], *, mirror: bool = False
) -> NDArray[np.float32]:
    """Return the probability (B, H, W) that a pixel of crops belongs to a mask.

    Args:
        model: A network of `build_unet`.
        crops: (B, H, W, 3) uint8 RGB, both sides multiples of 32.
        mirror: Take the mean over each crop and its mirror image.

    Raises:
        ValueError: `crops` has another shape or type.

    Example:
        >>> from unmask.segmentation.lite import build_unet
        >>> segment_crops(build_unet(), np.zeros((2, 256, 256, 3), np.uint8)).shape
        (2, 256, 256)
    """
    height, width, channels = (*crops.shape, 0, 0, 0)[1:4]
    whole = crops.ndim == 4 and channels == 3 and crops.dtype == np.uint8
    if not whole or height % STRIDE or width % STRIDE:
        raise ValueError(
            f"crops must be (B, H, W, 3) uint8 with H and W multiples of {STRIDE}. "
            f"Received: shape={crops.shape}, dtype={crops.dtype}"
        )
    if mirror:
        flipped = segment_crops(model, np.ascontiguousarray(crops[:, :, ::-1]))
        return (segment_crops(model, crops) + flipped[:, :, ::-1]) / np.float32(2)
    parts = [
        forward(model, crops[i : i + _BATCH].astype(np.float32) / np.float32(255))[..., 0]
        for i in range(0, len(crops), _BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros(crops.shape[:3], np.float32)


def find_masks(
    model: Network, photo: NDArray[np.uint8], *, threshold: float = 0.5, min_score: float = 0.7,
    thorough: bool = True, twice: bool = True,
) -> list[MaskRegion]:  # fmt: skip
    """Find the face masks in a photo, largest first.

    Args:
        model: A network of `build_unet`.
        photo: (H, W, 3) uint8 RGB, any size.
        threshold: Probability from which on a pixel belongs to a mask, between 0 and 1.
        min_score: Masks with a lower mean probability are dropped.
        thorough: Take the mean over the photo and its mirror image, in the first look also at 1.3
            times the side: better outlines for five times the time.
        twice: Look again, at 640 pixels instead of 320, when no mask or small ones only were found
            and the photo has the pixels.

    Raises:
        ValueError: `photo` has another shape or type, or the threshold is out of its range.

    Example:
        >>> from unmask.segmentation.lite import build_unet
        >>> black = np.zeros((64, 64, 3), np.uint8)
        >>> find_masks(build_unet(), black, min_score=1.0)
        []
    """
    if photo.ndim != 3 or photo.shape[-1] != 3 or photo.dtype != np.uint8 or not photo.size:
        raise ValueError(
            f"photo must be (H, W, 3) uint8. Received: shape={photo.shape}, dtype={photo.dtype}"
        )
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be between 0 and 1. Received: threshold={threshold}")
    shape = (photo.shape[0], photo.shape[1])

    def look(*sides: int) -> list[MaskRegion]:
        maps = [probability_map(model, photo, length, mirror=thorough) for length in sides]
        height, width = maps[-1].shape
        mean = np.mean([cv2.resize(m, (width, height)) for m in maps], axis=0).astype(np.float32)
        return find_regions(mean, shape, threshold=threshold, min_score=min_score)

    regions = look(*_SIDES if thorough else _SIDES[:1])
    longest = max(shape)
    sides = [max(r.box[2] - r.box[0], r.box[3] - r.box[1]) for r in regions]
    if not twice or longest < 1.25 * WORKING_SIDE or max(sides, default=0) >= _SMALL * longest:
        return regions
    fine = look(FINE_SIDE)
    missed = [r for r in regions if all(overlap(r, f) < 0.2 for f in fine)]
    return sorted(fine + missed, key=lambda region: -region.area)


def probability_map(
    model: Network, photo: NDArray[np.uint8], side: int = WORKING_SIDE, *, square: bool = False,
    mirror: bool = False,
) -> NDArray[np.float32]:  # fmt: skip
    """Segment a photo with its longer side at `side` pixels, (h, w) float32.

    The network sees the shorter side padded to a multiple of 32, or to `side` if `square`.
    """
    scale = side / max(photo.shape[:2])
    height, width = (max(1, round(length * scale)) for length in photo.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    step = side if square else STRIDE
    canvas = np.zeros((-(-height // step) * step, -(-width // step) * step, 3), np.uint8)
    canvas[:height, :width] = cv2.resize(photo, (width, height), interpolation=method)
    return segment_crops(model, canvas[None], mirror=mirror)[0, :height, :width]


# === A second look: does somebody wear it? ===


def region_view(
    photo: NDArray[np.uint8], region: MaskRegion, side: int = VIEW_SIDE, *, margin: float = 0.0
) -> NDArray[np.uint8]:
    """Cut out a region with the face that would wear it, (side, side, 4) uint8.

    The last channel is 255 where the region is; where the photo (H, W, 3) ends, all is black.
    `margin` shows this share more on each side.

    Example:
        >>> region = MaskRegion((8.0, 16.0, 24.0, 28.0), 0.9, np.ones((12, 16), bool), (64, 64))
        >>> region_view(np.zeros((64, 64, 3), np.uint8), region).shape
        (96, 96, 4)
    """
    matrix = matrix_from_mask_box(region.box, side)
    # From the whole view to its inner part.
    inner = 1.0 / (1.0 + 2.0 * margin)
    offset = (1.0 - inner) * (side - 1) / 2
    matrix = compose(np.array([[inner, 0.0, offset], [0.0, inner, offset]]), matrix)
    to_photo = np.array([[1.0, 0.0, region.box[0]], [0.0, 1.0, region.box[1]]])
    patch = np.where(region.patch, np.uint8(255), np.uint8(0))
    colours = warp(photo, matrix, side, border=cv2.BORDER_CONSTANT)
    inside = warp(patch, compose(matrix, to_photo), side, border=cv2.BORDER_CONSTANT)
    return np.dstack([colours, inside])


def verify(
    network: Network, photo: NDArray[np.uint8], regions: Sequence[MaskRegion]
) -> NDArray[np.float32]:
    """Say of each region how likely it is a face mask that somebody wears, (N,), 0 to 1.

    A U-Net judges pixel by pixel, so that a beard, a throat or a red wall may pass for cloth. A
    network of `build_verifier` sees each region with the face around it, as the second stage of a
    detector does; the answer is a mean over three framings and their mirror images.
    """
    if not regions:
        return np.zeros(0, np.float32)
    verdicts = []
    for start in range(0, len(regions), _VERIFIED_AT_ONCE):
        some = regions[start : start + _VERIFIED_AT_ONCE]
        views = np.stack([region_view(photo, r, margin=m) for m in _MARGINS for r in some])
        both = np.concatenate([views, views[:, :, ::-1]]).astype(np.float32) / np.float32(255)
        verdicts.append(mean_probability(forward(network, both).reshape(-1, len(some))))
    return np.concatenate(verdicts)

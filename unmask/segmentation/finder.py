"""What finds the masks, whichever network does it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from unmask.decide import LIMITS
from unmask.errors import WeightsError
from unmask.segmentation.model import LITE, build_unet
from unmask.segmentation.predict import find_masks, segment_crops
from unmask.segmentation.regions import MaskRegion
from unmask.segmentation.verifier import VERIFIER, build_verifier, verify
from unmask.weights import load_arrays, load_weights

# The Mask R-CNN and all that belongs to its training are imported only where one is used.
if TYPE_CHECKING:
    import keras

    from unmask.mrcnn.model import MaskRCNN

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
    """Finds masks with a U-Net; see `predict.find_masks` and `predict.segment_crops`.

    Args:
        network: A network of `build_unet`.
        verifier: A network of `build_verifier` that judges what the first one finds; without it a
            mask's score is its mean probability.
        thorough: See `predict.find_masks`.

    Attributes:
        network: As given.
        verifier: As given.
        thorough: As given.

    Example:
        >>> finder = UNetFinder(build_unet(**LITE))
        >>> finder.segment(np.zeros((2, 256, 256, 3), np.uint8)).shape
        (2, 256, 256)
    """

    def __init__(
        self,
        network: keras.Model,
        verifier: keras.Model | None = None,
        *,
        thorough: bool = True,
    ) -> None:
        self.network = network
        self.verifier = verifier
        self.thorough = thorough

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

    Args:
        detector: A network for detecting. Whatever it detects counts as a mask, of any class, and
            what is below its own `DETECTION_MIN_CONFIDENCE` it does not report.

    Attributes:
        detector: As given.

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
    if path.suffix.lower() in (".h5", ".hdf5"):
        return _load_published(path)
    names = set(load_arrays(path)[0])
    if any(name.startswith("mrcnn_") for name in names):
        return _load_mask_rcnn(path, names)
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


def build_mask_rcnn() -> keras.Model:
    """Build the paper's Mask R-CNN (ResNet-50, two classes), with untrained weights.

    Returns:
        The network of `paper.build_detector`, for weights; detecting needs the detector itself.
    """
    from unmask.segmentation import paper

    return paper.build_detector().keras_model


def _load_mask_rcnn(path: Path, names: set[str]) -> MaskRCNNFinder:
    from unmask.segmentation import detector, paper

    depth = next((d for d, last in _LAST_BLOCKS if any(n.startswith(last) for n in names)), None)
    model = detector.build_detector() if depth is None else paper.build_detector(depth)
    load_weights(model.keras_model, path)
    return MaskRCNNFinder(model)


def _load_published(path: Path) -> MaskRCNNFinder:
    from unmask.mrcnn.h5 import stored_backbone
    from unmask.segmentation import paper

    model = paper.build_detector(stored_backbone(path))
    model.load_weights(path)
    return MaskRCNNFinder(model)

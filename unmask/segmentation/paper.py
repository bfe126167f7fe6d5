"""The paper's network: Mask R-CNN with a ResNet-50 and a feature pyramid, 44,662,942 parameters."""

from __future__ import annotations

from unmask.mrcnn.config import Config
from unmask.mrcnn.model import MaskRCNN


class PaperConfig(Config):
    """The paper's settings; what it does not say is as in the published code.

    Reference:
        Modak et al., "A Deep Learning Framework to Reconstruct Face under Mask", 2022: ResNet-50,
        256 x 256 pixels, batches of 2, learning rate 0.00025.
    """

    NAME = "paper"
    BACKBONE = "resnet50"
    NUM_CLASSES = 2
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256
    IMAGES_PER_GPU = 2
    LEARNING_RATE = 2.5e-4


def build_detector(backbone: str = "resnet50") -> MaskRCNN:
    """Build the paper's network for detecting, with untrained weights.

    Args:
        backbone: "resnet50", or "resnet101", as the published COCO file has it.
    """
    settings = PaperConfig()
    settings.BACKBONE = backbone
    return MaskRCNN("inference", settings, "logs")

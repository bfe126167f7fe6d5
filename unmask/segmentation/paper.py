"""The paper's network (section III.B, Figure 2): Mask R-CNN, ResNet-50 with a feature pyramid.

44,662,942 parameters with two classes, 44,603,678 of which are trained. The network itself is
matterport's, in `unmask.mrcnn`; here is what the paper sets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.mrcnn.config import Config
from unmask.mrcnn.model import MaskRCNN

if TYPE_CHECKING:
    import keras


class PaperConfig(Config):
    """The paper's settings; what it does not say is as in the published code.

    Reference:
        Modak et al., "A Deep Learning Framework to Reconstruct Face under Mask", 2022, sections
        III.B and IV.D.2: ResNet-50, 256 x 256 pixels, batches of 2, learning rate 0.00025.
    """

    NAME = "paper"
    BACKBONE = "resnet50"
    NUM_CLASSES = 2
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256
    IMAGES_PER_GPU = 2
    LEARNING_RATE = 2.5e-4


def build_mask_rcnn() -> keras.Model:
    """Build the paper's network with untrained weights; detecting needs a `MaskRCNN` around it."""
    return MaskRCNN("inference", PaperConfig(), "logs").keras_model

"""What a user sets: the attributes of a Mask R-CNN."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from unmask.errors import SettingError

T = TypeVar("T")

RESIZE_MODES = ("none", "square", "pad64", "crop")
"""The values of `Config.IMAGE_RESIZE_MODE`."""

_META_FIXED = 12
_STRIDE = 64


class _Computed(Generic[T]):
    """An attribute that follows from others, unless it is assigned.

    A subclass that forgets `super().__init__()`, or a program that changes `IMAGES_PER_GPU` later,
    still reads the right value; an assigned value wins, as it did with matterport's.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: type) -> T:
        # Read on the class, the value is the one that an instance without changes has.
        return self._function(owner() if instance is None else instance)


class Config:
    """Settings of a Mask R-CNN; subclass it and override what differs.

    Sizes are in pixels and boxes are (y1, x1, y2, x2). The defaults are matterport's; the last
    block has no counterpart there.

    Attributes:
        NAME: Name of the experiment, part of log folders and checkpoint names. Must be set.
        GPU_COUNT: Factor of the batch size.
        IMAGES_PER_GPU: Images a batch for each of them.
        STEPS_PER_EPOCH: Training batches an epoch.
        VALIDATION_STEPS: Validation batches an epoch.
        BACKBONE: "resnet50", "resnet101", or a function `(image, stage5, train_bn)` that returns
            the five feature maps C1 to C5 at 1/2 (or 1/4) to 1/32 of the resolution.
        COMPUTE_BACKBONE_SHAPE: For a callable backbone, a function from the image's shape to the
            (height, width) of P2 to P6; by default the sizes divided by the strides, rounded up.
        BACKBONE_STRIDES: Strides of P2 to P6.
        FPN_CLASSIF_FC_LAYERS_SIZE: Width of the box head.
        TOP_DOWN_PYRAMID_SIZE: Channels of P2 to P6.
        NUM_CLASSES: Classes with the background, which is class 0.
        RPN_ANCHOR_SCALES: Side of the anchors of each level.
        RPN_ANCHOR_RATIOS: Width over height of the anchors of a cell.
        RPN_ANCHOR_STRIDE: 1 for anchors at each cell, 2 for every other one.
        RPN_NMS_THRESHOLD: Overlap from which on the weaker of two proposals is dropped.
        RPN_TRAIN_ANCHORS_PER_IMAGE: Anchors an image in the RPN's losses.
        PRE_NMS_LIMIT: Best-scored anchors that become proposals.
        POST_NMS_ROIS_TRAINING: Proposals that are kept in training.
        POST_NMS_ROIS_INFERENCE: Proposals that are kept in inference.
        USE_MINI_MASK: Keep true masks as crops of `MINI_MASK_SHAPE`, which saves memory.
        MINI_MASK_SHAPE: Height and width of these crops.
        IMAGE_RESIZE_MODE: "none", "square", "pad64" or "crop"; see `utils.resize_image`.
        IMAGE_MIN_DIM: Least shorter side.
        IMAGE_MAX_DIM: Greatest longer side.
        IMAGE_MIN_SCALE: Least enlargement; 0 for none.
        IMAGE_CHANNEL_COUNT: Channels of the input.
        MEAN_PIXEL: Subtracted from each pixel.
        TRAIN_ROIS_PER_IMAGE: Proposals an image in the heads' losses.
        ROI_POSITIVE_RATIO: Share of these that show an object.
        POOL_SIZE: Side of the box head's input.
        MASK_POOL_SIZE: Side of the mask head's input.
        MASK_SHAPE: Height and width of the masks that the network draws: twice `MASK_POOL_SIZE`.
        MAX_GT_INSTANCES: Most true objects an image in training.
        RPN_BBOX_STD_DEV: Units of the RPN's box corrections.
        BBOX_STD_DEV: Units of the box head's corrections.
        DETECTION_MAX_INSTANCES: Most detections an image.
        DETECTION_MIN_CONFIDENCE: Detections with a lower score are dropped; 0 or None keeps all.
        DETECTION_NMS_THRESHOLD: Overlap from which on the weaker detection of a class is dropped.
        LEARNING_RATE: For programs that pass it to `train`.
        LEARNING_MOMENTUM: Momentum of SGD.
        WEIGHT_DECAY: Factor of the mean squares of the weights in the loss.
        LOSS_WEIGHTS: Factor of each of the five losses.
        USE_RPN_ROIS: False to feed proposals as the input `input_roi` in training.
        TRAIN_BN: Batch normalisation by its stored statistics (False), by those of the batch
            (True), or by Keras' own rule (None).
        GRADIENT_CLIP_NORM: Largest norm of a weight's gradient.
        RPN_FILTERS: Channels of the RPN's hidden layer.
        MASK_FILTERS: Channels of the mask head.
        ROI_CANONICAL_SIZE: Side of a box that is read from P4; a box half as large from P3.
        TRAIN_EMPTY_IMAGES: Train on images without objects too, instead of leaving them out.
        TRAIN_GT_ROIS: Add the true boxes to the proposals in training, so that the heads learn
            before the RPN has.

    Example:
        >>> class Masks(Config):
        ...     NAME = "masks"
        ...     NUM_CLASSES = 1 + 1
        ...     IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256
        >>> config = Masks()
        >>> config.BATCH_SIZE, config.IMAGE_SHAPE.tolist(), config.IMAGE_META_SIZE
        (2, [256, 256, 3], 14)

    Reference:
        He et al., "Mask R-CNN", ICCV 2017; defaults of the published matterport code, version 2.1.
    """

    NAME: str | None = None
    GPU_COUNT: int = 1
    IMAGES_PER_GPU: int = 2
    STEPS_PER_EPOCH: int = 1000
    VALIDATION_STEPS: int = 50

    BACKBONE: str | Callable[..., Any] = "resnet101"
    COMPUTE_BACKBONE_SHAPE: Callable[..., Any] | None = None
    BACKBONE_STRIDES: Sequence[int] = [4, 8, 16, 32, 64]
    FPN_CLASSIF_FC_LAYERS_SIZE: int = 1024
    TOP_DOWN_PYRAMID_SIZE: int = 256

    NUM_CLASSES: int = 1

    RPN_ANCHOR_SCALES: Sequence[float] = (32, 64, 128, 256, 512)
    RPN_ANCHOR_RATIOS: Sequence[float] = [0.5, 1, 2]
    RPN_ANCHOR_STRIDE: int = 1
    RPN_NMS_THRESHOLD: float = 0.7
    RPN_TRAIN_ANCHORS_PER_IMAGE: int = 256
    PRE_NMS_LIMIT: int = 6000
    POST_NMS_ROIS_TRAINING: int = 2000
    POST_NMS_ROIS_INFERENCE: int = 1000

    USE_MINI_MASK: bool = True
    MINI_MASK_SHAPE: Sequence[int] = (56, 56)

    IMAGE_RESIZE_MODE: str = "square"
    IMAGE_MIN_DIM: int = 800
    IMAGE_MAX_DIM: int = 1024
    IMAGE_MIN_SCALE: float = 0
    IMAGE_CHANNEL_COUNT: int = 3
    MEAN_PIXEL: Any = np.array([123.7, 116.8, 103.9])

    TRAIN_ROIS_PER_IMAGE: int = 200
    ROI_POSITIVE_RATIO: float = 0.33
    POOL_SIZE: int = 7
    MASK_POOL_SIZE: int = 14
    MASK_SHAPE: Sequence[int] = [28, 28]
    MAX_GT_INSTANCES: int = 100
    RPN_BBOX_STD_DEV: Any = np.array([0.1, 0.1, 0.2, 0.2])
    BBOX_STD_DEV: Any = np.array([0.1, 0.1, 0.2, 0.2])

    DETECTION_MAX_INSTANCES: int = 100
    DETECTION_MIN_CONFIDENCE: float | None = 0.7
    DETECTION_NMS_THRESHOLD: float = 0.3

    LEARNING_RATE: float = 0.001
    LEARNING_MOMENTUM: float = 0.9
    WEIGHT_DECAY: float = 0.0001
    LOSS_WEIGHTS: dict[str, float] = {  # noqa: RUF012 -- matterport's programs override it whole
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
    }
    USE_RPN_ROIS: bool = True
    TRAIN_BN: bool | None = False
    GRADIENT_CLIP_NORM: float = 5.0

    RPN_FILTERS: int = 512
    MASK_FILTERS: int = 256
    ROI_CANONICAL_SIZE: float = 224.0
    TRAIN_EMPTY_IMAGES: bool = False
    TRAIN_GT_ROIS: bool = False

    @_Computed
    def BATCH_SIZE(self) -> int:  # noqa: N802
        """Images a batch."""
        return self.IMAGES_PER_GPU * self.GPU_COUNT

    @_Computed
    def IMAGE_SHAPE(self) -> NDArray[np.int64]:  # noqa: N802
        """Height, width and channels of the network's input."""
        side = self.IMAGE_MIN_DIM if self.IMAGE_RESIZE_MODE == "crop" else self.IMAGE_MAX_DIM
        return np.array([side, side, self.IMAGE_CHANNEL_COUNT])

    @_Computed
    def IMAGE_META_SIZE(self) -> int:  # noqa: N802
        """Length of the vector that describes an image."""
        return _META_FIXED + self.NUM_CLASSES

    def display(self) -> None:
        """Print all settings."""
        print("\nConfigurations:")  # noqa: T201 -- that is what it is for
        for name in sorted(name for name in dir(self) if not name.startswith("_")):
            value = getattr(self, name)
            if not callable(value):
                print(f"{name:30} {value}")  # noqa: T201
        print()  # noqa: T201

    def function(self, name: str) -> Callable[..., Any]:
        """Return an attribute that is a function, as it was written.

        A plain function that is set in a class body would get the configuration as its first
        argument.

        Args:
            name: "BACKBONE" or "COMPUTE_BACKBONE_SHAPE".

        Returns:
            The function; a method whose first parameter is `self` stays a method.
        """
        value = getattr(self, name)
        if isinstance(value, MethodType) and value.__self__ is self:
            first = next(iter(inspect.signature(value.__func__).parameters), None)
            if first != "self":
                return value.__func__
        return value


def mean_pixel(config: Config) -> NDArray[np.float32]:
    """Return `MEAN_PIXEL` as an array: one value, or one a channel.

    Raises:
        SettingError: It has another number of values.
    """
    mean = np.asarray(config.MEAN_PIXEL, np.float32)
    channels = config.IMAGE_CHANNEL_COUNT
    if mean.size != 1 and mean.shape != (channels,):
        raise SettingError(
            f"MEAN_PIXEL must have a value for each channel, IMAGE_CHANNEL_COUNT={channels}. "
            f"Received: MEAN_PIXEL={np.asarray(config.MEAN_PIXEL).tolist()}"
        )
    return mean


def check_config(config: Config) -> None:
    """Check settings that a network cannot be built from.

    Raises:
        SettingError: A setting is missing or does not fit another one.
    """
    if not config.NAME:
        raise SettingError("a Config needs a NAME. Received: NAME=None")
    if re.search(r"[/\\\x00-\x1f]", str(config.NAME)):
        raise SettingError(
            "NAME is part of names of files and must not have slashes or control characters. "
            f"Received: NAME={config.NAME!r}"
        )
    mean_pixel(config)
    if config.IMAGE_RESIZE_MODE not in RESIZE_MODES:
        raise SettingError(
            f"IMAGE_RESIZE_MODE must be one of {RESIZE_MODES}. "
            f"Received: IMAGE_RESIZE_MODE={config.IMAGE_RESIZE_MODE!r}"
        )
    height, width = (int(side) for side in config.IMAGE_SHAPE[:2])
    if height % _STRIDE or width % _STRIDE:
        raise SettingError(
            "the sides of IMAGE_SHAPE must be divisible by 64 (2^6), because the pyramid halves "
            "them six times: 256, 320, 384, 448, 512, ... "
            f"Received: IMAGE_SHAPE=({height}, {width})"
        )
    if list(config.MASK_SHAPE) != [2 * config.MASK_POOL_SIZE] * 2:
        raise SettingError(
            f"MASK_SHAPE must be twice MASK_POOL_SIZE on both sides. "
            f"Received: MASK_SHAPE={config.MASK_SHAPE}, MASK_POOL_SIZE={config.MASK_POOL_SIZE}"
        )
    if len(config.RPN_ANCHOR_SCALES) != 5 or len(config.BACKBONE_STRIDES) != 5:
        raise SettingError(
            "RPN_ANCHOR_SCALES and BACKBONE_STRIDES need an entry for each of P2 to P6. "
            f"Received: RPN_ANCHOR_SCALES={config.RPN_ANCHOR_SCALES}, "
            f"BACKBONE_STRIDES={config.BACKBONE_STRIDES}"
        )
    if config.NUM_CLASSES < 2:
        raise SettingError(
            "NUM_CLASSES counts the background too, so it is 2 for one kind of object. "
            f"Received: NUM_CLASSES={config.NUM_CLASSES}"
        )

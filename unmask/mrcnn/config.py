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


class _Computed(Generic[T]):
    """An attribute that follows from others when it is read, unless it is assigned."""

    def __init__(self, function: Callable[[Any], T]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: type) -> T:
        # Read on the class, the value is the one that an instance without changes has.
        return self._function(owner() if instance is None else instance)


class Config:
    """Settings of a Mask R-CNN; subclass it and override what differs.

    Sizes are in pixels. The defaults are matterport's; the last block has no counterpart there.

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

    # Name of the experiment, part of log folders and checkpoint names. Must be set
    NAME: str | None = None
    GPU_COUNT: int = 1  # factor of the batch size
    IMAGES_PER_GPU: int = 2  # images a batch for each of them
    STEPS_PER_EPOCH: int = 1000  # training batches an epoch
    VALIDATION_STEPS: int = 50  # validation batches an epoch

    # "resnet50", "resnet101", or a function `(image, stage5, train_bn)` that returns the five
    # feature maps C1 to C5 at 1/2 (or 1/4) to 1/32 of the resolution
    BACKBONE: str | Callable[..., Any] = "resnet101"
    # For a callable backbone, a function from the image's shape to the (height, width) of P2 to P6;
    # by default the sizes divided by the strides, rounded up
    COMPUTE_BACKBONE_SHAPE: Callable[..., Any] | None = None
    BACKBONE_STRIDES: Sequence[int] = [4, 8, 16, 32, 64]  # strides of P2 to P6
    FPN_CLASSIF_FC_LAYERS_SIZE: int = 1024  # width of the box head
    TOP_DOWN_PYRAMID_SIZE: int = 256  # channels of P2 to P6

    NUM_CLASSES: int = 1  # classes with the background, which is class 0

    # Side of the anchors of each level
    RPN_ANCHOR_SCALES: Sequence[float] = (32, 64, 128, 256, 512)
    RPN_ANCHOR_RATIOS: Sequence[float] = [0.5, 1, 2]  # width over height of the anchors of a cell
    RPN_ANCHOR_STRIDE: int = 1  # 1 for anchors at each cell, 2 for every other one
    RPN_NMS_THRESHOLD: float = 0.7  # overlap from which on the weaker of two proposals is dropped
    RPN_TRAIN_ANCHORS_PER_IMAGE: int = 256  # anchors an image in the RPN's losses
    PRE_NMS_LIMIT: int = 6000  # best-scored anchors that become proposals
    POST_NMS_ROIS_TRAINING: int = 2000  # proposals that are kept in training
    POST_NMS_ROIS_INFERENCE: int = 1000  # proposals that are kept in inference

    USE_MINI_MASK: bool = True  # keep true masks as crops of `MINI_MASK_SHAPE`, which saves memory
    MINI_MASK_SHAPE: Sequence[int] = (56, 56)  # height and width of these crops

    # "none", "square", "pad64" or "crop"; see `utils.resize_image`
    IMAGE_RESIZE_MODE: str = "square"
    IMAGE_MIN_DIM: int = 800  # least shorter side
    IMAGE_MAX_DIM: int = 1024  # greatest longer side
    IMAGE_MIN_SCALE: float = 0  # least enlargement; 0 for none
    IMAGE_CHANNEL_COUNT: int = 3  # channels of the input
    MEAN_PIXEL: Any = np.array([123.7, 116.8, 103.9])  # subtracted from each pixel

    TRAIN_ROIS_PER_IMAGE: int = 200  # proposals an image in the heads' losses
    ROI_POSITIVE_RATIO: float = 0.33  # share of these that show an object
    POOL_SIZE: int = 7  # side of the box head's input
    MASK_POOL_SIZE: int = 14  # side of the mask head's input
    # Height and width of the masks that the network draws: twice `MASK_POOL_SIZE`
    MASK_SHAPE: Sequence[int] = [28, 28]
    MAX_GT_INSTANCES: int = 100  # most true objects an image in training
    RPN_BBOX_STD_DEV: Any = np.array([0.1, 0.1, 0.2, 0.2])  # units of the RPN's box corrections
    BBOX_STD_DEV: Any = np.array([0.1, 0.1, 0.2, 0.2])  # units of the box head's corrections

    DETECTION_MAX_INSTANCES: int = 100  # most detections an image
    # Detections with a lower score are dropped; 0 or None keeps all
    DETECTION_MIN_CONFIDENCE: float | None = 0.7
    # Overlap from which on the weaker detection of a class is dropped
    DETECTION_NMS_THRESHOLD: float = 0.3

    LEARNING_RATE: float = 0.001  # for programs that pass it to `train`
    LEARNING_MOMENTUM: float = 0.9  # momentum of SGD
    WEIGHT_DECAY: float = 0.0001  # factor of the mean squares of the weights in the loss
    # Factor of each of the five losses
    LOSS_WEIGHTS: dict[str, float] = {  # noqa: RUF012 -- matterport's programs override it whole
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
    }
    USE_RPN_ROIS: bool = True  # False to feed proposals as the input `input_roi` in training
    # Batch normalisation by its stored statistics (False), by those of the batch (True), or by
    # Keras' own rule (None)
    TRAIN_BN: bool | None = False
    GRADIENT_CLIP_NORM: float = 5.0  # largest norm of a weight's gradient

    RPN_FILTERS: int = 512  # channels of the RPN's hidden layer
    MASK_FILTERS: int = 256  # channels of the mask head
    # Side of a box that is read from P4; a box half as large from P3
    ROI_CANONICAL_SIZE: float = 224.0
    # Train on images without objects too, instead of leaving them out
    TRAIN_EMPTY_IMAGES: bool = False
    # Add the true boxes to the proposals in training, so that the heads learn before the RPN has
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
        return 12 + self.NUM_CLASSES

    def display(self) -> None:
        """Print all settings."""
        print("\nConfigurations:")  # noqa: T201 -- that is what it is for
        for name in sorted(name for name in dir(self) if not name.startswith("_")):
            value = getattr(self, name)
            if not callable(value):
                print(f"{name:30} {value}")  # noqa: T201
        print()  # noqa: T201

    def function(self, name: str) -> Callable[..., Any]:
        """Return an attribute that is a function; without `self`, it gets no configuration."""
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
        text = f"MEAN_PIXEL must have a value for each channel, IMAGE_CHANNEL_COUNT={channels}"
        raise _error(config, text, "MEAN_PIXEL")
    return mean


def check_config(config: Config) -> None:
    """Check settings that a network cannot be built from.

    Raises:
        SettingError: A setting is missing or does not fit another one.
    """
    mean_pixel(config)
    levels = len(config.RPN_ANCHOR_SCALES), len(config.BACKBONE_STRIDES)
    rules = (
        (config.NAME, "a Config needs a NAME", "NAME"),
        (
            not re.search(r"[/\\\x00-\x1f]", str(config.NAME)),
            "NAME is part of names of files and must not have slashes or control characters",
            "NAME",
        ),
        (
            config.IMAGE_RESIZE_MODE in ("none", "square", "pad64", "crop"),
            "IMAGE_RESIZE_MODE must be none, square, pad64 or crop", "IMAGE_RESIZE_MODE",
        ),
        (
            not any(int(side) % 64 for side in config.IMAGE_SHAPE[:2]),
            "the sides of IMAGE_SHAPE must be divisible by 64 (2^6), because the pyramid halves "
            "them six times: 256, 320, 384, 448, 512, ...", "IMAGE_SHAPE",
        ),
        (
            list(config.MASK_SHAPE) == [2 * config.MASK_POOL_SIZE] * 2,
            "MASK_SHAPE must be twice MASK_POOL_SIZE on both sides", "MASK_SHAPE", "MASK_POOL_SIZE",
        ),
        (
            levels == (5, 5),
            "RPN_ANCHOR_SCALES and BACKBONE_STRIDES need an entry for each of P2 to P6",
            "RPN_ANCHOR_SCALES", "BACKBONE_STRIDES",
        ),
        (
            config.NUM_CLASSES >= 2,
            "NUM_CLASSES counts the background too, so it is 2 for one kind of object",
            "NUM_CLASSES",
        ),
    )  # fmt: skip
    for good, text, *names in rules:
        if not good:
            raise _error(config, str(text), *names)


def _error(config: Config, text: str, *names: str) -> SettingError:
    values = ((name, getattr(config, name)) for name in names)
    received = (f"{n}={v.tolist() if isinstance(v, np.ndarray) else v!r}" for n, v in values)
    return SettingError(f"{text}. Received: {', '.join(received)}")

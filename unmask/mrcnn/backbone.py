"""ResNet and the feature pyramid on top of it, with matterport's layer names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from unmask.mrcnn.config import Config

Tensor = Any


@keras.saving.register_keras_serializable(package="unmask")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation whose mode `Config.TRAIN_BN` decides, whatever the network's is.

    Args:
        train_bn: False for the stored statistics, as batches of one or two images have no useful
            ones; True for those of the batch; None for what the network is called with.

    Example:
        >>> import numpy as np
        >>> layer = BatchNorm(train_bn=False, epsilon=0.0)
        >>> float(layer(np.full((2, 1), 3.0, np.float32), training=True)[0, 0])
        3.0
    """

    def __init__(self, train_bn: bool | None = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.train_bn = train_bn

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise."""
        mode = training if self.train_bn is None else self.train_bn
        return super().call(inputs, training=mode, mask=mask)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "train_bn": self.train_bn}


# Residual blocks of stages 2 to 5.
BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}

_FILTERS = ((64, 64, 256), (128, 128, 512), (256, 256, 1024), (512, 512, 2048))


def build_backbone(image: Tensor, config: Config) -> list[Tensor]:
    """Return the maps C1 to C5 of an image tensor (N, H, W, C) by the backbone of a config.

    Raises:
        ValueError: The backbone is unknown, or a function does not return five maps.
    """
    if not callable(config.BACKBONE):
        return resnet_graph(image, config.BACKBONE, stage5=True, train_bn=config.TRAIN_BN)
    maps = config.function("BACKBONE")(image, stage5=True, train_bn=config.TRAIN_BN)
    if len(maps) != 5:
        raise ValueError(f"BACKBONE must return C1 to C5. Received: {len(maps)} feature maps")
    return list(maps)


def resnet_graph(
    image: Tensor, architecture: str, stage5: bool = True, train_bn: bool | None = False
) -> list[Tensor]:
    """Return C1 to C5 of a ResNet, at 1/4 (twice) to 1/32 of the resolution.

    Args:
        image: (N, H, W, C), the mean subtracted.
        architecture: "resnet50" or "resnet101".
        stage5: Whether to build the last stage; without it the last map is None.
        train_bn: As `Config.TRAIN_BN`.

    Raises:
        ValueError: The architecture is unknown.

    Reference:
        He et al., "Deep Residual Learning", CVPR 2016; strides, biases and epsilon are those of
        the published weight files.
    """
    if architecture not in BLOCKS:
        raise ValueError(
            f"BACKBONE must be one of {tuple(BLOCKS)} or a function. Received: {architecture!r}"
        )
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = layers.Conv2D(64, 7, strides=2, name="conv1")(x)
    x = BatchNorm(train_bn, name="bn_conv1")(x)
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    maps: list[Tensor] = [x]
    for stage, (filters, count) in enumerate(
        zip(_FILTERS, BLOCKS[architecture], strict=True), start=2
    ):
        if stage == 5 and not stage5:
            maps.append(None)
            break
        for block in range(count):
            strides = None if block else 1 if stage == 2 else 2
            x = conv_block(x, 3, filters, stage, chr(97 + block), strides, True, train_bn)
        maps.append(x)
    return maps


def build_pyramid(maps: Sequence[Tensor], channels: int) -> list[Tensor]:
    """Return P2 to P6 of C2 to C5; Lin et al., "Feature Pyramid Networks", CVPR 2017."""
    merged = layers.Conv2D(channels, 1, name="fpn_c5p5")(maps[3])
    sums = {5: merged}
    for level in (4, 3, 2):
        enlarged = layers.UpSampling2D(2, name=f"fpn_p{level + 1}upsampled")(merged)
        lateral = layers.Conv2D(channels, 1, name=f"fpn_c{level}p{level}")(maps[level - 2])
        merged = layers.Add(name=f"fpn_p{level}add")([enlarged, lateral])
        sums[level] = merged
    pyramid = [
        layers.Conv2D(channels, 3, padding="same", name=f"fpn_p{level}")(sums[level])
        for level in (2, 3, 4, 5)
    ]
    return [*pyramid, layers.MaxPooling2D(1, strides=2, name="fpn_p6")(pyramid[-1])]


def compute_backbone_shapes(config: Config, image_shape: Sequence[int]) -> NDArray[np.int64]:
    """Return the (height, width) of P2 to P6, (5, 2), for an image of some shape."""
    if callable(config.BACKBONE) and config.COMPUTE_BACKBONE_SHAPE is not None:
        return np.asarray(config.function("COMPUTE_BACKBONE_SHAPE")(image_shape))
    strides = config.BACKBONE_STRIDES
    return np.array([[-(-int(side) // stride) for side in image_shape[:2]] for stride in strides])


def identity_block(
    input_tensor: Tensor, kernel_size: int, filters: Sequence[int], stage: int, block: str,
    use_bias: bool = True, train_bn: bool | None = True,
) -> Tensor:  # fmt: skip
    """Return a bottleneck whose shortcut is its input (N, H, W, filters[2]); see `conv_block`."""
    return conv_block(input_tensor, kernel_size, filters, stage, block, None, use_bias, train_bn)


def conv_block(
    input_tensor: Tensor, kernel_size: int, filters: Sequence[int], stage: int, block: str,
    strides: tuple[int, int] | int | None = (2, 2), use_bias: bool = True,
    train_bn: bool | None = True,
) -> Tensor:  # fmt: skip
    """Return a bottleneck whose shortcut is a convolution.

    Args:
        input_tensor: The input (N, H, W, C).
        kernel_size: Side of the middle convolution.
        filters: Channels of the three convolutions.
        stage: Number of the stage, part of the layers' names.
        block: Letter of the block, part of the layers' names.
        strides: Those of the first convolution and the shortcut; None for the input as shortcut.
        use_bias: Whether the convolutions have biases.
        train_bn: As `Config.TRAIN_BN`.
    """
    name = f"{stage}{block}"

    def conv_bn(x: Tensor, width: int, size: int, branch: str, strides: Any = 1) -> Tensor:
        x = layers.Conv2D(
            width, size, strides=strides, padding="same", use_bias=use_bias,
            name=f"res{name}_branch{branch}",
        )(x)  # fmt: skip
        return BatchNorm(train_bn, name=f"bn{name}_branch{branch}")(x)

    y = conv_bn(input_tensor, filters[0], 1, "2a", strides or 1)
    y = layers.Activation("relu", name=f"res{name}_relu_a")(y)
    y = conv_bn(y, filters[1], kernel_size, "2b")
    y = layers.Activation("relu", name=f"res{name}_relu_b")(y)
    y = conv_bn(y, filters[2], 1, "2c")
    shortcut = input_tensor
    if strides is not None:
        shortcut = conv_bn(input_tensor, filters[2], 1, "1", strides)
    y = layers.Add(name=f"res{name}_add")([y, shortcut])
    return layers.Activation("relu", name=f"res{name}_out")(y)

"""AOT-GAN: aggregated contextual transformations; it knows nothing of landmarks.

It can be trained here, too, so that its layers' names are ours and the converter has a table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from unmask.errors import WeightsError
from unmask.inference import forward
from unmask.inpainting.aot import AOT_RATES, aot_block
from unmask.inpainting.layers import convolve, initializer, shrink
from unmask.inpainting.paper import patch_layer
from unmask.io import PathLike
from unmask.rivals.completion import Complete, completer
from unmask.rivals.layers import AlignedUpSampling2D
from unmask.torch_checkpoint import (
    Loaded,
    Tensors,
    assign_tensors,
    by_module,
    depth_of,
    read_state_dict,
    width_of,
    without_wrapper,
)

# The generator has more than this times the square of its width, and in each block.
_OUTER_WEIGHTS = 200
_BLOCK_WEIGHTS = 256
# Layer of ours -> published module.
_MODULES = {
    **{f"encoder{i}": f"encoder.{2 * i - 1}" for i in (1, 2, 3)},
    "decoder1": "decoder.0.conv",
    "decoder2": "decoder.2.conv",
    "decoder3": "decoder.4",
}
_BLOCK_PARTS = {
    **{f"branch{rate}": f"block0{i}.1" for i, rate in enumerate(AOT_RATES)},
    "fuse": "fuse.1",
    "gate": "gate.1",
}


def build_aot_generator(width: int = 64, depth: int = 8) -> keras.Model:
    """Build AOT-GAN's generator.

    Args:
        width: Channels of the first layer; 64 as published (15,200,835 parameters).
        depth: Number of AOT blocks; 8 as published.

    Returns:
        A model from `[image (B, H, W, 3) in [0, 1], mask (B, H, W, 1) with 1 in the hole,
        landmark_map (B, H, W, 1)]`, the map being ignored, to the completed image (B, H, W, 3)
        in [0, 1], float32. The published network's range is [-1, 1]; the change is made inside.
        H and W are multiples of 4 and at least 36.

    Example:
        >>> import numpy as np
        >>> model = build_aot_generator(width=8, depth=1)
        >>> image, mask = np.zeros((1, 40, 40, 3)), np.zeros((1, 40, 40, 1))
        >>> model([image, mask, mask]).shape
        TensorShape([1, 40, 40, 3])

    Reference:
        Zeng et al., Aggregated Contextual Transformations for High-Resolution Image Inpainting,
        2021, and the published code.
    """
    image = keras.Input((None, None, 3), name="image")
    mask = keras.Input((None, None, 1), name="mask")
    landmark_map = keras.Input((None, None, 1), name="landmark_map")
    painted = (image * 2.0 - 1.0) * (1.0 - mask) + mask
    x = layers.Concatenate(name="joined")([painted, mask])
    x = _relu(convolve(x, width, 7, "encoder1", pad=3), "encoder1")
    x = _relu(shrink(x, 2 * width, "encoder2"), "encoder2")
    x = _relu(shrink(x, 4 * width, "encoder3"), "encoder3")
    for index in range(depth):
        x = aot_block(x, f"middle{index}")
    x = _relu(_enlarge(x, 2 * width, "decoder1"), "decoder1")
    x = _relu(_enlarge(x, width, "decoder2"), "decoder2")
    x = _conv(x, 3, "decoder3")
    x = layers.Activation("tanh", dtype="float32", name="decoder3_tanh")(x)
    return keras.Model([image, mask, landmark_map], (x + 1.0) / 2.0, name="aot_generator")


def build_aot_discriminator(width: int = 64) -> keras.Model:
    """Build AOT-GAN's discriminator: a 70x70 PatchGAN without attention and without sigmoid.

    Args:
        width: Channels of the first layer; 64 as published (2,763,777 parameters).

    Returns:
        A model from `[image (B, H, W, 3) in [0, 1], landmark_map (B, H, W, 1)]`, the map being
        ignored, to one unbounded score a patch, (B, H / 8 - 2, W / 8 - 2, 1), float32.

    Example:
        >>> build_aot_discriminator(width=8).output_shape
        (None, None, None, 1)

    Reference:
        Zeng et al., 2021, discriminator as published: spectral norm on all but the last layer.
    """
    image = keras.Input((None, None, 3), name="image")
    landmark_map = keras.Input((None, None, 1), name="landmark_map")
    x = patch_layer(image * 2.0 - 1.0, width, 2, "conv1")
    x = patch_layer(x, 2 * width, 2, "conv2")
    x = patch_layer(x, 4 * width, 2, "conv3")
    x = patch_layer(x, 8 * width, 1, "conv4")
    x = layers.ZeroPadding2D(1, name="conv5_pad")(x)
    x = layers.Conv2D(1, 4, kernel_initializer=initializer(), dtype="float32", name="conv5")(x)
    return keras.Model([image, landmark_map], x, name="aot_discriminator")


def load_published(path: PathLike) -> Loaded:
    """Build the generator of a published checkpoint and load it.

    Args:
        path: AOT-GAN's `G*.pt`.

    Raises:
        MissingPackageError: PyTorch is not installed.
        WeightsError: The file is missing, unreadable or of another network, or it lacks a tensor
            or holds one of another shape.

    Example:
        >>> model, report = load_published("G0000000.pt")  # doctest: +SKIP
        >>> str(report)  # doctest: +SKIP
        '108 loaded, 0 missing, 0 unused'
    """
    tensors = read_state_dict(path, ("generator",))
    return convert_tensors(without_wrapper(tensors), source=str(path))


def convert_tensors(tensors: Tensors, *, source: str = "state dict") -> Loaded:
    """Do the same with tensors, which error messages call `source`.

    Raises:
        WeightsError: As `load_published`.
    """
    depth = depth_of(tensors, "fuse.1.weight", source)
    if "encoder.1.weight" not in tensors or not depth:
        raise WeightsError(
            f"{source}: not AOT-GAN's generator (encoder.1.weight and middle.*.fuse.1.weight)"
        )
    weights = _OUTER_WEIGHTS + _BLOCK_WEIGHTS * depth
    model = build_aot_generator(width_of(tensors, "encoder.1.weight", weights, source), depth)
    return model, assign_tensors(model, tensors, by_module(tensors, _module_of), source=source)


def load(folder: Path) -> Complete:
    """Load the published files of a folder and return what completes images with them."""
    model, _ = load_published(sorted(folder.glob("G*.pt"))[-1])
    # The third input is the landmark map, which the network ignores.
    return completer(lambda image, mask, seed: forward(model, image, mask, np.zeros_like(mask)))


def _module_of(layer: str) -> str:
    if not layer.startswith("middle"):
        return _MODULES[layer]
    block, part = layer.split("_")
    return f"middle.{block.removeprefix('middle')}.{_BLOCK_PARTS[part]}"


def _relu(x: Any, name: str) -> Any:
    return layers.ReLU(name=f"{name}_relu")(x)


def _enlarge(x: Any, filters: int, name: str) -> Any:
    return _conv(AlignedUpSampling2D(name=f"{name}_up")(x), filters, name)


def _conv(x: Any, filters: int, name: str) -> Any:
    """A 3x3 convolution with zeros beyond the border, unlike the encoder's."""
    return layers.Conv2D(filters, 3, padding="same", kernel_initializer=initializer(), name=name)(x)

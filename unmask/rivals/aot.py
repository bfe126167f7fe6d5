"""AOT-GAN: aggregated contextual transformations; it knows nothing of landmarks.

It is trained by the task "inpainting", so that its layers' names are ours and the converter has a
table. So is the paper's generator with AOT-GAN's blocks, which look at four distances at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from unmask.errors import WeightsError
from unmask.inference import forward
from unmask.inpainting.layers import convolve, initializer, shrink
from unmask.inpainting.paper import (
    attend,
    decode,
    encode,
    guided_inputs,
    on_white,
    paint,
    patch_layer,
)
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
)

# Dilation of the four branches of a block.
_RATES = (1, 2, 4, 8)
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
    **{f"branch{rate}": f"block0{i}.1" for i, rate in enumerate(_RATES)},
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
    image, mask, landmark_map = guided_inputs()
    painted = (image * 2.0 - 1.0) * (1.0 - mask) + mask
    x = layers.Concatenate(name="joined")([painted, mask])
    x = _relu(convolve(x, width, 7, "encoder1", pad=3), "encoder1")
    x = _relu(shrink(x, 2 * width, "encoder2"), "encoder2")
    x = _relu(shrink(x, 4 * width, "encoder3"), "encoder3")
    for index in range(depth):
        x = _aot_block(x, f"middle{index}")
    x = _relu(_enlarge(x, 2 * width, "decoder1"), "decoder1")
    x = _relu(_enlarge(x, width, "decoder2"), "decoder2")
    x = _conv(x, 3, "decoder3")
    x = layers.Activation("tanh", dtype="float32", name="decoder3_tanh")(x)
    return keras.Model([image, mask, landmark_map], (x + 1.0) / 2.0, name="aot_generator")


def build_aot_variant(width: int = 64, depth: int = 7) -> keras.Model:
    """Build the paper's generator with AOT-GAN's blocks: 15,865,541 parameters at its sizes.

    Args:
        width: Channels of the first layer.
        depth: Number of AOT blocks.

    Returns:
        As `unmask.inpainting.paper.build_generator`. H and W are at least 40: the widest branch
        mirrors 8 positions at a quarter of the size.

    Example:
        >>> model = build_aot_variant(width=8, depth=1)
        >>> zeros = ops.zeros
        >>> model([zeros((1, 64, 64, 3)), zeros((1, 64, 64, 1)), zeros((1, 64, 64, 1))]).shape
        TensorShape([1, 64, 64, 3])

    Reference:
        AOT-GAN (Zeng et al., 2021), Section 3.1.
    """
    image, mask, landmark_map = inputs = guided_inputs()
    encoded = encode(on_white(image, mask, landmark_map), width)
    x = encoded[-1]
    for index in range(depth):
        x = _aot_block(x, f"middle{index}")
    x = decode(attend(x, encoded[-1], mask), encoded, mask, width)
    return keras.Model(inputs, (paint(x) + 1.0) / 2.0, name="generator")


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
    image, _, landmark_map = guided_inputs()
    x = patch_layer(image * 2.0 - 1.0, width, 2, "conv1")
    x = patch_layer(x, 2 * width, 2, "conv2")
    x = patch_layer(x, 4 * width, 2, "conv3")
    x = patch_layer(x, 8 * width, 1, "conv4")
    x = layers.ZeroPadding2D(1, name="conv5_pad")(x)
    x = layers.Conv2D(1, 4, kernel_initializer=initializer(), dtype="float32", name="conv5")(x)
    return keras.Model([image, landmark_map], x, name="aot_discriminator")


# === Published files ===


def load_published(path: PathLike) -> Loaded:
    """Load AOT-GAN's `G*.pt` as `unmask.inpainting.convert.load_published` does."""
    return convert_tensors(read_state_dict(path, ("generator",)), source=str(path))


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


# === Layers ===


def _relu(x: Any, name: str) -> Any:
    return layers.ReLU(name=f"{name}_relu")(x)


def _enlarge(x: Any, filters: int, name: str) -> Any:
    return _conv(AlignedUpSampling2D(name=f"{name}_up")(x), filters, name)


def _conv(x: Any, filters: int, name: str) -> Any:
    """A 3x3 convolution with zeros beyond the border, unlike the encoder's."""
    return layers.Conv2D(filters, 3, padding="same", kernel_initializer=initializer(), name=name)(x)


def _aot_block(x: Any, name: str) -> Any:
    """Four dilations side by side, fused, and mixed with the input by a gate (AOT-GAN)."""
    filters = x.shape[-1]
    branches = []
    for rate in _RATES:
        branch = f"{name}_branch{rate}"
        y = convolve(x, filters // len(_RATES), 3, branch, pad=rate, dilation=rate)
        branches.append(layers.ReLU(name=f"{branch}_relu")(y))
    joined = layers.Concatenate(name=f"{name}_join")(branches)
    fused = convolve(joined, filters, 3, f"{name}_fuse", pad=1)
    gate = convolve(x, filters, 3, f"{name}_gate", pad=1)
    return NormalisedGate(name=f"{name}_mix")([x, fused, gate])


@keras.saving.register_keras_serializable(package="unmask")
class NormalisedGate(keras.layers.Layer):
    """Choose between old and new features by a gate that is normalised over each image.

    `gate = sigmoid(5 (2 (g - mean) / std - 1))` with the mean and the unbiased standard deviation
    over all positions of a channel; the result is `old * (1 - gate) + new * gate`.

    Reference:
        AOT-GAN (Zeng et al., 2021), Section 3.1; the normalisation is that of the published code.
    """

    def call(self, inputs: Any) -> Any:
        """Mix `[old, new, g]`, each (B, h, w, C)."""
        old, new, logits = inputs
        values = ops.cast(logits, "float32")
        mean, variance = ops.moments(values, axes=[1, 2], keepdims=True)
        count = ops.cast(ops.shape(values)[1] * ops.shape(values)[2], "float32")
        # A constant channel has no deviation, and the root no finite slope there.
        scale = ops.rsqrt(variance * count / ops.maximum(count - 1.0, 1.0) + 1e-12)
        gate = ops.sigmoid(5.0 * (2.0 * (values - mean) * scale - 1.0))
        gate = ops.cast(gate, old.dtype)
        return old * (1.0 - gate) + new * gate

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the old features' shape."""
        return tuple(input_shape[0])

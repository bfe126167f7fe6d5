"""EdgeConnect: one network draws the hole's edges, a second one paints between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.inference import forward
from unmask.inpainting.layers import (
    InstanceNormalization,
    ReflectionPadding2D,
    SpectralConv2D,
    normalise,
)
from unmask.inpainting.paper import patch_layer
from unmask.io import PathLike
from unmask.rivals.completion import Complete, Paint, completer
from unmask.rivals.layers import SpectralConv2DTranspose
from unmask.torch_checkpoint import (
    Loaded,
    Tensors,
    assign_tensors,
    by_module,
    depth_of,
    read_state_dict,
    width_of,
)

EDGE_FILE, INPAINT_FILE = "EdgeModel_gen.pth", "InpaintingModel_gen.pth"
SIGMA = 2.0
"""The published width of the Gaussian before Canny's detector, in pixels of 256 a side."""

# Both generators have more than this times the square of their width, and in each block.
_OUTER_WEIGHTS = 300
_BLOCK_WEIGHTS = 256


def build_edge_generator(width: int = 64, depth: int = 8) -> keras.Model:
    """Build the network that draws edges.

    Args:
        width: Channels of the first layer; 64 as published (10,761,089 parameters).
        depth: Number of residual blocks; 8 as published.

    Returns:
        A model from `[gray (B, H, W, 1) in [0, 1], edges (B, H, W, 1) of 0 and 1, mask
        (B, H, W, 1) with 1 in the hole]` to the probability of an edge, (B, H, W, 1) float32. H
        and W are multiples of 4. What gray and edges hold in the hole does not matter.

    Example:
        >>> build_edge_generator(width=8, depth=1).output_shape
        (None, None, None, 1)

    Reference:
        Nazeri et al., EdgeConnect, 2019, and the published code.
    """
    gray, edges, mask = (
        keras.Input((None, None, 1), name=name) for name in ("gray", "edges", "mask")
    )
    known = 1.0 - mask
    x = layers.Concatenate(name="joined")([gray * known + mask, edges * known, mask])
    x = _trunk(x, width, depth, 1, spectral=True)
    probability = layers.Activation("sigmoid", dtype="float32", name="sigmoid")(x)
    return keras.Model([gray, edges, mask], probability, name="edgeconnect_edge")


def build_inpaint_generator(width: int = 64, depth: int = 8) -> keras.Model:
    """Build the network that paints.

    Args:
        width: Channels of the first layer; 64 as published (10,774,595 parameters).
        depth: Number of residual blocks; 8 as published.

    Returns:
        A model from `[image (B, H, W, 3) in [0, 1], edges (B, H, W, 1), mask (B, H, W, 1)]` to the
        image (B, H, W, 3) in [0, 1], float32. At test the edges are the first network's output as
        it is, in the hole and outside. H and W are multiples of 4.

    Example:
        >>> build_inpaint_generator(width=8, depth=1).output_shape
        (None, None, None, 3)
    """
    image = keras.Input((None, None, 3), name="image")
    edges = keras.Input((None, None, 1), name="edges")
    mask = keras.Input((None, None, 1), name="mask")
    x = layers.Concatenate(name="joined")([image * (1.0 - mask) + mask, edges])
    x = _trunk(x, width, depth, 3, spectral=False)
    x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
    return keras.Model([image, edges, mask], (x + 1.0) / 2.0, name="edgeconnect_inpaint")


def build_discriminator(channels: int, width: int = 64) -> keras.Model:
    """Build a discriminator: a 70x70 PatchGAN with spectral norm.

    Args:
        channels: 2 for a gray image and its edges (2,762,752 parameters as published), 3 for an
            image (2,763,776).
        width: Channels of the first layer; 64 as published.

    Returns:
        A model from (B, H, W, channels) in [0, 1] to a list: the probability of "real" a patch,
        (B, H / 8 - 2, W / 8 - 2, 1), then the five feature maps that training compares, of which
        the last one is the probability's logit.

    Example:
        >>> len(build_discriminator(3, width=8).outputs)
        6
    """
    x = image = keras.Input((None, None, channels), name="image")
    features = []
    sizes = ((width, 2), (2 * width, 2), (4 * width, 2), (8 * width, 1), (1, 1))
    for index, (filters, stride) in enumerate(sizes, start=1):
        x = patch_layer(x, filters, stride, f"conv{index}.0", last=index == len(sizes))
        features.append(x)
    scores = layers.Activation("sigmoid", dtype="float32", name="scores")(x)
    return keras.Model(image, [scores, *features], name="edgeconnect_discriminator")


def load_published(path: PathLike) -> Loaded:
    """Load `EdgeModel_gen.pth` or `InpaintingModel_gen.pth` as LaFIn's files are loaded.

    See `unmask.inpainting.convert.load_published`.
    """
    return convert_tensors(read_state_dict(path, ("generator",)), source=str(path))


def convert_tensors(tensors: Tensors, *, source: str = "state dict") -> Loaded:
    """Do the same with tensors, which error messages call `source`.

    Raises:
        WeightsError: As `load_published`.
    """
    ends = ("conv_block.1.weight", "conv_block.1.weight_orig")
    depth = depth_of(tensors, ends, source)
    weights = _OUTER_WEIGHTS + _BLOCK_WEIGHTS * depth
    if "encoder.1.weight_orig" in tensors:
        width = width_of(tensors, "encoder.1.weight_orig", weights, source)
        model = build_edge_generator(width, depth)
    elif "encoder.1.weight" in tensors and depth:
        width = width_of(tensors, "encoder.1.weight", weights, source)
        model = build_inpaint_generator(width, depth)
    else:
        raise WeightsError(
            f"{source}: neither of EdgeConnect's generators; files of LaFIn and AOT-GAN have the "
            "same names, but other tensors"
        )
    return model, assign_tensors(model, tensors, by_module(tensors), source=source)


def load(folder: Path) -> Complete:
    """Load the published files of a folder and return what completes images with them."""
    edge_generator, inpaint_generator = (
        load_published(folder / name)[0] for name in (EDGE_FILE, INPAINT_FILE)
    )

    return completer(painter_of(edge_generator, inpaint_generator))


def painter_of(
    edge_generator: keras.Model, inpaint_generator: keras.Model, sigma: float = SIGMA
) -> Paint:
    """Return what paints by both networks.

    Args:
        edge_generator: As `build_edge_generator` makes it.
        inpaint_generator: As `build_inpaint_generator` makes it.
        sigma: As for `find_edges`.
    """

    def paint(
        image: NDArray[np.float32], mask: NDArray[np.float32], seed: int
    ) -> NDArray[np.float32]:
        gray, edges = find_edges(image[0], mask[0, ..., 0] > 0, sigma)
        drawn = forward(edge_generator, gray[None, ..., None], edges[None, ..., None], mask)
        return forward(inpaint_generator, image, drawn, mask)

    return paint


def find_edges(
    image: NDArray[np.float32], hole: NDArray[np.bool_], sigma: float = SIGMA
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the grey values in [0, 1] and the edges, 0 and 1, of an image (H, W, 3) in [0, 1].

    There are none in the hole (H, W), and what the image holds there has no influence on them.
    `sigma` is the width of the Gaussian before Canny's detector, in pixels.
    """
    from skimage.color import rgb2gray
    from skimage.feature import canny

    gray = rgb2gray(image)
    edges = canny(gray, sigma=sigma, mask=~hole)
    return gray.astype(np.float32), edges.astype(np.float32)


def _trunk(x: Any, width: int, depth: int, channels: int, *, spectral: bool) -> Any:
    """Down to a quarter of the size, residual blocks, up again; before the last activation."""
    convolution = SpectralConv2D if spectral else layers.Conv2D
    transposed = SpectralConv2DTranspose if spectral else layers.Conv2DTranspose
    # At even sides "same" is one zero on each, as in PyTorch.
    half: dict[str, Any] = {"strides": 2, "padding": "same"}

    x = ReflectionPadding2D(3, name="encoder.0")(x)
    x = normalise(convolution(width, 7, name="encoder.1")(x), "encoder.1")
    x = normalise(convolution(2 * width, 4, name="encoder.4", **half)(x), "encoder.4")
    x = normalise(convolution(4 * width, 4, name="encoder.7", **half)(x), "encoder.7")
    for index in range(depth):
        name = f"middle.{index}.conv_block"
        y = ReflectionPadding2D(2, name=f"{name}.0")(x)
        y = convolution(
            4 * width, 3, dilation_rate=2, use_bias=not spectral, name=f"{name}.1"
        )(y)  # fmt: skip
        y = ReflectionPadding2D(1, name=f"{name}.4")(normalise(y, f"{name}.1"))
        y = convolution(4 * width, 3, use_bias=not spectral, name=f"{name}.5")(y)
        y = InstanceNormalization(name=f"{name}.6")(y)
        x = layers.Add(name=f"{name}.add")([x, y])
    x = normalise(transposed(2 * width, 4, name="decoder.0", **half)(x), "decoder.0")
    x = normalise(transposed(width, 4, name="decoder.3", **half)(x), "decoder.3")
    x = ReflectionPadding2D(3, name="decoder.6")(x)
    return layers.Conv2D(channels, 7, name="decoder.7")(x)

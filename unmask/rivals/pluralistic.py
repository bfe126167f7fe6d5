"""Pluralistic (PIC): an encoder guesses a distribution, a generator paints samples of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.inference import forward
from unmask.inpainting.layers import (
    ReflectionPadding2D,
    ShrinkMask,
    SpectralConv2D,
)
from unmask.inpainting.paper import LongShortAttention
from unmask.io import PathLike
from unmask.rivals.completion import Complete, Paint, completer
from unmask.rivals.layers import SpectralConv2DTranspose
from unmask.torch_checkpoint import (
    Loaded,
    Tensors,
    assign_tensors,
    by_module,
    read_state_dict,
    width_of,
)

ENCODER_FILE, GENERATOR_FILE = "latest_net_E.pth", "latest_net_G.pth"
# Instance normalisation's, as in PyTorch.
_EPSILON = 1e-5


def build_encoder(width: int = 32) -> keras.Model:
    """Build the encoder.

    Args:
        width: Channels of the first layer; 32 as published (3,604,224 parameters).

    Returns:
        A model from `[image (B, H, W, 3) in [0, 1], mask (B, H, W, 1) with 1 in the hole]` to a
        dictionary: "mu" and "sigma" of the prior, and "posterior_mu" and "posterior_sigma", which
        training reads where the image is the complement (mask and image exchanged); all (B, H / 32,
        W / 32, 4 width); "features" of that shape and "early" (B, H / 8, W / 8, 4 width).

    Example:
        >>> sorted(build_encoder(width=4).output)[:3]
        ['early', 'features', 'mu']

    Reference:
        Zheng et al., Pluralistic Image Completion, 2019, and the published code.
    """
    image = keras.Input((None, None, 3), name="image")
    mask = keras.Input((None, None, 1), name="mask")
    x = _encode((image * 2.0 - 1.0) * (1.0 - mask), width)
    x = early = _down(x, 2 * width, 4 * width, "encoder1")
    for index in (2, 3):
        x = _down(x, 4 * width, 4 * width, f"encoder{index}")
    features = x
    for index in range(6):
        x = _residual(x, 4 * width, 4 * width, f"infer_prior{index}")
    outputs = {"features": features, "early": early}
    for prefix, block, y in (("", "prior", x), ("posterior_", "posterior", features)):
        y = _residual(y, 4 * width, 8 * width, block)
        outputs[f"{prefix}mu"] = y[..., : 4 * width]
        outputs[f"{prefix}sigma"] = ops.softplus(y[..., 4 * width :])
    return keras.Model([image, mask], outputs, name="pluralistic_encoder")


def build_generator(width: int = 32) -> keras.Model:
    """Build the generator.

    Args:
        width: That of the encoder; 32 as published (2,374,016 parameters).

    Returns:
        A model from `[z, features, early, mask]`, z a sample of the encoder's distribution and the
        rest as there, to a list of images in [0, 1] at an eighth, a quarter, a half and the whole
        of the size.

    Example:
        >>> len(build_generator(width=4).outputs)
        4
    """
    channels = 4 * width
    z = keras.Input((None, None, channels), name="z")
    features = keras.Input((None, None, channels), name="features")
    early = keras.Input((None, None, channels), name="early")
    mask = keras.Input((None, None, 1), name="mask")
    x = _residual(z, channels, channels, "generator") + features
    x = _up(x, channels, "decoder0")
    x = _up(x, channels, "decoder1")
    attention = LongShortAttention(width, name="attn1")
    x = attention([x, early, ShrinkMask(8, name="mask_eighth")(mask)])
    x = _residual(x, channels, channels, "attn1.model", slope=0.01)
    images = [_image(x, "out1")]
    for index, filters in ((2, channels), (3, 2 * width), (4, width)):
        x = layers.Concatenate(name=f"joined{index}")([x, images[-1]])
        x = _up(x, filters, f"decoder{index}")
        images.append(_image(x, f"out{index}"))
    outputs = [(image + 1.0) / 2.0 for image in images]
    return keras.Model([z, features, early, mask], outputs, name="pluralistic_generator")


def build_discriminator(width: int = 32) -> keras.Model:
    """Build a discriminator; two of the same kind judge samples and reconstructions.

    Args:
        width: Channels of the first layer; 32 as published (1,099,555 parameters; the file has
            475,520 more, of a block after the attention that the published forward pass leaves
            out).

    Returns:
        A model from an image (B, H, W, 3) in [0, 1] to scores without bound, (B, H / 32 - 2,
        W / 32 - 2, 1).

    Example:
        >>> build_discriminator(width=4)(np.zeros((1, 128, 128, 3))).shape
        TensorShape([1, 2, 2, 1])
    """
    image = keras.Input((None, None, 3), name="image")
    x = _encode(image * 2.0 - 1.0, width)
    x = _down(x, 2 * width, 4 * width, "encoder1")
    x = LongShortAttention(width, name="attn2")(x)
    for index in (2, 3):
        x = _down(x, 4 * width, 4 * width, f"encoder{index}")
    x = layers.LeakyReLU(0.1, name="last_leaky")(_residual(x, 4 * width, 4 * width, "block1"))
    scores = SpectralConv2D(1, 3, name="conv.module")(x)
    return keras.Model(image, scores, name="pluralistic_discriminator")


def load_published(path: PathLike) -> Loaded:
    """Load `latest_net_E.pth` or `latest_net_G.pth` as LaFIn's files are loaded.

    See `unmask.inpainting.convert.load_published`.
    """
    return convert_tensors(read_state_dict(path, ()), source=str(path))


def convert_tensors(tensors: Tensors, *, source: str = "state dict") -> Loaded:
    """Do the same with tensors, which error messages call `source`.

    Raises:
        WeightsError: As `load_published`.
    """
    # The last column: how often the square of that tensor's length the network has weights.
    for name, build, weights in (
        ("prior.conv1.module.weight_bar", build_encoder, 200),
        ("generator.conv1.module.weight_bar", build_generator, 100),
    ):
        if name in tensors:
            model = build(max(width_of(tensors, name, weights, source) // 4, 1))
            return model, assign_tensors(model, tensors, by_module(tensors), source=source)
    raise WeightsError(f"{source}: none of Pluralistic's networks (no prior or generator)")


def load(folder: Path) -> Complete:
    """Load the published files of a folder and return what completes images with them."""
    encoder, generator = (
        load_published(folder / name)[0] for name in (ENCODER_FILE, GENERATOR_FILE)
    )
    return completer(painter_of(encoder, generator))


def painter_of(encoder: keras.Model, generator: keras.Model) -> Paint:
    """Return what paints one sample a seed."""
    sampler = join(encoder, generator)

    def paint(
        image: NDArray[np.float32], mask: NDArray[np.float32], seed: int
    ) -> NDArray[np.float32]:
        shape = (1, *(side // 32 for side in mask.shape[1:3]), sampler.inputs[2].shape[-1])
        noise = np.random.default_rng(seed).standard_normal(shape, np.float32)
        return forward(sampler, image, mask, noise)

    return paint


def join(encoder: keras.Model, generator: keras.Model) -> keras.Model:
    """Return the model from `[image, mask, noise]` to the completed image of both networks.

    Noise is standard normal, of the shape of "mu".
    """
    image, mask = encoder.inputs
    known = encoder.output
    noise = keras.Input(known["mu"].shape[1:], name="noise")
    z = known["mu"] + known["sigma"] * noise
    images = generator([z, known["features"], known["early"], mask])
    return keras.Model([image, mask, noise], images[-1], name="pluralistic")


# === Layers ===


def _conv(x: Any, filters: int, size: int, name: str) -> Any:
    return SpectralConv2D(filters, size, padding="same", name=f"{name}.module")(x)


def _leaky(x: Any, name: str, slope: float = 0.1) -> Any:
    return layers.LeakyReLU(slope, name=f"{name}.leaky")(x)


def _residual(x: Any, hidden: int, filters: int, name: str, *, slope: float = 0.1) -> Any:
    y = _conv(_leaky(x, f"{name}.conv1", slope), hidden, 3, f"{name}.conv1")
    y = _conv(_leaky(y, f"{name}.conv2", slope), filters, 3, f"{name}.conv2")
    return layers.Add(name=f"{name}.add")([y, _conv(x, filters, 1, f"{name}.bypass")])


def _down(x: Any, hidden: int, filters: int, name: str) -> Any:
    """A residual block at half the size; pooling the sum is pooling each branch."""
    return layers.AveragePooling2D(2, name=f"{name}.pool")(_residual(x, hidden, filters, name))


def _encode(image: Any, width: int) -> Any:
    """Two blocks that encoder and discriminator begin with, to a quarter of the size."""
    y = _conv(_leaky(_conv(image, width, 3, "block0.conv1"), "block0"), width, 3, "block0.conv2")
    y = layers.Add(name="block0.add")([y, _conv(image, width, 1, "block0.bypass")])
    x = layers.AveragePooling2D(2, name="block0.pool")(y)
    return _down(x, width, 2 * width, "encoder0")


def _up(x: Any, filters: int, name: str) -> Any:
    y = _leaky(_affine(x, f"{name}.model.0"), f"{name}.conv1")
    y = _conv(y, filters, 3, f"{name}.conv1")
    y = _leaky(_affine(y, f"{name}.model.3"), f"{name}.conv2")
    y = _transpose(y, filters, f"{name}.conv2")
    return layers.Add(name=f"{name}.add")([y, _transpose(x, filters, f"{name}.bypass")])


def _affine(x: Any, name: str) -> Any:
    """Instance normalisation with a scale and a shift."""
    return layers.GroupNormalization(groups=-1, epsilon=_EPSILON, name=name)(x)


def _transpose(x: Any, filters: int, name: str) -> Any:
    """Double the size by a 3x3 transposed convolution; top row and left column are cut off."""
    x = SpectralConv2DTranspose(filters, 3, strides=2, rows="input", name=f"{name}.module")(x)
    return layers.Cropping2D(((1, 0), (1, 0)), name=f"{name}.cut")(x)


def _image(x: Any, name: str) -> Any:
    x = ReflectionPadding2D(1, name=f"{name}.pad")(_leaky(x, name))
    x = SpectralConv2D(3, 3, name=f"{name}.conv1.module")(x)
    return layers.Activation("tanh", dtype="float32", name=f"{name}.tanh")(x)

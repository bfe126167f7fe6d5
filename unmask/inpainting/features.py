"""VGG-19's features for the perceptual and the style loss, of the whole or a compressed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.hdf5 import assign_keras_weights
from unmask.inpainting.layers import ReflectionPadding2D
from unmask.io import PathLike
from unmask.npz import read_numbers
from unmask.torch_checkpoint import assign_tensors, by_module, read_state_dict

_PERCEPTUAL = tuple(f"block{block}_conv1" for block in (1, 2, 3, 4, 5))
_STYLE = ("block2_conv2", "block3_conv4", "block4_conv4", "block5_conv2")
_CONVOLUTIONS = (2, 2, 4, 4, 4)

# ImageNet's mean and standard deviation, RGB in [0, 1].
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
# The mean of Caffe's weights, which are Keras', BGR in [0, 255].
_CAFFE_MEAN = (103.939, 116.779, 123.68)
_CAFFE_DEVIATION = tuple(255.0 * d for d in reversed(_DEVIATION))

# The compressed network has less.
_SMALL_BLOCKS = (
    ("11", "12"),
    ("21", "22"),
    ("31", "32", "33", "34"),
    ("41", "42", "43", "44"),
    ("51",),
)
_SMALL_STYLE = ("22", "34", "44")


class FeatureNetwork:
    """Deep features of an image for the perceptual and the style loss.

    Args:
        model: The network, which is frozen here: from (B, H, W, 3) in [0, 1] to the five layers of
            the perceptual loss, then those of the style loss. A JAX training step needs to know its
            variables.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.model.trainable = False

    def __call__(self, images: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return perceptual and style features of (B, H, W, 3) images in [0, 1]."""
        outputs = self.model(images, training=False)
        return outputs[: len(_PERCEPTUAL)], outputs[len(_PERCEPTUAL) :]


def load_features(source: PathLike, *, normalise: bool = True) -> FeatureNetwork:
    """Read VGG-19 as Keras or torchvision publish it, or a compressed one.

    The perceptual features are relu1_1, 2_1, 3_1, 4_1 and 5_1, the style features relu2_2, 3_4,
    4_4 and 5_2, as in the paper.

    The paper's loss weights belong to torchvision's activations. Keras' weights are another
    training (Caffe's) on inputs that are about 57 times larger; their activations are divided by
    that, which makes them comparable, not equal.

    The compressed network costs about a sixtieth. Its archive holds `conv0` (1x1 colour
    normalisation) and `conv11` ... `conv51` (3x3 with reflection padding), each as `NAME_kernel`
    (HWIO) and `NAME_bias`, and `convN1_aux` (1x1, from the compressed width to VGG-19's own at
    reluN_1). Its style features have the compressed width, and relu5_2 is beyond its end.

    Args:
        source: A file of torchvision's weights (`vgg19-dcbb9e9d.pth`; needs PyTorch) or of Keras'
            (`vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5`); "imagenet", for which Keras
            downloads its own once; or the `.npz` of a compressed network.
        normalise: Whether colours get ImageNet's mean and deviation, as VGG-19 was trained and as
            AOT-GAN's code does, and the compressed one always. LaFIn's passes images in [0, 1] as
            they are.

    Raises:
        WeightsError: The file is missing or unreadable, or a tensor is missing or does not fit.

    Reference:
        Simonyan and Zisserman, 2015; LaFIn's and AOT-GAN's published losses.
    """
    if Path(source).suffix != ".npz":
        return FeatureNetwork(_whole(source, normalise=normalise))
    arrays = read_numbers(source)
    try:
        return FeatureNetwork(_compressed(arrays))
    except KeyError as error:
        raise WeightsError(f"{source}: tensor {error} is missing") from error
    except (ValueError, IndexError) as error:
        raise WeightsError(f"{source}: a tensor does not fit ({error})") from error


def _whole(weights: PathLike, *, normalise: bool) -> keras.Model:
    torchvision = Path(weights).suffix in (".pth", ".pt")
    network = _load(weights, torchvision=torchvision)
    layers = keras.Model(network.input, [network.get_layer(n).output for n in _PERCEPTUAL + _STYLE])
    image = keras.Input((None, None, 3), name="image")
    if torchvision:
        seen = (image - ops.array(_MEAN)) / ops.array(_DEVIATION) if normalise else image
        return keras.Model(image, layers(seen), name="vgg19_features")
    blue_first = ops.flip(image, axis=-1)
    if normalise:
        seen = 255.0 * blue_first - ops.array(_CAFFE_MEAN)
    else:
        # What LaFIn does, in Caffe's units: the colours stand where normalised ones should.
        seen = blue_first * ops.array(_CAFFE_DEVIATION)
    outputs = [output / _CAFFE_DEVIATION[1] for output in layers(seen)]
    return keras.Model(image, outputs, name="vgg19_features")


def _load(weights: PathLike, *, torchvision: bool) -> keras.Model:
    named = str(weights) == "imagenet"
    if not named and not Path(weights).is_file():
        raise WeightsError(f"{weights}: no such file")
    network = keras.applications.VGG19(
        include_top=False, weights="imagenet" if named else None, input_shape=(None, None, 3)
    )
    if torchvision:
        tensors = read_state_dict(weights)
        names = by_module(tensors, _torchvision_module)
        assign_tensors(network, tensors, names, source=str(weights))
    elif not named:
        assign_keras_weights(network, weights)
    return network


def _torchvision_module(layer: str) -> str:
    """`block3_conv2` to `features.12`: ReLUs and poolings are counted too."""
    block, convolution = (int(part[-1]) for part in layer.split("_"))
    return f"features.{2 * (sum(_CONVOLUTIONS[: block - 1]) + convolution - 1) + block - 1}"


def _compressed(arrays: Mapping[str, NDArray[np.generic]]) -> keras.Model:
    image = keras.Input((None, None, 3), name="image")
    fixed: list[tuple[keras.layers.Conv2D, str]] = []

    def convolve(x: Any, name: str) -> Any:
        kernel = arrays[f"{name}_kernel"]
        if kernel.shape[0] == 3:
            x = ReflectionPadding2D(1, name=f"{name}_pad")(x)
        layer = keras.layers.Conv2D(kernel.shape[-1], kernel.shape[0], name=name)
        fixed.append((layer, name))
        return layer(x)

    perceptual, style = [], []
    x = convolve(image, "conv0")
    for index, block in enumerate(_SMALL_BLOCKS):
        for suffix in block:
            x = keras.layers.ReLU(name=f"relu{suffix}")(convolve(x, f"conv{suffix}"))
            if suffix == block[0]:
                wide = convolve(x, f"conv{suffix}_aux")
                perceptual.append(keras.layers.ReLU(name=f"relu{suffix}_aux")(wide))
            if suffix in _SMALL_STYLE:
                style.append(x)
        if index + 1 < len(_SMALL_BLOCKS):
            x = keras.layers.MaxPooling2D(2, name=f"pool{index + 1}")(x)
    model = keras.Model(image, [*perceptual, *style], name="compressed_vgg")
    for layer, name in fixed:
        layer.set_weights([arrays[f"{name}_kernel"], arrays[f"{name}_bias"]])
    return model

"""VGG-19's features for the perceptual and the style loss, of the whole or a compressed one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from unmask.errors import WeightsError
from unmask.hdf5 import assign_keras_weights
from unmask.inpainting.layers import ReflectionPadding2D
from unmask.inpainting.losses import FeatureNetwork
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


def load_features(source: PathLike, *, normalise: bool = True) -> FeatureNetwork:
    """Return the feature network of an `.npz` for `CompressedVgg`, else of what `FullVgg` takes.

    `normalise` is as for `FullVgg`; the compressed one always does.

    Raises:
        WeightsError: The file is missing or does not fit.
    """
    if Path(source).suffix == ".npz":
        return CompressedVgg(source)
    return FullVgg(source, normalise=normalise)


class FullVgg:
    """VGG-19 as Keras or torchvision publish it.

    The perceptual features are relu1_1, 2_1, 3_1, 4_1 and 5_1, the style features relu2_2, 3_4,
    4_4 and 5_2, as in the paper.

    Args:
        weights: A file of torchvision's weights (`vgg19-dcbb9e9d.pth`; needs PyTorch) or of
            Keras' (`vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5`), or "imagenet", for which
            Keras downloads its own once.
        normalise: Whether colours get ImageNet's mean and deviation, as the network was trained
            and as AOT-GAN's code does. LaFIn's passes images in [0, 1] as they are.

    The paper's loss weights belong to torchvision's activations. Keras' weights are another
    training (Caffe's) on inputs that are about 57 times larger; their activations are divided by
    that, which makes them comparable, not equal.

    Raises:
        WeightsError: The file is missing or does not fit.

    Example:
        >>> features = FullVgg("vgg19-dcbb9e9d.pth")  # doctest: +SKIP
        >>> perceptual, style = features(keras.ops.zeros((1, 64, 64, 3)))  # doctest: +SKIP

    Reference:
        Simonyan and Zisserman, 2015; LaFIn's and AOT-GAN's published losses.
    """

    def __init__(self, weights: PathLike, *, normalise: bool = True) -> None:
        self._torchvision = Path(weights).suffix in (".pth", ".pt")
        self._normalise = normalise
        network = _load(weights, torchvision=self._torchvision)
        outputs = [network.get_layer(name).output for name in (*_PERCEPTUAL, *_STYLE)]
        self.model = keras.Model(network.input, outputs, name="vgg19_features")
        self.model.trainable = False

    def __call__(self, images: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return perceptual and style features of (B, H, W, 3) images in [0, 1]."""
        outputs = self.model(self._prepare(images), training=False)
        if not self._torchvision:
            outputs = [output / _CAFFE_DEVIATION[1] for output in outputs]
        return outputs[: len(_PERCEPTUAL)], outputs[len(_PERCEPTUAL) :]

    def _prepare(self, images: Any) -> Any:
        if self._torchvision:
            return (
                (images - ops.array(_MEAN)) / ops.array(_DEVIATION) if self._normalise else images
            )
        blue_first = ops.flip(images, axis=-1)
        if self._normalise:
            return 255.0 * blue_first - ops.array(_CAFFE_MEAN)
        # What LaFIn does, in Caffe's units: the colours stand where normalised ones should.
        return blue_first * ops.array(_CAFFE_DEVIATION)


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


class CompressedVgg:
    """A VGG-19 compressed to about a sixtieth of its cost, from an `.npz` of its kernels.

    The archive holds `conv0` (1x1 colour normalisation) and `conv11` ... `conv51` (3x3 with
    reflection padding), each as `NAME_kernel` (HWIO) and `NAME_bias`, and
    `convN1_aux` (1x1, from the compressed width to VGG-19's own at reluN_1).

    The perceptual features are relu1_1 to relu5_1 at VGG-19's width; the style features are
    relu2_2, relu3_4 and relu4_4 at the compressed width (the paper's relu5_2 is beyond the
    compressed network's end).

    Args:
        path: The archive.

    Raises:
        WeightsError: The file is missing or unreadable, or a tensor is missing or does not fit.
    """

    def __init__(self, path: PathLike) -> None:
        arrays = read_numbers(path)
        try:
            self.model = _build_small(arrays)
        except KeyError as error:
            raise WeightsError(f"{path}: tensor {error} is missing") from error
        except (ValueError, IndexError) as error:
            raise WeightsError(f"{path}: a tensor does not fit ({error})") from error
        self.model.trainable = False

    def __call__(self, images: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return perceptual and style features of (B, H, W, 3) images in [0, 1]."""
        outputs = self.model(images, training=False)
        return outputs[: len(_SMALL_BLOCKS)], outputs[len(_SMALL_BLOCKS) :]


def _build_small(arrays: dict[str, np.ndarray]) -> keras.Model:
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

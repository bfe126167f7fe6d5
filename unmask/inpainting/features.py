"""A compressed feature network for the perceptual and the style loss, and finding the right one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from unmask.errors import WeightsError
from unmask.inpainting.layers import ReflectionPadding2D
from unmask.inpainting.losses import FeatureNetwork
from unmask.inpainting.vgg import FullVgg
from unmask.npz import read_npz

_BLOCKS = (("11", "12"), ("21", "22"), ("31", "32", "33", "34"), ("41", "42", "43", "44"), ("51",))
_STYLE = ("22", "34", "44")


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

    def __init__(self, path: str | os.PathLike[str]) -> None:
        arrays = _read(path)
        try:
            self.model = _build(arrays)
        except KeyError as error:
            raise WeightsError(f"{path}: tensor {error} is missing") from error
        except (ValueError, IndexError) as error:
            raise WeightsError(f"{path}: a tensor does not fit ({error})") from error
        self.model.trainable = False

    def __call__(self, images: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return perceptual and style features of (B, H, W, 3) images in [0, 1]."""
        outputs = self.model(images, training=False)
        return outputs[: len(_BLOCKS)], outputs[len(_BLOCKS) :]


def load_features(source: str | os.PathLike[str], *, normalise: bool = True) -> FeatureNetwork:
    """Return the feature network that a file or a name stands for.

    Args:
        source: An `.npz` for `CompressedVgg`; anything else is for `FullVgg`, "imagenet" included.
        normalise: As for `FullVgg`; the compressed one always does.

    Raises:
        WeightsError: The file is missing or does not fit.
    """
    if Path(source).suffix == ".npz":
        return CompressedVgg(source)
    return FullVgg(source, normalise=normalise)


def _read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        arrays = read_npz(path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a readable .npz archive ({error})") from error
    for name, values in arrays.items():
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise WeightsError(f"{path}: {name} must be finite numbers")
    return arrays


def _build(arrays: dict[str, np.ndarray]) -> keras.Model:
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
    for index, block in enumerate(_BLOCKS):
        for suffix in block:
            x = keras.layers.ReLU(name=f"relu{suffix}")(convolve(x, f"conv{suffix}"))
            if suffix == block[0]:
                wide = convolve(x, f"conv{suffix}_aux")
                perceptual.append(keras.layers.ReLU(name=f"relu{suffix}_aux")(wide))
            if suffix in _STYLE:
                style.append(x)
        if index + 1 < len(_BLOCKS):
            x = keras.layers.MaxPooling2D(2, name=f"pool{index + 1}")(x)
    model = keras.Model(image, [*perceptual, *style], name="compressed_vgg")
    for layer, name in fixed:
        layer.set_weights([arrays[f"{name}_kernel"], arrays[f"{name}_bias"]])
    return model

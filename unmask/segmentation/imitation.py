"""Lets the small U-Net learn the features of a large pretrained network beside its own task."""

from __future__ import annotations

import os

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from unmask.inception import build_inception, build_pyramid
from unmask.segmentation.data import MaskDataset
from unmask.segmentation.model import encoder_maps
from unmask.segmentation.teacher import CHANNELS, FIRST, LACKING, check_side

# Levels whose features are compared: 1/8 for parts, 1/16 for things. The first two levels see
# little but edges, which the U-Net learns by itself.
_LEVELS = (3, 4)

MASK, DIFFERENCE = "probability", "difference"
"""Names of the outputs of `build_imitator`."""


def build_imitator(
    student: keras.Model,
    weights: str | os.PathLike[str] | None,
    side: int,
    *,
    name: str = "imitator",
) -> keras.Model:
    """Builds a training network: a U-Net, and how far its features are from InceptionV3's.

    A few hundred labelled photos do not teach a network what hair, cloth or a wall look like;
    ImageNet did teach InceptionV3. At two depths, a 1x1 convolution maps the U-Net's features to
    InceptionV3's, and training lowers the angle between both. Afterwards only the U-Net is kept.

    Args:
        student: A network of `build_unet`; it shares its variables with the result.
        weights: Weights of InceptionV3, see `unmask.inception.build_inception`.
        side: Side of the square input in pixels, a multiple of 32 and at least 96.
        name: Name of the model.

    Returns:
        A model from (B, side, side, 3) in [0, 1] to a dictionary: `probability` (B, side, side, 1),
        the U-Net's answer, and `difference` (B,), the mean of one minus the cosine between the
        features, 0 to 2.

    Raises:
        ValueError: `side` is too small or no multiple of 32.
        WeightsError: The weights are missing, unreadable or of another network.

    Example:
        >>> from unmask.segmentation.model import LITE, build_unet
        >>> model = build_imitator(build_unet(**LITE), None, 96)
        >>> model(ops.zeros((2, 96, 96, 3)))["difference"].shape[0]
        2

    Reference:
        Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015.
    """
    check_side(side)
    pyramid = build_pyramid(build_inception(side, weights))
    pyramid.trainable = False
    photo = keras.Input((side, side, 3), name="photo")
    wanted = pyramid(
        keras.layers.Rescaling(2.0, offset=-1.0, name="rescale")(photo), training=False
    )
    maps = encoder_maps(student)
    taps = [maps[level - 1] for level in _LEVELS]
    tapped = keras.Model(student.input, [student.output, *taps], name="student")
    probability, *features = tapped(photo)
    distances = [
        _difference(x, wanted[level - 1], level) for level, x in zip(_LEVELS, features, strict=True)
    ]
    difference = keras.layers.Average(name=DIFFERENCE, dtype="float32")(distances)
    return keras.Model(photo, {MASK: probability, DIFFERENCE: difference}, name=name)


class ImitationDataset(keras.utils.PyDataset):
    """The scenes of another data set with targets for both outputs of `build_imitator`.

    Args:
        scenes: Gives images and masks. The difference's target is 0.
    """

    def __init__(self, scenes: MaskDataset) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=12)
        self._scenes = scenes

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Return images (B, S, S, 3) in [0, 1], and masks (B, S, S, 1) with zeros (B,)."""
        images, masks = self._scenes[index]
        return images, {MASK: masks, DIFFERENCE: np.zeros(len(images), np.float32)}

    def on_epoch_end(self) -> None:
        """Go on to the next scenes."""
        self._scenes.on_epoch_end()


class CosineDistance(keras.layers.Layer):
    """One minus the cosine between two maps of vectors, averaged over the positions.

    Input: two of (B, H, W, C); output: (B,) float32.
    """

    def call(self, inputs: tuple[keras.KerasTensor, keras.KerasTensor]) -> keras.KerasTensor:
        """Return the distance of each map."""
        a, b = (ops.normalize(ops.cast(x, "float32"), axis=-1) for x in inputs)
        return 1.0 - ops.mean(ops.sum(a * b, axis=-1), axis=(1, 2))


def _difference(x: keras.KerasTensor, wanted: keras.KerasTensor, level: int) -> keras.KerasTensor:
    # InceptionV3 does not pad its first layers, see `teacher`: only what both cover is compared.
    first, lacking = FIRST[level - 1], LACKING[level - 1]
    x = keras.layers.Cropping2D(((first, lacking - first),) * 2, name=f"cover{level}")(x)
    x = keras.layers.Conv2D(CHANNELS[level - 1], 1, name=f"translate{level}")(x)
    # Standardised, or the few channels that are always large would decide the angle.
    wanted = keras.layers.BatchNormalization(
        momentum=0.97, center=False, scale=False, name=f"standardise{level}"
    )(wanted)
    return CosineDistance(name=f"distance{level}")((x, wanted))

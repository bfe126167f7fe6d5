"""What a frozen InceptionV3 teaches the U-Net: labels for unlabelled photos, and what it sees.

A decoder on it labels photos that nobody has labelled, where it is sure; and while the U-Net is
trained it learns to see what InceptionV3 sees. At run time nothing of this is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from PIL import Image

from unmask.blocks import conv_block
from unmask.errors import DataError, ImageError
from unmask.image import Photo, load_photo, save_image
from unmask.inception import build_inception, build_pyramid
from unmask.io import PathLike, atomic_path, write_text_atomic
from unmask.paths import text_about
from unmask.segmentation import STRIDE
from unmask.segmentation.finder import WORKING_SIDE, probability_map
from unmask.segmentation.lite import encoder_maps
from unmask.tables import csv_text
from unmask.weights import load_weights

Tensor = Any

# InceptionV3 does not pad its first layers: its maps at strides 2, 4, 8 and 16 lack 3, 4, 3 and 2
# positions, and their first one lies at this position of the grid that covers the whole photo.
FIRST = (1, 2, 1, 1)
LACKING = (3, 4, 3, 2)
CHANNELS = (64, 192, 288, 768)

# Levels whose features are distilled: 1/8 for parts, 1/16 for things. The first two levels see
# little but edges, which the U-Net learns by itself.
_DISTILLED = (3, 4)

# Least side whose deepest map still has some positions to look at.
_LEAST_SIDE = 96

DECISIONS = "decisions.csv"
"""Name of the table beside the labels: a row a photo, with the figures and why it was left out."""

# Class number of a mask, as `unmask.segmentation.data.read_examples` expects it.
_MASK = 2
# Two photos are one where their thumbnails of so many pixels a side correlate so much.
_THUMBNAIL, _SAME = 32, 0.97
_COLUMNS = ("file", "label", "kept", "reason", "share", "certainty", "unsure", "piece")


def build_teacher(weights: PathLike | None, side: int = WORKING_SIDE) -> keras.Model:
    """Builds a U-Net whose encoder is a frozen InceptionV3; only its layer "decoder" is stored.

    Few labelled photos suffice for that, and no file of ours contains somebody else's weights.

    Args:
        weights: Weights of the encoder, see `unmask.inception.build_inception`; random when None.
        side: Side of the square input in pixels, a multiple of 32 and at least 96.

    Returns:
        A model from (B, side, side, 3) in [0, 1] to (B, side, side, 1), the masks' probability.

    Raises:
        ValueError: `side` is too small or no multiple of 32.
        WeightsError: The encoder's weights cannot be used.

    Example:
        >>> build_teacher(None, 96).output_shape
        (None, 96, 96, 1)

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016.
    """
    _check_side(side)
    encoder = build_pyramid(build_inception(side, weights))
    encoder.trainable = False
    inputs = keras.Input((side, side, 3), name="photo")
    x = keras.layers.Rescaling(2.0, offset=-1.0, name="rescale")(inputs)
    # training=False: frozen batch statistics too, also while the decoder is being trained.
    outputs = build_decoder(side)(encoder(x, training=False))
    return keras.Model(inputs, outputs, name="mask_teacher")


def load_teacher(decoder: PathLike, backbone: PathLike, side: int = WORKING_SIDE) -> keras.Model:
    """Build a teacher with the decoder that a training has left, on the encoder that it had.

    Raises:
        WeightsError: A file is missing, unreadable or of another network.
    """
    teacher = build_teacher(backbone, side)
    load_weights(teacher.get_layer("decoder"), decoder)
    return teacher


def build_distillation(
    student: keras.Model, weights: PathLike | None, side: int, weight: float
) -> keras.Model:
    """Builds a training network: a U-Net that learns InceptionV3's features beside its own task.

    A few hundred labelled photos do not teach what hair, cloth or a wall look like; ImageNet did.
    At two depths, a 1x1 convolution maps the U-Net's features to InceptionV3's, and training
    lowers the angle between both. Afterwards only the U-Net is kept.

    Args:
        student: A network of `build_unet`; it shares its variables with the result.
        weights: As for `build_teacher`, like `side`.
        side: See there.
        weight: Factor, in the loss, on the mean of one minus the cosine between the features.

    Returns:
        A model from (B, side, side, 3) in [0, 1] to (B, side, side, 1), the U-Net's answer.

    Raises:
        ValueError: `side` is too small or no multiple of 32.
        WeightsError: The weights cannot be used.

    Example:
        >>> from unmask.segmentation.lite import build_unet
        >>> build_distillation(build_unet(), None, 96, 0.5).output_shape
        (None, 96, 96, 1)

    Reference:
        Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015.
    """
    _check_side(side)
    pyramid = build_pyramid(build_inception(side, weights))
    pyramid.trainable = False
    photo = keras.Input((side, side, 3), name="photo")
    wanted = pyramid(
        keras.layers.Rescaling(2.0, offset=-1.0, name="rescale")(photo), training=False
    )
    levels = encoder_maps(student)
    taps = [levels[level - 1] for level in _DISTILLED]
    probability, *features = keras.Model(student.input, [student.output, *taps], name="student")(
        photo
    )
    maps = [
        x
        for level, own in zip(_DISTILLED, features, strict=True)
        for x in _comparable(own, wanted[level - 1], level)
    ]
    outputs = FeatureDifference(weight, name="distil")([probability, *maps])
    return keras.Model(photo, outputs, name="distillation")


class FeatureDifference(keras.layers.Layer):
    """Returns its first input; the angle between the others, in pairs (B, H, W, C), is a loss."""

    def __init__(self, weight: float, *, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)
        self.weight = weight

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Return the first input unchanged."""
        answer, *maps = inputs
        distances = [cosine_distance(a, b) for a, b in zip(maps[::2], maps[1::2], strict=True)]
        self.add_loss(self.weight * sum(distances) / len(distances))
        return answer


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return one minus the cosine between two maps of vectors, the mean over all positions."""
    a, b = (ops.cast(x, "float32") for x in (a, b))
    # Not `ops.normalize`, whose gradient for a vector of zeros is NaN with JAX.
    squares = [ops.maximum(ops.sum(x * x, axis=-1), 1e-12) for x in (a, b)]
    return 1.0 - ops.mean(ops.sum(a * b, axis=-1) * ops.rsqrt(squares[0]) * ops.rsqrt(squares[1]))


def _comparable(x: Tensor, wanted: Tensor, level: int) -> tuple[Tensor, Tensor]:
    # InceptionV3 does not pad its first layers: only what both maps cover is compared.
    first, lacking = FIRST[level - 1], LACKING[level - 1]
    x = keras.layers.Cropping2D(((first, lacking - first),) * 2, name=f"cover{level}")(x)
    x = keras.layers.Conv2D(CHANNELS[level - 1], 1, name=f"translate{level}")(x)
    # Standardised, or the few channels that are always large would decide the angle.
    wanted = keras.layers.BatchNormalization(
        momentum=0.97, center=False, scale=False, name=f"standardise{level}"
    )(wanted)
    return x, wanted


def build_decoder(side: int) -> keras.Model:
    """Builds the part of a teacher that learns, for a square input of this side."""
    inputs, maps = [], []
    for level, channels in enumerate(CHANNELS, start=1):
        grid, first, lacking = side // 2**level, FIRST[level - 1], LACKING[level - 1]
        given = keras.Input((grid - lacking,) * 2 + (channels,), name=f"map{level}")
        # Padded in the middle of what is lacking, a position means the same place of the photo
        # in every map and in what the deeper levels hand up; resized maps would be shifted by up
        # to a position, which is 16 pixels at the deepest.
        margins = ((first, lacking - first),) * 2
        inputs.append(given)
        maps.append(keras.layers.ZeroPadding2D(margins, name=f"align{level}")(given))
    x = keras.layers.SpatialDropout2D(0.1, name="dropout")(maps[3])
    x = conv_block(x, 192, "deep_reduce", kernel=1)
    x = conv_block(x, 192, "deep")
    # Dilated, to see a whole face that fills the photo.
    wide = conv_block(x, 192, "deep_wide", dilation=3)
    x = keras.layers.Add(name="deep_add")([x, wide])
    for level, width, skip, count in ((3, 128, 96, 2), (2, 64, 48, 2), (1, 32, 24, 1)):
        x = keras.layers.UpSampling2D(interpolation="bilinear", name=f"up{level}_resize")(x)
        side_path = conv_block(maps[level - 1], skip, f"up{level}_skip", kernel=1)
        x = keras.layers.Concatenate(name=f"up{level}_join")([x, side_path])
        for number in range(1, count + 1):
            x = conv_block(x, width, f"up{level}_{number}")
    x = keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same", name="logit")(x)
    outputs = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(x)
    return keras.Model(inputs, outputs, name="decoder")


def _check_side(side: int) -> None:
    """Raise a ValueError for a side of the input at which the maps do not fit together."""
    if side < _LEAST_SIDE or side % STRIDE:
        raise ValueError(
            f"side must be a multiple of {STRIDE} from {_LEAST_SIDE} on. Received: side={side}"
        )


# === Labels ===


@dataclass(frozen=True)
class Judgement:
    """How sure a teacher is of one photo."""

    share: float = 0.0  # of the photo that masks cover, 0 to 1
    certainty: float = 0.0  # mean of the mask's pixels, 2 |p - 0.5|, 0 to 1
    unsure: float = 0.0  # pixels with 0.2 < p < 0.8, as a share of the mask's pixels
    piece: float = 0.0  # share of the largest connected piece in the mask, 0 to 1

    @property
    def reason(self) -> str:
        """Names of the figures that fail, joined by spaces; empty when the photo is kept."""
        if not self.share:
            return "share"
        passed = {
            "share": self.share > 0.01,
            "certainty": self.certainty > 0.8,
            "unsure": self.unsure < 0.25,
            "piece": self.piece > 0.8,
        }
        return " ".join(name for name, good in passed.items() if not good)


@dataclass(frozen=True)
class LabelledPhoto:
    """What became of one photo."""

    source: Path
    label: Path | None  # the PNG that was written
    judgement: Judgement | None  # None when the photo could not be read or written, or is known
    error: str = ""  # what went wrong
    known: bool = False  # whether it shows what one of the photos to keep apart shows


def judge(probability: NDArray[np.float32]) -> Judgement:
    """Tell whether a probability map (H, W) is sure enough to be a label.

    Example:
        >>> probability = np.zeros((32, 32), np.float32)
        >>> probability[8:20, 4:28] = 0.99
        >>> judge(probability).reason
        ''
    """
    mask = probability > 0.5
    area = int(mask.sum())
    if not area:
        return Judgement()
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return Judgement(
        share=area / mask.size,
        certainty=2.0 * float(np.abs(probability[mask] - 0.5).mean()),
        unsure=int(((probability > 0.2) & (probability < 0.8)).sum()) / area,
        piece=int(statistics[1:, cv2.CC_STAT_AREA].max()) / area,
    )


def label_photos(
    model: keras.Model, photos: Iterable[PathLike],
    destination: PathLike, *, side: int = WORKING_SIDE, apart: Iterable[PathLike] = (),
) -> Iterator[LabelledPhoto]:  # fmt: skip
    """Label photos, and write those that a network is sure of.

    NAME.jpg and NAME.png (2 where a mask is, else 0) of these come to lie in the destination, as
    `data.read_examples` reads them, and `decisions.csv` with a row a photo, however it ends.

    Args:
        model: A network of `build_teacher` with this side, or of `build_unet`.
        photos: The photos; two with the same name get different ones.
        destination: Folder to fill, new or empty, so that no other labels mix with these.
        side: The photo's longer side is brought to this many pixels, a multiple of 32.
        apart: Photos that a model is to be measured on: copies of them are left out.

    Yields:
        What became of each photo. One that cannot be read or written stops nothing.

    Raises:
        DataError: The destination is not empty or not a folder.
    """
    folder = Path(destination)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: must be a new or an empty folder")
    names: set[str] = set()
    done: list[LabelledPhoto] = []
    known = np.reshape([_thumbnail(load_photo(path)) for path in apart], (-1, _THUMBNAIL**2))
    try:
        for source in map(Path, photos):
            done.append(_label(model, source, folder / _new_name(source, names), side, known))
            yield done[-1]
    finally:
        _write_table(folder / DECISIONS, done)


def _thumbnail(photo: Photo) -> NDArray[np.float32]:
    """Return a small grey picture as a vector of length 1, whose products are correlations."""
    grey = cv2.cvtColor(photo.pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA).ravel()
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)


def _label(
    model: keras.Model, source: Path, target: Path, side: int, known: NDArray[np.float32]
) -> LabelledPhoto:
    try:
        photo = load_photo(source)
        if (known @ _thumbnail(photo) > _SAME).any():
            return LabelledPhoto(source, None, None, known=True)
        small = probability_map(model, photo.pixels, side, square=True, mirror=True)
        size = (photo.pixels.shape[1], photo.pixels.shape[0])
        probability = np.asarray(cv2.resize(small, size), np.float32)
        judgement = judge(probability)
        kept = not judgement.reason
        label = _write_pair(target, photo, probability > 0.5) if kept else None
    except (ImageError, OSError) as error:
        return LabelledPhoto(source, None, None, text_about(source, error))
    return LabelledPhoto(source, label, judgement)


def _write_pair(target: Path, photo: Photo, mask: NDArray[np.bool_]) -> Path:
    # Not `with_suffix`: names may have dots. The PNG comes last: readers go by it.
    save_image(Path(f"{target}.jpg"), photo.pixels, icc_profile=photo.icc_profile)
    label = Path(f"{target}.png")
    with atomic_path(label) as temporary:
        Image.fromarray(mask.astype(np.uint8) * np.uint8(_MASK)).save(temporary)
    return label


def _new_name(source: Path, taken: set[str]) -> str:
    name, number = source.stem, 2
    # Some file systems do not tell upper from lower case.
    while name.lower() in taken:
        name, number = f"{source.stem}-{number}", number + 1
    taken.add(name.lower())
    return name


def _write_table(path: Path, photos: Iterable[LabelledPhoto]) -> None:
    write_text_atomic(path, csv_text([_COLUMNS, *map(_row, photos)]))


def _row(photo: LabelledPhoto) -> tuple[str, ...]:
    found = photo.judgement
    if found is None:
        reason = "known" if photo.known else photo.error
        return (str(photo.source), "", "no", reason, "", "", "", "")
    figures = (found.share, found.certainty, found.unsure, found.piece)
    name, kept = (photo.label.name, "yes") if photo.label else ("", "no")
    return (str(photo.source), name, kept, found.reason, *(f"{figure:.4f}" for figure in figures))

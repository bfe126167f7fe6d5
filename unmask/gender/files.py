"""Opening a gender network by what its weight file says it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import keras

from unmask.errors import WeightsError
from unmask.face import CROP_SIZE
from unmask.gender.model import LITE, MARGIN, VIEW, Scaling, build_classifier, build_compact
from unmask.weights import load_arrays, load_weights

# What a classifier for whole crops gets of a stored view: all of it, with the margin.
_WHOLE_VIEW = (VIEW[0] - MARGIN, VIEW[1] - MARGIN, VIEW[2] + 2 * MARGIN)
_WIDTHS = "dense_1/kernel"


def load_gender(path: str | os.PathLike[str], *, cropped: bool = False) -> keras.Model:
    """Build the network that a file holds, and load it.

    Args:
        path: Weights of the compact network; a classifier that `unmask train gender --network
            paper` trained; one that `unmask.gender.convert` read and `unmask.weights.save_weights`
            wrote; or the authors' `.hdf5` itself, whose backbone must be in it.
        cropped: Whether the network is for stored views, see
            `unmask.gender.evaluate.probabilities`, and not for canonical crops.

    Returns:
        A network from images in [0, 1] to (B, 1), the probability of "male".

    Raises:
        WeightsError: The file cannot be read, or holds another network.

    Example:
        >>> from unmask.weights import find
        >>> load_gender(find("lite", "gender").path).input_shape
        (None, 256, 256, 3)
    """
    path = Path(path)
    if path.suffix.lower() in (".h5", ".hdf5"):
        return _load_published(path, cropped)
    if _WIDTHS in load_arrays(path)[0]:
        return load_classifier(path, cropped=cropped)
    model = build_compact(**LITE, cropped=cropped)
    try:
        load_weights(model, path)
    except WeightsError as error:
        raise WeightsError(f"{error}. Neither the compact network nor a classifier") from error
    return model


def load_classifier(path: str | os.PathLike[str], *, cropped: bool = False) -> keras.Model:
    """Build the paper's classifier as a safetensors file has it, and load it.

    The tensors tell the widths of the head. The metadata of a training tell what the backbone
    sees; without them it is what the authors' weights expect: the whole picture, in [0, 1].

    Args:
        path: The file.
        cropped: See `load_gender`.

    Returns:
        The network, with its weights.

    Raises:
        WeightsError: The file is missing, unreadable, or not of such a network.
    """
    arrays, metadata = load_arrays(path)
    if _WIDTHS not in arrays:
        raise WeightsError(f"{path}: {_WIDTHS} is missing: not the paper's gender classifier")
    hidden, units = arrays[_WIDTHS].shape
    try:
        model = build_classifier(
            units=units,
            hidden=hidden,
            activation=metadata.get("activation", "relu"),
            scaling=cast(Scaling, metadata.get("scaling", "paper")),
            size=int(metadata.get("size", CROP_SIZE)),
            view=_view(trained_here="scaling" in metadata, cropped=cropped),
            cropped=cropped,
        )
    except ValueError as error:
        raise WeightsError(f"{path}: metadata: not of a gender classifier ({error})") from error
    load_weights(model, path)
    return model


def _view(*, trained_here: bool, cropped: bool) -> tuple[int, int, int] | None:
    if trained_here:
        return VIEW
    return _WHOLE_VIEW if cropped else None


def _load_published(path: Path, cropped: bool) -> keras.Model:
    from unmask.gender.convert import load_published

    model, report = load_published(path)
    if report.missing:
        raise WeightsError(f"{path}: holds the head alone, without its InceptionV3")
    if not cropped:
        return model
    head = model.get_layer("gender_head")
    hidden, units = head.get_layer("dense_1").kernel.shape
    viewed = build_classifier(units=units, hidden=hidden, view=_WHOLE_VIEW, cropped=True)
    viewed.set_weights(model.get_weights())
    return viewed

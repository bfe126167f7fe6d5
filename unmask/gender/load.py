"""Opening a gender network by what its weight file says it is."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import keras

from unmask.errors import WeightsError
from unmask.face import CROP_SIZE
from unmask.gender.lite import FRAMINGS, Framing, Scaling, View, build_lite, look_through
from unmask.gender.paper import build_classifier
from unmask.io import PathLike
from unmask.weights import load_arrays, load_weights

_WIDTHS = "dense_1/kernel"


def load_gender(path: PathLike, *, cropped: bool = False) -> keras.Model:
    """Build the network that a file holds, and load it.

    Args:
        path: Weights of the compact network; a classifier that `unmask train paper/gender` made;
            one that `unmask.gender.convert` read and `unmask.weights.save_weights`
            wrote; or the authors' `.hdf5` itself, whose backbone must be in it.
        cropped: Whether the network is for stored views of the framing that `framing_of` tells,
            and not for canonical crops.

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
        from unmask.gender.convert import load_published

        model, report = load_published(path)
        if report.missing:
            raise WeightsError(f"{path}: holds the head alone, without its InceptionV3")
        return model
    if _WIDTHS in load_arrays(path)[0]:
        return _load_classifier(path, cropped=cropped)
    model = build_lite(cropped=cropped)
    try:
        load_weights(model, path)
    except WeightsError as error:
        raise WeightsError(f"{error}. Neither the compact network nor a classifier") from error
    return model


def framing_of(model: keras.Model) -> Framing:
    """Return what views a network of `load_gender(..., cropped=True)` looks at."""
    window, whole = FRAMINGS["window"], FRAMINGS["whole"]
    return window if model.input_shape[1] == window.side else whole


def _load_classifier(path: Path, *, cropped: bool) -> keras.Model:
    """Build the paper's classifier as a safetensors file has it, and load it.

    The tensors tell the widths of the head. The metadata of a training tell what the backbone
    sees; without them it is what the authors' weights expect: the whole picture, in [0, 1].
    """
    arrays, metadata = load_arrays(path)
    if arrays[_WIDTHS].ndim != 2:
        raise WeightsError(f"{path}: {_WIDTHS} must have two axes, has {arrays[_WIDTHS].ndim}")
    hidden, units = arrays[_WIDTHS].shape
    trained_here = "scaling" in metadata
    view = metadata.get("view", "window" if trained_here else "whole")
    try:
        classifier = build_classifier(
            units=units,
            hidden=hidden if "dense_hidden/kernel" in arrays else 0,
            activation=metadata.get("activation", "relu"),
            size=int(metadata.get("size", CROP_SIZE)),
        )
        scaling = cast(Scaling, metadata.get("scaling", "paper"))
        model = look_through(classifier, cast(View, view), scaling, cropped=cropped)
    except ValueError as error:
        raise WeightsError(f"{path}: metadata: not of a gender classifier ({error})") from error
    load_weights(model, path)
    return model

"""Opening a gender network by what its weight file says it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import keras

from unmask.errors import WeightsError
from unmask.face import CROP_SIZE
from unmask.gender.framing import FRAMINGS, Framing, View
from unmask.gender.model import LITE, Scaling, build_classifier, build_compact
from unmask.weights import load_arrays, load_weights

_WIDTHS = "dense_1/kernel"


def load_gender(path: str | os.PathLike[str], *, cropped: bool = False) -> keras.Model:
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
        return _load_published(path)
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
    view = _view(metadata)
    try:
        model = build_classifier(
            units=units,
            hidden=hidden if "dense_hidden/kernel" in arrays else 0,
            activation=metadata.get("activation", "relu"),
            scaling=cast(Scaling, metadata.get("scaling", "paper")),
            size=int(metadata.get("size", CROP_SIZE)),
            view=view,
            cropped=cropped and view is not None,
        )
    except ValueError as error:
        raise WeightsError(f"{path}: metadata: not of a gender classifier ({error})") from error
    load_weights(model, path)
    return model


def framing_of(model: keras.Model) -> Framing:
    """Return what views a network of `load_gender(..., cropped=True)` looks at."""
    window, whole = FRAMINGS["window"], FRAMINGS["whole"]
    return window if model.input_shape[1] == window.side else whole


def _view(metadata: Mapping[str, str]) -> tuple[int, int, int] | None:
    if "scaling" not in metadata:  # not trained here
        return None
    return FRAMINGS[cast(View, metadata.get("view", "window"))].view


def _load_published(path: Path) -> keras.Model:
    from unmask.gender.convert import load_published

    model, report = load_published(path)
    if report.missing:
        raise WeightsError(f"{path}: holds the head alone, without its InceptionV3")
    return model

"""What a training borrows from another stage's network; the stages themselves do not meet."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unmask.data.record import FaceSet
from unmask.errors import DataError
from unmask.io import write_text_atomic
from unmask.weights import find, load_weights

if TYPE_CHECKING:
    import keras


def name_genders(faces: FaceSet, cache: Path, weights: Path | None = None) -> FaceSet:
    """Let a gender network name the faces of unknown gender of which it is sure.

    Args:
        faces: The faces.
        cache: JSON file that keeps the answers, so that a training that goes on starts at once.
        weights: File of the network; the shipped one when None.

    Raises:
        DataError: `cache` is not such a file.
    """
    answers = _read_answers(cache)
    asked = [r for r in faces.records if r.gender is None and str(r.path) not in answers]
    if asked:
        from unmask.gender.data import name_genders as name
        from unmask.gender.load import load_gender

        named = name(asked, load_gender(weights or find("lite", "gender").path))
        answers |= {str(record.path): record.gender for record in named}
        write_text_atomic(cache, json.dumps(answers))
    records = (r if r.gender else replace(r, gender=answers[str(r.path)]) for r in faces.records)
    return replace(faces, records=tuple(records))


def _read_answers(cache: Path) -> dict[str, str | None]:
    if not cache.is_file():
        return {}
    try:
        answers: dict[str, str | None] = json.loads(cache.read_text(encoding="utf-8"))
        return answers
    except (OSError, ValueError) as error:
        raise DataError(f"{cache}: not readable ({error}); remove it") from error


def find_beside(name: str, data: Sequence[Path]) -> str:
    """Return a file's path where it is, in the data folders if nowhere else; else its name."""
    inside = [Path(folder) / name for folder in data]
    found = [path for path in (Path(name), *inside) if path.is_file()]
    return str(found[0]) if found else name


def load_parser(weights: Path | None = None) -> keras.Model:
    """Return the lite parser, frozen: from (B, H, W, 3) in [0, 1] to logits (B, H, W, 11).

    Args:
        weights: File of the network; the shipped one when None.

    Raises:
        WeightsError: The file is missing or does not fit.
    """
    from unmask.presets import build_stage

    parser = build_stage("lite", "parsing")
    load_weights(parser, weights or find("lite", "parsing").path)
    parser.trainable = False
    return parser


def lite_predictor(weights: Path | None) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return the lite landmark network as a function, loaded at its first call.

    It can be pickled, so that worker processes load it themselves.

    Args:
        weights: File of the network; the shipped one when None.
    """
    from unmask.landmarks.predict import predict_by_file

    return functools.partial(predict_by_file, weights or find("lite", "landmarks").path)

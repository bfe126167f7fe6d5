"""How well a parser labels faces: F-scores by class, from counts of pixels."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.record import FaceRecord
from unmask.parsing import CLASSES
from unmask.parsing.data import Pixels, load_labelled
from unmask.tables import markdown_table as table

_COMPONENTS = slice(CLASSES.index("left brow"), CLASSES.index("hair"))
_BATCH = 16


@dataclass(frozen=True)
class ClassScore:
    """How well one class is found; a share of nothing counts as 1.

    Attributes:
        name: The class.
        f_score: Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN).
        precision: Share of what was found that is right.
        recall: Share of what is there that was found.
        pixels: Pixels of the class in the labels.
    """

    name: str
    f_score: float
    precision: float
    recall: float
    pixels: int


@dataclass(frozen=True)
class ParsingScores:
    """How well a parser labels faces.

    Attributes:
        faces: Number of faces.
        classes: The classes, in the order of `CLASSES`.
        overall: F-score of the facial components (brows, eyes, nose, lips, inner mouth), their
            pixels together; what literature on Helen calls overall.
        mean: Mean F-score of the classes.
        accuracy: Share of all pixels that are right.
    """

    faces: int
    classes: tuple[ClassScore, ...]
    overall: float
    mean: float
    accuracy: float


def confusion_matrix(truth: Pixels, predicted: Pixels) -> NDArray[np.int64]:
    """Count pixels by true and by predicted class.

    Args:
        truth: Labels of any shape; what is no class is left out.
        predicted: Labels of the same shape.

    Returns:
        (11, 11), a row a true class, a column a predicted one.

    Example:
        >>> int(confusion_matrix(np.uint8([0, 6, 6, 255]), np.uint8([0, 6, 1, 1]))[6, 1])
        1
    """
    count = len(CLASSES)
    known = truth < count
    pairs = truth[known].astype(np.int64) * count + predicted[known]
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def scores_of(confusion: NDArray[np.int64], faces: int) -> ParsingScores:
    """Return the figures of a `confusion_matrix` over so many faces."""
    right, there, found = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    f_scores = _share(2 * right, there + found)
    columns = zip(f_scores, _share(right, found), _share(right, there), there, strict=True)
    parts = [values[_COMPONENTS].sum() for values in (right, there, found)]
    return ParsingScores(
        faces=faces,
        classes=tuple(
            ClassScore(name, float(f), float(precision), float(recall), int(pixels))
            for name, (f, precision, recall, pixels) in zip(CLASSES, columns, strict=True)
        ),
        overall=float(_share(2 * parts[0], parts[1] + parts[2])),
        mean=float(f_scores.mean()),
        accuracy=float(_share(right.sum(), confusion.sum())),
    )


def _share(part: Any, whole: Any) -> NDArray[np.float64]:
    """Return `part / whole`; a share of nothing counts as 1."""
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)


def predict_labels(network: keras.Model, images: Pixels) -> Pixels:
    """Return the likeliest class of each pixel, (B, H, W), of pictures (B, H, W, 3)."""
    logits = network.predict_on_batch(images.astype(np.float32) / 255.0)
    return np.argmax(np.asarray(logits), axis=-1).astype(np.uint8)


def measure(network: keras.Model, faces: Iterable[tuple[Pixels, Pixels]]) -> ParsingScores:
    """Measure a parser on pictures (H, W, 3) of one size with labels (H, W).

    Raises:
        ValueError: There are none.
    """
    total, count = np.zeros((len(CLASSES), len(CLASSES)), np.int64), 0
    remaining = iter(faces)
    while batch := list(itertools.islice(remaining, _BATCH)):
        images, labels = (np.stack(arrays) for arrays in zip(*batch, strict=True))
        total += confusion_matrix(labels, predict_labels(network, images))
        count += len(batch)
    if not count:
        raise ValueError("faces must not be empty")
    return scores_of(total, count)


def measure_records(network: keras.Model, records: Sequence[FaceRecord]) -> ParsingScores:
    """Measure a parser on whole canonical crops, 256 x 256, of faces of `gather_labelled`."""
    return measure(network, map(load_labelled, records))


def markdown_table(scores: ParsingScores) -> str:
    """Write the figures as Markdown, as in the model card."""
    rows = [
        (c.name, f"{c.f_score:.3f}", f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.pixels:,}")
        for c in scores.classes
    ]
    return (
        f"{table(('class', 'F-score', 'precision', 'recall', 'pixels'), rows)}\n"
        f"{scores.faces} faces: **{scores.overall:.3f}** overall (brows, eyes, nose and mouth, all"
        f" their pixels together); {scores.mean:.3f} as the mean of the classes;"
        f" {scores.accuracy:.1%} of all pixels are right.\n"
    )

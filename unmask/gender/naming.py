"""Genders for the training faces that have no label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import keras
import numpy as np

from unmask.data.faces import FaceRecord, load_canonical
from unmask.gender import UNCERTAIN_BELOW
from unmask.gender.predict import predict_gender

_AT_ONCE = 64


def name_genders(
    records: Sequence[FaceRecord], model: keras.Model, *, least: float = UNCERTAIN_BELOW
) -> list[FaceRecord]:
    """Fill in the gender of faces of unknown gender where a network is sure of it.

    Where all faces of one collection have labels and all of another have none, "unknown" would
    come to mean the other collection: a network that is told the gender would learn from it which
    camera to imitate.

    Args:
        records: The faces; labelled ones are left as they are.
        model: A classifier of `unmask.gender.model` for whole canonical crops.
        least: Smallest probability, in [0.5, 1], of a gender that is filled in. Of 336 labelled
            bare faces in wide framing 88 % reached the default with the first shipped weights, and
            98 % of these were named rightly; but 305 of the 336 had trained those weights.

    Returns:
        The records in their order.

    Raises:
        ImageError: A face of unknown gender cannot be read.
        ValueError: `least` is out of range.

    Example:
        >>> from unmask.gender.model import build_compact
        >>> name_genders([], build_compact())
        []
    """
    if not 0.5 <= least <= 1.0:
        raise ValueError(f"least must be in [0.5, 1]. Received: least={least}")
    # A folder may be named more than once; each of its faces is looked at once.
    unknown = list({r.path: r for r in records if r.gender is None}.values())
    found: dict[object, str] = {}
    for start in range(0, len(unknown), _AT_ONCE):
        group = unknown[start : start + _AT_ONCE]
        crops = np.stack([load_canonical(record).image for record in group])
        for record, male in zip(group, predict_gender(model, crops, mirror=True), strict=True):
            if max(male, 1 - male) >= least:
                found[record.path] = "male" if male >= 0.5 else "female"
    return [replace(r, gender=r.gender or found.get(r.path)) for r in records]

"""`unmask evaluate gender`: figures of a gender network on held-out faces."""

from __future__ import annotations

from typing import Literal

from unmask.cli.arguments import Count, ExistingDirectory, ExistingFile, OutFolder, Seed

_RESULTS = ("views.npy", "views.json", "evaluation.json", "evaluation.md", "reliability.png")


def evaluate_gender(
    *,
    data: list[ExistingDirectory],
    weights: ExistingFile | None = None,
    network: Literal["compact", "paper"] = "compact",
    split: str = "val",
    masks: Count = 3,
    mirror: bool = False,
    out: OutFolder,
    seed: Seed = 1,
) -> None:
    """Measure a gender network on held-out faces.

    Accuracy, recalls, ROC AUC and calibration, bare and masked, by age and ethnicity where the
    faces have such labels. Writes evaluation.json, evaluation.md and reliability.png.

    Args:
        data: Face folders, or folders laid out as the authors' are, or with a table.csv.
        weights: Weight file of either network, or the authors' .hdf5. Default: the preset's.
        network: Whose weights to take without --weights: the shipped compact ones, or those of the
            preset paper.
        split: Split of the faces.
        masks: Drawn masks for each face that has landmarks.
        mirror: The mean over two mirror images, as in `unmask run`.
        out: Folder for the results.
        seed: Seed of the masks.
    """
    import json
    from dataclasses import asdict

    import numpy as np

    from unmask.gender import UNCERTAIN_BELOW
    from unmask.gender.data import has_landmarks, labels_of, read_faces, stored_views
    from unmask.gender.evaluate import (
        evaluate_groups,
        markdown,
        probabilities,
        reliability_figure,
    )
    from unmask.gender.load import framing_of, load_gender
    from unmask.io import atomic_path, write_text_atomic
    from unmask.paths import check_outputs
    from unmask.weights import find

    records = read_faces(data, {}, split).records
    check_outputs((out / name for name in _RESULTS), (record.path for record in records))
    preset = "paper" if network == "paper" else "lite"
    model = load_gender(weights or find(preset, "gender").path, cropped=True)
    masks = masks if has_landmarks(records) else 0
    views = stored_views(records, out / "views.npy", framing_of(model), masked=masks, seed=seed)
    predicted = probabilities(model, views, mirror=mirror)
    evaluation = evaluate_groups(predicted, records, UNCERTAIN_BELOW)
    write_text_atomic(out / "evaluation.json", json.dumps(asdict(evaluation), indent=2) + "\n")
    write_text_atomic(out / "evaluation.md", markdown(evaluation))
    labels = labels_of(records)
    curves = {"bare": (predicted[:, 0], labels)}
    if masks:
        curves["masked"] = (predicted[:, 1:].ravel(), np.repeat(labels, masks))
    with atomic_path(out / "reliability.png") as temporary:
        reliability_figure(curves).savefig(temporary, dpi=100, format="png")
    print(markdown(evaluation))

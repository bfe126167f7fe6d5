"""`unmask tune gender`: search units, activation and dropout of the paper's gender head."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from unmask.cli.arguments import ExistingDirectory, OutFolder, PositiveInt, Pretrained, Seed


def tune_gender(
    data: ExistingDirectory,
    /,
    *,
    out: OutFolder = Path("runs/tune"),
    search: Literal["random", "bayesian"] = "random",
    trials: PositiveInt = 20,
    executions: PositiveInt = 2,
    epochs: PositiveInt = 8,
    backbone: Pretrained = "imagenet",
    scaling: Literal["inception", "paper"] = "inception",
    precision: Literal[
        "mixed_bfloat16", "mixed_float16", "bfloat16", "float16", "float32", "float64"
    ] = "mixed_bfloat16",
    faces: PositiveInt = 4000,
    seed: Seed = 0,
) -> None:
    """Search units, activation and dropout of the paper's gender head.

    The features of InceptionV3 are computed once and kept in the run folder, so a trial takes
    seconds. Each training face is kept twice, augmented differently: bare and under a drawn mask,
    or twice bare where there are no landmarks to draw masks by. A search that was stopped goes on.

    Args:
        data: Folder that holds the face folders, or Training/{female,male} and Validation/..., or a
            table.csv with the columns file, gender and split (train or val).
        out: Run folder, where leaderboard.csv and best.json go.
        search: How the next setting is chosen.
        trials: Settings to try.
        executions: Trainings of each setting.
        epochs: At most so many a training.
        backbone: Weights of InceptionV3; "imagenet": Keras downloads them.
        scaling: What InceptionV3 sees: [-1, 1], or [0, 1] as in the paper.
        precision: Keras' dtype policy of the heads.
        faces: Training faces.
        seed: Seed of everything random.
    """
    from unmask.gender.sources import lacks_landmarks
    from unmask.gender.train_head import HeadConfig, pooled_features
    from unmask.gender.tune import TuneConfig, tune

    bare = lacks_landmarks(data)
    places: dict[str, Any] = {"folders": (".",), "folder_weights": (1.0,)} if bare else {}
    sets = pooled_features(
        HeadConfig(
            **places,
            data=data,
            out=out,
            backbone=backbone,
            scaling=scaling,
            faces=faces,
            bare=2 if bare else 1,
            masked=0 if bare else 1,
            seed=seed,
        )
    )
    results = tune(
        sets["train"],
        sets["val"],
        TuneConfig(
            out=out,
            search=search,
            trials=trials,
            executions=executions,
            epochs=epochs,
            dtype_policy=precision,
            seed=seed,
        ),
    )
    for result in results[:5]:
        setting = result.parameters
        print(
            f"{result.val_accuracy:.2%}  units {setting.units:4}  "
            f"{setting.activation:7}  dropout {setting.dropout:.2f}"
        )
    print(f"{len(results)} trials: {out / 'leaderboard.csv'}, {out / 'best.json'}")

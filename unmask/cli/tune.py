"""`unmask tune gender`: search units, activation and dropout of the paper's gender head."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unmask.cli.arguments import ExistingPath, OutFolder, PositiveInt, Seed


def gender(
    data: ExistingPath,
    /,
    *,
    out: OutFolder = Path("runs/tune"),
    recipe: str = "paper/gender",
    overrides: Annotated[list[str] | None, Parameter(name="--set")] = None,
    search: Literal["random", "bayesian"] = "random",
    authors: bool = False,
    trials: PositiveInt = 20,
    executions: PositiveInt | None = None,
    epochs: PositiveInt | None = None,
    seed: Seed = 0,
) -> None:
    """Search units, activation and dropout of the paper's gender head.

    The features of InceptionV3 are computed once and kept in the run folder, so a trial takes
    seconds. They are those that the recipe trains its head on. A search that was stopped goes on.

    Args:
        data: Folder that holds the face folders, or Training/{female,male} and Validation/..., or a
            table.csv with the columns file, gender and split (train or val).
        out: Run folder, where leaderboard.csv and best.json go.
        recipe: A recipe of the task gender-head, or a TOML file.
        overrides: KEY=VALUE: change settings of the recipe, e.g. face_count=4000.
        search: How the next setting is chosen.
        authors: Search as the authors' notebook does: one batch of 512 images, a fifth of which
            validates; 10 trainings of 50 epochs a setting; Adam at 1e-3; units in steps of 2.
        trials: Settings to try.
        executions: Trainings of each setting. Default: 2, or the authors' 10.
        epochs: At most so many a training. Default: 8, or the authors' 50.
        seed: Seed of everything random.
    """
    from unmask.errors import require

    require("the search", "'unmask[train]'", "keras_tuner")
    from unmask.gender.task import pooled_features
    from unmask.gender.tune import AUTHORS, TuneConfig, tune
    from unmask.training.recipe import parse_overrides

    given = {"executions": executions, "epochs": epochs}
    settings = (AUTHORS if authors else {}) | {k: v for k, v in given.items() if v is not None}
    config = TuneConfig(out=out, search=search, trials=trials, seed=seed, **settings)
    changes = {"seed": seed, **parse_overrides(overrides or [])}
    features = pooled_features(recipe, [data], out, changes)
    results = tune(features["train"], features["val"], config)
    for result in results[:5]:
        setting = result.parameters
        print(
            f"{result.val_accuracy:.2%}  units {setting.units:4}  "
            f"{setting.activation:7}  dropout {setting.dropout:.2f}"
        )
    best = results[0].parameters
    chosen = f"units={best.units} activation={best.activation} dropout={best.dropout:.2f}"
    print(f"{len(results)} trials: {out / 'leaderboard.csv'}, {out / 'best.json'}")
    print("train with", " ".join(f"--set classifier.{change}" for change in chosen.split()))

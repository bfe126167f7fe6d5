"""The search on cached features: it finds, reports, and goes on where it was stopped."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.gender.features import Features
from unmask.gender.tune import ACTIVATIONS, AUTHORS, TuneConfig, tune

pytestmark = pytest.mark.usefixtures("untraced")


def features(seed: int, count: int = 64) -> Features:
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 2).astype(np.float32)
    values = rng.normal(0, 1, (count, 2, 6)) + labels[:, None, None]
    return Features(values.astype(np.float16), labels)


@pytest.fixture
def config(tmp_path):
    return TuneConfig(
        out=tmp_path,
        trials=2,
        executions=1,
        epochs=1,
        batch_size=32,
        learning_rate=3e-3,
        hidden=16,
        max_units=96,
    )


def leaderboard(config):
    with (config.out / "leaderboard.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_search_reports_its_trials_best_first(config):
    results = tune(features(0, 120), features(1, 120), replace(config, epochs=6))
    assert len(results) == 2
    assert results[0].val_accuracy >= results[1].val_accuracy
    assert results[0].val_accuracy > 0.7
    for result in results:
        assert result.parameters.units % 32 == 0
        assert 32 <= result.parameters.units <= 96
        assert result.parameters.activation in ACTIVATIONS
        assert 0 <= result.parameters.dropout <= 0.1
    rows = leaderboard(config)
    assert [int(row["units"]) for row in rows] == [r.parameters.units for r in results]
    units = results[0].parameters.units
    count = (
        12 + (7 * 16) + 32 + 17 * units + 2 * units + (units + 1) * units + 2 * units + units + 1
    )
    assert int(rows[0]["parameters"]) == count
    best = json.loads((config.out / "best.json").read_text(encoding="utf-8"))
    assert best["units"] == units


@pytest.mark.parametrize("search", ["random", "bayesian"])
def test_a_search_that_was_stopped_ends_as_one_that_was_not(config, search):
    config = replace(config, search=search)
    whole = replace(config, out=config.out / "whole", trials=3)
    results = tune(features(0), features(1), whole)
    assert len({result.parameters for result in results}) == 3
    # keras-tuner's own memory breaks where a folder's name has brackets.
    parts = replace(config, out=config.out / "parts[1]")
    for trials in (1, 3):
        tune(features(0), features(1), replace(parts, trials=trials))
    for name in ("leaderboard.csv", "best.json", "finished.json"):
        assert (parts.out / name).read_bytes() == (whole.out / name).read_bytes()


def test_an_interrupted_search_keeps_its_finished_trials(config, monkeypatch):
    from unmask.gender import tune as module

    calls = []
    build = module.build_head

    def stopping(*args, **kwargs):
        calls.append(kwargs)
        # The first trial builds once to train and once to count; then the second begins.
        if len(leaderboard(config) if (config.out / "leaderboard.csv").exists() else []) == 1:
            raise KeyboardInterrupt
        return build(*args, **kwargs)

    monkeypatch.setattr(module, "build_head", stopping)
    with pytest.raises(KeyboardInterrupt):
        tune(features(0), features(1), config)
    monkeypatch.setattr(module, "build_head", build)
    kept = leaderboard(config)[0]
    results = tune(features(0), features(1), config)
    assert len(results) == 2
    assert int(kept["units"]) in {r.parameters.units for r in results}


def test_a_folder_remembers_what_its_search_was(config):
    first = tune(features(0), features(1), config)
    for changes, name in (
        ({"min_units": 64}, "min_units"),
        ({"search": "bayesian"}, "search"),
        ({"epochs": 4}, "epochs"),
    ):
        with pytest.raises(DataError, match=f"was made with {name}="):
            tune(features(0), features(1), replace(config, **changes))
    with pytest.raises(DataError, match="was made with training="):
        tune(features(2), features(1), config)
    # A finished search called again changes nothing, whatever keras-tuner left half written.
    trial = config.out / "trials" / "trial_0" / "trial.json"
    trial.write_bytes(trial.read_bytes()[:40])
    assert tune(features(0), features(1), config) == first
    (config.out / "finished.json").write_text("[{", encoding="utf-8")
    with pytest.raises(DataError, match=r"finished\.json: not the trials of a search"):
        tune(features(0), features(1), config)


def test_the_authors_search_validates_on_a_part_of_one_batch(config, monkeypatch):
    seen = {}

    def spy(tuner, x, y, *, validation_data, **options):
        seen.update(x=x, held_out=validation_data[0], epochs=options["epochs"])

    monkeypatch.setattr("keras_tuner.RandomSearch.search", spy)
    settings = {**AUTHORS, "images": 100}
    tune(features(0), features(1), replace(config, **settings))
    assert len(seen["x"]) == 80
    assert len(seen["held_out"]) == 20
    assert seen["epochs"] == 50
    known = {tuple(row) for row in features(0).flat()[0].tolist()}
    assert {tuple(row) for row in seen["held_out"].tolist()} < known


def test_wrong_arguments_are_refused(config):
    with pytest.raises(ValueError, match="search must be"):
        replace(config, search="grid")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="trials=0"):
        replace(config, trials=0)
    maps = Features(np.zeros((2, 1, 3, 3, 4), np.float16), np.array([0, 1], np.float32))
    with pytest.raises(DataError, match=r"\(2, 1, 3, 3, 4\)"):
        tune(maps, maps, config)

"""Folders of weights: what is added can be found, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unmask.cli import main
from unmask.errors import WeightsError
from unmask.manifest import add_weights, write_manifest
from unmask.presets import build_stage
from unmask.weights import (
    find,
    load_arrays,
    load_weights,
    read_manifest,
    save_arrays,
    save_weights,
)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "run" / "inpainting.safetensors"
    path.parent.mkdir()
    arrays = {"conv/kernel": rng.normal(size=(3, 3, 4, 8)), "conv/bias": rng.normal(size=8)}
    noted = {"recipe": "paper/inpainting", "overrides": '{"gender": "male"}', "loss": "0.25"}
    save_arrays(path, {k: v.astype(np.float32) for k, v in arrays.items()}, noted)
    return path


def test_added_files_are_found_with_a_card(trained: Path, tmp_path: Path):
    folder = tmp_path / "mine"
    for name in ("paper/inpainting_male", "paper/inpainting_female"):
        assert main(["weights", "add", str(trained), "--as", name, "--dir", str(folder)]) == 0
    entry = find("paper", "inpainting_male", folder)
    assert entry.recipe == "paper/inpainting"
    found, wanted = load_arrays(entry.path)[0], load_arrays(trained)[0]
    assert {k: v.tobytes() for k, v in found.items()} == {k: v.tobytes() for k, v in wanted.items()}
    card = entry.card.read_text(encoding="utf-8")
    assert "paper/inpainting_male" in card
    assert "| loss | 0.25 |" in card
    assert [e.stage for e in read_manifest(folder)] == ["inpainting_female", "inpainting_male"]


def test_what_only_trainings_need_is_added_too(tmp_path: Path):
    parser = build_stage("lite", "parsing")
    save_weights(parser, tmp_path / "run" / "parsing.safetensors")
    folder, source = tmp_path / "mine", str(tmp_path / "run" / "parsing.safetensors")
    assert main(["weights", "add", source, "--as", "lite/parsing", "--dir", str(folder)]) == 0
    entry = find("lite", "parsing", folder)
    assert entry.recipe == "lite/parsing"
    assert entry.size < 3e6
    load_weights(parser, entry.path)


def test_a_finished_card_stays(trained: Path, tmp_path: Path):
    card = add_weights(trained, "paper/gender", tmp_path / "mine").with_suffix(".md")
    card.write_text("finished", encoding="utf-8")
    add_weights(trained, "paper/gender", tmp_path / "mine")
    assert card.read_text(encoding="utf-8") == "finished"


def test_no_network_of_other_weights_stays_beside_it(trained: Path, tmp_path: Path):
    folder = tmp_path / "mine"
    stale = folder / "paper" / "gender.onnx"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"another network")
    add_weights(trained, "paper/gender", folder)
    assert not stale.exists()
    assert [entry.path.name for entry in read_manifest(folder)] == ["gender.safetensors"]


def test_eight_bits_are_a_quarter_and_nearly_the_same(trained: Path, tmp_path: Path):
    small = add_weights(trained, "paper/inpainting_male", tmp_path / "mine", eight_bit=True)
    wanted, noted = load_arrays(trained)
    found, kept = load_arrays(small)
    assert kept == noted
    np.testing.assert_array_equal(found["conv/bias"], wanted["conv/bias"])
    error = np.abs(found["conv/kernel"] - wanted["conv/kernel"])
    assert (error <= 0.501 / 127 * np.abs(wanted["conv/kernel"]).max(axis=(0, 1, 2))).all()
    # Once coded, coding it again changes nothing.
    again = add_weights(small, "paper/inpainting_male", tmp_path / "other", eight_bit=True)
    for name, value in load_arrays(again)[0].items():
        np.testing.assert_allclose(value, found[name], rtol=1e-6)


@pytest.mark.parametrize("name", ["", "paper", "paper/face", "huge/gender", "../lite/gender"])
def test_unknown_names_are_refused(trained: Path, tmp_path: Path, name: str):
    with pytest.raises(WeightsError, match="unknown weights"):
        add_weights(trained, name, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_file_without_a_card_is_an_error(trained: Path, tmp_path: Path):
    card = add_weights(trained, "paper/gender", tmp_path / "mine").with_suffix(".md")
    card.unlink()
    with pytest.raises(WeightsError, match=r"no card gender\.md"):
        write_manifest(tmp_path / "mine")

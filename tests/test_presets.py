"""Presets: sizes, files, and what an unknown one says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from unmask.errors import WeightsError
from unmask.presets import PRESETS, build_stage, get_preset
from unmask.weights import find, load_arrays, load_weights, read_manifest


def test_both_presets_have_every_network():
    names = {"segmentation", "landmarks", "gender", "inpainting_female", "inpainting_male"}
    # The coarse completion of the small generators is not in the paper.
    assert set(get_preset("paper").networks) == set(get_preset("paper").files) == names
    assert set(get_preset("lite").networks) == names | {"verifier", "loops", "coarse"}
    assert set(get_preset("lite").files) == {*get_preset("lite").networks, "prior"}


def test_what_only_trainings_need_is_no_part_of_a_run():
    lite = get_preset("lite")
    assert set(lite.helpers) == {"parsing"}
    assert not set(lite.helpers) & ({*lite.files} | {*lite.networks})
    assert build_stage("lite", "parsing").output_shape == (None, None, None, 11)
    with pytest.raises(WeightsError, match="stage='parsing'"):
        build_stage("paper", "parsing")


def test_presets_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_preset("lite").name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        PRESETS["mine"] = get_preset("lite")  # type: ignore[index]


def test_unknown_names_list_the_known_ones():
    with pytest.raises(WeightsError, match=r"lite, paper\. Received: preset='large'"):
        get_preset("large")
    listed = r"segmentation, verifier, loops, landmarks, .*stage='nose'"
    with pytest.raises(WeightsError, match=listed):
        build_stage("lite", "nose")


def test_where_there_are_no_weights_the_error_says_what_to_do(tmp_path):
    (tmp_path / "manifest.toml").write_text("")
    with pytest.raises(WeightsError, match=r"no weights for paper/landmarks.*weights_dir"):
        find("paper", "landmarks", tmp_path)


@pytest.mark.parametrize(
    ("stage", "count"),
    [("landmarks", 24_153_036), ("segmentation", 44_603_678), ("inpainting_male", 11_734_981)],
)
def test_the_papers_sizes(stage: str, count: int):
    model = build_stage("paper", stage)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_weights) == count


def test_the_papers_gender_head():
    model = build_stage("paper", "gender")
    assert sum(int(np.prod(v.shape)) for v in model.trainable_weights) == 9_720_321


@pytest.mark.parametrize("stage", [*get_preset("lite").networks, *get_preset("lite").helpers])
def test_shipped_weights_fit_their_networks(stage: str):
    entries = {entry.stage: entry for entry in read_manifest() if entry.preset == "lite"}
    if stage not in entries:
        pytest.skip(f"lite/{stage} is not in the manifest yet")
    model = build_stage("lite", stage)
    load_weights(model, entries[stage].path)
    arrays, _ = load_arrays(entries[stage].path)
    for variable in model.trainable_variables[:5]:
        np.testing.assert_array_equal(np.asarray(variable), arrays[variable.path].astype("f4"))
    assert all(np.isfinite(array).all() for array in arrays.values())

"""The task "inpainting": which networks, faces and samples its recipes ask for."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from unmask.errors import DataError
from unmask.inpainting.predict import BORDER_SHARE, INNER_SHARE
from unmask.inpainting.task import (
    GeneratorSettings,
    InpaintingRecipe,
    InpaintingTask,
    draw_sheet,
)
from unmask.presets import build_stage
from unmask.training.recipe import read_recipe
from unmask.training.task import Places
from unmask.weights import load_arrays, save_weights

SIDE = 64


def recipe_of(name: str, phase: int = 0, **overrides) -> InpaintingRecipe:
    return read_recipe(name, overrides).phase(phase, InpaintingRecipe)


def task_of(folder: Path, **overrides) -> InpaintingTask:
    changes = {"samples.side": SIDE, "samples.predicted": 0.0, **overrides}
    recipe = recipe_of("lite/inpainting", 1, **changes)
    task = InpaintingTask(recipe, Places([folder], folder / "out"))
    task.prepare()
    return task


def test_recipes_make_the_networks_that_they_name():
    assert recipe_of("paper/aot-gan").generator == GeneratorSettings(kind="aot-gan", depth=8)
    assert InpaintingTask.parameters(recipe_of("lite/inpainting")) == 1_464_547  # as ships


def test_defaults_are_the_papers():
    paper, default = recipe_of("paper/inpainting"), InpaintingRecipe(
        task="inpainting", steps=1, optimizer=recipe_of("paper/inpainting").optimizer
    )  # fmt: skip
    for key in ("generator", "discriminator", "losses", "samples"):
        assert getattr(paper, key) == getattr(default, key), key


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"optimizer.name": "sgd"}, "adam"),
        ({"generator.coarse": True, "generator.attention": False}, "framing"),
        ({"generator.coarse": True}, "either has attention"),
        ({"generator.attention": False}, "either has attention"),
        ({"discriminator.attention": False}, "attention"),
        ({"losses.as_pasted": True}, "as_pasted"),
        ({"losses.matching": 0.1}, "detail"),
        ({"losses.parsing": 0.1, "samples.side": 72}, "multiple of 32"),
        ({"samples.predicted": 2.0}, r"predicted=2"),
        ({"samples.side": 100}, "side=100"),
        ({"samples.hole_growth": [3, 1]}, "hole_growth"),
        ({"samples.profile_oversampling": 0.0}, "profile_oversampling=0"),
        ({"generator.kind": "refiner"}, "a refiner paints on a completion"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides, message):
    with pytest.raises(DataError, match=message):
        recipe_of("paper/inpainting", **overrides)


def test_the_parser_is_taken_by_name_and_kept_out_of_what_is_saved(face_folder, vgg_file, tmp_path):
    path = tmp_path / "parser.safetensors"
    parser = build_stage("lite", "parsing")
    save_weights(parser, path)
    changes = {"losses.parsing": 0.1, "parser": str(path), "features": str(vgg_file)}
    task = task_of(face_folder, **changes, **{"generator.width": 8, "discriminator.width": 8})
    model = task.build()
    own = {id(v) for network in (task.network, task._discriminator) for v in network.variables}
    assert {id(v) for v in model.trainable_variables} <= own
    loaded = task._frozen[-1]
    assert {id(v) for v in loaded.variables} <= {id(v) for v in task.frozen()}
    for ours, theirs in zip(loaded.variables, parser.variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-3)
    task.keep(tmp_path / "kept.safetensors", {})
    assert not [n for n in load_arrays(tmp_path / "kept.safetensors")[0] if n.startswith("down")]


def test_faces_are_chosen_by_gender(face_folder, tmp_path):
    assert {r.gender for r in task_of(face_folder, gender="male")._faces.records} == {"male"}
    assert len(task_of(face_folder)._faces) == 6
    unlabelled = tmp_path / "unlabelled"
    unlabelled.mkdir()
    archive = dict(np.load(face_folder / "landmarks98.npz"))
    np.savez(unlabelled / "landmarks98.npz", **archive)
    with pytest.raises(DataError, match="no male faces of the split 'train'"):
        task_of(unlabelled, gender="male", name_genders=False)


def test_samples_of_the_paper_are_whole_crops(face_folder):
    recipe = recipe_of("paper/inpainting")
    task = InpaintingTask(recipe, Places([face_folder], face_folder / "out"))
    task.prepare()
    (batch,) = task.sampler()(0)
    assert {name: array.shape[1:] for name, array in batch.items()} == {
        "image": (256, 256, 3), "truth": (256, 256, 3), "mask": (256, 256, 1),
        "valid": (256, 256, 1), "landmark_map": (256, 256, 1),
    }  # fmt: skip
    # Nothing of the mask remains beside the hole: it is the mask itself.
    np.testing.assert_array_equal(batch["image"], batch["truth"])


def test_a_refiner_needs_a_gender():
    with pytest.raises(DataError, match="a refiner needs a gender"):
        recipe_of("lite/refiner", gender="")


def test_a_refiner_sees_what_the_shipped_generator_completes(face_folder):
    first, second = (
        task_of(face_folder, gender="male", **{"generator.kind": kind, "losses.as_pasted": False})
        for kind in ("landmark-guided", "refiner")
    )
    (coarse,), (finished,) = first.sampler()(0), second.sampler()(0)
    for name in ("image", "truth", "mask", "valid", "landmark_map"):
        np.testing.assert_array_equal(coarse[name], finished[name])
    change = np.abs(coarse["coarse"].astype(int) - finished["coarse"])
    hole = coarse["mask"][..., 0] > 0
    assert change[hole].mean() > 0.5
    assert change[~hole].mean() < 0.1  # smaller pictures mix the border


def painter(*, guided):
    """Return a generator that adds a tenth to the coarse completion, or paints grey without one."""
    image, mask, points, coarse = (
        keras.Input((None, None, n), name=name)
        for name, n in (("image", 3), ("mask", 1), ("landmark_map", 1), ("coarse", 3))
    )
    inputs = [image, mask, points] + ([coarse] if guided else [])
    return keras.Model(inputs, coarse + 0.1 if guided else 0.0 * image + 0.4)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("guided", [True, False])
def test_the_sheet_shows_what_run_would_paste(face_folder, guided):
    task = task_of(face_folder)
    batch = task._choose_shown()
    sheet = draw_sheet(painter(guided=guided), batch)
    assert sheet.shape == (3 * SIDE, 4 * SIDE, 3)  # the three faces for validation
    known, coarse, result, truth = np.split(sheet[:SIDE].astype(int), 4, axis=1)
    hole = (known == 255).all(-1)
    assert hole.mean() > 0.1
    if guided:
        unclipped = hole & (result < 255).all(-1)
        added = np.median((result - coarse)[unclipped])
        assert 25.5 * INNER_SHARE - 1 <= added <= 25.5 * BORDER_SHARE + 1
    else:
        assert (result[hole] == 102).all()
    outside = ~hole & (known == truth).all(-1)
    np.testing.assert_array_equal(result[outside], truth[outside])

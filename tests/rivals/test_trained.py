"""Small trainings of the compared systems: what they learn towards, and how they are used."""

import json

import cv2
import keras
import numpy as np
import pytest
from keras import ops

from unmask.errors import DataError, UnmaskError, WeightsError
from unmask.evaluation.comparison import MaskedFace, compare
from unmask.rivals import KEPT, SYSTEMS, load_system, small_training
from unmask.rivals.objectives import _divergence, make_objective
from unmask.rivals.task import RivalRecipe, RivalTask
from unmask.rivals.trained import build_networks, in_window
from unmask.training.recipe import read_recipe
from unmask.training.task import Places
from unmask.weights import load_metadata, save_arrays, save_weights

SIDE = 96


def photo(seed=0):
    rng = np.random.default_rng(seed)
    image = np.full((256, 256, 3), rng.integers(60, 200, 3), np.uint8)
    image[::16] = 30
    hole = np.zeros((256, 256), bool)
    hole[140:210, 90:170] = True
    return image, hole


def keep(folder, system, seconds=720.0, *, whole=False):
    """Write what a training of a tiny network would have kept; a few numbers unless `whole`."""
    kind = {"aot": "aot-gan", "lafin": "landmark-guided"}.get(system)
    sizes = {"width": 4, "depth": 1}
    settings = {"generator": {"kind": kind, **sizes}} if kind else {"system": system, **sizes}
    settings["samples"] = {"side": SIDE}
    (folder / system).mkdir(exist_ok=True, parents=True)
    path, metadata = folder / system / KEPT, {"settings": json.dumps(settings)}
    metadata["seconds"] = str(seconds)
    if whole:
        save_weights(build_networks(kind or system, 4, 1), path, metadata)
    else:
        save_arrays(path, {"kernel": np.zeros(99, np.float32)}, metadata)
    return path


@pytest.mark.parametrize("name", [name for name, system in SYSTEMS.items() if system.recipe])
def test_a_small_training_completes_faces(name, tmp_path):
    path = keep(tmp_path, name, whole=True)
    assert small_training(name, tmp_path) == path
    assert small_training(name, None) is None
    complete = load_system(name, tmp_path)
    image, hole = photo()
    result, again, other = (complete(image, hole, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(result[~hole], image[~hole])
    np.testing.assert_array_equal(again, result)
    assert (other != result).any() == (name == "pluralistic")
    hidden = np.where(hole[..., None], 255 - image, image)
    np.testing.assert_array_equal(complete(hidden, hole, seed=1), result)


def test_the_figure_and_the_table_say_what_is_a_small_training(tmp_path, monkeypatch):
    def load(name, weights):
        small = small_training(name, weights)
        return (lambda image, hole, landmarks, seed: image) if small else load_system(name, weights)

    monkeypatch.setattr("unmask.evaluation.comparison.load_system", load)
    keep(tmp_path, "deepfill2")
    keep(tmp_path, "aot", seconds=75.0)
    image, hole = photo()
    face = MaskedFace("face", image, image, hole, None)
    comparison = compare([face], ["deepfill2", "aot", "edgeconnect"], tmp_path)
    table = comparison.table()
    assert "| DeepFill v2 (small training here, 12 minutes) | 1 |" in table
    assert "| AOT-GAN (small training here, 1.2 minutes) | 1 |" in table
    assert "inpainting.safetensors of `unmask train rivals/edgeconnect`" in table
    titles = [axes.get_title() for axes in comparison.figure().axes]
    assert titles[1] == "DeepFill v2\nsmall training here\n12 minutes"


def test_published_files_go_before_a_small_training(tmp_path):
    keep(tmp_path, "aot")
    (tmp_path / "aot" / "G0000000.pt").touch()
    assert small_training("aot", tmp_path) is None
    with pytest.raises(UnmaskError, match=r"G0000000|needs torch"):
        load_system("aot", tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        None,
        {"system": "pluralistic", "width": 4, "depth": 1, "samples": {"side": SIDE}},
        {"system": "deepfill2", "width": 40_000, "depth": 1, "samples": {"side": SIDE}},
        {"system": "deepfill2", "width": "wide", "depth": 1, "samples": {"side": SIDE}},
        {"system": "deepfill2", "width": 4, "depth": 1},
        [],
    ],
)
def test_what_is_no_training_of_the_system_is_refused(settings, tmp_path):
    (tmp_path / "deepfill2").mkdir()
    metadata = {} if settings is None else {"settings": json.dumps(settings), "seconds": "9"}
    save_arrays(tmp_path / "deepfill2" / KEPT, {"kernel": np.zeros(99, np.float32)}, metadata)
    with pytest.raises(WeightsError, match="not a small training of 'deepfill2'"):
        load_system("deepfill2", tmp_path)


def test_the_network_sees_the_window_at_its_side():
    seen = []

    def paint(image, mask, points, seed):
        seen.append((image, mask, points))
        return np.full_like(image, 0.5)

    image, hole = photo()
    result = in_window(paint, SIDE)(image, hole)
    inner = cv2.erode(hole.astype(np.uint8), np.ones((13, 13))) > 0
    assert (np.abs(result[inner].astype(int) - 127) <= 1).all()
    given, mask, points = seen[0]
    assert given.shape == (1, SIDE, SIDE, 3)
    assert not given[mask[..., 0] > 0].any()
    assert not points.any()
    # The window is 192 pixels of the crop, from (32, 64) on.
    rows, columns = np.nonzero(mask[0, ..., 0])
    middle = [(rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2]
    assert middle == pytest.approx([(174.5 - 64) / 2, (129.5 - 32) / 2], abs=1)
    np.testing.assert_array_equal(in_window(paint, SIDE)(image, hole & False), image)


def batch(system, valid=1):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    mask = np.zeros((2, SIDE, SIDE, 1), np.uint8)
    mask[:, 30:60, 30:60] = 1
    inputs = {"image": pixels, "truth": pixels, "mask": mask, "valid": np.full_like(mask, valid)}
    if system.startswith("edge"):
        inputs["edges"] = (rng.random(mask.shape) < 0.1).astype(np.uint8)
    if system == "pluralistic":
        inputs["noise"] = rng.standard_normal((2, 3, 3, 16, 2)).astype(np.float32)
    return inputs


@pytest.mark.parametrize(
    ("system", "weights"),
    [
        ("deepfill2", {"refined": 3.0, "coarse": 2.0}), ("edgeconnect-edges", {"matching": 3.0}),
        ("edgeconnect", {"pixel": 3.0}), ("pluralistic", {"pixel": 3.0}),
    ],
)  # fmt: skip
def test_terms_count_by_their_weights_and_only_what_the_photo_shows(system, weights):
    objective = make_objective(system, build_networks(system, 4, 1), 4)
    loss, terms, shown = objective.generator_loss(weights, batch(system))
    assert list(terms) == list(weights)
    assert all(float(term) > 0.01 for term in terms.values())
    total = sum(weights[name] * float(term) for name, term in terms.items())
    assert float(loss) == pytest.approx(total, rel=1e-5)
    beyond, *_ = objective.generator_loss(weights, batch(system, valid=0))
    assert float(beyond) == pytest.approx(0, abs=1e-5)
    judged, _ = objective.discriminator_loss(batch(system), shown)
    assert np.isfinite(float(judged))


def test_the_divergence_is_that_of_normal_distributions():
    values = np.random.default_rng(0).normal(0.3, 0.7, 400_000)

    def log_density(mu, sigma):
        return -0.5 * ((values - mu) / sigma) ** 2 - np.log(sigma)

    wanted = np.mean(log_density(0.3, 0.7) - log_density(-0.2, 1.1))
    given = (ops.convert_to_tensor(x) for x in (0.3, 0.7, -0.2, 1.1))
    assert float(_divergence(*given)) == pytest.approx(wanted, abs=3e-3)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"losses.style": 1.0}, "coarse, refined, adversarial"),
        ({"losses.coarse": -1.0}, "at least 0"),
        ({"optimizer.name": "sgd"}, "adam"),
        ({"samples.predicted": 0.5}, "landmarks are not seen"),
    ],
)
def test_settings_without_meaning_are_refused(overrides, message):
    with pytest.raises(DataError, match=message):
        read_recipe("rivals/deepfill2", overrides).phase(0, RivalRecipe)


def test_minutes_of_both_phases_count(tmp_path):
    recipe = read_recipe("rivals/edgeconnect", {"width": 4, "depth": 1}).phase(1, RivalRecipe)
    task = RivalTask(recipe, Places([], tmp_path))
    task.network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    task.init = keep(tmp_path, "edgeconnect")
    task.keep(tmp_path / KEPT, {"seconds": "30"})
    assert load_metadata(tmp_path / KEPT)["seconds"] == "750"

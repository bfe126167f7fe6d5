"""The U-Net's training: its loss, what it needs, and that a trained file is safe."""

import keras
import numpy as np
import pytest

from tests.training.toys import TOYS
from unmask.errors import DataError
from unmask.segmentation.lite import build_unet
from unmask.segmentation.task import MaskLoss, SegmentationRecipe, SegmentationTask, border_weight
from unmask.training.recipe import read_recipe
from unmask.training.runner import train
from unmask.training.task import Places
from unmask.weights import load_arrays, load_metadata, save_arrays

SMALL = {
    "history_steps": 1, "validation_rows": 1, "dtype_policy": "float32", "minutes": 0.0, "steps": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return TOYS["lite/segmentation"](tmp_path_factory.mktemp("toy") / "data")


def make_task(toy, out, **changes):
    source = read_recipe("lite/segmentation", {**toy.overrides, **SMALL, **changes})
    return SegmentationTask(source.phase(0, SegmentationRecipe), Places(toy.data, out))


def test_a_finished_training_called_again_never_replaces_its_file(toy, tmp_path, untraced):
    path = train(make_task(toy, tmp_path), workers=0)
    # Better than anything that a few steps could reach.
    arrays, metadata = load_arrays(path)
    save_arrays(path, arrays, metadata | {"val_iou": "0.99"})
    before = path.read_bytes()
    assert train(make_task(toy, tmp_path), workers=0) == path
    assert path.read_bytes() == before
    # Without its checkpoint too, of which a new training would know nothing.
    for checkpoint in path.parent.glob("checkpoint*"):
        checkpoint.unlink()
    train(make_task(toy, tmp_path), workers=0)
    assert path.read_bytes() == before


def test_a_few_photos_choose_and_all_are_measured_at_the_end(toy, tmp_path, untraced):
    task = make_task(toy, tmp_path, steps=1, validation_photos=1)
    seen = []
    task.measure = lambda photos: seen.append(len(photos)) or 0.1 * len(photos)
    path = train(task, workers=0)
    assert seen == [1, 2]
    assert load_metadata(path)["val_iou"] == "0.1"
    assert load_metadata(path)["val_iou_all"] == "0.2"


def test_what_no_training_could_use(toy, tmp_path):
    for changes, message in (
        ({"sides": [100]}, "multiples of 32"),
        ({"sides": [64, 64]}, "neighbouring sides"),
        ({"sides": [64, 96], "network": "teacher"}, "one side"),
        ({"photos.mask_segmentation": -1.0}, "photos must name"),
    ):
        with pytest.raises(DataError, match=message):
            make_task(toy, tmp_path, **changes)
    with pytest.raises(DataError, match="features: the teacher"):
        make_task(toy, tmp_path, network="teacher").prepare()


def test_loss_falls_on_a_few_scenes():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    images = rng.random((4, 64, 64, 3)).astype(np.float32) * 0.3
    masks = np.zeros((4, 64, 64, 1), np.float32)
    masks[:, 16:48, 20:44] = 1
    images += 0.6 * masks * [0.2, 0.6, 1.0]
    model = build_unet((8, 8, 8, 8, 8), (1, 1, 1, 1, 1))
    model.compile(keras.optimizers.AdamW(2e-2), MaskLoss(), run_eagerly=True)
    losses = model.fit(images, masks, batch_size=4, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]


# === The loss ===


def truth():
    out = np.zeros((1, 16, 16, 1), np.float32)
    out[:, 4:12, 4:12] = 1
    return out


def test_border_weight_marks_both_sides_of_the_border():
    weight = np.asarray(border_weight(truth(), gain=2.0, width=3))[0, 8, :, 0]
    np.testing.assert_allclose(weight, [1, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1, 3, 3, 1, 1, 1])


def test_loss_by_hand():
    # Probability 0.5 everywhere: ln 2 of entropy; Dice 1 - (2 * 32 + 1) / (64 + 128 + 1).
    loss = float(MaskLoss(border_gain=0.0, dice=1.0)(truth(), np.full((1, 16, 16, 1), 0.5, "f4")))
    assert loss == pytest.approx(np.log(2) + 1 - 65 / 193, rel=1e-4)


def test_a_picture_without_mask_has_a_finite_small_loss():
    empty = np.zeros((1, 16, 16, 1), np.float32)
    assert float(MaskLoss()(empty, empty)) < 1e-3


def test_a_wrong_border_costs_more_than_a_wrong_spot():
    at_border, inside = truth(), truth()
    at_border[:, 4, 5:9] = 0
    inside[:, 7, 6:10] = 0
    loss = MaskLoss()
    assert float(loss(truth(), at_border)) > 2 * float(loss(truth(), inside))

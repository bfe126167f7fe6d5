import csv

import keras
import numpy as np

from unmask.segmentation.losses import MaskLoss
from unmask.segmentation.model import build_unet
from unmask.segmentation.train import TrainConfig, train
from unmask.weights import load_weights

TINY = {"widths": (8, 8, 8, 8, 8), "blocks": (1, 1, 1, 1, 1)}


def test_loss_falls_on_a_few_scenes():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    images = rng.random((4, 64, 64, 3)).astype(np.float32) * 0.3
    masks = np.zeros((4, 64, 64, 1), np.float32)
    masks[:, 16:48, 20:44] = 1
    images += 0.6 * masks * [0.2, 0.6, 1.0]
    model = build_unet(**TINY)
    model.compile(keras.optimizers.AdamW(1e-2), MaskLoss(), jit_compile=False)
    losses = model.fit(images, masks, batch_size=4, epochs=60, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]


def test_training_leaves_weights_that_load(data_folder, tmp_path):
    config = TrainConfig(
        data_folder, tmp_path / "run", minutes=0.03, steps=2, shapes=((64, 2), (96, 1)),
        network=TINY, policy="float32",
    )  # fmt: skip
    path = train(config)
    load_weights(build_unet(**TINY), path)
    with (tmp_path / "run" / "history.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert rows
    assert 0 <= float(rows[-1]["val_iou"]) <= 1

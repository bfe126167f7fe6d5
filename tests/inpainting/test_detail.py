"""The detail phase: what its losses see, and that they teach."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest

from unmask.inpainting.data import InpaintingData
from unmask.inpainting.detail import DetailTrainer
from unmask.inpainting.discriminator import build_detail_discriminator
from unmask.inpainting.generator import build_generator
from unmask.inpainting.losses import (
    LossWeights,
    feature_matching_loss,
    hinge_adversarial_loss,
    hinge_discriminator_loss,
)
from unmask.inpainting.networks import NETWORKS, Networks
from unmask.inpainting.predict import COLOUR_SHARE, STRENGTH, correct_guess
from unmask.inpainting.train import train
from unmask.inpainting.trainer import Trainer
from unmask.weights import load_weights

TINY = partial(build_generator, width=8, depth=1, coarse=True)
TINY_PAIR = Networks(
    "tiny-detail", TINY, partial(build_detail_discriminator, 8), (0.5, 0.99), detail=True
)
WEIGHTS = LossWeights(pixel=0.5, perceptual=0.06, style=2.0, adversarial=0.03, matching=0.3)


@pytest.fixture
def config(configured):
    return replace(configured(TINY_PAIR), weights=WEIGHTS)


@pytest.fixture
def batch(records, prior):
    return InpaintingData(records, prior, seed=0).batch(0, 2, 64).arrays()


def test_the_hinge_losses_by_hand():
    real, fake = np.float32([[2.0, 0.5]]), np.float32([[-3.0, 0.25]])
    both, second = np.float32([[1.0, 1.0]]), np.float32([[0.0, 0.5]])
    # A score beyond its margin costs nothing: (0 + 0) and (0.5 + 1.25).
    assert float(hinge_discriminator_loss(real, fake, both)) == pytest.approx(0.875, rel=1e-5)
    assert float(hinge_discriminator_loss(real, fake, second)) == pytest.approx(1.75, rel=1e-5)
    assert float(hinge_adversarial_loss(fake, both)) == pytest.approx(1.375, rel=1e-5)
    assert float(hinge_adversarial_loss(fake, second)) == pytest.approx(-0.25, rel=1e-5)


def test_feature_matching_is_relative_and_a_mean_over_layers():
    wanted = [np.full((1, 2, 2, 3), 2.0, np.float32), np.full((1, 1, 1, 4), -0.1, np.float32)]
    ours = [1.5 * wanted[0], wanted[1]]
    assert float(feature_matching_loss(ours, wanted)) == pytest.approx(0.25, rel=1e-3)


def test_the_discriminator_tells_of_patches_and_shows_its_layers():
    model = build_detail_discriminator(width=8)
    image = np.random.default_rng(0).uniform(size=(1, 64, 64, 3)).astype(np.float32)
    flat = np.zeros((1, 64, 64, 1), np.float32)
    scores, *features = model([image, flat])
    assert tuple(scores.shape) == (1, 6, 6, 1)
    assert [tuple(f.shape) for f in features] == [
        (1, 32, 32, 8), (1, 16, 16, 16), (1, 8, 8, 32), (1, 7, 7, 48),
    ]  # fmt: skip
    assert NETWORKS["lite-detail"].discriminator().get_layer("conv1").kernel.shape[2:] == (5, 48)


def test_training_on_one_batch_makes_its_loss_fall(config, batch):
    trainer = DetailTrainer(replace(config, rate=1e-3, discriminator_rate=1e-5))
    rows = [trainer.train_step(batch, 1.0) for _ in range(12)]
    assert set(rows[0]) == {
        "pixel", "perceptual", "style", "adversarial", "matching", "discriminator", "real", "fake",
    }  # fmt: skip
    assert np.isfinite([list(row.values()) for row in rows]).all()
    assert rows[-1]["pixel"] < 0.97 * rows[0]["pixel"]


def test_the_discriminator_learns_to_tell_painted_holes(config, batch):
    trainer = DetailTrainer(replace(config, discriminator_rate=1e-3))
    tensors = [keras.ops.convert_to_tensor(a) for a in batch]
    completed = trainer._complete(*tensors, training=False)
    rows = [trainer._discriminator_step(completed, *batch)[1] for _ in range(20)]
    assert float(rows[-1]["discriminator"]) < 0.8 * float(rows[0]["discriminator"])
    assert float(rows[-1]["real"]) > 0.5 + float(rows[-1]["fake"])


def test_training_sees_what_the_pipeline_pastes(config, batch):
    """The correction is treated in training as it is at run time, which then takes a part of it."""
    trainer = DetailTrainer(config)
    kernel = trainer.generator.get_layer("decoder3").kernel
    kernel.assign(np.random.default_rng(0).normal(0, 0.02, kernel.shape))
    image, mask, landmark_map, coarse, _, valid = batch
    output = np.asarray(trainer.generator([image, mask, landmark_map, coarse]))
    assert np.abs(output - coarse)[mask[..., 0] > 0].max() > 0.02
    tensors = [keras.ops.convert_to_tensor(a) for a in (*batch[:-1], np.ones_like(valid))]
    completed = np.asarray(trainer._complete(*tensors, training=False))
    part = (correct_guess(output, coarse, mask[..., 0] > 0) - coarse) / STRENGTH
    grey = part @ np.float32([0.299, 0.587, 0.114])[:, None]
    pasted = coarse + grey + (part - grey) / COLOUR_SHARE
    inner = np.s_[:, 20:44, 20:44]  # blurs differ at the border of an image
    hole = np.broadcast_to(mask > 0, completed.shape)[inner]
    np.testing.assert_allclose(completed[inner][hole], pasted[inner][hole], atol=0.01)


@pytest.mark.parametrize(
    "changed", [{"weights": replace(WEIGHTS, parsing=0.1)}, {"published_targets": True}]
)
def test_settings_without_effect_are_refused(config, changed):
    with pytest.raises(ValueError, match="detail phase"):
        DetailTrainer(replace(config, **changed))


def test_the_other_trainer_refuses_its_networks_and_its_term(config):
    with pytest.raises(ValueError, match="tiny-detail"):
        Trainer(config)
    with pytest.raises(ValueError, match=r"matching=0\.3"):
        Trainer(replace(config, networks=NETWORKS["lite"]))


def test_padding_has_no_say(config, batch):
    trainer = DetailTrainer(config)
    tensors = [keras.ops.convert_to_tensor(a) for a in (*batch[:-1], np.zeros_like(batch[-1]))]
    _, (terms, completed) = trainer._generator_loss(*tensors)
    np.testing.assert_array_equal(np.asarray(completed), batch[4])
    for name in ("pixel", "perceptual", "style", "adversarial", "matching"):
        assert float(terms[name]) == pytest.approx(0, abs=1e-4)


def test_train_runs_the_phase_of_its_networks(config):
    path = train(replace(config, steps=2, history_steps=1, sheet_minutes=None))
    assert load_weights(TINY(), path)["network"] == "tiny-detail"
    assert "matching" in (config.out / "history.jsonl").read_text(encoding="utf-8")

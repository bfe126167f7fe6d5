"""What the two networks are trained towards, term by term."""

from __future__ import annotations

import functools
from dataclasses import replace

import keras
import numpy as np
import pytest

from unmask.inpainting import losses
from unmask.inpainting.data import InpaintingSampler, SampleSettings
from unmask.inpainting.features import load_features
from unmask.inpainting.losses import parsing_loss
from unmask.inpainting.objective import LossSettings, Objective, as_floats
from unmask.inpainting.predict import split_correction
from unmask.inpainting.task import DiscriminatorSettings, GeneratorSettings
from unmask.presets import build_stage
from unmask.training.adversarial import AdversarialModel

SIDE = 64
PUBLISHED = LossSettings()
LITE = LossSettings(judged="composite", style=0.5, tv=0.0, adversarial=0.02, gan="soft-mask")
DETAIL = LossSettings(
    judged="composite", gan="hinge", pixel=0.5, perceptual=0.06, style=2.0, tv=0.0,
    matching=0.15, pixel_blur=1.0, patch_blur=8.0, mouth_only=True, as_pasted=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def batch(faces, linear):
    settings = SampleSettings(framing="window", side=SIDE, hole_growth=(4, 4))
    sampler = InpaintingSampler(faces, settings, batch_size=2, seed=0, coarse=lambda: linear)
    return dict(sampler(0)[0])


@pytest.fixture(scope="module")
def features(vgg_file):
    return load_features(vgg_file)


@functools.cache
def networks(*, coarse=False, kind="published"):
    keras.utils.set_random_seed(0)
    generator = GeneratorSettings(width=8, depth=1, attention=not coarse, coarse=coarse).build()
    if coarse:
        # No longer the coarse completion itself.
        kernel = generator.get_layer("decoder3").kernel
        kernel.assign(np.random.default_rng(0).normal(0, 0.02, kernel.shape))
    return generator, DiscriminatorSettings(kind=kind, width=8).build()


def numbers(terms):
    return {name: float(value) for name, value in terms.items()}


def test_the_published_objective_by_hand(batch, features):
    """LaFIn's: plain least squares on the raw output, total variation on the composite."""
    batch = {**batch, "valid": np.ones_like(batch["valid"])}
    generator, discriminator = networks()
    objective = Objective(PUBLISHED, generator, discriminator, features)
    loss, terms, shown = objective.generator_loss(batch)
    image, truth = (batch[n].astype(np.float32) / 255 for n in ("image", "truth"))
    mask, marks = (batch[n].astype(np.float32) for n in ("mask", "landmark_map"))
    output = np.asarray(generator([image, mask, marks]))
    np.testing.assert_allclose(shown, output, atol=1e-6)
    score = np.asarray(discriminator([output, marks]))
    (seen, _), (wanted, _) = features(output), features(truth)
    (_, style), (_, true_style) = features(output * mask), features(truth * mask)
    expected = {
        "pixel": np.abs(output - truth).mean() / mask.mean(),
        "perceptual": losses.perceptual_loss(seen, wanted),
        "style": losses.style_loss(style, true_style),
        "tv": losses.total_variation_loss(output * mask + truth * (1 - mask)),
        "adversarial": np.square(score - 1).mean(),
    }
    assert numbers(terms) == pytest.approx(numbers(expected), rel=1e-4)
    weights = {"pixel": 1, "perceptual": 0.1, "style": 250, "tv": 0.1, "adversarial": 0.01}
    total = sum(weight * float(expected[name]) for name, weight in weights.items())
    assert float(loss) == pytest.approx(total, rel=1e-4)
    found, scores = objective.discriminator_loss(batch, shown)
    real = np.asarray(discriminator([truth, marks]))
    assert float(found) == pytest.approx(
        0.5 * (np.square(real - 1).mean() + np.square(score).mean()), rel=0.05
    )  # its singular vectors move while it looks
    assert set(scores) == {"discriminator", "real", "fake"}


@pytest.mark.parametrize(
    ("settings", "kind"), [(PUBLISHED, "published"), (LITE, "published"), (DETAIL, "detail")]
)
def test_what_lies_beyond_the_photo_has_no_say(batch, features, settings, kind):
    objective = Objective(settings, *networks(coarse=True, kind=kind), features)
    truth = batch["truth"].astype(np.float32) / 255
    half = batch["valid"].copy()
    half[:, :, :20] = 0
    _, _, shown = objective.generator_loss({**batch, "valid": half})
    unknown = np.broadcast_to(half == 0, truth.shape)
    np.testing.assert_allclose(np.asarray(shown)[unknown], truth[unknown], atol=1e-6)
    nowhere = {**batch, "valid": np.zeros_like(half)}
    _, terms, _ = objective.generator_loss(nowhere)
    for name in set(terms) - {"tv"} - ({"adversarial"} if settings is PUBLISHED else set()):
        assert float(terms[name]) == pytest.approx(0, abs=1e-4), name


def test_the_composite_keeps_what_is_known(batch, features):
    objective = Objective(LITE, *networks(coarse=True), features)
    _, _, shown = objective.generator_loss(batch)
    truth = batch["truth"].astype(np.float32) / 255
    known = np.broadcast_to(batch["mask"] * batch["valid"] == 0, truth.shape)
    np.testing.assert_array_equal(np.asarray(shown)[known], truth[known])
    assert np.abs(np.asarray(shown) - truth)[~known].mean() > 1e-3


def test_training_sees_what_the_pipeline_pastes(batch):
    """The correction is treated in training as it is at run time, which then takes a part of it."""
    generator, discriminator = networks(coarse=True, kind="detail")
    settings = replace(DETAIL, perceptual=0.0, style=0.0)
    objective = Objective(settings, generator, discriminator, None)
    floats = {k: np.asarray(v) for k, v in as_floats(batch).items()}
    floats["valid"] = np.ones_like(floats["valid"])
    names = ("image", "mask", "landmark_map", "coarse")
    output, coarse = np.asarray(generator([floats[n] for n in names])), floats["coarse"]
    hole = floats["mask"][..., 0] > 0
    assert np.abs(output - coarse)[hole].max() > 0.02
    _, completed = objective.complete(floats)
    parts = [split_correction(*face) for face in zip(output, coarse, hole, strict=True)]
    pasted = coarse + np.stack([brightness[..., None] + colour for brightness, colour in parts])
    inner = np.s_[:, 20:44, 20:44]  # blurs differ at the border of an image
    seen = np.broadcast_to(hole[..., None], output.shape)[inner]
    np.testing.assert_allclose(np.asarray(completed)[inner][seen], pasted[inner][seen], atol=0.01)


def test_terms_without_weight_are_left_out():
    settings = LossSettings(tv=0.0, perceptual=0.0, style=0.0, adversarial=0.0)
    assert (settings.logged, settings.has_adversary) == (("pixel",), False)
    assert PUBLISHED.logged[-3:] == ("discriminator", "real", "fake")
    with pytest.raises(ValueError, match=r"tv=-1"):
        LossSettings(tv=-1)
    with pytest.raises(ValueError, match="one of them above"):
        replace(settings, pixel=0.0)


# === The parser's term ===

PARSED = LossSettings(
    judged="composite", pixel=0.0, perceptual=0.0, style=0.0, tv=0.0, adversarial=0.0, parsing=0.1
)


@pytest.fixture(scope="module")
def parser():
    keras.utils.set_random_seed(0)
    network = build_stage("lite", "parsing")
    network.trainable = False
    return network


def test_the_parsers_term_by_hand():
    hole = np.zeros((1, 40, 40, 1), np.float32)
    hole[:, 10:14, 10:14] = 1
    wanted = np.zeros((1, 40, 40, 2), np.float32)
    ours = wanted.copy()
    ours[..., 1] = np.log(3)  # a quarter and three quarters, where the truth has halves
    everywhere = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    assert float(parsing_loss(ours, wanted, hole)) == pytest.approx(everywhere, rel=1e-4)
    beside, far = wanted.copy(), wanted.copy()
    beside[:, 8, 2:22, 1] = np.log(3)  # a row of the 20 x 20 pixels that count
    far[:, 30:] = ours[:, 30:]
    assert float(parsing_loss(beside, wanted, hole)) == pytest.approx(everywhere / 20, rel=1e-4)
    assert float(parsing_loss(far, wanted, hole)) == 0


def test_the_parsers_term_is_nothing_for_the_truth(batch, parser):
    generator, _ = networks(coarse=True)
    objective = Objective(PARSED, generator, None, None, parser)
    _, terms, _ = objective.generator_loss(batch)
    assert set(terms) == {"parsing"}
    assert float(terms["parsing"]) > 1e-6
    _, terms, _ = objective.generator_loss({**batch, "valid": np.zeros_like(batch["valid"])})
    assert float(terms["parsing"]) == pytest.approx(0, abs=1e-9)


@pytest.mark.usefixtures("untraced")
def test_only_the_generator_learns_from_the_parser(batch, parser):
    generator, _ = networks.__wrapped__(coarse=True)  # one that no other test sees
    objective = Objective(PARSED, generator, None, None, parser)
    model = AdversarialModel(
        generator, None, objective.generator_loss, objective.discriminator_loss,
        PARSED.logged, [parser],
    )  # fmt: skip
    model.compile(optimizer=keras.optimizers.SGD(100.0))
    assert len(model.trainable_variables) == len(generator.trainable_variables)
    before = [v.numpy() for v in parser.variables], [v.numpy() for v in generator.variables]
    model.fit((pair for pair in [(batch,)]), steps_per_epoch=1, verbose=0)
    for old, variable in zip(before[0], parser.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())
    moved = [np.any(a != v.numpy()) for a, v in zip(before[1], generator.variables, strict=True)]
    assert any(moved)

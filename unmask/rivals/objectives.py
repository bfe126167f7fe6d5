"""What each compared system is trained towards: its published terms, on small pictures.

What lies beyond the photo's edge counts in no term. The weights of the terms are the recipe's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
from keras import ops

from unmask.inpainting import losses
from unmask.inpainting.features import FeatureNetwork
from unmask.inpainting.objective import as_floats
from unmask.rivals import deepfill2, edgeconnect, pluralistic
from unmask.rivals.trained import Networks

Batch = Mapping[str, Any]

TERMS: Mapping[str, tuple[str, ...]] = {
    "deepfill2": ("coarse", "refined", "adversarial"),
    "edgeconnect-edges": ("adversarial", "matching"),
    "edgeconnect": ("pixel", "perceptual", "style", "adversarial"),
    "pluralistic": ("pixel", "kl", "adversarial"),
}
"""The terms of each system's loss, by what recipes call the system."""

# Of red, green and blue, as in `edgeconnect.find_edges`.
_GRAY = (0.2125, 0.7154, 0.0721)
# DeepFill and Pluralistic compare images in [-1, 1], whose differences are twice those of [0, 1].
_RANGE = 2.0


@dataclass(frozen=True)
class Objective:
    """The losses of one system.

    Attributes:
        learner: The part of the network that learns.
        discriminator: What it trains against.
        terms: From a batch as floats, and whether singular vectors are updated, to all terms
            without their weights, and what the discriminator sees.
        judge: From the batch and what the discriminator sees to its loss.
        frozen: The part of the network that stays as it is, if any.
    """

    learner: keras.Model
    discriminator: keras.Model
    terms: Callable[[Batch, bool], tuple[dict[str, Any], Any]]
    judge: Callable[[Batch, Any], Any]
    frozen: tuple[keras.Model, ...] = ()

    def generator_loss(
        self, weights: Mapping[str, float], inputs: Batch, training: bool = False
    ) -> tuple[Any, dict[str, Any], Any]:
        """Return the loss, its terms, and what the discriminator sees.

        Args:
            weights: Weight of each term that counts.
            inputs: A batch of `unmask.rivals.task.RivalSampler`.
            training: Whether singular vectors are updated.
        """
        terms, shown = self.terms(as_floats(inputs), training)
        found = {name: terms[name] for name in weights}
        return sum(weights[name] * value for name, value in found.items()), found, shown

    def discriminator_loss(self, inputs: Batch, shown: Any) -> tuple[Any, dict[str, Any]]:
        """Return the discriminator's loss, twice."""
        loss = self.judge(as_floats(inputs), shown)
        return loss, {"discriminator": loss}


def make_objective(
    system: str, network: Any, width: int, features: FeatureNetwork | None = None
) -> Objective:
    """Build a system's discriminator and what joins it with the network.

    Args:
        system: A key of `TERMS`.
        network: As `unmask.rivals.trained.build_networks` makes it.
        width: Channels of the discriminator's first layer.
        features: Deep features, for EdgeConnect's terms "perceptual" and "style".
    """
    makers: dict[str, Callable[[Any, int], Objective]] = {
        "deepfill2": _deepfill2,
        "edgeconnect-edges": _edges,
        "edgeconnect": partial(_edgeconnect, features=features),
        "pluralistic": _pluralistic,
    }
    return makers[system](network, width)


def _deepfill2(network: keras.Model, width: int) -> Objective:
    """Both stages' mean differences and SN-PatchGAN's hinge loss (Yu et al., 2019)."""
    discriminator = deepfill2.build_discriminator(width)

    def terms(batch: Batch, training: bool) -> tuple[dict[str, Any], Any]:
        outputs = network([batch["image"], batch["mask"]], training=training)
        refined, coarse = (_valid(output, batch["truth"], batch) for output in outputs)
        completed = losses.composite(refined, batch["truth"], batch["mask"])
        scores = _float(discriminator([completed, batch["mask"]]))
        return {
            "coarse": _RANGE * _difference(coarse, batch["truth"]),
            "refined": _RANGE * _difference(refined, batch["truth"]),
            "adversarial": losses.hinge_adversarial_loss(scores),
        }, completed

    def judge(batch: Batch, shown: Any) -> Any:
        real, fake = (
            _float(discriminator([image, batch["mask"]], training=True))
            for image in (batch["truth"], shown)
        )
        return 0.5 * losses.hinge_discriminator_loss(real, fake)

    return Objective(network, discriminator, terms, judge)


def _edges(network: Networks, width: int) -> Objective:
    """A GAN on edges beside the gray image, feature matching (Nazeri et al., 2019, eq. 1 to 4)."""
    drawer, discriminator = network.first, edgeconnect.build_discriminator(2, width)

    def true(batch: Batch) -> Any:
        return ops.concatenate([_gray(batch["truth"]), batch["edges"]], axis=-1)

    def terms(batch: Batch, training: bool) -> tuple[dict[str, Any], Any]:
        drawn = _valid(drawer(_drawing(batch), training=training), batch["edges"], batch)
        shown = ops.concatenate([_gray(batch["truth"]), drawn], axis=-1)
        ours, theirs = (discriminator(x)[1:] for x in (shown, true(batch)))
        return {
            "adversarial": _cross_entropy(ours[-1], real=True),
            "matching": losses.perceptual_loss(ours, [*map(ops.stop_gradient, theirs)]),
        }, shown

    def judge(batch: Batch, shown: Any) -> Any:
        return _two_entropies(discriminator, true(batch), shown)

    return Objective(drawer, discriminator, terms, judge)


def _edgeconnect(network: Networks, width: int, features: FeatureNetwork | None) -> Objective:
    """EdgeConnect's second network, on edges that the first one draws (equations 5 to 8).

    The published code begins with true edges and later pastes known ones over those drawn; here
    the second network sees from the first step on what it sees when it is used.
    """
    drawer, painter = network.first, network.second
    drawer.trainable = False
    discriminator = edgeconnect.build_discriminator(3, width)

    def terms(batch: Batch, training: bool) -> tuple[dict[str, Any], Any]:
        truth, hole = batch["truth"], batch["mask"] * batch["valid"]
        drawn = _float(ops.stop_gradient(drawer(_drawing(batch), training=False)))
        painted = painter([batch["image"], drawn, batch["mask"]], training=training)
        shown = _valid(painted, truth, batch)
        found = {
            "pixel": losses.pixel_loss(shown, truth, hole),
            "adversarial": _cross_entropy(discriminator(shown)[-1], real=True),
        }
        if features is not None:
            ours, theirs = (features(x)[0] for x in (shown, truth))
            found["perceptual"] = losses.perceptual_loss(ours, theirs)
            ours, theirs = (features(x * hole)[1] for x in (shown, truth))
            found["style"] = losses.style_loss(ours, theirs)
        return found, shown

    def judge(batch: Batch, shown: Any) -> Any:
        return _two_entropies(discriminator, batch["truth"], shown)

    return Objective(painter, discriminator, terms, judge, (drawer,))


def _pluralistic(network: Networks, width: int) -> Objective:
    """Both paths: by the hole's own picture, and by what is around it (Zheng et al., 2019)."""
    encoder, generator = network.first, network.second
    of_samples, of_rebuilt = (pluralistic.build_discriminator(width) for _ in range(2))
    discriminator = Networks(of_samples, of_rebuilt)

    def terms(batch: Batch, training: bool) -> tuple[dict[str, Any], Any]:
        image, truth, mask, valid = (batch[n] for n in ("image", "truth", "mask", "valid"))
        pictures = ops.concatenate([image, truth], axis=0)
        seen = encoder([pictures, ops.concatenate([mask, 1.0 - mask], axis=0)], training=training)
        mu, sigma = (_half(seen[n], 0) for n in ("mu", "sigma"))
        own_mu, own_sigma = (_half(seen[f"posterior_{n}"], 1) for n in ("mu", "sigma"))
        # The more is known, the narrower: as published.
        share = ops.mean(1.0 - mask, axis=(1, 2, 3), keepdims=True)
        plain = ops.sigmoid(-8.0 * (share - 0.8))
        fixed = ops.stop_gradient(own_mu), ops.stop_gradient(own_sigma)
        divergence = _divergence(0.0, plain, own_mu, own_sigma) + _divergence(*fixed, mu, sigma)

        noise = batch["noise"]
        samples = [own_mu + own_sigma * noise[..., 0], mu + sigma * noise[..., 1]]
        known_part = [_half(seen[n], 0) for n in ("features", "early")]
        twice = [ops.concatenate([x, x], axis=0) for x in (*known_part, mask)]
        images = generator([ops.concatenate(samples, axis=0), *twice], training=training)
        pixel = 0.0
        for painted in images:
            size = truth.shape[1] // painted.shape[1]
            wanted, known, there = (ops.average_pool(x, size) for x in (truth, 1.0 - mask, valid))
            rebuilt, sample = (ops.abs(_half(painted, i) - wanted) * there for i in (0, 1))
            pixel = pixel + ops.mean(rebuilt) + ops.mean(sample * known)
        rebuilt, sample = (_valid(_half(images[-1], i), truth, batch) for i in (0, 1))
        completed = losses.composite(sample, truth, mask)
        apart = _float(of_rebuilt(rebuilt)) - _float(of_rebuilt(truth))
        return {
            "pixel": _RANGE * pixel,
            "kl": ops.mean(divergence),
            "adversarial": losses.adversarial_loss(_float(of_samples(completed)))
            + ops.mean(ops.square(apart)),
        }, (completed, rebuilt)

    def judge(batch: Batch, shown: Any) -> Any:
        pairs = zip((of_samples, of_rebuilt), shown, strict=True)
        scores = [[_float(d(x, training=True)) for x in (batch["truth"], y)] for d, y in pairs]
        return sum(losses.discriminator_loss(*both) for both in scores)

    return Objective(network, discriminator, terms, judge)


def _float(x: Any) -> Any:
    return ops.cast(x, "float32")


def _half(x: Any, index: int) -> Any:
    """Return the first or the second half of a batch, in float32."""
    return _float(ops.split(x, 2, axis=0)[index])


def _valid(output: Any, truth: Any, batch: Batch) -> Any:
    return losses.composite(_float(output), truth, batch["valid"])


def _difference(ours: Any, theirs: Any) -> Any:
    return ops.mean(ops.abs(ours - theirs))


def _gray(image: Any) -> Any:
    return ops.sum(image * ops.convert_to_tensor(_GRAY, "float32"), axis=-1, keepdims=True)


def _drawing(batch: Batch) -> list[Any]:
    return [_gray(batch["image"]), batch["edges"], batch["mask"]]


def _cross_entropy(logits: Any, *, real: bool) -> Any:
    return ops.mean(ops.softplus(-_float(logits) if real else _float(logits)))


def _two_entropies(discriminator: keras.Model, truth: Any, shown: Any) -> Any:
    real, fake = (discriminator(image, training=True)[-1] for image in (truth, shown))
    return 0.5 * (_cross_entropy(real, real=True) + _cross_entropy(fake, real=False))


def _divergence(mu: Any, sigma: Any, other_mu: Any, other_sigma: Any) -> Any:
    """Return KL(N(mu, sigma) || N(other)), element by element."""
    ratio = sigma / other_sigma
    return 0.5 * (ratio**2 + ((mu - other_mu) / other_sigma) ** 2 - 1.0) - ops.log(ratio)

"""What each compared system is trained towards: its published terms, on small pictures.

Every objective has what `unmask.training.adversarial.AdversarialModel` needs. What lies beyond the
photo's edge counts in no term. The weights of the terms are the recipe's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from unmask.inpainting import lite_losses, losses
from unmask.inpainting.losses import FeatureNetwork
from unmask.rivals import deepfill2, edgeconnect, pluralistic
from unmask.rivals.networks import Networks

Batch = Mapping[str, Any]
Found = tuple[Any, dict[str, Any], Any]

# Of red, green and blue, as `edgeconnect.find_edges`.
_GRAY = (0.2125, 0.7154, 0.0721)
# Most systems compare images in [-1, 1], where differences are twice those of [0, 1].
_RANGE = 2.0
# The share of known pixels from which on Pluralistic's distribution of a hole is narrow.
_KNOWN, _STEEPNESS = 0.8, 8.0


class Objective:
    """Base of the objectives.

    Args:
        network: What is kept, of `unmask.rivals.networks.build_networks`.
        weights: Weight of each term, by name; without one it is left out.
        width: Channels of the discriminator's first layer.
        features: Deep features, for the terms "perceptual" and "style".

    Attributes:
        names: Terms of the generator's loss.
        learner: The part of `network` that learns.
        discriminator: What it trains against.
        frozen: The part that stays as it is, if any.
    """

    names: tuple[str, ...] = ()
    learner: keras.Model
    discriminator: keras.Model
    frozen: Sequence[keras.Model] = ()

    def __init__(
        self,
        network: Any,
        weights: Mapping[str, float],
        width: int,
        features: FeatureNetwork | None = None,
    ) -> None:
        self.learner, self._weights, self._features = network, weights, features
        self.prepare(network, width)

    @property
    def logged(self) -> tuple[str, ...]:
        """Names of all that a step reports."""
        return (*(n for n in self.names if self._weights.get(n)), "discriminator")

    def prepare(self, network: Any, width: int) -> None:
        """Build the discriminator, and choose which part learns."""

    def generator_loss(self, inputs: Batch, training: bool = False) -> Found:
        """Return the loss, its terms without their weights, and what the discriminator sees."""
        terms, shown = self.terms(as_floats(inputs), training)
        found = {n: terms[n] for n in self.names if self._weights.get(n)}
        return sum(self._weights[n] * value for n, value in found.items()), found, shown

    def discriminator_loss(self, inputs: Batch, shown: Any) -> tuple[Any, dict[str, Any]]:
        """Return the discriminator's loss."""
        loss = self.judge(as_floats(inputs), shown)
        return loss, {"discriminator": loss}

    def terms(self, batch: Batch, training: bool) -> tuple[dict[str, Any], Any]:
        """Return all terms, and what the discriminator sees."""
        raise NotImplementedError

    def judge(self, batch: Batch, shown: Any) -> Any:
        """Return the discriminator's loss."""
        raise NotImplementedError


class DeepFill2(Objective):
    """Both stages' mean differences, and SN-PatchGAN's hinge loss.

    Reference:
        Yu et al., 2019, and the published code.
    """

    names = ("coarse", "refined", "adversarial")

    def prepare(self, network: Any, width: int) -> None:
        """Build SN-PatchGAN."""
        self.discriminator = deepfill2.build_discriminator(width)

    def terms(self, batch: Batch, training: bool) -> tuple[dict[str, Any], Any]:
        """Return the three terms and the completed image."""
        outputs = self.learner([batch["image"], batch["mask"]], training=training)
        refined, coarse = (_valid(output, batch["truth"], batch) for output in outputs)
        completed = losses.composite(refined, batch["truth"], batch["mask"])
        scores = _float(self.discriminator([completed, batch["mask"]]))
        return {
            "coarse": _RANGE * _difference(coarse, batch["truth"]),
            "refined": _RANGE * _difference(refined, batch["truth"]),
            "adversarial": lite_losses.hinge_adversarial_loss(scores, ops.ones_like(scores)),
        }, completed

    def judge(self, batch: Batch, shown: Any) -> Any:
        """Return the hinge loss, halved."""
        real, fake = (
            _float(self.discriminator([image, batch["mask"]], training=True))
            for image in (batch["truth"], shown)
        )
        return 0.5 * lite_losses.hinge_discriminator_loss(real, fake, ops.ones_like(real))


class EdgeConnectEdges(Objective):
    """The first network of EdgeConnect: a GAN on edges beside the gray image, feature matching.

    Reference:
        Nazeri et al., 2019, equations 1 to 4, and the published code.
    """

    names = ("adversarial", "matching")

    def prepare(self, network: Any, width: int) -> None:
        """Choose the first network."""
        self.learner = network.first
        self.discriminator = edgeconnect.build_discriminator(2, width)

    def terms(self, batch: Batch, training: bool) -> tuple[dict[str, Any], Any]:
        """Return both terms, and the gray image with its drawn edges."""
        drawn = self.learner(_drawing(batch), training=training)
        shown = ops.concatenate(
            [_gray(batch["truth"]), _valid(_float(drawn), batch["edges"], batch)], axis=-1
        )
        _, *ours = self.discriminator(shown)
        _, *theirs = self.discriminator(_true_edges(batch))
        wanted = [ops.stop_gradient(feature) for feature in _floats(theirs)]
        matching = sum(map(_difference, _floats(ours), wanted))
        return {"adversarial": _cross_entropy(ours[-1], real=True), "matching": matching}, shown

    def judge(self, batch: Batch, shown: Any) -> Any:
        """Return the cross-entropy of true and drawn edges."""
        return _two_entropies(self.discriminator, _true_edges(batch), shown)


class EdgeConnect(Objective):
    """The second network of EdgeConnect, on the edges that the first one, frozen, has drawn.

    The published code begins with true edges, then pastes the known ones over those that are
    drawn; here the second network sees from the first step on what it sees when it is used.

    Reference:
        Nazeri et al., 2019, equations 5 to 8, and the published code.
    """

    names = ("pixel", "perceptual", "style", "adversarial")

    def prepare(self, network: Any, width: int) -> None:
        """Choose the second network, and freeze the first one."""
        network.first.trainable = False
        self.learner, self.frozen = network.second, [network.first]
        self.discriminator = edgeconnect.build_discriminator(3, width)

    def terms(self, batch: Batch, training: bool) -> tuple[dict[str, Any], Any]:
        """Return the terms and the painted image, known pixels included."""
        truth, hole = batch["truth"], batch["mask"] * batch["valid"]
        drawn = _float(ops.stop_gradient(self.frozen[0](_drawing(batch), training=False)))
        painted = self.learner([batch["image"], drawn, batch["mask"]], training=training)
        shown = _valid(painted, truth, batch)
        _, *seen = self.discriminator(shown)
        found = {
            "pixel": losses.pixel_loss(shown, truth, hole),
            "adversarial": _cross_entropy(seen[-1], real=True),
        }
        if self._features is not None:
            ours, theirs = (_floats(self._features(x)[0]) for x in (shown, truth))
            found["perceptual"] = losses.perceptual_loss(ours, theirs)
            ours, theirs = (_floats(self._features(x * hole)[1]) for x in (shown, truth))
            found["style"] = losses.style_loss(ours, theirs)
        return found, shown

    def judge(self, batch: Batch, shown: Any) -> Any:
        """Return the cross-entropy of true and painted images."""
        return _two_entropies(self.discriminator, batch["truth"], shown)


class Pluralistic(Objective):
    """Two paths: one paints what the hole's own picture says of it, one what its rim suggests.

    Reference:
        Zheng et al., 2019, equations 5 to 9, and the published code.
    """

    names = ("pixel", "kl", "adversarial")

    def prepare(self, network: Any, width: int) -> None:
        """Build the discriminators of samples and of reconstructions."""
        self._encoder, self._generator = network.first, network.second
        judges = [pluralistic.build_discriminator(width) for _ in range(2)]
        # Without the block that has no effect.
        self.discriminator = Networks(*(keras.Model(j.input, j.output) for j in judges))

    def terms(self, batch: Batch, training: bool) -> tuple[dict[str, Any], Any]:
        """Return the terms, and the completed sample with the reconstruction."""
        image, truth, mask, valid = (batch[n] for n in ("image", "truth", "mask", "valid"))
        pictures = ops.concatenate([image, truth], axis=0)
        masks = ops.concatenate([mask, 1.0 - mask], axis=0)
        seen = self._encoder([pictures, masks], training=training)
        mu, sigma = (_half(seen[n], 0) for n in ("mu", "sigma"))
        own_mu, own_sigma = (_half(seen[f"posterior_{n}"], 1) for n in ("mu", "sigma"))

        share = ops.mean(1.0 - mask, axis=(1, 2, 3), keepdims=True)
        plain = ops.sigmoid(-_STEEPNESS * (share - _KNOWN))
        fixed = ops.stop_gradient(own_mu), ops.stop_gradient(own_sigma)
        divergence = _divergence(0.0, plain, own_mu, own_sigma) + _divergence(*fixed, mu, sigma)

        noise = batch["noise"]
        z = ops.concatenate(
            [own_mu + own_sigma * noise[..., 0], mu + sigma * noise[..., 1]], axis=0
        )
        features, early = (
            ops.tile(ops.split(seen[n], 2, axis=0)[0], (2, 1, 1, 1)) for n in ("features", "early")
        )
        images = self._generator(
            [z, features, early, ops.tile(mask, (2, 1, 1, 1))], training=training
        )
        pixel = 0.0
        for painted in images:
            size = truth.shape[1] // painted.shape[1]
            wanted, known, there = (_shrink(x, size) for x in (truth, 1.0 - mask, valid))
            rebuilt, sample = (_half(painted, i) for i in (0, 1))
            pixel = pixel + _difference(rebuilt * there, wanted * there)
            pixel = pixel + _difference(sample * known * there, wanted * known * there)
        rebuilt, sample = (_valid(_half(images[-1], i), truth, batch) for i in (0, 1))
        completed = losses.composite(sample, truth, mask)

        first, second = self.discriminator.first, self.discriminator.second
        matching = ops.mean(ops.square(_float(second(rebuilt)) - _float(second(truth))))
        return {
            "pixel": _RANGE * pixel,
            "kl": ops.mean(divergence),
            "adversarial": losses.adversarial_loss(_float(first(completed))) + matching,
        }, (completed, rebuilt)

    def judge(self, batch: Batch, shown: Any) -> Any:
        """Return both discriminators' least squares, halved."""
        judges = self.discriminator.first, self.discriminator.second
        return sum(
            losses.discriminator_loss(
                *(_float(judge(x, training=True)) for x in (batch["truth"], fake))
            )
            for judge, fake in zip(judges, shown, strict=True)
        )


OBJECTIVES: Mapping[str, type[Objective]] = {
    "deepfill2": DeepFill2,
    "edgeconnect-edges": EdgeConnectEdges,
    "edgeconnect": EdgeConnect,
    "pluralistic": Pluralistic,
}
"""By what recipes call them."""


def as_floats(inputs: Batch) -> dict[str, Any]:
    """Turn images into [0, 1], masks and edges into 0 and 1; noise stays as it is."""
    pictures = ("image", "truth")
    return {
        n: ops.cast(v, "float32") / (255.0 if n in pictures else 1.0) for n, v in inputs.items()
    }


def _float(x: Any) -> Any:
    return ops.cast(x, "float32")


def _floats(features: Sequence[Any]) -> list[Any]:
    return [_float(feature) for feature in features]


def _half(x: Any, index: int) -> Any:
    """Return the first or the second half of a batch, in float32."""
    return _float(ops.split(x, 2, axis=0)[index])


def _valid(output: Any, truth: Any, batch: Batch) -> Any:
    return losses.composite(_float(output), truth, batch["valid"])


def _difference(ours: Any, theirs: Any) -> Any:
    return ops.mean(ops.abs(ours - theirs))


def _shrink(x: Any, size: int) -> Any:
    return ops.average_pool(x, size) if size > 1 else x


def _gray(image: Any) -> Any:
    return ops.sum(image * ops.convert_to_tensor(_GRAY, "float32"), axis=-1, keepdims=True)


def _drawing(batch: Batch) -> list[Any]:
    return [_gray(batch["image"]), batch["edges"], batch["mask"]]


def _true_edges(batch: Batch) -> Any:
    return ops.concatenate([_gray(batch["truth"]), batch["edges"]], axis=-1)


def _cross_entropy(logits: Any, *, real: bool) -> Any:
    return ops.mean(ops.softplus(-_float(logits) if real else _float(logits)))


def _two_entropies(discriminator: keras.Model, truth: Any, shown: Any) -> Any:
    real, fake = (discriminator(image, training=True)[-1] for image in (truth, shown))
    return 0.5 * (_cross_entropy(real, real=True) + _cross_entropy(fake, real=False))


def _divergence(mu: Any, sigma: Any, other_mu: Any, other_sigma: Any) -> Any:
    """Return KL(N(mu, sigma) || N(other)), element by element."""
    ratio = sigma / other_sigma
    return 0.5 * (ratio**2 + ((mu - other_mu) / other_sigma) ** 2 - 1.0) - ops.log(ratio)

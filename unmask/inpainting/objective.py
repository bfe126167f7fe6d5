"""What the generator and its discriminator are trained towards: the terms and how they are joined.

The defaults are the published objective (LaFIn's code): everything is judged on the generator's
own output, total variation on the composite. The other settings are what lite's phases add.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import ops

from unmask.inpainting import losses
from unmask.inpainting.features import FeatureNetwork
from unmask.inpainting.layers import blur, brightness, remove_checkers
from unmask.inpainting.predict import COLOUR_REACH

_TERMS = ("pixel", "perceptual", "style", "tv", "adversarial", "matching", "parsing")
_SCORES = ("discriminator", "real", "fake")
# The discriminator's and the generator's loss; for "lsgan" every patch counts as hole.
_LEAST_SQUARES = losses.discriminator_loss, losses.adversarial_loss
_GANS = {
    "lsgan": _LEAST_SQUARES,
    "soft-mask": _LEAST_SQUARES,
    "hinge": (losses.hinge_discriminator_loss, losses.hinge_adversarial_loss),
}
# Where masks are, in the usual window of 192 pixels: rows and columns around the mouth.
_TOP, _LEFT, _SIDE = 56, 32, 128


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """The generator's loss; a term of weight 0 is left out. The defaults are the paper's.

    Attributes:
        pixel: Weight of the mean absolute difference over the mask's share.
        perceptual: Weight of the differences of deep features.
        style: Weight of the differences of Gram matrices of deep features inside the hole.
        tv: Weight of the total variation of the composite.
        adversarial: Weight of how far the discriminator is from calling the result real; without
            it, and without `matching`, there is no discriminator.
        matching: Weight of the differences of the discriminator's features (pix2pixHD); for the
            "detail" discriminator.
        parsing: Weight of how far a parser sees other parts of a face, in the hole and around it,
            than in the truth; the paper has no such term.
        judged: What the pixel, perceptual, style and parsing terms look at: the generator's
            "output", or the "composite" with the known pixels.
        gan: "lsgan": least squares on the output, as published. On the composite: "soft-mask",
            least squares on what is hole in each patch (SM-GAN); "hinge", the hinge loss of the
            patches with hole alone.
        patch_blur: How soft the share of hole in a patch is, in pixels; for "soft-mask" and
            "hinge".
        pixel_blur: The pixel term does not see what a blur of this many pixels takes away.
        mouth_only: Whether all terms but `tv` look at the 128 x 128 pixels around the mouth alone,
            where masks are; they cost as much as the generator.
        as_pasted: Whether what a generator adds to the coarse completion is treated as at run time:
            freed of what alternates from pixel to pixel, its colour averaged over some pixels.

    Raises:
        ValueError: A weight is negative, or there is none.
    """

    pixel: float = 1.0
    perceptual: float = 0.1
    style: float = 250.0
    tv: float = 0.1
    adversarial: float = 0.01
    matching: float = 0.0
    parsing: float = 0.0
    judged: Literal["output", "composite"] = "output"
    gan: Literal["lsgan", "soft-mask", "hinge"] = "lsgan"
    patch_blur: float = 10.0
    pixel_blur: float = 0.0
    mouth_only: bool = False
    as_pasted: bool = False

    def __post_init__(self) -> None:
        """Check the weights."""
        wrong = [name for name in _TERMS if not getattr(self, name) >= 0]
        if wrong or not self.terms:
            raise ValueError(
                "weights of losses must be at least 0, and one of them above. "
                f"Received: {', '.join(f'{n}={getattr(self, n)}' for n in wrong or _TERMS)}"
            )

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms that count."""
        return tuple(name for name in _TERMS if getattr(self, name) > 0)

    @property
    def has_adversary(self) -> bool:
        """Whether a discriminator is needed."""
        return self.adversarial > 0 or self.matching > 0

    @property
    def needs_features(self) -> bool:
        """Whether deep features are needed."""
        return self.perceptual > 0 or self.style > 0

    @property
    def logged(self) -> tuple[str, ...]:
        """Names of all that a step reports."""
        return self.terms + (_SCORES if self.has_adversary else ())


class Objective:
    """The losses of two networks, for `unmask.training.adversarial.AdversarialModel`.

    What lies beyond the photo's edge counts in no term: there the truth stands for the output.

    Args:
        settings: The terms.
        generator: Paints.
        discriminator: Judges; None where no term needs it.
        features: Deep features; None where no term needs them.
        parser: From images to logits of classes, frozen; None where no term needs it.
    """

    def __init__(
        self,
        settings: LossSettings,
        generator: keras.Model,
        discriminator: keras.Model | None,
        features: FeatureNetwork | None,
        parser: keras.Model | None = None,
    ) -> None:
        self._settings, self._generator = settings, generator
        self._discriminator, self._features = discriminator, features
        self._parser = parser

    def generator_loss(
        self, inputs: Mapping[str, Any], training: bool = False
    ) -> tuple[Any, dict[str, Any], Any]:
        """Return the loss, its terms without their weights, and what the discriminator sees.

        Args:
            inputs: An `unmask.inpainting.data.InpaintingBatch`.
            training: Whether the generator's singular vectors are updated.
        """
        settings, batch = self._settings, as_floats(inputs)
        output, completed = self.complete(batch, training)
        shown = output if settings.gan == "lsgan" else completed
        hole = batch["mask"] * batch["valid"]
        judged = output if settings.judged == "output" else completed
        seen, wanted, hole = self._cut(judged, batch["truth"], hole)
        scores, features = self._judge(shown, batch) if settings.has_adversary else (None, [])
        terms = {
            "pixel": lambda: self._pixel(seen, wanted, hole),
            "perceptual": lambda: losses.perceptual_loss(*self._deep(0, seen, wanted)),
            "style": lambda: losses.style_loss(*self._deep(1, seen * hole, wanted * hole)),
            "tv": lambda: losses.total_variation_loss(completed),
            "adversarial": lambda: _GANS[settings.gan][1](scores, self._patches(batch, scores)),
            "matching": lambda: self._matching(features, batch, hole),
            "parsing": lambda: self._parsing(seen, wanted, hole),
        }
        found = {name: terms[name]() for name in settings.terms}
        total = sum(getattr(settings, name) * value for name, value in found.items())
        return total, found, shown

    def discriminator_loss(
        self, inputs: Mapping[str, Any], shown: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Return the discriminator's loss, and its mean scores of true and painted patches."""
        batch = as_floats(inputs)
        real, _ = self._judge(batch["truth"], batch, training=True)
        fake, _ = self._judge(shown, batch, training=True)
        patches = self._patches(batch, fake)
        loss = _GANS[self._settings.gan][0](real, fake, patches)
        means = (losses.weighted_mean(score, patches) for score in (real, fake))
        return loss, dict(zip(_SCORES, (loss, *means), strict=True))

    def complete(self, batch: Mapping[str, Any], training: bool = False) -> tuple[Any, Any]:
        """Return the generator's output and the composite, both (B, S, S, 3).

        Args:
            batch: The batch as floats.
            training: Whether the generator's singular vectors are updated.
        """
        names = ("image", "mask", "landmark_map", "coarse")[: len(self._generator.inputs)]
        inputs = [batch[name] for name in names]
        output = ops.cast(self._generator(inputs, training=training), "float32")
        if self._settings.as_pasted:
            output = _as_pasted(output, batch["coarse"], batch["mask"])
        truth, valid = batch["truth"], batch["valid"]
        return (
            losses.composite(output, truth, valid),
            losses.composite(output, truth, batch["mask"] * valid),
        )

    def _pixel(self, seen: Any, wanted: Any, hole: Any) -> Any:
        difference = seen - wanted
        if self._settings.pixel_blur > 0:
            difference = blur(difference, self._settings.pixel_blur)
        return losses.pixel_loss(difference, 0.0, hole)

    def _deep(self, kind: int, *images: Any) -> list[Sequence[Any]]:
        """Return each image's features for the perceptual (0) or the style loss (1)."""
        assert self._features is not None  # the task loads it
        return [self._features(image)[kind] for image in images]

    def _parsing(self, seen: Any, wanted: Any, hole: Any) -> Any:
        assert self._parser is not None  # the task loads it
        ours, theirs = (self._parser(x, training=False) for x in (seen, wanted))
        return losses.parsing_loss(ours, theirs, hole)

    def _matching(self, features: list[Any], batch: Mapping[str, Any], hole: Any) -> Any:
        _, wanted = self._judge(batch["truth"], batch)
        return losses.feature_matching_loss(features, wanted) / (ops.mean(hole) + 1e-6)

    def _judge(
        self, image: Any, batch: Mapping[str, Any], *, training: bool = False
    ) -> tuple[Any, list[Any]]:
        """Return the discriminator's scores, and the features of its layers if it shows them."""
        assert self._discriminator is not None  # the task builds it
        # The second input is the landmarks as published, or the hole.
        told_hole = self._discriminator.inputs[1].name == "mask"
        told = batch["mask"] * batch["valid"] if told_hole else batch["landmark_map"]
        answer = self._discriminator(self._cut(image, told), training=training)
        scores, *features = answer if isinstance(answer, list | tuple) else [answer]
        return scores, features

    def _patches(self, batch: Mapping[str, Any], scores: Any) -> Any:
        """Return how much each patch counts."""
        if self._settings.gan == "lsgan":
            return ops.ones_like(scores)
        (hole,) = self._cut(batch["mask"] * batch["valid"])
        shape = tuple(scores.shape[1:3])
        return losses.soft_patch_mask(hole, shape, sigma=self._settings.patch_blur)

    def _cut(self, *images: Any) -> list[Any]:
        """Cut out what the losses look at; images that are smaller than that stay as they are."""
        if not self._settings.mouth_only:
            return list(images)
        rows, columns = slice(_TOP, _TOP + _SIDE), slice(_LEFT, _LEFT + _SIDE)
        return [x if min(x.shape[1:3]) <= _SIDE else x[:, rows, columns] for x in images]


def as_floats(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Turn images into [0, 1] and masks and maps into 0 and 1; the batch travels as uint8."""
    return {
        name: ops.cast(value, "float32") / (255.0 if value.shape[-1] == 3 else 1.0)
        for name, value in inputs.items()
    }


def _as_pasted(output: Any, coarse: Any, mask: Any) -> Any:
    added = remove_checkers((output - coarse) * mask) * mask
    grey = brightness(added)
    share = blur(mask, COLOUR_REACH) + 1e-3
    colour = blur(added - grey, COLOUR_REACH) / share * mask
    return coarse + grey + colour

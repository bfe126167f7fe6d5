"""The detail phase: a trained generator learns sharp teeth, lips, nostrils and stubble.

The published losses ask for the mean of all faces that could be under a mask, and their
discriminator, slow by spectral normalisation, says little else in a training of thousands of steps
instead of hundreds of thousands. Here colour and light are left to the first guess and to a pixel
loss that does not see details; a quick discriminator, which looks at the hole alone, decides about
those, and its own features tell the generator what is missing.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from unmask.inpainting import losses
from unmask.inpainting.filters import blur, brightness, remove_checkers
from unmask.inpainting.predict import COLOUR_REACH
from unmask.inpainting.trainer import TrainConfig, Trainer

# Where masks are, in the usual window of 192 pixels: rows and columns that the losses look at.
# They cost as much as the generator; beyond there is seldom a hole.
_TOP, _LEFT, _SIDE = 56, 32, 128
# The pixel loss does not see what this blur takes away, in pixels.
_DETAIL = 1.0
# Smaller than in the published loss, which judges patches of 70 pixels.
_PATCH_BLUR = 8.0


class DetailTrainer(Trainer):
    """A `Trainer` with the losses of the detail phase.

    The generator must paint on a first guess. What it adds is treated as at run time: freed of what
    alternates from pixel to pixel, and its colour averaged over some pixels.

    Args:
        config: The settings. The weight of total variation does not count.

    Raises:
        ValueError: As for `Trainer`; or a parsing loss or published targets are asked for.
        WeightsError: As for `Trainer`.
    """

    def _check(self, config: TrainConfig) -> None:
        if config.weights.parsing or config.published_targets:
            raise ValueError(
                "the detail phase has no parsing loss and no published targets. Received: "
                f"weights.parsing={config.weights.parsing}, "
                f"published_targets={config.published_targets}"
            )

    def _generator_loss(
        self, image: Any, mask: Any, landmark_map: Any, coarse: Any, truth: Any, valid: Any
    ) -> tuple[Any, Any]:
        batch = (image, mask, landmark_map, coarse, truth, valid)
        completed = self._complete(*batch, training=True)
        output, wanted, hole = _cut(completed, truth, mask * valid)
        share = ops.mean(hole) + 1e-6
        perceived, _ = self.features(output)
        expected, _ = self.features(wanted)
        _, output_styles = self.features(output * hole)
        _, wanted_styles = self.features(wanted * hole)
        fake, *found = self.discriminator([output, hole], training=False)
        _, *sought = self.discriminator([wanted, hole], training=False)
        patches = losses.soft_patch_mask(hole, tuple(fake.shape[1:3]), sigma=_PATCH_BLUR)
        terms = {
            "pixel": ops.mean(ops.abs(blur(output - wanted, _DETAIL))) / share,
            "perceptual": losses.perceptual_loss(perceived, expected),
            "style": losses.style_loss(output_styles, wanted_styles),
            "adversarial": losses.hinge_adversarial_loss(fake, patches),
            "matching": losses.feature_matching_loss(found, sought) / share,
        }
        return losses.total_loss(terms, self.config.weights), (terms, completed)

    def _complete(
        self, image: Any, mask: Any, landmark_map: Any, coarse: Any, truth: Any, valid: Any,
        *, training: bool,
    ) -> Any:  # fmt: skip
        output = self.generator([image, mask, landmark_map, coarse], training=training)
        added = remove_checkers((ops.cast(output, "float32") - coarse) * mask) * mask
        grey = brightness(added)
        share = blur(mask, COLOUR_REACH) + 1e-3
        colour = blur(added - grey, COLOUR_REACH) / share * mask
        return losses.composite(coarse + grey + colour, truth, mask * valid)

    def _discriminator_loss(
        self, completed: Any, image: Any, mask: Any, landmark_map: Any, coarse: Any, truth: Any,
        valid: Any,
    ) -> tuple[Any, Any]:  # fmt: skip
        output, wanted, hole = _cut(completed, truth, mask * valid)
        real = self.discriminator([wanted, hole], training=True)[0]
        fake = self.discriminator([output, hole], training=True)[0]
        patches = losses.soft_patch_mask(hole, tuple(fake.shape[1:3]), sigma=_PATCH_BLUR)
        loss = losses.hinge_discriminator_loss(real, fake, patches)
        weight = ops.sum(patches) + 1e-6
        scores = {
            name: ops.sum(v * patches) / weight for name, v in (("real", real), ("fake", fake))
        }
        return loss, {"discriminator": loss, **scores}


def _cut(*images: Any) -> list[Any]:
    """Cut out what the losses look at; images that are smaller than that stay as they are."""
    rows, columns = slice(_TOP, _TOP + _SIDE), slice(_LEFT, _LEFT + _SIDE)
    return [x if min(x.shape[1:3]) <= _SIDE else x[:, rows, columns] for x in images]

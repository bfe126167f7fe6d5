"""What is trained for parsing: a U-Net, on varied faces, towards the facial components' F-score."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from unmask.parsing import CLASSES, STRIDE
from unmask.parsing.data import Augmentation, ParsingSampler, gather_labelled, load_labelled
from unmask.parsing.evaluate import measure
from unmask.parsing.lite import BLOCKS, WIDTHS, build_parser
from unmask.training.recipe import Recipe
from unmask.training.task import Task, on_bytes


@dataclass(frozen=True, kw_only=True)
class ParsingRecipe(Recipe):
    """How a parser is trained.

    Attributes:
        widths: Channels, see `build_parser`.
        blocks: Residual blocks.
        side: Side of the views in pixels, a multiple of 32.
        augmentation: How strongly training faces vary.
        balance: How much more small classes count in the cross-entropy, see `ParsingLoss`.
        dice: Weight of the soft F-score in the loss.
        hold_out: Every so many training faces one is held back; these choose the weights.
    """

    widths: tuple[int, ...] = WIDTHS
    blocks: tuple[int, ...] = BLOCKS
    side: int = 192
    augmentation: Augmentation = field(default_factory=Augmentation)
    balance: float = 0.0
    dice: float = 1.0
    hold_out: int = 10

    def __post_init__(self) -> None:
        """Refuse what no training could use."""
        super().__post_init__()
        if self.side < STRIDE or self.side % STRIDE:
            raise ValueError(f"side must be a multiple of {STRIDE}. Received: side={self.side}")
        if self.hold_out < 2:
            raise ValueError(f"hold_out must be at least 2. Received: hold_out={self.hold_out}")


class ParsingTask(Task):
    """Trains a parser; keeps the weights with the best F-score on training faces held back."""

    recipe_type: ClassVar[type[Recipe]] = ParsingRecipe
    stage: ClassVar[str] = "parsing"
    monitor: ClassVar[str | None] = "val_f_score"
    recipe: ParsingRecipe

    @classmethod
    def parameters(cls, recipe: ParsingRecipe) -> int:
        """Return how many numbers the network has."""
        return int(build_parser(recipe.widths, recipe.blocks).count_params())

    def prepare(self) -> None:
        """Read which faces there are, and the crops of those held back."""
        recipe = self.recipe
        faces = gather_labelled(self.places.data, recipe.faces, "train")
        held_back = np.arange(len(faces)) % recipe.hold_out == recipe.hold_out - 1
        # Of few faces, the last.
        held_back[-1] |= not held_back.any()
        self._faces = faces.only(~held_back)
        self._held_back = [load_labelled(record) for record in faces.only(held_back).records]

    def build(self) -> keras.Model:
        """Build the network."""
        self.network = build_parser(self.recipe.widths, self.recipe.blocks)
        self.loss = ParsingLoss(self.recipe.balance, self.recipe.dice)
        return on_bytes(self.network)

    def sampler(self) -> ParsingSampler:
        """Return what varies faces."""
        recipe = self.recipe
        return ParsingSampler(
            self._faces, recipe.augmentation,
            batch_size=recipe.batch_size, side=recipe.side, seed=recipe.seed,
        )  # fmt: skip

    def validate(self) -> dict[str, float]:
        """Measure the F-scores on the faces held back."""
        scores = measure(self.network, self._held_back)
        return {"val_f_score": scores.overall, "val_mean_f_score": scores.mean}


class ParsingLoss(keras.losses.Loss):
    """Cross-entropy, plus one minus the classes' mean soft F-score over the batch.

    A brow has a hundredth of the pixels that hair has; in the F-score both count as much. What has
    no label counts in neither.

    Args:
        balance: In the cross-entropy a class counts by this power of its pixels less: 0 for all
            pixels alike, 1 for all classes alike. Above 0 small classes are learnt sooner (with 0,
            150 steps found skin, hair and background alone) and drawn too large.
        dice: Weight of the soft F-score.

    Example:
        >>> labels = np.zeros((1, 8, 8, 1), np.uint8)
        >>> float(ParsingLoss()(labels, 99.0 * ops.one_hot(labels[..., 0], len(CLASSES)))) < 1e-3
        True
    """

    def __init__(self, balance: float = 0.0, dice: float = 1.0) -> None:
        super().__init__(name="parsing_loss", reduction="mean")
        self.balance, self.dice = balance, dice

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of labels (B, H, W, 1) and logits (B, H, W, 11)."""
        # Without a label: none of the classes.
        truth = ops.one_hot(ops.cast(y_true[..., 0], "int32"), len(CLASSES), dtype="float32")
        known = ops.sum(truth, axis=-1, keepdims=True)
        logs = ops.log_softmax(ops.cast(y_pred, "float32"), axis=-1)
        found = ops.exp(logs) * known
        there, claimed, common, entropy = (
            ops.sum(x, axis=(0, 1, 2)) for x in (truth, found, truth * found, -truth * logs)
        )
        weight = ops.power(there + 1.0, -self.balance)
        balanced = ops.sum(entropy * weight) / (ops.sum(there * weight) + 1e-6)
        f_score = (2.0 * common + 1.0) / (there + claimed + 1.0)
        return balanced + self.dice * (1.0 - ops.mean(f_score))

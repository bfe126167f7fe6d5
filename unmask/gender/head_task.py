"""What is trained of the paper's classifier: the dense head, on cached features of InceptionV3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.stream import Sampler
from unmask.gender.data import Views
from unmask.gender.features import Copies, Features, FeatureSampler, cached_features
from unmask.gender.model import build_head
from unmask.gender.task import FacesRecipe, FacesTask
from unmask.training.precision import precision
from unmask.training.recipe import read_recipe
from unmask.training.task import Places


@dataclass(frozen=True, kw_only=True)
class HeadRecipe(FacesRecipe):
    """How the paper's head is trained.

    Attributes:
        bare: Cached copies of each training face without a mask, each augmented.
        masked: Cached copies with a mask, each augmented; also without one where the faces have
            no landmarks to draw it by.
    """

    bare: int = 1
    masked: int = 2


class HeadTask(FacesTask):
    """Trains the head on features that are computed once; keeps the whole classifier."""

    recipe_type = HeadRecipe
    loss = "binary_crossentropy"
    recipe: HeadRecipe
    features: dict[str, Features]

    @classmethod
    def parameters(cls, recipe: HeadRecipe) -> int:
        """Count the classifier's parameters."""
        return int(recipe.classifier.build(pretrained=False).count_params())

    def prepare(self) -> None:
        """Read the faces, draw the views and compute the features."""
        super().prepare()
        with precision(self.recipe.dtype_policy):
            self.network = self.recipe.classifier.build(pretrained=True)
        trunk = self.network.get_layer("inception_v3")
        self.features = {
            name: cached_features(
                trunk,
                views,
                self._copies(name, views),
                self.places.out / f"{name}_features.npy",
                scaling=self.recipe.classifier.scaling,
            )
            for name, views in self.views.items()
        }

    def build(self) -> keras.Model:
        """Return the head alone; its features are what it is given."""
        return self.judge()

    def judge(self) -> keras.Model:
        """Return the head."""
        return self.network.get_layer("gender_head")

    def rebuild(self) -> keras.Model:
        """Build the head once more."""
        settings = self.recipe.classifier
        return build_head(settings.units, settings.hidden, settings.activation, settings.dropout)

    def sampler(self) -> Sampler:
        """Make batches of features."""
        recipe = self.recipe
        return FeatureSampler(
            features=self.features["train"],
            weights=self.weights(),
            batch_size=recipe.batch_size,
            seed=recipe.seed,
        )

    def predict(
        self, network: keras.Model, name: str, *, briefly: bool = False
    ) -> NDArray[np.float32]:
        """Return the probability of "male" of a set's views, (N, 1 + masked)."""
        features = self.features[name]
        flat, _ = features.flat()
        return np.asarray(network.predict(flat, 1024, verbose=0)).reshape(features.values.shape[:2])

    def _copies(self, name: str, views: Views) -> Copies:
        recipe = self.recipe
        if name != "train":
            return Copies(1, views.masks)
        bare, masked = recipe.bare, recipe.masked
        if not views.masks:
            bare, masked = bare + masked, 0
        return Copies(bare, masked, recipe.augmentation, recipe.seed)


def pooled_features(
    recipe: str, data: Sequence[Path], out: Path, overrides: Mapping[str, Any]
) -> dict[str, Features]:
    """Compute the features that a recipe's head is trained on, or open them, for `tune`.

    Args:
        recipe: A recipe of the task "gender-head".
        data: As for `unmask.gender.sources.read_faces`.
        out: Folder of the views and features.
        overrides: Values that replace those of the recipe, by dotted key.

    Returns:
        The features, (N, C, 2048), of "train", "calibration" and "val".

    Raises:
        DataError: The recipe, the data or the folder cannot be used.
        WeightsError: The backbone's file cannot be used.
    """
    task = HeadTask(read_recipe(recipe, overrides).phase(0, HeadRecipe), Places(data, out))
    task.prepare()
    return task.features

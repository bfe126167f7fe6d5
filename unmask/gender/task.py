"""What is trained to tell genders, towards the least loss: whole networks, or the paper's head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.record import FaceSet, Order
from unmask.data.stream import Sampler
from unmask.errors import DataError, WeightsError
from unmask.face import CROP_SIZE
from unmask.gender.augment import Augmentation
from unmask.gender.data import (
    Views,
    ViewSampler,
    fair_weights,
    has_landmarks,
    read_faces,
    split_off_calibration,
    stored_views,
)
from unmask.gender.evaluate import (
    fit_calibration,
    fold_calibration,
    probabilities,
    quality,
    report,
)
from unmask.gender.features import Features, FeatureSampler, cached_features
from unmask.gender.lite import FRAMINGS, Framing, Scaling, View, build_lite, look_through
from unmask.gender.paper import build_classifier, build_head
from unmask.inception import train_after
from unmask.io import write_json_atomic
from unmask.training.recipe import Recipe, read_recipe
from unmask.training.task import Places, Task, on_bytes, precision
from unmask.weights import load_arrays, load_metadata, load_weights, save_arrays, save_weights


@dataclass(frozen=True, kw_only=True)
class Compact:
    """The compact network, see `unmask.gender.lite.build_lite`.

    Attributes:
        widths: Filters of each stage.
        blocks: Residual blocks of each stage.
        dropout: Dropped share of the pooled features.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    dropout: float = 0.3


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """The paper's classifier, see `unmask.gender.paper.build_classifier`, and what it looks at.

    Attributes:
        backbone: First weights of InceptionV3: "imagenet" (Keras downloads them), a file (see
            `unmask.inception.build_inception`), or "random".
        units: Width of the two tuned layers.
        hidden: Width of the layer before them; 0 for none.
        activation: Activation of the two tuned layers.
        dropout: Dropped share before the last layer.
        scaling: What the backbone sees: "paper" [0, 1], as in the authors' notebook; "inception"
            [-1, 1], as ImageNet weights were trained.
        view: What it looks at: the "whole" crop, as in the paper, or the "window" of the compact
            network.
        size: Side of the backbone's input in pixels.
    """

    backbone: str = "imagenet"
    units: int = 1536
    hidden: int = 2048
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    dropout: float = 0.05
    scaling: Scaling = "paper"
    view: View = "whole"
    size: int = CROP_SIZE

    def build(self, *, pretrained: bool, cropped: bool = False) -> keras.Model:
        """Build it, with the backbone's weights if `pretrained`, for views if `cropped`."""
        weights = None if self.backbone == "random" or not pretrained else self.backbone
        classifier = build_classifier(
            weights=weights,
            units=self.units,
            hidden=self.hidden,
            activation=self.activation,
            dropout=self.dropout,
            size=self.size,
        )
        return look_through(classifier, self.view, self.scaling, cropped=cropped)

    def form(self) -> dict[str, str]:
        """Return what `unmask.gender.load.load_gender` must know beside the tensors."""
        return {key: str(getattr(self, key)) for key in ("activation", "scaling", "view", "size")}


@dataclass(frozen=True, kw_only=True)
class FacesRecipe(Recipe):
    """What all trainings of gender networks have in common.

    Attributes:
        classifier: The paper's classifier.
        augmentation: How training faces vary.
        masked_views: Masks drawn on each face that has landmarks.
        face_count: Number of training faces, evenly chosen; 0 for all.
        balanced: Whether both genders of an age group count the same.
        pseudo_labels: Whether the network that the training starts from names faces of unknown
            gender where it is 90 % sure of the bare face; they are then shown under masks too.
    """

    classifier: Classifier = field(default_factory=Classifier)
    augmentation: Augmentation = "varied"
    masked_views: int = 4
    face_count: int = 0
    balanced: bool = True
    pseudo_labels: bool = False


@dataclass(frozen=True, kw_only=True)
class GenderRecipe(FacesRecipe):
    """How a network is trained on augmented images.

    Attributes:
        network: "compact", or "classifier" to train the paper's from its convolutions on.
        compact: The compact network.
        frozen_until: Layer of InceptionV3 after which the classifier's convolutions are trained.
        masked_share: Share of training images that wear a mask.
        label_smoothing: Labels become `s / 2` and `1 - s / 2`.
    """

    network: Literal["compact", "classifier"] = "compact"
    compact: Compact = field(default_factory=Compact)
    frozen_until: str = "mixed2"
    masked_share: float = 0.65
    label_smoothing: float = 0.05


class FacesTask(Task):
    """Reads faces, draws their views, chooses, calibrates and reports; subclasses train.

    One face in 16 is held back: the weights with the least cross-entropy on these faces are kept,
    and calibrated on them. The validation split is for the report alone.
    """

    recipe_type = FacesRecipe
    stage = "gender"
    monitor = "val_loss"
    mode: ClassVar[Literal["min", "max"]] = "min"
    metrics: Any = ("accuracy",)
    recipe: FacesRecipe
    faces: dict[str, FaceSet]
    views: dict[str, Views]

    @property
    def framing(self) -> Framing:
        """What the network looks at."""
        return FRAMINGS[self.recipe.classifier.view]

    def prepare(self) -> None:
        """Read the faces and draw the views."""
        recipe, data = self.recipe, self.places.data
        if recipe.pseudo_labels and self.init is None:
            raise DataError("pseudo_labels: needs a network to start from (init)")
        names = self.init if recipe.pseudo_labels else None
        training = read_faces(data, recipe.faces, "train", pseudo_labels=names)
        training, held_back = split_off_calibration(training)
        if 0 < recipe.face_count < len(training):
            chosen = np.zeros(len(training), bool)
            chosen[np.linspace(0, len(training) - 1, recipe.face_count).astype(int)] = True
            training = training.only(chosen)
        validation = read_faces(data, recipe.faces, "val")
        self.faces = {"train": training, "calibration": held_back, "val": validation}
        self.views = {name: self._views(name, faces) for name, faces in self.faces.items()}

    def order(self) -> Order:
        """Return which training face is shown when."""
        training = self.faces["train"]
        weights = fair_weights(training) if self.recipe.balanced else training.weights
        return Order(weights, self.recipe.seed)

    def start_from(self, path: Path) -> None:
        """Start from a kept file of the same network."""
        stored = load_metadata(path)
        for key, value in self.form().items():
            if stored.get(key, value) != value:
                raise WeightsError(f"{path}: {key} is {stored[key]!r}, the recipe's is {value!r}")
        load_weights(self.network, path)

    def form(self) -> dict[str, str]:
        """Return what must be noted beside the tensors."""
        return self.recipe.classifier.form()

    def judge(self) -> keras.Model:
        """Return the part of `network` that `predict` looks through."""
        return self.network

    def rebuild(self) -> keras.Model:
        """Build that part once more."""
        raise NotImplementedError

    def predict(
        self, network: keras.Model, name: str, *, briefly: bool = False
    ) -> NDArray[np.float32]:
        """Return the probability of "male" of the views of "calibration" or "val", (N, 1 + masked).

        The network is what `judge` or `rebuild` returns; `briefly`, faces are seen bare and under
        one mask only.
        """
        raise NotImplementedError

    def validate(self) -> dict[str, float]:
        """Measure the faces that were held back, bare and once masked."""
        predicted = self.predict(self.judge(), "calibration", briefly=True)
        male = self.views["calibration"].labels[:, None] > 0.5
        right = np.clip(np.where(male, predicted, 1 - predicted), 1e-7, 1.0)
        figures = {"val_loss": float(-np.log(right).mean())}
        for name, column in zip(("val_bare", "val_masked"), right.T, strict=False):
            figures[name] = float((column > 0.5).mean())
        return figures

    def keep(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the whole network, with what `load_gender` must know."""
        save_weights(self.network, path, {"stage": self.stage, **self.form(), **metadata})

    def finish(self, path: Path) -> None:
        """Calibrate the kept network, and write `report.json` about the validation split."""
        arrays, metadata = load_arrays(path)
        with precision("float32"):  # as it will run
            network = self.rebuild()
        for variable in network.weights:
            variable.assign(arrays[variable.path])
        predicted = self.predict(network, "calibration")
        labels = np.repeat(self.views["calibration"].labels[:, None], predicted.shape[1], axis=1)
        calibration = fit_calibration(predicted, labels)
        last = _last_layer(network)
        fold_calibration(last, calibration)
        figures = report(self.predict(network, "val"), self.views["val"].labels)
        for variable in last.weights:
            arrays[variable.path] = np.asarray(variable).astype(arrays[variable.path].dtype)
        metadata |= {key: f"{value:.4f}" for key, value in asdict(calibration).items()}
        save_arrays(path, arrays, {**metadata, **quality(figures)})
        write_json_atomic(self.places.out / "report.json", asdict(figures))

    def _views(self, name: str, faces: FaceSet) -> Views:
        masked = self.recipe.masked_views if has_landmarks(faces.records) else 0
        # Another seed draws another bank of masks: the validation's were not trained on.
        seed = self.recipe.seed + (name == "val")
        path = self.places.out / f"{name}.npy"
        return stored_views(faces.records, path, self.framing, masked=masked, seed=seed)


class GenderTask(FacesTask):
    """Trains the compact network, or the paper's from end to end, on augmented images."""

    recipe_type = GenderRecipe
    recipe: GenderRecipe

    @classmethod
    def parameters(cls, recipe: GenderRecipe) -> int:
        """Count the network's parameters."""
        if recipe.network == "classifier":
            return int(recipe.classifier.build(pretrained=False).count_params())
        return int(build_lite(**asdict(recipe.compact)).count_params())

    @property
    def framing(self) -> Framing:
        """What the network looks at."""
        return FRAMINGS["window"] if self._compact else super().framing

    def form(self) -> dict[str, str]:
        """Return what must be noted beside the tensors."""
        return {} if self._compact else super().form()

    def build(self) -> keras.Model:
        """Build the network for views."""
        smoothing = self.recipe.label_smoothing
        self.loss = keras.losses.BinaryCrossentropy(label_smoothing=smoothing)
        # What the training starts from holds the backbone too.
        self.network = self._build(pretrained=self.init is None)
        return on_bytes(self.network)

    def rebuild(self) -> keras.Model:
        """Build the network once more."""
        return self._build(pretrained=False)

    def sampler(self) -> Sampler:
        """Make batches of varied views."""
        recipe = self.recipe
        return ViewSampler(
            views=self.views["train"],
            order=self.order(),
            batch_size=recipe.batch_size,
            masked_share=recipe.masked_share,
            augmentation=recipe.augmentation,
            seed=recipe.seed,
        )

    def predict(
        self, network: keras.Model, name: str, *, briefly: bool = False
    ) -> NDArray[np.float32]:
        """Return the probability of "male" of a set's views, (N, 1 + masked)."""
        views = self.views[name]
        return probabilities(network, views.first(2) if briefly else views)

    def frozen(self) -> Sequence[keras.Variable]:
        """Return what lies before the first trained convolution, and all batch statistics."""
        if self._compact:
            return ()
        variables: Sequence[keras.Variable] = self.network.get_layer(
            "inception_v3"
        ).non_trainable_variables
        return variables

    @property
    def _compact(self) -> bool:
        return self.recipe.network == "compact"

    def _build(self, *, pretrained: bool) -> keras.Model:
        if self._compact:
            return build_lite(**asdict(self.recipe.compact), cropped=True)
        network = self.recipe.classifier.build(pretrained=pretrained, cropped=True)
        train_after(network.get_layer("inception_v3"), self.recipe.frozen_until)
        return network


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
                self.places.out / f"{name}_features.npy",
                scaling=self.recipe.classifier.scaling,
                **self._copies(name, views),
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
        features = self.features["train"]
        return FeatureSampler(features, self.order(), recipe.batch_size, recipe.seed)

    def predict(
        self, network: keras.Model, name: str, *, briefly: bool = False
    ) -> NDArray[np.float32]:
        """Return the probability of "male" of a set's views, (N, 1 + masked)."""
        features = self.features[name]
        flat, _ = features.flat()
        return np.asarray(network.predict(flat, 1024, verbose=0)).reshape(features.values.shape[:2])

    def _copies(self, name: str, views: Views) -> dict[str, Any]:
        recipe = self.recipe
        if name != "train":
            return {"masked": views.masks}
        bare, masked = recipe.bare, recipe.masked
        if not views.masks:
            bare, masked = bare + masked, 0
        varied = {"augmentation": recipe.augmentation, "seed": recipe.seed}
        return {"bare": bare, "masked": masked, **varied}


def pooled_features(
    recipe: str, data: Sequence[Path], out: Path, overrides: Mapping[str, Any]
) -> dict[str, Features]:
    """Compute the features that a recipe's head is trained on, or open them, for `tune`.

    The recipe is one of the task "gender-head", whose values `overrides` replaces by dotted key;
    data are as for `read_faces`. There are (N, C, 2048) features of "train", "calibration" and
    "val".

    Raises:
        DataError: The recipe, the data or the folder cannot be used.
        WeightsError: The backbone's file cannot be used.
    """
    # A backbone without weights is to be the same one when a search goes on.
    keras.utils.set_random_seed(int(overrides.get("seed", 0)))
    task = HeadTask(read_recipe(recipe, overrides).phase(0, HeadRecipe), Places(data, out))
    task.prepare()
    return task.features


def _last_layer(network: keras.Model) -> keras.layers.Layer:
    whole = any(layer.name == "gender_head" for layer in network.layers)
    return (network.get_layer("gender_head") if whole else network).get_layer("male")

"""The paper's gender classifier: a frozen InceptionV3 and a dense head, section III.E and Figure 4.

The text has no code; the form of the head is that of the authors' notebook, its width the only one
that gives the trainable parameters of section IV.D.4. Our own network is in `unmask.gender.lite`.
"""

from __future__ import annotations

import keras

from unmask.face import CROP_SIZE
from unmask.inception import build_inception
from unmask.io import PathLike


def build_head(
    units: int = 1536,
    hidden: int = 2048,
    activation: str = "relu",
    dropout: float = 0.05,
    *,
    features: int = 2048,
) -> keras.Model:
    """Builds the paper's dense head on pooled backbone features.

    BatchNorm, Dense(hidden, relu), then two Dense(units), with BatchNorm after each, dropout and
    one sigmoid unit. With the defaults it has exactly the 9,720,321 trainable parameters of the
    paper's table; `units=320` gives the 4,964,545 of the authors' published notebook, and
    `units=1548, hidden=0` the 5,581,541 of the best trial that it saved.

    Args:
        units: Width of the two tuned layers (the notebook searches 32 to 2048).
        hidden: Width of the first layer; 0 for none.
        activation: Activation of the two tuned layers: `"relu"`, `"tanh"` or `"sigmoid"` in the
            notebook's search.
        dropout: Dropped share before the last layer. The paper does not state it; the notebook
            searches 0 to 0.1, so the default is the middle.
        features: Length of the pooled feature vector.

    Returns:
        A model from (B, features) float32 to (B, 1) float32, the probability of "male".

    Example:
        >>> import math
        >>> head = build_head(units=320)
        >>> sum(math.prod(variable.shape) for variable in head.trainable_variables)
        4964545

    Reference:
        "A Deep Learning Framework to Reconstruct Face under Mask", gender classification; the
        form of the head is that of the authors' notebook.
    """
    inputs = keras.Input((features,), name="features")
    x = keras.layers.BatchNormalization(name="bn_in")(inputs)
    if hidden:
        x = keras.layers.Dense(hidden, activation="relu", name="dense_hidden")(x)
        x = keras.layers.BatchNormalization(name="bn_hidden")(x)
    for index in (1, 2):
        x = keras.layers.Dense(units, activation=activation, name=f"dense_{index}")(x)
        x = keras.layers.BatchNormalization(name=f"bn_{index}")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, probability(x), name="gender_head")


def build_classifier(
    *,
    weights: PathLike | None = None,
    units: int = 1536,
    hidden: int = 2048,
    activation: str = "relu",
    dropout: float = 0.05,
    size: int = CROP_SIZE,
) -> keras.Model:
    """Builds the classifier: 31,537,441 parameters, of which the head's 9,720,321 are trainable.

    The head is that of `build_head`. The backbone has the `weights` of
    `unmask.inception.build_inception`, and sees (B, size, size, 3) float32 in [0, 1] as they come,
    as in the authors' notebook; `size` is 256 in section IV.D.4. The answer is (B, 1) float32, the
    probability of "male".

    Example:
        >>> model = build_classifier(weights="imagenet")  # doctest: +SKIP

    Reference:
        "A Deep Learning Framework to Reconstruct Face under Mask", sections III.E and IV.D.4.
    """
    inputs = keras.Input((size, size, 3), name="image")
    trunk = build_inception(size, weights)
    trunk.trainable = False
    head = build_head(units, hidden, activation, dropout, features=trunk.output_shape[-1])
    # training=False: frozen batch statistics too, also while the head is being trained.
    return keras.Model(inputs, head(trunk(inputs, training=False)), name="gender_classifier")


def probability(x: keras.KerasTensor) -> keras.KerasTensor:
    """The last layer of every gender network."""
    # float32 also under mixed precision: bfloat16 has too few digits for a probability.
    return keras.layers.Dense(1, activation="sigmoid", dtype="float32", name="male")(x)

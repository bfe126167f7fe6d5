"""Batch normalisation that stays frozen while everything else is trained."""

from __future__ import annotations

from typing import Any

import keras


class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation whose mode `Config.TRAIN_BN` decides.

    A network that is called with `training=True`, as `fit` does, says so to all its layers, also
    to those that were applied with `training=False`. Batches of one or two images have no useful
    statistics; with `train_bn=False` the stored ones are used always, and gamma and beta are still
    trained.

    Args:
        train_bn: False for the stored statistics, True for those of the batch, None for what the
            network is called with.

    Example:
        >>> import numpy as np
        >>> layer = BatchNorm(train_bn=False, epsilon=0.0)
        >>> float(layer(np.full((2, 1), 3.0, np.float32), training=True)[0, 0])
        3.0
    """

    def __init__(self, train_bn: bool | None = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.train_bn = train_bn

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise."""
        mode = training if self.train_bn is None else self.train_bn
        return super().call(inputs, training=mode, mask=mask)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "train_bn": self.train_bn}

"""Keras' optimisers from the settings of a recipe."""

from __future__ import annotations

from typing import Any

import keras

from unmask.training.recipe import OptimizerSettings


def make_optimizer(settings: OptimizerSettings) -> keras.optimizers.Optimizer:
    """Return Keras' optimiser with these settings."""
    common = _common(settings)
    if settings.name == "sgd":
        return keras.optimizers.SGD(momentum=settings.momentum, **common)
    if settings.name == "rmsprop":
        return keras.optimizers.RMSprop(rho=settings.beta_2, momentum=settings.momentum, **common)
    common |= {"beta_1": settings.beta_1, "beta_2": settings.beta_2}
    if settings.name == "adam":
        return keras.optimizers.Adam(**common)
    return keras.optimizers.AdamW(weight_decay=settings.weight_decay, **common)


class PairAdam(keras.optimizers.Adam):
    """Adam with a rate of its own for the second of two networks.

    Args:
        settings: The settings for both.
        first: Number of the first network's trainable variables, which come first.
        factor: Factor on the rate of the others.
    """

    def __init__(self, settings: OptimizerSettings, first: int, factor: float) -> None:
        super().__init__(beta_1=settings.beta_1, beta_2=settings.beta_2, **_common(settings))
        self._first, self._factor = first, factor

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        own = self._get_variable_index(variable) < self._first
        super().update_step(gradient, variable, learning_rate * (1.0 if own else self._factor))


def _common(settings: OptimizerSettings) -> dict[str, Any]:
    return {
        "learning_rate": settings.learning_rate,
        "clipnorm": settings.clip_norm or None,
        "global_clipnorm": settings.global_clip_norm or None,
        "use_ema": settings.ema_momentum > 0,
        "ema_momentum": settings.ema_momentum or 0.99,
    }

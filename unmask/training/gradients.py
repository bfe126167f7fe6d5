"""One gradient step, whatever the backend.

Keras' own `fit` knows one loss and one optimiser. Two networks that train against each other need
a step of their own, and a gradient is the one thing that Keras leaves to the backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

LossFunction = Callable[..., tuple[Any, Any]]


class GradientStep:
    """Minimise a loss by one optimiser step a call.

    Args:
        loss: From a batch to `(loss, extra)`; it calls the networks. `extra` is a structure of
            tensors that the step hands out.
        variables: The variables to train.
        state: All variables that the loss function reads or writes (weights of every network it
            calls, the trained ones included).
        optimizer: The optimiser; built here for `variables`.

    Example:
        >>> weight = keras.Variable([3.0], name="weight")
        >>> step = GradientStep(
        ...     lambda x: (keras.ops.sum((weight * x) ** 2), {}),
        ...     [weight], [weight], keras.optimizers.SGD(0.1))
        >>> loss, _ = step(keras.ops.ones(1))
        >>> float(loss), float(weight.numpy()[0]) < 3.0
        (9.0, True)
    """

    def __init__(
        self,
        loss: LossFunction,
        variables: Sequence[keras.Variable],
        state: Sequence[keras.Variable],
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        self._loss, self._variables, self.optimizer = loss, list(variables), optimizer
        optimizer.build(self._variables)
        backend = keras.backend.backend()
        if backend == "tensorflow":
            self._run = self._tensorflow()
        elif backend == "jax":
            self._run = self._jax(list(state))
        else:
            raise ValueError(f"training needs TensorFlow or JAX. Received: backend={backend!r}")

    def __call__(self, *batch: Any) -> tuple[Any, Any]:
        """Take one step.

        Args:
            *batch: Arrays that the loss function takes.

        Returns:
            The loss before the step, and the loss function's extra.
        """
        return self._run(*batch)

    def _tensorflow(self) -> Callable[..., tuple[Any, Any]]:
        import tensorflow as tf

        @tf.function
        def run(*batch: Any) -> tuple[Any, Any]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([v.value for v in self._variables])
                loss, extra = self._loss(*batch)
            gradients = tape.gradient(loss, [v.value for v in self._variables])
            # Every gradient first: the graph may otherwise update a variable that another gradient
            # has yet to read.
            with tf.control_dependencies([g for g in gradients if g is not None]):
                ready = [None if g is None else tf.identity(g) for g in gradients]
                self.optimizer.apply_gradients(zip(ready, self._variables, strict=True))
            return loss, extra

        return lambda *batch: run(*(tf.convert_to_tensor(b) for b in batch))

    def _jax(self, state: list[keras.Variable]) -> Callable[..., tuple[Any, Any]]:
        import jax

        trained = {id(v) for v in self._variables}
        others = [v for v in state if id(v) not in trained]

        def objective(values: Any, other_values: Any, batch: Any) -> Any:
            mapping = list(zip(self._variables, values, strict=True))
            mapping += list(zip(others, other_values, strict=True))
            with keras.StatelessScope(state_mapping=mapping) as scope:
                loss, extra = self._loss(*batch)
            updated = [scope.get_current_value(v) for v in others]
            kept = [o if u is None else u for u, o in zip(updated, other_values, strict=True)]
            return loss, (extra, kept)

        @jax.jit
        def step(values: Any, other_values: Any, slots: Any, batch: Any) -> Any:
            differentiate = jax.value_and_grad(objective, has_aux=True)
            (loss, (extra, kept)), gradients = differentiate(values, other_values, batch)
            values, slots = self.optimizer.stateless_apply(slots, gradients, values)
            return loss, extra, values, kept, slots

        def run(*batch: Any) -> tuple[Any, Any]:
            slots = self.optimizer.variables
            loss, extra, values, kept, new_slots = step(
                [v.value for v in self._variables],
                [v.value for v in others],
                [v.value for v in slots],
                batch,
            )
            for variables, new in ((self._variables, values), (others, kept), (slots, new_slots)):
                for variable, value in zip(variables, new, strict=True):
                    variable.assign(value)
            return loss, extra

        return run

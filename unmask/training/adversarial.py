"""Two networks that train against each other, as one model for `fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

Terms = Mapping[str, Any]


class AdversarialModel(keras.Model):
    """A generator and a discriminator that learn jointly.

    Each learns from the other as it was before the step, as in LaFIn's and AOT-GAN's codes, which
    compute both losses before they update anything. `fit` takes batches `(inputs,)`.

    Args:
        generator: Is trained by `generator_loss`.
        discriminator: Is trained by `discriminator_loss`; None for no adversary.
        generator_loss: From the inputs to `(loss, terms, completed)`.
        discriminator_loss: From the inputs and what the generator has completed to `(loss, terms)`.
        terms: Names of all terms, which the history shows.
        frozen: Networks that the losses look through and that do not learn.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model | None,
        generator_loss: Callable[..., tuple[Any, Terms, Any]],
        discriminator_loss: Callable[..., tuple[Any, Terms]],
        terms: Sequence[str],
        frozen: Sequence[keras.Model] = (),
    ) -> None:
        super().__init__(name="adversarial")
        self.generator, self.discriminator = generator, discriminator
        # Known to the model, their weights are arguments of JAX's compiled step, not constants.
        self._frozen = list(frozen)
        self._generator_loss, self._discriminator_loss = generator_loss, discriminator_loss
        self._means = [keras.metrics.Mean(name=name) for name in terms]
        self.built = True

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The means of the terms since the last row."""
        return [self._loss_tracker, *self._means]

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Complete without any loss."""
        return self._generator_loss(inputs, training=training)[2]

    def train_step(self, *arguments: Any) -> Any:
        """Update both networks; the arguments are the backend's."""
        if keras.backend.backend() == "jax":
            return self._jax_step(*arguments)
        return self._tensorflow_step(*arguments)

    def _tensorflow_step(self, data: Any) -> Terms:
        import tensorflow as tf

        (inputs,) = data

        def gradients(network: keras.Model, loss: Callable[[], Any]) -> tuple[Any, Any]:
            values = [v.value for v in network.trainable_variables]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(values)
                total, *rest = loss()
            return tape.gradient(total, values), (total, *rest)

        changes, (loss, terms, completed) = gradients(
            self.generator, lambda: self._generator_loss(inputs, training=True)
        )
        found = _by_variable(self.generator, changes)
        if self.discriminator is not None:
            changes, (_, scores) = gradients(
                self.discriminator, lambda: self._discriminator_loss(inputs, completed)
            )
            found |= _by_variable(self.discriminator, changes)
            terms = {**terms, **scores}
        # Every gradient first: the graph may otherwise update a variable that another gradient
        # has yet to read.
        with tf.control_dependencies([g for g in found.values() if g is not None]):
            ready = [None if g is None else tf.identity(g) for g in self._ordered(found)]
            self.optimizer.apply_gradients(zip(ready, self.trainable_variables, strict=True))
        return self._logs(loss, terms)

    def _jax_step(self, state: Any, data: Any) -> Any:
        import jax

        trained, others, slots, means = state
        inputs = data[0]
        values = dict(zip(map(id, self.trainable_variables), trained, strict=True))
        found: dict[int, Any] = {}

        def gradients(network: keras.Model, others: Any, loss: Callable[[], Any]) -> Any:
            variables = network.trainable_variables
            fixed = [v for v in self.trainable_variables if all(v is not w for w in variables)]

            def objective(own: Any) -> Any:
                mapping = list(zip(variables, own, strict=True))
                mapping += [(v, values[id(v)]) for v in fixed]
                mapping += list(zip(self.non_trainable_variables, others, strict=True))
                with keras.StatelessScope(state_mapping=mapping) as scope:
                    total, *rest = loss()
                changed = [scope.get_current_value(v) for v in self.non_trainable_variables]
                return total, (rest, changed)

            own = [values[id(v)] for v in variables]
            (total, (rest, changed)), changes = jax.value_and_grad(objective, has_aux=True)(own)
            found.update(_by_variable(network, changes))
            return (total, *rest), changed

        (loss, terms, completed), others = gradients(
            self.generator, others, lambda: self._generator_loss(inputs, training=True)
        )
        if self.discriminator is not None:
            (_, scores), others = gradients(
                self.discriminator, others, lambda: self._discriminator_loss(inputs, completed)
            )
            terms = {**terms, **scores}
        trained, slots = self.optimizer.stateless_apply(slots, self._ordered(found), trained)
        mapping = list(zip(self.metrics_variables, means, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            logs = self._logs(loss, terms)
        means = [scope.get_current_value(v) for v in self.metrics_variables]
        return logs, (trained, others, slots, means)

    def _ordered(self, found: Mapping[int, Any]) -> list[Any]:
        return [found[id(variable)] for variable in self.trainable_variables]

    def _logs(self, loss: Any, terms: Terms) -> dict[str, Any]:
        self._loss_tracker.update_state(loss)
        for mean in self._means:
            mean.update_state(ops.cast(terms[mean.name], "float32"))
        return {metric.name: metric.result() for metric in self.metrics}


def _by_variable(network: keras.Model, gradients: Sequence[Any]) -> dict[int, Any]:
    # By identity: variables of different networks may share a path.
    return dict(zip(map(id, network.trainable_variables), gradients, strict=True))

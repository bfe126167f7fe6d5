"""Long-short attention, in blocks of queries where the whole attention matrix would be large."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# Up to this many positions (32 x 32) the attention matrix is held whole: 4 MiB an image.
DENSE_POSITIONS = 1024
# Rows of it that are held at once beyond that. Small blocks stay in the processor's caches: at
# 48 x 48 positions and a batch of 4, forward and backward take 0.62 of the whole matrix's time.
BLOCK_ROWS = 128


@keras.saving.register_keras_serializable(package="unmask")
class LongShortAttention(keras.layers.Layer):
    """Let every position borrow from positions that look alike, near (short) and early (long).

    One attention matrix A = softmax(q q^T) over positions serves twice:
    `gamma * A x + x` for the features x, and `alpha * m * A e + (1 - m) * e` for the encoder's
    features e, where m is the mask at their size, so that the hole gets borrowed features only.

    Memory grows linearly with the number of positions, also in training, see `attend`.

    Args:
        query_filters: Channels of the query, which is also the key.

    Example:
        >>> features, earlier = ops.ones((1, 8, 8, 4)), ops.ones((1, 8, 8, 6))
        >>> LongShortAttention(2)([features, earlier, ops.ones((1, 8, 8, 1))]).shape
        TensorShape([1, 8, 8, 10])

    Reference:
        LaFIn (Yang et al., 2019), Section 3; PIC-Net's short+long term attention.
    """

    def __init__(self, query_filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.query_filters = query_filters
        self.query = keras.layers.Conv2D(
            query_filters,
            1,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.02),
            dtype=self.dtype_policy,
            name="query",
        )

    def build(self, input_shape: Any) -> None:
        """Create the query convolution and the two scales, which start at 0."""
        features = input_shape[0] if isinstance(input_shape[0], (tuple, list)) else input_shape
        self.query.build(features)
        self.gamma = self.add_weight(name="gamma", shape=(1,), initializer="zeros")
        self.alpha = self.add_weight(name="alpha", shape=(1,), initializer="zeros")
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Attend.

        Args:
            inputs: `[features (B, h, w, C), earlier (B, h, w, E), mask (B, h, w, 1)]`, or the
                features alone for the short part only.

        Returns:
            (B, h, w, C + E), short part first; (B, h, w, C) without earlier features.
        """
        if not isinstance(inputs, (list, tuple)):
            return self.gamma * self._borrow(inputs, inputs) + inputs
        features, earlier, mask = inputs
        joined = ops.concatenate([features, earlier], axis=-1)
        borrowed = self._borrow(features, joined)
        channels = features.shape[-1]
        short = self.gamma * borrowed[..., :channels] + features
        long = self.alpha * mask * borrowed[..., channels:] + (1.0 - mask) * earlier
        return ops.concatenate([short, long], axis=-1)

    def _borrow(self, features: Any, values: Any) -> Any:
        _, height, width, _ = ops.shape(features)
        query = ops.reshape(self.query(features), (-1, height * width, self.query_filters))
        flat_values = ops.reshape(values, (-1, height * width, values.shape[-1]))
        borrowed = attend(query, flat_values)
        return ops.reshape(borrowed, (-1, height, width, values.shape[-1]))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the features' shape, with the earlier features' channels added."""
        if isinstance(input_shape[0], (tuple, list)):
            features, earlier = input_shape[:2]
            return (*features[:-1], features[-1] + earlier[-1])
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "query_filters": self.query_filters}


def attend(
    query: Any, values: Any, *, dense_positions: int = DENSE_POSITIONS, block_rows: int = BLOCK_ROWS
) -> Any:
    """Return softmax(q q^T) v without ever holding the whole matrix when it is large.

    Args:
        query: (B, N, C), queries and keys at once.
        values: (B, N, E).
        dense_positions: The largest N for which the matrix is held whole.
        block_rows: Rows of the matrix that are held at once for a larger N. The backward pass
            computes them again instead of keeping them.

    Returns:
        (B, N, E) of the values' type.

    Example:
        >>> tuple(attend(ops.ones((1, 6, 2)), ops.ones((1, 6, 3))).shape)
        (1, 6, 3)
    """
    positions = query.shape[1]
    if positions is not None and positions <= dense_positions:
        return ops.matmul(_weights(query, query, values.dtype), values)
    return _attend_in_blocks(query, values, block_rows)


def _weights(rows: Any, keys: Any, dtype: Any) -> Any:
    """Return the attention of some rows to all keys; the exponentials in float32."""
    energy = ops.matmul(rows, ops.transpose(keys, (0, 2, 1)))
    return ops.cast(ops.softmax(ops.cast(energy, "float32"), axis=-1), dtype)


def _attend_in_blocks(query: Any, values: Any, block_rows: int) -> Any:
    @ops.custom_gradient
    def run(query: Any, values: Any) -> tuple[Any, Any]:
        def borrow(rows: Any) -> Any:
            return ops.matmul(_weights(rows, query, values.dtype), values)

        result = _join(ops.map(borrow, _cut(query, block_rows)), ops.shape(query)[1])

        def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
            given = args[0] if upstream is None else upstream
            return _gradients(query, values, result, given, block_rows)

        return result, gradient

    return run(query, values)


def _gradients(
    query: Any, values: Any, result: Any, upstream: Any, block_rows: int
) -> tuple[Any, Any]:
    """Return the gradients for the query (as query and as key) and for the values.

    With R = A V and dA = dR V^T, the softmax gives dS = A * (dA - rowsum(dR * R)); then
    dV = A^T dR and dQ = dS Q + dS^T Q. Rows of zeros that fill the last block add nothing.
    """
    row_blocks, result_blocks, upstream_blocks = (
        _cut(x, block_rows) for x in (query, result, upstream)
    )
    transposed_values = ops.transpose(values, (0, 2, 1))

    def add_block(index: Any, sums: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        as_query, as_key, for_values = sums
        rows, given = row_blocks[index], upstream_blocks[index]
        weights = _weights(rows, query, values.dtype)
        mean = ops.sum(given * result_blocks[index], axis=-1, keepdims=True)
        energy = weights * (ops.matmul(given, transposed_values) - mean)
        for_values += _float(ops.matmul(ops.transpose(weights, (0, 2, 1)), given))
        as_key += _float(ops.matmul(ops.transpose(energy, (0, 2, 1)), rows))
        own = _float(ops.matmul(energy, query))[None]
        return ops.slice_update(as_query, (index, 0, 0, 0), own), as_key, for_values

    start = (_zeros(row_blocks), _zeros(query), _zeros(values))
    count = ops.shape(row_blocks)[0]
    as_query, as_key, for_values = ops.fori_loop(0, count, add_block, start)
    for_query = _join(as_query, ops.shape(query)[1]) + as_key
    return ops.cast(for_query, query.dtype), ops.cast(for_values, values.dtype)


def _cut(x: Any, block_rows: int) -> Any:
    """(B, N, C) to (blocks, B, block_rows, C), filled up with zeros."""
    rows = ops.shape(x)[1]
    count = (rows + block_rows - 1) // block_rows
    filled = ops.pad(x, ((0, 0), (0, count * block_rows - rows), (0, 0)))
    blocks = ops.reshape(filled, (-1, count, block_rows, x.shape[-1]))
    return ops.transpose(blocks, (1, 0, 2, 3))


def _join(blocks: Any, rows: Any) -> Any:
    """Undo `_cut`."""
    count, _, block_rows, _ = ops.shape(blocks)
    joined = ops.transpose(blocks, (1, 0, 2, 3))
    return ops.reshape(joined, (-1, count * block_rows, blocks.shape[-1]))[:, :rows]


def _zeros(x: Any) -> Any:
    # Many small terms are summed: float32 also in mixed precision.
    return ops.zeros_like(x, dtype="float32")


def _float(x: Any) -> Any:
    return ops.cast(x, "float32")

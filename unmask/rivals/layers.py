"""Layers that only the compared systems have."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from unmask.inpainting.layers import Spectral, resize_aligned

# Contextual attention as published: how much like the best match the others count, and the least
# length of a key.
_SHARPNESS = 10.0
_LEAST_LENGTH = 1e-4


@keras.saving.register_keras_serializable(package="unmask")
class SpectralConv2DTranspose(Spectral, keras.layers.Conv2DTranspose):
    """A transposed convolution whose kernel is divided by its largest singular value.

    Args:
        filters: Output channels.
        kernel_size: Side of the kernel.
        rows: Which channels are the matrix' rows: "output" as in PyTorch's `spectral_norm`, or
            "input" as in codes that unroll the kernel as PyTorch stores it.
        **kwargs: As for `keras.layers.Conv2DTranspose`; without output padding and dilation.

    Example:
        >>> layer = SpectralConv2DTranspose(3, 4, strides=2, padding="same")
        >>> layer(ops.ones((1, 5, 5, 2))).shape
        TensorShape([1, 10, 10, 3])
    """

    def __init__(
        self, filters: int, kernel_size: int, *, rows: str = "output", **kwargs: Any
    ) -> None:
        super().__init__(filters, kernel_size, **kwargs)
        if rows not in ("output", "input"):
            raise ValueError(f"rows must be 'output' or 'input'. Received: rows={rows!r}")
        self.rows = rows
        # Keras keeps (height, width, out, in).
        self._axes = (2, 3, 0, 1) if rows == "output" else (3, 2, 0, 1)

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve (B, H, W, C) without the bias."""
        return ops.conv_transpose(inputs, kernel, strides=self.strides, padding=self.padding)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "rows": self.rows}


@keras.saving.register_keras_serializable(package="unmask")
class AlignedUpSampling2D(keras.layers.Layer):
    """Double height and width bilinearly with aligned corners, as AOT-GAN's decoder does."""

    def call(self, inputs: Any) -> Any:
        """Resample (B, H, W, C) to (B, 2 H, 2 W, C)."""
        _, height, width, _ = ops.shape(inputs)
        return resize_aligned(inputs, 2 * height, 2 * width)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Double the two middle axes."""
        batch, *sides, channels = input_shape
        return (batch, *(None if s is None else 2 * s for s in sides), channels)


# === Contextual attention ===


@keras.saving.register_keras_serializable(package="unmask")
class ContextualAttention(keras.layers.Layer):
    """Rebuild features from 4x4 patches of the known part, chosen by the likeness of 3x3 patches.

    Patches are compared at half the size, by the cosine but for the query's length. Diagonals of
    the scores are summed ("fusion"), because neighbours should be copied from neighbours. Copies
    overlap and are averaged. Known positions are rebuilt as well.

    Example:
        >>> features, mask = ops.ones((1, 16, 16, 4)), ops.zeros((1, 16, 16, 1))
        >>> ContextualAttention()([features, mask]).shape
        TensorShape([1, 16, 16, 4])

    Reference:
        Yu et al., Generative Image Inpainting with Contextual Attention, 2018, and its published
        code. There the first image's mask counts for the whole batch; here each has its own.
    """

    def call(self, inputs: Any) -> Any:
        """Attend.

        Args:
            inputs: `[features (B, H, W, C), mask (B, n H, n W, 1) with 1 in the hole]`; H and W
                are even.

        Returns:
            (B, H, W, C).
        """
        features, mask = inputs
        _, height, width, channels = ops.shape(features)
        mask = shrink_nearest(mask, ops.shape(mask)[1] // height)
        rows, columns = height // 2, width // 2
        count = rows * columns
        queries = _patches(shrink_nearest(features, 2), 3, 1)
        queries = ops.reshape(queries, (-1, count, 9 * channels))
        length = ops.sqrt(ops.sum(queries**2, axis=-1, keepdims=True))
        keys = queries / ops.maximum(length, _LEAST_LENGTH)
        values = ops.reshape(_patches(features, 4, 2), (-1, count, 16 * channels))

        scores = ops.matmul(queries, ops.transpose(keys, (0, 2, 1)))
        scores = _fuse(scores)
        scores = _swap(_fuse(_swap(scores, rows, columns)), columns, rows)
        hole = ops.sum(_patches(shrink_nearest(mask, 2), 3, 1), axis=(3, 4))
        known = ops.cast(ops.reshape(hole, (-1, 1, count)) == 0, features.dtype)
        # As published: a key in the hole scores 0, not minus infinity, and its share is lost.
        shares = ops.softmax(_SHARPNESS * scores * known, axis=-1) * known
        copies = ops.reshape(ops.matmul(shares, values), (-1, rows, columns, 4, 4, channels))
        return _paste(copies) / 4.0

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the features' shape."""
        return tuple(input_shape[0])


def shrink_nearest(x: Any, factor: Any) -> Any:
    """Shrink (B, H, W, C) by a factor by picking pixels, the corners aligned.

    Row i is row round(i (H - 1) / (H / factor - 1)), halves rounded up, and columns alike.

    Example:
        >>> rows = ops.broadcast_to(ops.reshape(ops.arange(8), (1, 8, 1, 1)), (1, 8, 8, 1))
        >>> ops.convert_to_numpy(shrink_nearest(rows, 2))[0, :, 0, 0]
        array([0, 2, 5, 7], dtype=int32)
    """
    for axis in (1, 2):
        size = ops.shape(x)[axis]
        last = size // factor - 1
        steps = 2 * (size - 1) * ops.arange(last + 1) + last
        x = ops.take(x, steps // ops.maximum(2 * last, 1), axis=axis)
    return x


def _patches(x: Any, size: int, stride: int) -> Any:
    """Cut (B, H / stride, W / stride, size * size, C) patches; one zero row and column around."""
    _, height, width, _ = ops.shape(x)
    x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    cuts = [
        x[:, row : row + height + 3 - size : stride, column : column + width + 3 - size : stride]
        for row in range(size)
        for column in range(size)
    ]
    return ops.stack(cuts, axis=3)


def _fuse(scores: Any) -> Any:
    """Add to S[p, q] what S[p - 1, q - 1] and S[p + 1, q + 1] are, 0 beyond the border."""
    around = ops.pad(scores, ((0, 0), (1, 1), (1, 1)))
    return scores + around[:, :-2, :-2] + around[:, 2:, 2:]


def _swap(scores: Any, rows: Any, columns: Any) -> Any:
    """Number the positions along both axes column by column instead of row by row."""
    count = rows * columns
    grid = ops.reshape(scores, (-1, rows, columns, rows, columns))
    return ops.reshape(ops.transpose(grid, (0, 2, 1, 4, 3)), (-1, count, count))


def _paste(copies: Any) -> Any:
    """Sum (B, h, w, 4, 4, C) patches at every second pixel to (B, 2 h, 2 w, C)."""
    _, height, width, _, _, channels = ops.shape(copies)
    x = _paste_rows(ops.reshape(copies, (-1, height, width, 4, 4 * channels)))
    x = ops.transpose(ops.reshape(x, (-1, 2 * height, width, 4, channels)), (0, 2, 1, 3, 4))
    return ops.transpose(_paste_rows(x), (0, 2, 1, 3))


def _paste_rows(x: Any) -> Any:
    """Sum (B, h, w, 4, C) strips of four rows at every second row to (B, 2 h, w, C)."""
    _, height, width, _, channels = ops.shape(x)
    around = ops.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
    even = x[:, :, :, 1] + around[:, :-2, :, 3]
    odd = x[:, :, :, 2] + around[:, 2:, :, 0]
    return ops.reshape(ops.stack([even, odd], axis=2), (-1, 2 * height, width, channels))

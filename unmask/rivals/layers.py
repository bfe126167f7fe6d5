"""Layers that only the compared systems have."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from unmask.inpainting.layers import Spectral, resize_aligned


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

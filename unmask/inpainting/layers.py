"""Building blocks of the inpainting networks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# === Padding ===


@keras.saving.register_keras_serializable(package="unmask")
class ReflectionPadding2D(keras.layers.Layer):
    """Pad height and width by mirroring at the border pixels.

    Args:
        padding: Pixels on every side.

    Example:
        >>> ReflectionPadding2D(1)(ops.ones((1, 4, 4, 2))).shape
        TensorShape([1, 6, 6, 2])
    """

    def __init__(self, padding: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.padding = padding

    def call(self, inputs: Any) -> Any:
        """Pad (B, H, W, C)."""
        p = self.padding
        return ops.pad(inputs, ((0, 0), (p, p), (p, p), (0, 0)), mode="reflect")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Add the padding to the two middle axes."""
        batch, *sides, channels = input_shape
        grown = [None if side is None else side + 2 * self.padding for side in sides]
        return (batch, *grown, channels)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "padding": self.padding}


# === Convolutions ===


@keras.saving.register_keras_serializable(package="unmask")
class NarrowConv2D(keras.layers.Conv2D):
    """A convolution with very few filters, four output pixels at once.

    A kernel of 7 x 7 with 3 filters leaves most of a processor's vector lanes empty. The same
    numbers come from a kernel of 8 x 8 with 12 filters at every second position, in two fifths of
    the time; the weights are those of the plain convolution.

    Args:
        filters: Output channels.
        kernel_size: Side of the kernel.
        **kwargs: As for `keras.layers.Conv2D`; only "valid" padding without strides, dilation and
            groups.

    Raises:
        ValueError: Another kind of convolution is asked for, or, at the call, an output side
            would be odd.

    Example:
        >>> layer = NarrowConv2D(1, 3, kernel_initializer="ones")
        >>> float(layer(ops.ones((1, 6, 8, 2)))[0, 0, 0, 0])
        18.0
    """

    def __init__(self, filters: int, kernel_size: int, **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, **kwargs)
        asked = (self.strides, self.padding, self.dilation_rate, self.groups)
        if asked != ((1, 1), "valid", (1, 1), 1):
            raise ValueError(
                "strides, padding, dilation_rate and groups must be 1, 'valid', 1 and 1. "
                f"Received: {asked}"
            )

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve (B, H, W, C) without the bias."""
        for side, reach in zip(inputs.shape[1:3], self.kernel_size, strict=True):
            if side is not None and (side - reach) % 2 == 0:
                raise ValueError(
                    f"the output's sides must be even. Received: input shape={inputs.shape}"
                )
        shifted = [
            ops.pad(kernel, ((row, 1 - row), (column, 1 - column), (0, 0), (0, 0)))
            for row in (0, 1)
            for column in (0, 1)
        ]
        blocks = ops.conv(inputs, ops.concatenate(shifted, axis=-1), strides=2, padding="valid")
        _, height, width, _ = ops.shape(blocks)
        blocks = ops.reshape(blocks, (-1, height, width, 2, 2, self.filters))
        blocks = ops.transpose(blocks, (0, 1, 3, 2, 4, 5))
        return ops.reshape(blocks, (-1, 2 * height, 2 * width, self.filters))


# === Spectral normalisation ===


class _Spectral(keras.layers.Layer):
    """What convolutions divided by their kernel's largest singular value have in common."""

    # Axes of the kernel in PyTorch's order: that of the matrix' rows, then those of its columns.
    _axes = (3, 2, 0, 1)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the kernel and the two stored vectors."""
        super().build(input_shape)
        rows, columns = self._matrix(self.kernel).shape
        normal = keras.initializers.RandomNormal(seed=self.filters)
        self.left, self.right = (
            self.add_weight(
                name=name, shape=(size,), initializer=normal, trainable=False, dtype="float32"
            )
            for name, size in (("left", rows), ("right", columns))
        )
        self._iterate(ops.cast(self.kernel, "float32"))

    def _matrix(self, kernel: Any) -> Any:
        kernel = ops.transpose(kernel, self._axes)
        return ops.reshape(kernel, (kernel.shape[0], -1))

    def _iterate(self, kernel: Any) -> None:
        matrix = ops.stop_gradient(self._matrix(kernel))
        left = ops.cast(self.left, "float32")
        right = ops.normalize(ops.matmul(ops.transpose(matrix), left), axis=-1)
        self.right.assign(right)
        self.left.assign(ops.normalize(ops.matmul(matrix, right), axis=-1))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Convolve with the normalised kernel."""
        kernel = ops.cast(self.kernel, "float32")
        if training:
            self._iterate(kernel)
        matrix = self._matrix(kernel)
        left, right = (ops.cast(ops.stop_gradient(v), "float32") for v in (self.left, self.right))
        largest = ops.sum(left * ops.matmul(matrix, right))
        outputs = self.convolution_op(inputs, ops.cast(kernel / largest, inputs.dtype))
        if self.use_bias:
            outputs = outputs + ops.cast(self.bias, outputs.dtype)
        return outputs


@keras.saving.register_keras_serializable(package="unmask")
class SpectralConv2D(_Spectral, keras.layers.Conv2D):
    """A convolution whose kernel is divided by its largest singular value.

    PyTorch's `spectral_norm`: the kernel is seen as an (out, in * height * width) matrix, the
    leading singular vectors are stored, one power iteration updates them at each training step,
    and evaluation uses the stored ones.

    Args:
        filters: Output channels.
        kernel_size: Side of the kernel.
        **kwargs: As for `keras.layers.Conv2D`.

    Reference:
        Miyato et al., Spectral Normalization for GANs, 2018.
    """


@keras.saving.register_keras_serializable(package="unmask")
class SpectralConv2DTranspose(_Spectral, keras.layers.Conv2DTranspose):
    """A transposed convolution whose kernel is divided by its largest singular value.

    Args:
        filters: Output channels.
        kernel_size: Side of the kernel.
        rows: Which channels are the matrix' rows: "output" as in PyTorch's `spectral_norm`, or
            "input" as in codes that unroll the kernel as PyTorch stores it.
        **kwargs: As for `keras.layers.Conv2DTranspose`; without output padding and dilation.

    Example:
        >>> layer = SpectralConv2DTranspose(3, 4, strides=2, padding="same")
        >>> layer(ops.ones((1, 5, 5, 2))).shape, layer.left.shape, layer.right.shape
        (TensorShape([1, 10, 10, 3]), (3,), (32,))
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


# === Gates ===


@keras.saving.register_keras_serializable(package="unmask")
class NormalisedGate(keras.layers.Layer):
    """Choose between old and new features by a gate that is normalised over each image.

    `gate = sigmoid(5 (2 (g - mean) / std - 1))` with the mean and the unbiased standard deviation
    over all positions of a channel; the result is `old * (1 - gate) + new * gate`.

    Reference:
        AOT-GAN (Zeng et al., 2021), Section 3.1; the normalisation is that of the published code.
    """

    def call(self, inputs: Any) -> Any:
        """Mix `[old, new, g]`, each (B, h, w, C)."""
        old, new, logits = inputs
        values = ops.cast(logits, "float32")
        mean, variance = ops.moments(values, axes=[1, 2], keepdims=True)
        count = ops.cast(ops.shape(values)[1] * ops.shape(values)[2], "float32")
        # A constant channel has no deviation, and the root no finite slope there.
        scale = ops.rsqrt(variance * count / ops.maximum(count - 1.0, 1.0) + 1e-12)
        gate = ops.sigmoid(5.0 * (2.0 * (values - mean) * scale - 1.0))
        gate = ops.cast(gate, old.dtype)
        return old * (1.0 - gate) + new * gate

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the old features' shape."""
        return tuple(input_shape[0])


# === Resampling ===


@keras.saving.register_keras_serializable(package="unmask")
class ShrinkMask(keras.layers.Layer):
    """Shrink a mask bilinearly with aligned corners, as the published network does.

    Args:
        factor: By how much, 2 or 4.
    """

    def __init__(self, factor: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs: Any) -> Any:
        """Resample (B, H, W, 1) to (B, H / factor, W / factor, 1)."""
        _, height, width, _ = ops.shape(inputs)
        return _resize_aligned(inputs, height // self.factor, width // self.factor)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Divide the two middle axes."""
        batch, *sides, channels = input_shape
        return (batch, *(None if s is None else s // self.factor for s in sides), channels)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="unmask")
class AlignedUpSampling2D(keras.layers.Layer):
    """Double height and width bilinearly with aligned corners, as AOT-GAN's decoder does."""

    def call(self, inputs: Any) -> Any:
        """Resample (B, H, W, C) to (B, 2 H, 2 W, C)."""
        _, height, width, _ = ops.shape(inputs)
        return _resize_aligned(inputs, 2 * height, 2 * width)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Double the two middle axes."""
        batch, *sides, channels = input_shape
        return (batch, *(None if s is None else 2 * s for s in sides), channels)


def _resize_aligned(inputs: Any, height: Any, width: Any) -> Any:
    _, source_height, source_width, _ = ops.shape(inputs)
    rows = _aligned_weights(source_height, height, inputs.dtype)
    columns = _aligned_weights(source_width, width, inputs.dtype)
    resized = ops.einsum("ph,bhwc->bpwc", rows, inputs)
    return ops.einsum("qw,bpwc->bpqc", columns, resized)


def _aligned_weights(source: Any, target: Any, dtype: str) -> Any:
    """Return the (target, source) matrix of linear interpolation with aligned corners."""
    step = ops.cast(source - 1, "float32") / ops.cast(ops.maximum(target - 1, 1), "float32")
    positions = ops.cast(ops.arange(target), "float32") * step
    distance = ops.abs(positions[:, None] - ops.cast(ops.arange(source), "float32")[None, :])
    return ops.cast(ops.maximum(0.0, 1.0 - distance), dtype)

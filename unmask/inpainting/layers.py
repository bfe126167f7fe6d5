"""Building blocks of the inpainting networks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# === Padding and normalisation ===


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


@keras.saving.register_keras_serializable(package="unmask")
class InstanceNormalization(keras.layers.Layer):
    """Give every channel of every image zero mean and unit variance, without learnt parameters.

    Args:
        epsilon: Added to the variance.

    Reference:
        Ulyanov et al., 2016; PyTorch's `InstanceNorm2d` with its defaults.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, inputs: Any) -> Any:
        """Normalise (B, H, W, C) over H and W."""
        # Sums over tens of thousands of pixels need float32 also in mixed precision.
        values = ops.cast(inputs, "float32")
        mean, variance = ops.moments(values, axes=[1, 2], keepdims=True)
        return ops.cast((values - mean) * ops.rsqrt(variance + self.epsilon), inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


# === Spectral normalisation ===


@keras.saving.register_keras_serializable(package="unmask")
class SpectralConv2D(keras.layers.Conv2D):
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

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the kernel and the two stored vectors."""
        super().build(input_shape)
        height, width, channels, filters = self.kernel.shape
        normal = keras.initializers.RandomNormal(seed=filters)
        self.left = self.add_weight(
            name="left", shape=(filters,), initializer=normal, trainable=False, dtype="float32"
        )
        self.right = self.add_weight(
            name="right",
            shape=(channels * height * width,),
            initializer=normal,
            trainable=False,
            dtype="float32",
        )
        self._iterate(ops.cast(self.kernel, "float32"))

    def _matrix(self, kernel: Any) -> Any:
        # PyTorch's order of the columns: input channel, row, column.
        return ops.reshape(ops.transpose(kernel, (3, 2, 0, 1)), (self.filters, -1))

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


# === Attention ===


@keras.saving.register_keras_serializable(package="unmask")
class LongShortAttention(keras.layers.Layer):
    """Let every position borrow from positions that look alike, near (short) and early (long).

    One attention matrix A = softmax(q q^T) over positions serves twice:
    `gamma * A x + x` for the features x, and `alpha * m * A e + (1 - m) * e` for the encoder's
    features e, where m is the mask at their size, so that the hole gets borrowed features only.

    Args:
        query_filters: Channels of the query, which is also the key.

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
        flat = (-1, height * width, self.query_filters)
        query = ops.reshape(self.query(features), flat)
        energy = ops.matmul(query, ops.transpose(query, (0, 2, 1)))
        attention = ops.cast(ops.softmax(ops.cast(energy, "float32"), axis=-1), values.dtype)
        flat_values = ops.reshape(values, (-1, height * width, values.shape[-1]))
        borrowed = ops.matmul(attention, flat_values)
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


# === Resampling of masks ===


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
        rows = _aligned_weights(height, height // self.factor, inputs.dtype)
        columns = _aligned_weights(width, width // self.factor, inputs.dtype)
        shrunk = ops.einsum("ph,bhwc->bpwc", rows, inputs)
        return ops.einsum("qw,bpwc->bpqc", columns, shrunk)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Divide the two middle axes."""
        batch, *sides, channels = input_shape
        return (batch, *(None if s is None else s // self.factor for s in sides), channels)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "factor": self.factor}


def _aligned_weights(source: Any, target: Any, dtype: str) -> Any:
    """Return the (target, source) matrix of linear interpolation with aligned corners."""
    step = ops.cast(source - 1, "float32") / ops.cast(ops.maximum(target - 1, 1), "float32")
    positions = ops.cast(ops.arange(target), "float32") * step
    distance = ops.abs(positions[:, None] - ops.cast(ops.arange(source), "float32")[None, :])
    return ops.cast(ops.maximum(0.0, 1.0 - distance), dtype)

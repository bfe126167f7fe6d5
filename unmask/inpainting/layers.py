"""Layers, blocks and filters that several of the inpainting networks are made of."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from unmask.image import LUMA
from unmask.inpainting.window import CHECKER_KERNEL

# What TensorFlow's fused kernel takes on every device.
_FUSED_TYPES = ("float32", "bfloat16")

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


class Spectral(keras.layers.Layer):
    """Mixed into a convolution: its kernel is divided by its largest singular value."""

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
class SpectralConv2D(Spectral, keras.layers.Conv2D):
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

    def save_own_variables(self, store: Any) -> None:
        """Add the two vectors to a `.keras` file; Keras stores kernel and bias alone."""
        super().save_own_variables(store)
        store["left"], store["right"] = self.left, self.right

    def load_own_variables(self, store: Any) -> None:
        """Read what `save_own_variables` stored."""
        super().load_own_variables(store)
        self.left.assign(store["left"])
        self.right.assign(store["right"])


# === Instance normalisation ===


@keras.saving.register_keras_serializable(package="unmask")
class InstanceNormalization(keras.layers.Layer):
    """Give every channel of every image zero mean and unit variance, without learnt parameters.

    On TensorFlow its fused batch normalisation does the work, image by image: a fifth of the time
    of separate means, differences and products, forward and backward.

    Args:
        epsilon: Added to the variance.

    Example:
        >>> x = ops.reshape(ops.array([1.0, 3.0]), (1, 1, 2, 1))
        >>> [round(float(v), 2) for v in ops.ravel(InstanceNormalization()(x))]
        [-1.0, 1.0]

    Reference:
        Ulyanov et al., 2016; PyTorch's `InstanceNorm2d` with its defaults.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, inputs: Any) -> Any:
        """Normalise (B, H, W, C) over H and W."""
        known = keras.backend.standardize_dtype(inputs.dtype) in _FUSED_TYPES
        if known and keras.backend.backend() == "tensorflow":
            return _fused(inputs, self.epsilon)
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


def _fused(inputs: Any, epsilon: float) -> Any:
    """Normalise by TensorFlow's fused kernel, which sums in float32 whatever the type."""
    import tensorflow as tf

    if inputs.shape[0] is not None:
        images = tf.split(inputs, inputs.shape[0])
        return tf.concat([_normalise_batch(image, epsilon) for image in images], axis=0)
    # A batch of unknown size: the channels of all images side by side, as if of one image.
    batch, height, width, channels = tf.unstack(tf.shape(inputs))
    pixels = tf.reshape(inputs, (batch, height * width, channels))
    side_by_side = tf.reshape(
        tf.transpose(pixels, (1, 0, 2)), (1, height * width, 1, batch * channels)
    )
    normalised = tf.reshape(
        _normalise_batch(side_by_side, epsilon), (height * width, batch, channels)
    )
    return tf.reshape(tf.transpose(normalised, (1, 0, 2)), tf.shape(inputs))


def _normalise_batch(x: Any, epsilon: float) -> Any:
    import tensorflow as tf

    channels = tf.shape(x)[-1:]
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=tf.ones(channels), offset=tf.zeros(channels), mean=tf.zeros((0,)),
        variance=tf.zeros((0,)), epsilon=epsilon, is_training=True,
    ).y  # fmt: skip


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
        return resize_aligned(inputs, height // self.factor, width // self.factor)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Divide the two middle axes."""
        batch, *sides, channels = input_shape
        return (batch, *(None if s is None else s // self.factor for s in sides), channels)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "factor": self.factor}


def resize_aligned(inputs: Any, height: Any, width: Any) -> Any:
    """Resample (B, H, W, C) bilinearly to another size, with aligned corners."""
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


# === Filters ===


def blur(images: Any, sigma: float, *, reach: float = 3.0) -> Any:
    """Blur by a Gaussian; the images are mirrored at their border.

    Args:
        images: (B, H, W, C); H and W are greater than `reach * sigma`.
        sigma: Standard deviation in pixels, greater than 0.
        reach: Where the Gaussian is cut off, in standard deviations.

    Returns:
        (B, H, W, C).

    Example:
        >>> blur(ops.ones((1, 8, 8, 2)), 1.0).shape
        TensorShape([1, 8, 8, 2])
    """
    radius = int(reach * sigma)
    offsets = ops.arange(-radius, radius + 1, dtype="float32")
    kernel = ops.exp(-0.5 * ops.square(offsets / sigma))
    return _filter(images, kernel / ops.sum(kernel), radius)


def remove_checkers(images: Any) -> Any:
    """Take out what alternates from pixel to pixel, by the kernel (1, 2, 1) / 4 in both directions.

    Transposed convolutions of stride 2 leave such a pattern where a generator draws fine things.
    The images, (B, H, W, C), are mirrored at their border.

    Example:
        >>> remove_checkers(ops.ones((1, 4, 4, 2))).shape
        TensorShape([1, 4, 4, 2])
    """
    return _filter(images, ops.convert_to_tensor(CHECKER_KERNEL), 1)


def _filter(images: Any, kernel: Any, radius: int) -> Any:
    """Filter rows and columns by a kernel of 2 * radius + 1 values."""
    kernel, channels, size = ops.cast(kernel, images.dtype), images.shape[-1], 2 * radius + 1
    images = ops.pad(images, ((0, 0), (radius, radius), (radius, radius), (0, 0)), mode="reflect")
    for shape in ((size, 1, 1, 1), (1, size, 1, 1)):
        # One kernel for every channel: the filter has the channels' number of copies.
        copies = ops.tile(ops.reshape(kernel, shape), (1, 1, channels, 1))
        images = ops.depthwise_conv(images, copies, padding="valid")
    return images


def brightness(images: Any) -> Any:
    """Return the Rec. 601 luma of RGB images, with one channel: (B, H, W, 1)."""
    red, green, blue = (share * images[..., i : i + 1] for i, share in enumerate(LUMA))
    return red + green + blue


# === Blocks: from one symbolic tensor to the next; names are those in weight files ===


def convolve(x: Any, filters: int, size: int, name: str, *, pad: int, dilation: int = 1) -> Any:
    """Pad (B, H, W, C) by reflection, `pad` pixels on every side, and convolve."""
    x = ReflectionPadding2D(pad, name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters, size, dilation_rate=dilation, kernel_initializer=initializer(), name=name
    )(x)


def shrink(x: Any, filters: int, name: str) -> Any:
    """Halve the even size by a 4x4 convolution of stride 2."""
    # With even sides "same" is one zero on every side, without a padded copy.
    return layers.Conv2D(
        filters, 4, strides=2, padding="same", kernel_initializer=initializer(), name=name
    )(x)


def enlarge(x: Any, filters: int, name: str) -> Any:
    """Double the size by a 4x4 transposed convolution of stride 2."""
    # PyTorch's k=4, s=2, p=1: the full result less one pixel on each side, which is "same" here.
    return layers.Conv2DTranspose(
        filters, 4, strides=2, padding="same", kernel_initializer=initializer(), name=name
    )(x)


def normalise(x: Any, name: str) -> Any:
    """Instance normalisation and ReLU."""
    x = InstanceNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def initializer(spread: float = 0.02) -> keras.initializers.Initializer:
    """Return what the published networks start from: a normal distribution."""
    return keras.initializers.RandomNormal(stddev=spread)

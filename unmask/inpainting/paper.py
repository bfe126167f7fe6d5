"""The paper's generator and discriminator, as published (LaFIn's), and nothing else.

Section III.C.1 is `build_generator`, III.C.2 `build_discriminator`; the paper's equations have no
numbers. Layers that other networks use too are in `layers.py`, the losses (III.D) in `losses.py`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from unmask.inpainting.layers import (
    InstanceNormalization,
    NarrowConv2D,
    ReflectionPadding2D,
    ShrinkMask,
    SpectralConv2D,
    convolve,
    enlarge,
    initializer,
    normalise,
    shrink,
)

# === III.C.1: generator ===


def build_generator(width: int = 64, depth: int = 7) -> keras.Model:
    """Build the landmark-guided generator: 11,734,981 parameters at the published sizes.

    Args:
        width: Channels of the first layer; 64 as published.
        depth: Number of dilated residual blocks; 7 as published.

    Returns:
        A model from `[image (B, H, W, 3) in [0, 1], mask (B, H, W, 1) with 1 in the hole,
        landmark_map (B, H, W, 1)]` to the completed image (B, H, W, 3) in [0, 1], float32. H and W
        are multiples of 8. What the image holds inside the hole does not matter.

    Example:
        >>> model = build_generator(width=8, depth=1)
        >>> zeros = ops.zeros
        >>> model([zeros((1, 64, 64, 3)), zeros((1, 64, 64, 1)), zeros((1, 64, 64, 1))]).shape
        TensorShape([1, 64, 64, 3])

    Reference:
        The paper, section III.C.1; LaFIn (Yang et al., 2019), generator as published.
    """
    image, mask, landmark_map = inputs = guided_inputs()
    x = on_white(image, mask, landmark_map)
    encoded = encode(x, width)
    x = encoded[-1]
    for index in range(depth):
        x = dilated_block(x, f"middle{index}")
    x = attend(x, encoded[-1], mask)
    x = decode(x, encoded, mask, width)
    return keras.Model(inputs, (paint(x) + 1.0) / 2.0, name="generator")


def guided_inputs() -> list[Any]:
    """Return the inputs: the image with its hole, the mask M, and the landmarks as a map."""
    channels = {"image": 3, "mask": 1, "landmark_map": 1}
    return [keras.Input((None, None, count), name=name) for name, count in channels.items()]


def on_white(image: Any, mask: Any, landmark_map: Any) -> Any:
    """Paint the hole white and join the landmarks: four channels."""
    return layers.Concatenate(name="joined")([image * (1.0 - mask) + mask, landmark_map])


def encode(x: Any, width: int) -> list[Any]:
    """Encoder: the features at the whole, half and quarter size."""
    encoded1 = normalise(convolve(x, width, 7, "encoder1", pad=3), "encoder1")
    encoded2 = normalise(shrink(encoded1, 2 * width, "encoder2"), "encoder2")
    encoded3 = normalise(shrink(encoded2, 4 * width, "encoder3"), "encoder3")
    return [encoded1, encoded2, encoded3]


def dilated_block(x: Any, name: str) -> Any:
    """Residual block of the trunk: a dilated and a plain 3x3 convolution, normalised."""
    filters = x.shape[-1]
    y = convolve(x, filters, 3, f"{name}_conv1", pad=2, dilation=2)
    y = convolve(normalise(y, f"{name}_conv1"), filters, 3, f"{name}_conv2", pad=1)
    y = InstanceNormalization(name=f"{name}_conv2_norm")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def attend(x: Any, encoded: Any, mask: Any) -> Any:
    """Join trunk and encoder by long-short attention, then a residual block."""
    quarter = ShrinkMask(4, name="mask_quarter")(mask)
    joined = LongShortAttention(x.shape[-1] // 4, name="attention")([x, encoded, quarter])
    return spectral_block(joined, x.shape[-1])


def spectral_block(joined: Any, filters: int) -> Any:
    """Residual block with spectral normalisation, back to the trunk's width."""

    def convolution(size: int, name: str) -> layers.Layer:
        return SpectralConv2D(
            filters, size, padding="same", kernel_initializer=initializer(), name=name
        )

    y = layers.LeakyReLU(0.01, name="attention_leaky1")(joined)
    y = convolution(3, "attention_conv1")(y)
    y = layers.LeakyReLU(0.01, name="attention_leaky2")(y)
    y = convolution(3, "attention_conv2")(y)
    shortcut = convolution(1, "attention_shortcut")(joined)
    return layers.Add(name="attention_add")([y, shortcut])


def decode(x: Any, encoded: list[Any], mask: Any, width: int) -> Any:
    """Decoder, whose shortcuts from the encoder are closed inside the hole."""
    half = ShrinkMask(2, name="mask_half")(mask)
    x = normalise(enlarge(x, 2 * width, "decoder1"), "decoder1")
    x = _fuse(x, encoded[1], half, "fusion1")
    x = normalise(enlarge(x, width, "decoder2"), "decoder2")
    return _fuse(x, encoded[0], mask, "fusion2")


def paint(x: Any, spread: float = 0.02) -> Any:
    """Pad by reflection, convolve 7x7 to the three colours, tanh: (B, H, W, 3) in [-1, 1].

    `spread` is the standard deviation of the kernel at the start.
    """
    x = ReflectionPadding2D(3, name="decoder3_pad")(x)
    x = NarrowConv2D(3, 7, kernel_initializer=initializer(spread), name="decoder3")(x)
    # In float32 also in mixed precision: bfloat16 has 8 bits, as have the pixels.
    return layers.Activation("tanh", dtype="float32", name="decoder3_tanh")(x)


def _fuse(x: Any, skip: Any, mask: Any, name: str) -> Any:
    """Gated shortcut: join the decoder with the encoder's features outside the hole."""
    open_skip = layers.Multiply(name=f"{name}_mask")([skip, 1.0 - mask])
    joined = layers.Concatenate(name=f"{name}_join")([open_skip, x])
    y = layers.Conv2D(joined.shape[-1], 1, kernel_initializer=initializer(), name=name)(joined)
    return normalise(y, name)


@keras.saving.register_keras_serializable(package="unmask")
class LongShortAttention(keras.layers.Layer):
    """Let every position borrow from positions that look alike, near (short) and early (long).

    One attention matrix A = softmax(q q^T) over positions serves twice:
    `gamma * A x + x` for the features x, and `alpha * m * A e + (1 - m) * e` for the encoder's
    features e, where m is the mask at their size, so that the hole gets borrowed features only.

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
        likeness = ops.cast(ops.matmul(query, ops.transpose(query, (0, 2, 1))), "float32")
        attention = ops.cast(ops.softmax(likeness, axis=-1), values.dtype)
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


# === III.C.2: discriminator ===


def build_discriminator(width: int = 64) -> keras.Model:
    """Build the 70x70 PatchGAN with spectral normalisation and attention: 2,768,930 parameters.

    The published file has 3,244,450; the other 475,520 are a residual block behind the attention
    that the published forward pass does not use.

    Args:
        width: Channels of the first layer; 64 as published.

    Returns:
        A model from `[image (B, H, W, 3) in [0, 1], landmark_map (B, H, W, 1)]` to one
        probability of "real" a patch, (B, H / 8 - 2, W / 8 - 2, 1), float32.

    Example:
        >>> build_discriminator(width=8).output_shape
        (None, None, None, 1)

    Reference:
        The paper, section III.C.2; Isola et al., 2017 (PatchGAN); LaFIn's as published.
    """
    image, _, landmark_map = guided_inputs()
    x = layers.Concatenate(name="joined")([image, landmark_map])
    x = patch_layer(x, width, 2, "conv1")
    x = patch_layer(x, 2 * width, 2, "conv2")
    x = LongShortAttention(width // 2, name="attention")(x)
    x = patch_layer(x, 4 * width, 2, "conv3")
    x = patch_layer(x, 8 * width, 1, "conv4")
    x = patch_layer(x, 1, 1, "conv5", last=True)
    scores = layers.Activation("sigmoid", dtype="float32", name="scores")(x)
    return keras.Model([image, landmark_map], scores, name="discriminator")


def patch_layer(x: Any, filters: int, stride: int, name: str, *, last: bool = False) -> Any:
    """One 4x4 convolution with spectral norm, then LeakyReLU unless it is the last."""
    x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    x = SpectralConv2D(
        filters,
        4,
        strides=stride,
        use_bias=False,
        kernel_initializer=initializer(),
        name=name,
    )(x)
    return x if last else layers.LeakyReLU(0.2, name=f"{name}_leaky")(x)

"""One compilation for all sizes, the model's own values, and the weights of the moment."""

import keras
import numpy as np

from unmask.inference import forward


def small_model() -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input((None, None, 3), name="image")
    mask = keras.Input((None, None, 1), name="mask")
    x = keras.layers.Concatenate()([image, mask])
    x = keras.layers.Conv2D(5, 3, strides=2, padding="same")(x)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model([image, mask], keras.layers.ReLU()(x))


def inputs(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(sum(shape))
    return rng.random((*shape, 3), np.float32), rng.random((*shape, 1), np.float32)


def test_equals_the_model_at_every_size_and_number():
    model = small_model()
    for shape in ((1, 32, 48), (3, 64, 32), (2, 17, 9)):
        image, mask = inputs(*shape)
        expected = keras.ops.convert_to_numpy(model([image, mask], training=False))
        np.testing.assert_allclose(forward(model, image, mask), expected, atol=1e-6)


def test_sees_new_weights():
    model = small_model()
    image, mask = inputs(1, 16, 16)
    before = forward(model, image, mask)
    assert before.any()
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    assert not forward(model, image, mask).any()


def test_compiles_once_for_all_sizes():
    traced = []

    class Counted(keras.layers.Layer):
        def call(self, x):
            traced.append(1)
            return x

    image = keras.Input((None, None, 1))
    model = keras.Model(image, Counted()(image))
    traced.clear()
    for side in (8, 16, 24, 32):
        forward(model, np.zeros((1, side, side, 1), np.float32))
    if keras.backend.backend() == "tensorflow":
        assert len(traced) == 1
    else:
        assert traced


def test_one_output_as_float32():
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, keras.layers.Flatten()(image))
    result = forward(model, np.ones((2, 4, 4, 3), np.float32))
    assert result.shape == (2, 48)
    assert result.dtype == np.float32

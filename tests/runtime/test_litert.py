"""LiteRT files answer as the Keras networks they were made of."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from unmask.export import _WRITERS


def test_a_network_for_any_size_answers_at_256_pixels(tmp_path: Path):
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    x = keras.Input((None, None, 3), name="photo")
    y = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    y = keras.layers.UpSampling2D()(y)
    model = keras.Model(x, keras.layers.Conv2D(1, 3, padding="same")(y))
    path = _WRITERS["litert"](model, tmp_path / "tiny")
    interpreter = tf.lite.Interpreter(str(path))
    photo = np.random.default_rng(0).random((1, 256, 256, 3), np.float32)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], photo)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, np.asarray(model(photo)), atol=2e-3)

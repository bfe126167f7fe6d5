"""One gradient step gives the same numbers by hand, in TensorFlow and in JAX."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

# Two networks as in a GAN: the step of one reads the other, and batch statistics change on the way.
SCRIPT = textwrap.dedent(
    """
    import json
    import keras, numpy as np
    from unmask.training.gradients import GradientStep

    keras.utils.set_random_seed(0)
    w = keras.Variable(np.array([1.0, -2.0, 0.5], "float32"), name="w")
    c = keras.Variable(np.array([0.5, 0.5, 0.5], "float32"), name="c")
    norm = keras.layers.BatchNormalization(momentum=0.5)
    norm.build((None, 3))
    state = [w, c, *norm.variables]

    def loss(x, y):
        z = keras.ops.sum(norm(x, training=True) * w * c, axis=1)
        return keras.ops.mean((z - y) ** 2), {"mean": keras.ops.mean(z)}

    step = GradientStep(loss, [w], state, keras.optimizers.Adam(0.1, beta_1=0.5))
    rng = np.random.default_rng(0)
    losses, means = [], []
    for _ in range(3):
        x = rng.normal(2, 3, (16, 3)).astype("float32")
        value, extra = step(x, x[:, 0])
        losses.append(float(value)); means.append(float(extra["mean"]))
    print(json.dumps({
        "losses": losses, "means": means, "w": np.asarray(w).tolist(),
        "c": np.asarray(c).tolist(), "moving": np.asarray(norm.moving_mean).tolist(),
        "iterations": int(step.optimizer.iterations),
    }))
    """
)


def run(backend: str) -> dict:
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_plain_sgd_by_hand():
    import keras

    from unmask.training.gradients import GradientStep

    a = keras.Variable(np.array([3.0], np.float32), name="a")
    b = keras.Variable(np.array([2.0], np.float32), name="b")
    step = GradientStep(
        lambda x: (keras.ops.sum((a * b * x) ** 2), a * b), [a], [a, b], keras.optimizers.SGD(0.01)
    )
    x = np.array([1.0], np.float32)
    loss, extra = step(x)
    # d/da (a b x)^2 = 2 a b^2 x^2 = 24
    assert float(loss) == 36.0
    assert float(extra[0]) == 6.0
    assert float(a.numpy()[0]) == pytest.approx(3.0 - 0.01 * 24)
    assert float(b.numpy()[0]) == 2.0
    loss, _ = step(2 * x)
    assert float(loss) == pytest.approx((2.76 * 2 * 2) ** 2)
    assert int(step.optimizer.iterations) == 2


def test_other_backends_are_refused(monkeypatch):
    import keras

    from unmask.training.gradients import GradientStep

    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(ValueError, match="backend='numpy'"):
        GradientStep(lambda: (0, 0), [], [], keras.optimizers.SGD(0.1))


def test_tensorflow_and_jax_agree():
    pytest.importorskip("jax")
    ours, theirs = run("tensorflow"), run("jax")
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert ours["iterations"] == 3
    assert ours["c"] == [0.5, 0.5, 0.5]  # not trained
    assert max(map(abs, ours["moving"])) > 0.5  # the batch statistics did arrive
